#!/usr/bin/env python3
"""From the start of the process to the first result, and the memory it takes: `litegap run` against the
stock runtime in a Python process of its own.

    load.py

Time: wall clock of `litegap run MODEL --input X`, best of nine; of the runtime from before its
Interpreter is made to after the first invoke, so that Python's own start does not count.  Memory: the
largest resident set, less that of `litegap --version` or of Python with the runtime imported.  Besides
the larger models of the shared corpus there is one of 5 MB made here.  Needs numpy and ai-edge-litert."""
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
MODELS = ["imagenet_mnv2_10_224/uint8_qat", "imagenet_mnv1_05_160/uint8_qat", "imagenet_mnv1_025_128_keras/float",
          "imagenet_mnv1_025_128_keras/int8", "mlperf_ad_autoencoder/float", "face_landmark/float",
          "mlperf_kws_dscnn/int8"]
TURNS = 9
PEER = r"""
import resource, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
x = np.load(sys.argv[2])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = peak(), time.perf_counter()
i = Interpreter(sys.argv[1], num_threads=1)
i.allocate_tensors()
i.set_tensor(i.get_input_details()[0]["index"], x)
i.invoke()
i.get_tensor(i.get_output_details()[0]["index"])
print("result", time.perf_counter() - start, peak() - before)
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


def ours(arguments):
    start = time.perf_counter()
    process = subprocess.Popen([LITEGAP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise RuntimeError("litegap " + " ".join(arguments) + " failed")
    return time.perf_counter() - start, usage.ru_maxrss


def peer(model, x):
    done = subprocess.run([sys.executable, "-c", PEER, str(model), str(x)], capture_output=True, text=True)
    for line in done.stdout.splitlines():
        words = line.split()
        if words and words[0] == "result":
            return float(words[1]), int(words[2])
    raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no result")


def large_model(folder):
    """Three products of 640 x 640: 5 MB of float weights."""
    width = 640
    layers = [{"class_name": "Dense", "config": {"name": f"d{i}", "units": width, "activation": "relu",
                                                 **({"batch_input_shape": [None, width]} if i == 0 else {})}}
              for i in range(3)]
    (folder / "large.json").write_text(json.dumps({"class_name": "Sequential", "config": {"name": "large", "layers": layers}}))
    x = np.random.default_rng(1).normal(size=(64, width)).astype(np.float32)
    np.savez(folder / "large.npz", x=x, y=x)
    ours(["train", str(folder / "large.json"), "--data", str(folder / "large.npz"), "--loss", "mse", "--epochs", "1",
          "-o", str(folder / "large.tflite")])
    return folder / "large.tflite"


def main():
    times, memory = [], []
    print(f"{'':36s} {'MB':>6s} {'ms':>8s} {'runtime':>8s} {'ratio':>6s}   {'peak MB':>8s} {'runtime':>8s} {'ratio':>6s}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        bare = min(ours(["--version"])[1] for _ in range(3))
        here = [SHARED / "corpus/models" / (m + ".tflite") for m in MODELS]
        for model in [large_model(folder)] + [m for m in here if m.exists()]:
            label = model.stem if model.parent == folder else f"{model.parent.name}/{model.stem}"
            x = folder / "x.npy"
            subprocess.run([sys.executable, "-c", DETAILS, str(model), str(x)], check=True, capture_output=True)
            try:
                a = [ours(["run", str(model), "--input", str(x), "-o", str(folder / "out.npz"), "--quiet"])
                     for _ in range(TURNS)]
                b = [peer(model, x) for _ in range(3)]
            except RuntimeError as error:
                print(f"{label:36s} not run: {error}")
                continue
            t, m = min(v[0] for v in a), (max(v[1] for v in a) - bare) / 1024
            pt, pm = min(v[0] for v in b), max(v[1] for v in b) / 1024
            times.append(t / pt)
            memory.append(m / pm)
            log.append("load", label, "ms to the first result: process, runtime without Python", 1e3 * t, 1e3 * pt, t / pt)
            log.append("load", label, "peak MB of the model: litegap, runtime", m, pm, m / pm)
            print(f"{label:36s} {model.stat().st_size / 2**20:6.2f} {1e3 * t:8.1f} {1e3 * pt:8.1f} {t / pt:6.2f}   "
                  f"{m:8.1f} {pm:8.1f} {m / pm:6.2f}", flush=True)
    print(f"geometric mean: time {log.geometric_mean(times):.2f}, memory {log.geometric_mean(memory):.2f}")


if __name__ == "__main__":
    main()
