#!/usr/bin/env python3
"""Calibration against the two other quantizers of .tflite files: the same float model, the same
samples, one thread each, one run of this script, in turns.

    calibration.py [FLOAT.tflite [SAMPLES]]

LITEGAP is the program.  Without a model: the residual network of the shared corpus, 500 samples of
seeded noise.  Milliseconds are those of the processor, so that other work on the machine does not
count, and the slope between few samples and all, so that starting up and writing do not either; the
median of five turns.

    ours              litegap quantize, ranges by mse: extremes, moving averages and histograms
    litert-quantizer  its calibrate() call (needs the package; skipped without it)
    converter         the TensorFlow converter's own calibrator, min/max only (TF_PYTHON: an
                      interpreter that has tensorflow; skipped without it)

Memory: the peak with 200 and with 2000 samples, as the kernel counts it (which includes the pages of
the mapped sample file, an .npy), and the part of it that belongs to no file.  Needs numpy and ai-edge-litert."""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
from ai_edge_litert.interpreter import Interpreter

import log

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
FEW, TURNS = 20, 5

# Answers "seconds few all" for every line it is sent: starting TensorFlow costs more than the work.
CONVERTER = r"""
import os, sys, time
import numpy as np
from tensorflow.lite.python.optimize import calibrator
model = open(sys.argv[1], "rb").read()
x = np.load(sys.argv[2])["x"]
def seconds(samples):
    c = calibrator.Calibrator(model)
    start = time.process_time()
    c.calibrate(lambda: ([s[None]] for s in samples))
    return time.process_time() - start
seconds(x[:2])
for line in sys.stdin:
    few = int(line)
    print("seconds", seconds(x[:few]), seconds(x), flush=True)
"""


def command(model, data, tmp):
    return [LITEGAP, "quantize", str(model), "--technique", "static", "--calibration-method", "mse",
            "--calibration", str(data), "-o", str(pathlib.Path(tmp) / "q.tflite"), "--threads", "1", "--quiet"]


def ours(model, x, name, tmp):
    path = pathlib.Path(tmp) / "x.npz"
    np.savez(path, x=x)
    process = subprocess.Popen(command(model, path, tmp), stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode != 0:
        sys.exit("litegap quantize failed")
    return usage.ru_utime + usage.ru_stime


def with_signature(model, path):
    """litert-quantizer runs models by their signature only; old files have none."""
    from ai_edge_litert import schema_py_generated as schema
    import flatbuffers
    m = schema.ModelT.InitFromPackedBuf(bytearray(pathlib.Path(model).read_bytes()), 0)
    if not m.signatureDefs:
        graph, s = m.subgraphs[0], schema.SignatureDefT()
        def entry(name, index):
            t = schema.TensorMapT()
            t.name, t.tensorIndex = name, int(index)
            return t
        s.inputs = [entry("x", graph.inputs[0])]
        s.outputs = [entry(f"y{i}", t) for i, t in enumerate(graph.outputs)]
        s.signatureKey, s.subgraphIndex = b"serving_default", 0
        m.signatureDefs = [s]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(m.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def theirs(model, x, name, tmp):
    from litert_quantizer import quantizer, recipe
    named = pathlib.Path(tmp) / "named.tflite"
    with_signature(model, named)
    q = quantizer.Quantizer(str(named))
    q.load_quantization_recipe(recipe.static_wi8_ai8())
    data = {"serving_default": [{name: s[None]} for s in x]}
    start = time.process_time()
    q.calibrate(data)
    return time.process_time() - start


class Converter:
    """The TensorFlow converter's calibrator in a process of its own."""

    def __init__(self, python, model, x, tmp):
        path = pathlib.Path(tmp) / "converter.npz"
        np.savez(path, x=x)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([python, "-c", CONVERTER, str(model), str(path)], text=True, env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def turn(self):
        self.process.stdin.write(f"{FEW}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            words = line.split()
            if words and words[0] == "seconds":
                return float(words[2]) - float(words[1])
        sys.exit("the TensorFlow converter's calibrator ended without an answer")


def float_pass(model, x):
    i = Interpreter(str(model), num_threads=1)
    i.allocate_tensors()
    index = i.get_input_details()[0]["index"]
    times = []
    for s in x:
        start = time.process_time()
        i.set_tensor(index, s[None])
        i.invoke()
        times.append(time.process_time() - start)
    return 1e3 * float(np.mean(times))


def peak_memory(model, shape, count, tmp):
    """(peak of all pages, largest seen sum of those that belong to no file), MB"""
    path = pathlib.Path(tmp) / "m.npy"
    np.save(path, np.random.default_rng(2).uniform(0, 1, (count, *shape)).astype(np.float32))
    process = subprocess.Popen(command(model, path, tmp), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = own = 0
    while process.poll() is None:
        try:
            status = dict(line.split(":", 1) for line in open(f"/proc/{process.pid}/status"))
            if status["Name"].strip() == "litegap":
                peak = max(peak, int(status["VmHWM"].split()[0]))
                own = max(own, int(status["RssAnon"].split()[0]))
        except (OSError, KeyError):
            pass
        time.sleep(0.002)
    if process.returncode != 0:
        sys.exit("litegap quantize failed")
    return peak / 1024, own / 1024


def main():
    model = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "corpus/models/mlperf_ic_resnet8/float.tflite"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    if not model.exists():
        print(f"{model}: not here")
        return 77
    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    shape = interpreter.get_input_details()[0]["shape"][1:]
    signatures = list(interpreter.get_signature_list().values())
    name = signatures[0]["inputs"][0] if signatures else "x"
    x = np.random.default_rng(1).uniform(0, 1, (count, *shape)).astype(np.float32)
    base = float_pass(model, x)
    try:
        import litert_quantizer  # noqa: F401
        peer = True
    except ImportError:
        peer = False
    python = os.environ.get("TF_PYTHON")
    times = {"litegap quantize": [], "litert-quantizer": [], "TensorFlow converter": []}
    with tempfile.TemporaryDirectory() as tmp:
        converter = Converter(python, model, x, tmp) if python else None
        if converter:
            converter.turn()
        for _ in range(TURNS):
            times["litegap quantize"].append(ours(model, x, name, tmp) - ours(model, x[:FEW], name, tmp))
            if peer:
                times["litert-quantizer"].append(theirs(model, x, name, tmp) - theirs(model, x[:FEW], name, tmp))
            if converter:
                times["TensorFlow converter"].append(converter.turn())
        if converter:
            converter.process.stdin.close()
            converter.process.wait()
        print(f"{model.parent.name}, {count} samples: stock float pass {base:.3f} ms a sample")
        mine = statistics.median(times["litegap quantize"])
        for who, seconds in times.items():
            if not seconds:
                print(f"{who:<22} not here")
                continue
            each = [1e3 * s / (count - FEW) for s in seconds]
            if not who.startswith("litegap"):
                log.append("calibration", model.parent.name, f"ms a sample: litegap, {who}",
                           1e3 * mine / (count - FEW), statistics.median(each), mine / statistics.median(seconds))
            ratio = "" if who.startswith("litegap") else f"   {statistics.median(seconds) / mine:.1f} times ours"
            print(f"{who:<22} {statistics.median(each):7.3f} ms a sample ({min(each):.3f} to {max(each):.3f}){ratio}")
        for samples in (200, 2000):
            peak, own = peak_memory(model, shape, samples, tmp)
            data = samples * float(np.prod(shape)) * 4 / 2**20
            print(f"memory, {samples:5} samples  {peak:7.1f} MB at the peak, of it {own:.1f} MB of no file "
                  f"(the samples: {data:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
