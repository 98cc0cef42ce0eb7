#!/usr/bin/env python3
"""Written files under the stock runtime: `litegap quantize` on the shared float models, each file loaded
by ai-edge-litert, its outputs compared with those that the TensorFlow converter's file of the same
model gave there.  Needs numpy, ai-edge-litert and the shared models; exit code 77 without them."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared")) / "quantized"
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))

MINMAX = ["--calibration-method", "minmax"]
RECIPE = {"rules": [{"algorithm": "static"}, {"operator": "FULLY_CONNECTED", "algorithm": "weight-only", "bits": 4}]}

# Our option, the converter's file, and the largest difference: codes for integer outputs, else a
# share of the output range.  Ranges come from our own kernels here, so a scale may differ in its last
# bits and a code by a few; the scales themselves are compared in converter_test.cc.
KINDS = [
    (["--technique", "static", *MINMAX], "static_int8", 4),
    (["--technique", "static", *MINMAX, "--io", "float"], "static_floatio", 0.04),
    (["--technique", "static", *MINMAX, "--granularity", "per-tensor"], "static_per_tensor", 4),
    (["--technique", "static", *MINMAX, "--io", "uint8"], None, 0),
    (["--technique", "int16x8", "--io", "float"], "int16x8", 1e-3),
    (["--technique", "int16x8"], None, 0),
    (["--technique", "dynamic-range"], "dynamic_range", 0.001),
    (["--technique", "float16"], "float16", 1e-4),
    (["--technique", "weight-only-int4"], "lq_weight_only_wi4", 1e-5),
    (["--technique", "weight-only-int8", "--bias-correction", "on"], None, 0),
    (["--technique", "static", "--rounding", "coordinate", "--equalize", "on", "--bias-correction", "on",
      "--calibration-method", "mse"], None, 0),
    (["--technique", "mixed", "--recipe", "RECIPE"], None, 0),
]


def feeds(interpreter, folder, kind):
    """One array a file input: as the converter's file was fed, else quantized by the formula."""
    recorded, test = np.load(folder / "out.npz"), np.load(folder / "test.npz")
    arrays = []
    for d in interpreter.get_input_details():
        key = next((n for n in ("x0", "x1") if n in test and n in d["name"]), "x")
        fed = f"{kind}.in.{key[1:] or 0}"
        x = recorded[fed] if fed in recorded else test[key]
        if d["dtype"] != np.float32 and x.dtype == np.float32:
            scale, zero = d["quantization"]
            info = np.iinfo(d["dtype"])
            x = np.clip(np.rint(x.astype(np.float64) / scale) + zero, info.min, info.max)
        arrays.append((d, x.astype(d["dtype"])))
    return arrays


def real(values, detail):
    if detail["dtype"] == np.float32:
        return values.astype(np.float64)
    scale, zero = detail["quantization"]
    return (values.astype(np.float64) - zero) * scale


def difference(path, folder, kind):
    """Largest difference from the converter's outputs, and from the float file's (share of range)."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    arrays = feeds(interpreter, folder, kind)
    recorded, worst, loss = np.load(folder / "out.npz"), 0.0, 0.0
    rows = [[] for _ in interpreter.get_output_details()]
    for i in range(len(arrays[0][1])):
        for d, x in arrays:
            interpreter.set_tensor(d["index"], x[i].reshape(d["shape"]))
        interpreter.invoke()
        for k, d in enumerate(interpreter.get_output_details()):
            rows[k].append(interpreter.get_tensor(d["index"]).ravel())
    for k, got in enumerate(rows):
        if kind is None:
            continue
        want = recorded[f"{kind}.default.{k}"]
        got = np.stack(got).reshape(want.shape)
        delta = np.abs(got.astype(np.float64) - want.astype(np.float64)).max()
        if want.dtype == np.float32:
            delta /= max(1e-30, float(np.abs(want).max()))
        worst = max(worst, float(delta))
        exact = recorded[f"float.default.{k}"].astype(np.float64)
        off = np.abs(real(got, interpreter.get_output_details()[k]) - exact).max()
        loss = max(loss, float(off / max(1e-30, np.abs(exact).max())))
    return worst, loss


def named_calibration(folder, tmp):
    """x0, x1 are input names here, and the file may have them in another order: unmistakable names."""
    data = np.load(folder / "calib.npz")
    keys = [k for k in data.files if k != "y"]
    if keys == ["x"]:
        return folder / "calib.npz"
    path = pathlib.Path(tmp) / "calib.npz"
    np.savez(path, **{f"serving_default_{k}:0": data[k] for k in keys})
    return path


def artefact(folder, kind, loss):
    """The converter's calibrator misread a tensor of this model, carried a state from sample to sample, or
    made room for a bias that had it: ours must be as near to float."""
    if kind is None:
        return False
    notes = json.loads((folder / "notes.json").read_text())["reasons"].get(kind, {})
    rules = {"calibrator_artefact", "unexplained"} | ({"bias_rule"} if kind == "int16x8" else set())
    theirs = max(json.loads((folder / "meta.json").read_text())["max_error_to_float"][f"{kind}.default"])
    return bool(rules & set(notes)) and loss <= 1.25 * theirs + 0.01


def refusals(folder, options):
    """Words of an error that is right: operators that the converter cannot put into int16, too."""
    if "mixed" in options:
        return ["matches none"]
    said = json.loads((folder / "notes.json").read_text())["not_converted"].get("int16x8", "")
    return [said.split("'")[1]] if "int16x8" in options and "'" in said else []


def check(folder, options, kind, limit):
    with tempfile.TemporaryDirectory() as tmp:
        out, report = pathlib.Path(tmp) / "q.tflite", pathlib.Path(tmp) / "q.json"
        recipe = pathlib.Path(tmp) / "recipe.json"
        recipe.write_text(json.dumps(RECIPE))
        options = [str(recipe) if o == "RECIPE" else o for o in options]
        done = subprocess.run(
            [LITEGAP, "quantize", str(folder / "float.tflite"), *options, "--calibration",
             str(named_calibration(folder, tmp)), "-o", str(out), "--json", str(report), "--quiet"],
            capture_output=True, text=True)
        if done.returncode != 0:
            if any(word in done.stderr for word in refusals(folder, options)) and not out.exists():
                return ""  # the converter refuses the same operator, or the rule names one that is not there
            return done.stderr.strip()
        if kind and f"{kind}.default.0" not in np.load(folder / "out.npz"):
            kind = None  # the other tool has no such file
        if not json.loads(report.read_text())["verified"]["loads"]:
            return "not verified"
        d, loss = difference(out, folder, kind)
        if d <= limit or artefact(folder, kind, loss):
            return ""
        return f"differs by {d:.4g}, allowed {limit}"


def main():
    if not SHARED.is_dir():
        return 77
    passed = failed = 0
    for folder in sorted(p.parent for p in SHARED.glob("*/float.tflite")):
        for options, kind, limit in KINDS:
            fault = check(folder, options, kind, limit)
            if fault:
                failed += 1
                print(f"{folder.name} {' '.join(options)}: {fault}")
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
