#!/usr/bin/env python3
"""How the flow scales: two threads over samples, two processes on two shards, and the work against the
number of samples.

    scaling.py [MODEL SAMPLES]

The machine's own limit is measured in the same turns: the same evaluation in two processes at once
against one alone; 2.00 would be two free cores.  Wall clock, best of five turns.  Needs numpy."""
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
    """Seconds until all are done, and the largest peak memory in MB."""
    start = time.perf_counter()
    running = [subprocess.Popen([LITEGAP, *c], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    peak = 0
    for process in running:
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        if process.returncode:
            sys.exit(process.stderr.read().decode())
        peak = max(peak, usage.ru_maxrss / 1024)
    return time.perf_counter() - start, peak


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
        best = {}
        for _ in range(TURNS):
            for what, commands in {"half": [run("half.npz", 1)], "one": [run("all.npz", 1)],
                                   "pair": [run("all.npz", 1)] * 2, "two": [run("all.npz", 2)],
                                   "shards": [shard(1), shard(2)]}.items():
                best[what] = min(best.get(what, (9e9, 0)), together(*commands))
        t = {what: seconds for what, (seconds, _) in best.items()}
        limit = 2 * t["one"] / t["pair"]
        print(f"{label}, {count} samples, one thread: {t['one']:.2f} s; half of them {t['half'] / t['one']:.2f} of that")
        print(f"peak memory: {best['half'][1]:.1f} MB of half, {best['one'][1]:.1f} MB of all "
              f"(the samples: {x.nbytes / 2**20:.1f} MB, mapped)")
        for what, who in (("two", "two threads"), ("shards", "two shards in two processes")):
            print(f"{who}: {t['one'] / t[what]:.2f} times as fast; this machine in the same turns: {limit:.2f}")
            log.append("scaling", label, f"s: {who}, half of one thread", t[what], t["one"] / 2, t[what] / (t["one"] / 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
