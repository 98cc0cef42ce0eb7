#!/usr/bin/env python3
"""How the flow scales: two threads over samples, two processes on two shards, and time and memory
against the number of samples.

    scaling.py [MODEL SAMPLES]

The machine's own limit is measured in the same turns: the same evaluation in two processes at once
against one alone; 2.00 would be two free cores.  Wall clock and processor time, best of five turns;
where the machine is busy only the processor's time says something: what two threads or two shards take
more of it than one is what they lose.  Memory is the largest resident set, the mapped samples with it;
it is also looked at where outputs are wide: 2000 scores of two models, which are 16000 bytes a sample.
Needs numpy."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

import log

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
TURNS = 5


def together(*commands):
    """Seconds until all are done, and seconds of processor time of all."""
    start, spent = time.perf_counter(), 0
    running = [subprocess.Popen([LITEGAP, *c], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    for process in running:
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            sys.exit(process.stderr.read().decode())
        spent += usage.ru_utime + usage.ru_stime
    return time.perf_counter() - start, spent


def peak_bytes(arguments, out):
    together([*arguments, "--json", out])
    return json.loads(pathlib.Path(out).read_text())["cost"]["peak_bytes"]


def wide_outputs(folder, count=40000, width=2000):
    """Memory of a float and an int8 model with many outputs, against half of the samples."""
    random = np.random.default_rng(1)
    path = lambda n: os.path.join(folder, n)
    x, y = random.normal(size=(count, 8)).astype(np.float32), random.integers(0, width, count)
    for name, n in (("few.npz", 2000), ("wide_half.npz", count // 2), ("wide_all.npz", count)):
        np.savez(path(name), x=x[:n], y=y[:n])
    net = {"class_name": "Sequential", "config": {"name": "wide", "layers": [
        {"class_name": "Dense", "config": {"name": "d", "units": width, "activation": "softmax",
                                           "batch_input_shape": [None, 8]}}]}}
    pathlib.Path(path("wide.json")).write_text(json.dumps(net))
    together(["train", path("wide.json"), "--data", path("few.npz"), "--loss", "crossentropy", "--epochs", "1", "-o",
              path("wide.tflite")])
    together(["quantize", path("wide.tflite"), "--technique", "static", "--calibration", path("few.npz"), "-o",
              path("wide_int8.tflite")])
    peak = {data: min(peak_bytes(["eval", path("wide.tflite"), path("wide_int8.tflite"), "--data", path(data), "--metric",
                                  "top1", "--budget", "10m", "--no-latency", "--quiet"], path("out.json"))
                      for _ in range(3)) for data in ("wide_half.npz", "wide_all.npz")}
    mapped = x.nbytes
    more = (peak["wide_all.npz"] - peak["wide_half.npz"] - mapped / 2) / (count - count // 2)
    print(f"{width} outputs of two models, {count} samples: peak memory {peak['wide_half.npz'] / 2**20:.1f} MB of half, "
          f"{peak['wide_all.npz'] / 2**20:.1f} MB of all; besides the mapped samples {more:.0f} bytes a sample")
    log.append("scaling", f"{width} outputs, float and int8", "peak MB besides mapped samples: all, half",
               (peak["wide_all.npz"] - mapped) / 2**20, (peak["wide_half.npz"] - mapped / 2) / 2**20,
               (peak["wide_all.npz"] - mapped) / (peak["wide_half.npz"] - mapped / 2))


def main():
    model = sys.argv[1] if len(sys.argv) > 1 else str(SHARED / "corpus/models/mlperf_ic_resnet8/int8.tflite")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
    if not os.path.exists(model):
        print(f"{model}: not here")
        return 77
    label = "/".join(pathlib.Path(model).parts[-2:])
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        path = lambda n: os.path.join(name, n)
        x = random.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
        y = random.integers(0, 10, count)
        np.savez(path("all.npz"), x=x, y=y)
        np.savez(path("half.npz"), x=x[:count // 2], y=y[:count // 2])
        run = lambda data, threads, *more: ["eval", model, "--data", path(data), "--threads", str(threads), "--metric",
                                            "top1", "--budget", "10m", "--no-latency", "--quiet", *more]
        shard = lambda i: run("all.npz", 1, "--shard", f"{i}/2", "-o", path(f"{i}.state"))
        peak = {}
        for data in ("half.npz", "all.npz"):
            peak[data] = peak_bytes(run(data, 1), path("out.json")) / 2**20
        wall, spent = {}, {}
        for _ in range(TURNS):
            for what, commands in {"half": [run("half.npz", 1)], "one": [run("all.npz", 1)],
                                   "pair": [run("all.npz", 1)] * 2, "two": [run("all.npz", 2)],
                                   "shards": [shard(1), shard(2)]}.items():
                w, s = together(*commands)
                wall[what], spent[what] = min(wall.get(what, 9e9), w), min(spent.get(what, 9e9), s)
        limit = 2 * wall["one"] / wall["pair"]
        print(f"{label}, {count} samples, one thread: {wall['one']:.2f} s, {spent['one']:.2f} s of the processor; "
              f"half of them {spent['half'] / spent['one']:.2f} of that")
        more = (peak["all.npz"] - peak["half.npz"]) * 2**20 - x.nbytes / 2
        print(f"peak memory: {peak['half.npz']:.1f} MB of half, {peak['all.npz']:.1f} MB of all, of them "
              f"{x.nbytes / 2**20:.1f} MB mapped samples; besides these {more / (count - count // 2):.0f} bytes a sample")
        log.append("scaling", label, "peak MB besides mapped samples: all, half", peak["all.npz"] - x.nbytes / 2**20,
                   peak["half.npz"] - x.nbytes / 2**21,
                   (peak["all.npz"] - x.nbytes / 2**20) / (peak["half.npz"] - x.nbytes / 2**21))
        for what, who in (("two", "two threads"), ("shards", "two shards in two processes")):
            print(f"{who}: {wall['one'] / wall[what]:.2f} times as fast; this machine in the same turns: {limit:.2f}; "
                  f"processor time {spent[what] / spent['one']:.3f} of one thread's")
            log.append("scaling", label, f"s: {who}, half of one thread", wall[what], wall["one"] / 2,
                       wall[what] / (wall["one"] / 2))
            log.append("scaling", label, f"s of processor time: {who}, one thread", spent[what], spent["one"],
                       spent[what] / spent["one"])
        wide_outputs(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
