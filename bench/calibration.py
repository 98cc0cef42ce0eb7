#!/usr/bin/env python3
"""Calibration against another quantizer of .tflite files: the same float model, the same samples, one
run of this script, in turns.

    calibration.py [FLOAT.tflite [SAMPLES]]

LITEGAP is the program.  Without a model: the residual network of the shared corpus.  Samples are
seeded noise of the input's shape.  What is timed is the whole of each: ours from 1 to SAMPLES by min/max
(histograms included), theirs its calibrate() call; milliseconds a sample are the slope between few
samples and all, so that starting up and writing do not count.  Needs numpy, ai-edge-litert and
litert-quantizer; without the last, only ours is printed."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TQDM_DISABLE", "1")
import numpy as np
from ai_edge_litert.interpreter import Interpreter

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))


def ours(model, x, name, tmp):
    path = pathlib.Path(tmp) / "x.npz"
    np.savez(path, x=x)
    start = time.perf_counter()
    subprocess.run([LITEGAP, "quantize", str(model), "--technique", "static", "--calibration-method", "mse",
                    "--calibration", str(path), "-o", str(pathlib.Path(tmp) / "q.tflite"), "--threads", "1",
                    "--quiet", "--json", str(pathlib.Path(tmp) / "q.json")], check=True, capture_output=True)
    return time.perf_counter() - start


def with_signature(model, path):
    """The peer runs models by their signature only; old files have none."""
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
    start = time.perf_counter()
    q.calibrate(data)
    return time.perf_counter() - start


def slope(run, model, x, name, few):
    """Milliseconds a sample, the best of three."""
    with tempfile.TemporaryDirectory() as tmp:
        run(model, x[:few], name, tmp)
        best = min(run(model, x, name, tmp) - run(model, x[:few], name, tmp) for _ in range(3))
    return 1e3 * best / (len(x) - few)


def float_pass(model, x):
    i = Interpreter(str(model), num_threads=1)
    i.allocate_tensors()
    index = i.get_input_details()[0]["index"]
    times = []
    for s in x:
        start = time.perf_counter()
        i.set_tensor(index, s[None])
        i.invoke()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


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
    a = slope(ours, model, x, name, 20)
    print(f"{model.parent.name}: stock float pass {base:.3f} ms a sample")
    print(f"litegap quantize          {a:.3f} ms a sample")
    try:
        b = slope(theirs, model, x, name, 20)
    except ImportError:
        print("litert-quantizer is not installed")
        return 0
    print(f"litert-quantizer          {b:.3f} ms a sample")
    print(f"ratio                     {b / a:.1f}")
    return 0


sys.exit(main())
