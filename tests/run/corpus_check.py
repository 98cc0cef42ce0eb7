#!/usr/bin/env python3
"""Whole models against the stock runtime, tensor by tensor, in each dialect.

    corpus_check.py [FOLDER...]        by default the shared models, else exit code 77

Every .tflite runs on one random input in the runtime's reference and built-in kernels with all
intermediate tensors kept, and in its default kernels (outputs only, a delegate has no intermediates);
litegap runs the same input in the same dialect and writes every tensor.  Integer tensors must be equal
bit for bit.  Float tensors may differ by 1e-4 of their peak, in models of hundreds of operators: kernels
sum in other orders.  Printed: one line a model and dialect, and the first tensor that differs.  Models
that the runtime refuses, or that crash it, are counted, not judged; each runs in a process of its own.
The default kernels depend on the processor: on one without AVX-512 VNNI a difference from them is
mistrusted, not failed.  Needs numpy and ai_edge_litert; LITEGAP is the program.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from isolated import isolated

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[2]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
FLOAT = 1e-4
DIALECTS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}


def random_input(detail, rng):
    shape, dtype = detail["shape"], detail["dtype"]
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        low, high = (0, 3) if np.dtype(dtype).itemsize > 2 else (info.min, info.max + 1)
        return rng.integers(low, high, shape).astype(dtype)
    return rng.uniform(-1, 1, shape).astype(dtype)


def expected(path, dialect, folder):
    """{name as in `litegap run`: array} by the runtime; writes the input beside."""
    keep = dialect != "xnnpack"
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=DIALECTS[dialect],
                              experimental_preserve_all_tensors=keep)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(1)
    given = {}
    for i, d in enumerate(interpreter.get_input_details()):
        given[f"in_{i}"] = random_input(d, rng)
        interpreter.set_tensor(d["index"], given[f"in_{i}"])
    np.savez(folder / "in.npz", **given)
    interpreter.invoke()
    found = {f"out_{i}": np.array(interpreter.get_tensor(d["index"]))
             for i, d in enumerate(interpreter.get_output_details())}
    if keep:
        for d in interpreter.get_tensor_details():
            try:
                found[f"tensor_0_{d['index']}"] = np.array(interpreter.get_tensor(d["index"]))
            except ValueError:
                pass  # a tensor without memory, or one that the runtime added
    return found


def difference(want, got):
    """None when equal by the rule above, else how far apart."""
    if want.shape != got.shape and want.size != got.size:
        return f"shape {got.shape}, expected {want.shape}"
    want, got = want.reshape(-1), got.reshape(-1)
    if not np.issubdtype(want.dtype, np.floating):
        n = int(np.count_nonzero(want != got))
        return f"{n} of {want.size} differ" if n else None
    peak = float(np.max(np.abs(want), initial=0, where=np.isfinite(want)))
    apart = float(np.max(np.abs(want - got), initial=0, where=np.isfinite(want) & np.isfinite(got)))
    kinds = np.count_nonzero(np.isfinite(want) != np.isfinite(got))
    return f"{apart / max(peak, 1e-30):.1e} of the peak" if kinds or apart > FLOAT * peak else None


def judge(path, dialect, pipe):
    """Writes 'ok N', 'BAD what' or 'skip why' to the pipe."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        try:
            want = expected(path, dialect, folder)
        except (RuntimeError, ValueError) as e:
            return pipe.write("skip the runtime refuses it: " + str(e).split("\n")[0][:80])
        run = subprocess.run([LITEGAP, "run", str(path), "--input", str(folder / "in.npz"), "--dialect", dialect,
                              "--dump", "all", "-o", str(folder / "out.npz"), "--memory", "4G", "--quiet"],
                             capture_output=True, text=True)
        if run.returncode != 0:
            return pipe.write("BAD " + run.stderr.strip()[-160:])
        got = np.load(folder / "out.npz")
        compared, bad = 0, []
        for name, value in want.items():
            if name not in got.files or value.size == 0 or got[name].dtype.kind != value.dtype.kind:
                continue
            compared += 1
            apart = difference(value, got[name])
            if apart:
                bad.append(f"{name} {value.dtype}: {apart}")
        pipe.write(f"BAD {len(bad)} of {compared} tensors: " + "; ".join(bad[:2]) if bad else f"ok {compared}")


def main():
    folders = [pathlib.Path(f) for f in sys.argv[1:]] or [SHARED / "corpus/models"]
    if not folders[0].is_dir():
        print("corpus_check: no models on this machine")
        return 77
    counts = {"ok": 0, "BAD": 0, "mistrusted": 0, "skip": 0}
    version = subprocess.run([LITEGAP, "--version"], capture_output=True, text=True, check=True).stdout
    tensors = 0
    for path in sorted(p for f in folders for p in f.rglob("*.tflite")):
        for dialect in DIALECTS:
            text = isolated(judge, path, dialect) or "skip the runtime crashes"
            kind = text.split()[0]
            other = dialect == "xnnpack" and "avx512vnni" not in version
            counts["mistrusted" if kind == "BAD" and other else kind] += 1
            if kind == "ok":
                tensors += int(text.split()[1])
            else:
                print(f"{kind:5}{path.parent.name}/{path.name} [{dialect}] {text[len(kind) + 1:]}")
    print(f"{counts['ok']} passed ({tensors} tensors), {counts['BAD']} failed, {counts['mistrusted']} mistrusted, {counts['skip']} skipped")
    return 1 if counts["BAD"] else 0


sys.exit(main())
