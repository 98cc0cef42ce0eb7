#!/usr/bin/env python3
"""Converted Keras models under the stock runtime: `litegap convert` on every shared case, the written
file run by ai-edge-litert, its outputs compared with those that Keras itself gave (1e-5 of the peak).
Needs numpy, ai-edge-litert and the shared cases; exit code 77 without them.  Names of cases as
arguments choose some."""
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
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared")) / "keras"
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
TOLERANCE = 1e-5


def arrays(io, letter):
    """x, or x0, x1 ...; the same for y and y_h5."""
    if letter in io:
        return [io[letter]]
    stem, tail = letter[0], letter[1:]
    found = []
    while f"{stem}{len(found)}{tail}" in io:
        found.append(io[f"{stem}{len(found)}{tail}"])
    return found


def run(path, xs):
    """All rows one by one, since the file has batch 1; its inputs and outputs are in Keras's order."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    rows = [[] for _ in outputs]
    for r in range(len(xs[0])):
        for d, x in zip(inputs, xs):
            interpreter.set_tensor(d["index"], x[r : r + 1].astype(d["dtype"]))
        interpreter.invoke()
        for i, d in enumerate(outputs):
            rows[i].append(interpreter.get_tensor(d["index"]))
    return [np.concatenate(r) for r in rows]


def check(file, out):
    io = np.load(file.parent / "io.npz")
    want = arrays(io, "y_h5") if file.suffix == ".h5" else []
    want = want or arrays(io, "y")
    made = subprocess.run([LITEGAP, "convert", str(file), "-o", str(out), "--quiet"],
                          capture_output=True, text=True)
    if made.returncode != 0:
        return "refused", made.stderr.strip()
    try:
        got = run(out, arrays(io, "x"))
    except (RuntimeError, ValueError) as error:
        return "failed", str(error)[:300]
    if len(got) != len(want):
        return "failed", f"{len(got)} outputs, expected {len(want)}"
    for g, w in zip(got, want):
        if g.shape != w.shape:
            return "failed", f"shape {g.shape}, expected {w.shape}"
        peak = float(np.max(np.abs(w))) or 1.0
        worst = float(np.max(np.abs(g.astype(np.float64) - w)))
        if not worst <= TOLERANCE * peak:
            return "failed", f"differs by {worst / peak:.3g} of the peak"
    return "passed", ""


def main():
    if not SHARED.is_dir():
        return 77
    failed = 0
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for section in ("layers", "models"):
            counts = {"passed": 0, "failed": 0, "refused": 0}
            files = sorted(SHARED.glob(f"{section}/*/model.keras"))
            files += sorted(SHARED.glob(f"{section}/*/model.h5"))
            for file in files:
                if only and file.parent.name not in only:
                    continue
                verdict, why = check(file, pathlib.Path(folder) / "out.tflite")
                counts[verdict] += 1
                if verdict != "passed":
                    print(f"{verdict}: {section}/{file.parent.name}/{file.name}: {why}")
            print(section, counts)
            failed += counts["failed"]
            if section == "models":
                failed += counts["refused"]
            elif not only and counts["refused"] > 0.1 * sum(counts.values()):
                print("more than a tenth of the layers is refused")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
