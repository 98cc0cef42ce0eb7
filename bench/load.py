#!/usr/bin/env python3
"""From a file to the first result, and the memory it takes: litegap against the stock runtime.

    load.py LOAD_BENCH MODELS_DIR

Time is the processor's, user and system, so that other work on the machine matters less; the best of
nine processes.  Three figures a model: inside a process from opening the file to the first result
(LOAD_BENCH, the program of load_bench.cc; the runtime from before its Interpreter is made to after the
first invoke), and the whole process of `litegap run MODEL --input X`.  Memory is what the largest
resident set (VmHWM) grows by in between.  Besides the larger models of the corpus there are three of
5 MB made here: float, dynamic range and int8.  Needs numpy and ai-edge-litert."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

import log

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
MODELS = ["imagenet_mnv2_10_224/uint8_qat", "seg_deeplabv3_257/float", "face_landmark/float", "ssd_mnv3_320_arm/int8",
          "imagenet_mnv1_05_160/uint8_qat", "imagenet_mnv1_025_128_keras/float", "imagenet_mnv1_025_128_keras/int8",
          "mnv2_035_96_embedder/dynamic_range", "mlperf_ad_autoencoder/float", "mlperf_kws_dscnn/int8"]
TURNS = 9
PEER = r"""
import resource, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
x = np.load(sys.argv[2])
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
def spent():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return 1e3 * (usage.ru_utime + usage.ru_stime)
before, start = peak(), spent()
i = Interpreter(sys.argv[1], num_threads=1)
i.allocate_tensors()
i.set_tensor(i.get_input_details()[0]["index"], x)
i.invoke()
i.get_tensor(i.get_output_details()[0]["index"])
print("total", spent() - start, "peak", (peak() - before) / 1024)
"""
DETAILS = r"""
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
i = Interpreter(sys.argv[1])
d = i.get_input_details()[0]
random = np.random.default_rng(1)
x = random.uniform(-1, 1, d["shape"]) if d["dtype"] == np.float32 else random.integers(0, 100, d["shape"])
np.save(sys.argv[2], x.astype(d["dtype"]))
"""


def process(*arguments):
    """Milliseconds of processor time of one process of litegap."""
    child = subprocess.Popen([LITEGAP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, code, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode:
        raise RuntimeError("litegap " + " ".join(arguments) + " failed")
    return 1e3 * (usage.ru_utime + usage.ru_stime)


def inside(*command):
    """(milliseconds, MB) that a program prints as `total T … peak P`."""
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"total ([\d.]+).*peak ([\d.]+)", done.stdout)
    if not found:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no result")
    return float(found[1]), float(found[2])


def best(pairs):
    """The least time and the middle memory."""
    return min(t for t, _ in pairs), sorted(m for _, m in pairs)[len(pairs) // 2]


def large_models(folder):
    """Dense networks of 5 MB: weights of float32, of int8 alone, of int8 with int8 values."""
    for name, width in (("float", 640), ("wide", 1280)):
        layers = [{"class_name": "Dense",
                   "config": {"name": f"d{i}", "units": width, "activation": "relu",
                              **({"batch_input_shape": [None, width]} if i == 0 else {})}} for i in range(3)]
        (folder / f"{name}.json").write_text(
            json.dumps({"class_name": "Sequential", "config": {"name": name, "layers": layers}}))
        x = np.random.default_rng(1).normal(size=(64, width)).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=x, y=x)
        process("train", str(folder / f"{name}.json"), "--data", str(folder / f"{name}.npz"), "--loss", "mse",
                "--epochs", "1", "-o", str(folder / f"{name}.tflite"))
    for technique, more in (("dynamic-range", []), ("static", ["--calibration", str(folder / "wide.npz"),
                                                               "--calibration-method", "minmax"])):
        process("quantize", str(folder / "wide.tflite"), "--technique", technique, *more,
                "-o", str(folder / f"{technique}.tflite"))
    return [folder / f"{name}.tflite" for name in ("float", "dynamic-range", "static")]


def main():
    program, models = sys.argv[1], pathlib.Path(sys.argv[2])
    times, memory = [], []
    print(f"{'':36s} {'MB':>6s}   {'ms':>7s} {'runtime':>8s} {'ratio':>6s}   {'process':>8s}   "
          f"{'peak MB':>8s} {'runtime':>8s} {'ratio':>6s}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        here = [models / (m + ".tflite") for m in MODELS]
        for model in large_models(folder) + [m for m in here if m.exists()]:
            label = f"5 MB {model.stem}" if model.parent == folder else f"{model.parent.name}/{model.stem}"
            x = folder / "x.npy"
            subprocess.run([sys.executable, "-c", DETAILS, str(model), str(x)], check=True, capture_output=True)
            try:
                ours = best([inside(program, str(models), str(model)) for _ in range(TURNS)])
                whole = min(process("run", str(model), "--input", str(x), "--quiet") for _ in range(TURNS))
                peer = best([inside(sys.executable, "-c", PEER, str(model), str(x)) for _ in range(TURNS)])
            except RuntimeError as error:
                print(f"{label:36s} not run: {error}")
                continue
            times.append(ours[0] / peer[0])
            memory.append(ours[1] / peer[1])
            log.append("load", label, "ms of processor time to the first result: litegap, runtime", ours[0], peer[0],
                       times[-1])
            log.append("load", label, "peak MB of the model: litegap, runtime", ours[1], peer[1], memory[-1])
            print(f"{label:36s} {model.stat().st_size / 2**20:6.2f}   {ours[0]:7.1f} {peer[0]:8.1f} {times[-1]:6.2f}   "
                  f"{whole:8.1f}   {ours[1]:8.1f} {peer[1]:8.1f} {memory[-1]:6.2f}", flush=True)
    print(f"a process that does nothing (litegap --version): {min(process('--version') for _ in range(TURNS)):.1f} ms")
    print(f"geometric mean: time {log.geometric_mean(times):.2f}, memory {log.geometric_mean(memory):.2f}")


if __name__ == "__main__":
    main()
