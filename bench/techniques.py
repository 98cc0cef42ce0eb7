#!/usr/bin/env python3
"""The classic quantization programs against TensorFlow: y = 2x + 1 + N(0, 0.1), 100 samples, Dense(1),
SGD, mean squared error, 100 epochs, over many seeds.

    techniques.py [SEEDS]

For every seed TensorFlow (TF_PYTHON: an interpreter with tensorflow, tf-keras and
tensorflow-model-optimization) makes the data's model, writes it before training, trains it and
converts it each way; litegap (LITEGAP: the program) starts from the same initial weights and does the
same natively.  All files are then measured by the stock runtime on the samples, litegap's also by
litegap.  Printed: mean loss of each file, and the mean of its difference from the float model of the
same training, which a mean over seeds shows far better than the losses themselves.  Last, the time
of the whole journey of one seed, from the start of the first process to the end of the last.

Without TF_PYTHON only our half is printed.  Needs numpy and ai-edge-litert.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
EPOCHS = 100

# name: (flags of `litegap quantize`, or None for training)
OURS = {
    "float": None,
    "static int8": ["--technique", "static", "--calibration-method", "minmax"],
    "dynamic range, size rule": ["--technique", "dynamic-range"],
    "dynamic range": ["--technique", "dynamic-range", "--least-elements", "1"],
    "float16": ["--technique", "float16"],
    "int16x8": ["--technique", "int16x8", "--calibration-method", "minmax", "--io", "float"],
    "quantization-aware": None,
}

THEIRS = r"""
import os, sys, time
start = time.perf_counter()
import numpy as np, tensorflow as tf, keras, tf_keras
import tensorflow_model_optimization as tfmot
imported = time.perf_counter() - start
folder, first, last, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

def convert(m, x, path, default=True, types=None, ops=None, io=None, calibrate=False):
    c = tf.lite.TFLiteConverter.from_keras_model(m)
    if default: c.optimizations = [tf.lite.Optimize.DEFAULT]
    if calibrate: c.representative_dataset = lambda: ([x[k:k + 1]] for k in range(len(x)))
    if types: c.target_spec.supported_types = types
    if ops: c.target_spec.supported_ops = ops
    if io: c.inference_input_type = c.inference_output_type = io
    open(path, "wb").write(c.convert())

for seed in range(first, last):
    here = os.path.join(folder, str(seed))
    d = np.load(os.path.join(here, "data.npz"))
    x, y = d["x"], d["y"]
    keras.utils.set_random_seed(seed)
    m = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    m.save(os.path.join(here, "initial.keras"))
    m.compile(optimizer="sgd", loss="mse")
    m.fit(x, y, epochs=epochs, verbose=0)
    to = lambda name: os.path.join(here, "tf " + name + ".tflite")
    convert(m, x, to("float"), default=False)
    convert(m, x, to("static int8"), ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8], io=tf.int8, calibrate=True)
    convert(m, x, to("dynamic range, size rule"))
    if len(sys.argv) > 5:  # the journey of the timing has four files
        convert(m, x, to("float16"), types=[tf.float16])
        convert(m, x, to("int16x8"), calibrate=True, ops=[
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8])
    tf_keras.utils.set_random_seed(seed)
    q = tf_keras.Sequential([tf_keras.layers.Input((1,)), tf_keras.layers.Dense(1)])
    q.set_weights(keras.models.load_model(os.path.join(here, "initial.keras")).get_weights())
    q = tfmot.quantization.keras.quantize_model(q)
    q.compile(optimizer="sgd", loss="mse")
    q.fit(x, y, epochs=epochs, verbose=0)
    convert(q, x, to("quantization-aware"))
    if len(sys.argv) <= 5:  # and their evaluation
        for name in ("float", "static int8", "dynamic range, size rule", "quantization-aware"):
            i = tf.lite.Interpreter(to(name))
            i.allocate_tensors()
            a, b = i.get_input_details()[0], i.get_output_details()[0]
            for v in x:
                s, z = a["quantization"] if a["dtype"] != np.float32 else (1, 0)
                i.set_tensor(a["index"], (np.round(v[None] / s) + z if s != 1 else v[None]).astype(a["dtype"]))
                i.invoke()
                i.get_tensor(b["index"])
