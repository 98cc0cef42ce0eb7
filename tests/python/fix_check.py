#!/usr/bin/env python3
"""Healed files under the real runtime: `litegap explain --fix` on pairs with a known cause, then the
written file is loaded by ai-edge-litert and measured again with NumPy.  The metric must agree with
what litegap reported and must be better than the file the user complained about.

Needs numpy, ai-edge-litert and the shared cases; prints "N passed, N failed".
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    print("fix_check: ai-edge-litert is not installed; skipped")
    sys.exit(0)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
CAUSES = {"B03", "B04", "B05", "C01", "D01", "B11", "D04", "D05", "D03"}


def outputs(path, xs):
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    ins, out = interpreter.get_input_details(), interpreter.get_output_details()[0]
    rows = []
    for i in range(len(xs[0])):
        for d, x in zip(ins, xs):
            v = x[i].reshape(d["shape"])
            if d["dtype"] != np.float32:
                scale, zero = d["quantization"]
                info = np.iinfo(d["dtype"])
                v = np.clip(np.round(v / scale) + zero, info.min, info.max)
            interpreter.set_tensor(d["index"], v.astype(d["dtype"]))
        interpreter.invoke()
        v = interpreter.get_tensor(out["index"])[0]
        if out["dtype"] != np.float32:
            scale, zero = out["quantization"]
            v = (v.astype(np.float32) - zero) * np.float32(scale)
        rows.append(v)
    return np.array(rows)


def check(case):
    task = json.loads((case / "task.json").read_text())
    data = np.load(case / "data.npz")
    if task["metric"] != "top1" or "x" not in data or "x_quant" in data:
        return None
    with tempfile.TemporaryDirectory() as tmp:
        fixed, report = pathlib.Path(tmp) / "fixed.tflite", pathlib.Path(tmp) / "report.json"
        command = [LITEGAP, "explain", str(case / "float.tflite"), str(case / "quant.tflite"), "--data", str(case / "data.npz"),
                   "--metric", "top1", "--fix", str(fixed), "--json", str(report), "--quiet"]
        if (case / "calib.npz").exists():
            command += ["--calibration", str(case / "calib.npz")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        value = json.loads(report.read_text())
        if value["fixed"] is None:
            return False, "no healed file"
        outside = [f["fix"]["text"] for f in value["findings"] if f["fix"]["kind"] != "file"]
        if outside:  # data or labels need the reported correction too; only loading is checked then
            Interpreter(str(fixed), num_threads=1).allocate_tensors()
            return True, "loads; outside the file: " + outside[0]
        measured = float(np.mean(np.argmax(outputs(fixed, [data["x"]]).reshape(len(data["y"]), -1), 1) == data["y"]))
        reported, before = value["fixed"]["value"], value["gap"]["quant"]
        good = abs(measured - reported) < 0.0051 and measured > before
        return good, f"before {before:.4f}, litegap says {reported:.4f}, the runtime says {measured:.4f}"


def main():
    passed = failed = 0
    for case in sorted((SHARED / "cases").glob("case_*")):
        if json.loads((case / "answer.json").read_text())["cause"][-1] not in CAUSES:
            continue
        result = check(case)
        if result is None:
            continue
        good, text = result
        passed, failed = passed + good, failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {case.name}: {text}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