print("imported", imported)
"""


def theirs(python, folder, first, last, *more):
    done = subprocess.run([python, "-c", THEIRS, str(folder), str(first), str(last), str(EPOCHS), *more],
                          capture_output=True, text=True,
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3",
                               "TF_USE_LEGACY_KERAS": "1"})
    if done.returncode != 0:
        sys.exit(done.stderr[-3000:])
    return float(done.stdout.split()[-1])


def litegap(*arguments):
    subprocess.run([LITEGAP, *map(str, arguments), "--quiet"], check=True, stdout=subprocess.DEVNULL)


def line(folder, seed):
    random = np.random.default_rng(seed)
    x = random.random((100, 1)).astype(np.float32)
    y = (2 * x + 1 + random.normal(0, 0.1, (100, 1))).astype(np.float32)
    (folder / str(seed)).mkdir()
    np.savez(folder / str(seed) / "data.npz", x=x, y=y)
    return x, y


def train(here, start, seed):
    common = ["--data", here / "data.npz", "--loss", "mse", "--optimizer", "sgd", "--epochs", EPOCHS, "--seed", seed]
    litegap("train", start, *common, "-o", here / "float.tflite")
    litegap("train", start, *common, "--qat", "-o", here / "quantization-aware.tflite")


def quantize(here, names):
    for name in names:
        flags = OURS[name]
        if flags is None:
            continue
        data = ["--calibration", here / "data.npz"] if "minmax" in flags else []
        litegap("quantize", here / "float.tflite", *flags, *data, "-o", here / f"{name}.tflite")


def runtime_loss(path, x, y):
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    i, o = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    total = 0.0
    for v, want in zip(x, y):
        v = v[None]
        if i["dtype"] != np.float32:
            scale, zero = i["quantization"]
            v = np.clip(np.round(v / np.float32(scale)) + zero, -128, 127)
        interpreter.set_tensor(i["index"], v.astype(i["dtype"]))
        interpreter.invoke()
        v = interpreter.get_tensor(o["index"])
        if o["dtype"] != np.float32:
            scale, zero = o["quantization"]
            v = (v.astype(np.float32) - zero) * np.float32(scale)
        total += float(v[0, 0] - want[0]) ** 2
    return total / len(x)


def own_losses(here, names):
    import json
    files = [here / f"{n}.tflite" for n in names]
    litegap("eval", *files, "--data", here / "data.npz", "--metric", "mse", "--json", here / "eval.json")
    return [m["value"] for m in json.loads((here / "eval.json").read_text())["models"]]


def column(values):
    return f"{np.mean(values):12.6f}"


def delta(values, base):
    d = np.array(values) - np.array(base)
    return f"{np.mean(d):+11.1e} +- {np.std(d, ddof=1) / np.sqrt(len(d)):7.1e}"


def table(rows, mine, own, tf):
    print(f"{'file':26}{'bytes':>7}{'litegap':>12}{'runtime':>12}{'against its float model':>24}"
          f"{'TF bytes':>10}{'TensorFlow':>12}{'against its float model':>24}")
    for name, size in rows.items():
        text = f"{name:26}{size[0]:7}{column(own[name])}{column(mine[name])}{delta(mine[name], mine['float']):>24}"
        if tf.get(name):
            text += f"{size[1]:10}{column(tf[name])}{delta(tf[name], tf['float']):>24}"
        print(text)


def journey(folder, python):
    """The whole of one seed: training, four files, evaluation."""
    here = folder / "0"
    names = ["float", "static int8", "dynamic range, size rule", "quantization-aware"]
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        train(here, here / "initial.keras" if python else folder / "net.json", 0)
        quantize(here, names[1:3])
        own_losses(here, names)
        best = min(best, time.perf_counter() - start)
    print(f"\nlitegap, everything included      {best:.3f} s (best of 5)")
    if not python:
        return
    start = time.perf_counter()
    imported = theirs(python, folder, 0, 1)
    whole = time.perf_counter() - start
    print(f"TensorFlow, everything included   {whole:.2f} s, of which import {imported:.2f} s")
    print(f"ratio                             {whole / best:.0f}, without import {(whole - imported) / best:.0f}")


NET = """{"class_name": "Sequential", "config": {"name": "line", "layers": [
{"class_name": "InputLayer", "config": {"batch_shape": [null, 1], "name": "x"}},
{"class_name": "Dense", "config": {"name": "dense", "units": 1}}]}}"""


def main():
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    python = os.environ.get("TF_PYTHON")
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        (folder / "net.json").write_text(NET)
        data = [line(folder, s) for s in range(seeds)]
        if python:
            theirs(python, folder, 0, seeds, "all")
        mine, own, tf, rows = {n: [] for n in OURS}, {n: [] for n in OURS}, {n: [] for n in OURS}, {}
        for seed, (x, y) in enumerate(data):
            here = folder / str(seed)
            train(here, here / "initial.keras" if python else folder / "net.json", seed + 1)
            quantize(here, list(OURS))
            for name, value in zip(OURS, own_losses(here, list(OURS))):
                own[name].append(value)
                mine[name].append(runtime_loss(here / f"{name}.tflite", x, y))
                other = here / f"tf {name}.tflite"
                rows[name] = ((here / f"{name}.tflite").stat().st_size, other.stat().st_size if other.exists() else 0)
                if other.exists():
                    tf[name].append(runtime_loss(other, x, y))
        print(f"mean loss of {seeds} seeds; 'runtime' and 'TensorFlow': by ai-edge-litert")
        table(rows, mine, own, tf)
        if tf["float"]:
            print(f"float training, litegap against TensorFlow from the same initial weights: {delta(mine['float'], tf['float'])}")
        journey(folder, python)
    return 0


sys.exit(main())
