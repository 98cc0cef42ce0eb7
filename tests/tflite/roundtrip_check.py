#!/usr/bin/env python3
"""Do files that litegap wrote give the same answers in the stock runtime as their originals?

    roundtrip_check.py [TEST_TFLITE FOLDER...]

Without arguments: the release build, and the shared models where they are (else exit code 77).
TEST_TFLITE is the room's test program; it reads every model under the folders and writes it to a
temporary folder.  Both files then run on the same random inputs; outputs must be equal bit for bit.
Needs numpy and ai_edge_litert.  Files that the runtime refuses, or that crash it, are counted, not
judged; each pair runs in a process of its own.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def find_models(folders):
    for folder in folders:
        for root, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                if name.endswith(".tflite"):
                    yield os.path.join(root, name)


def random_input(detail, rng):
    shape, dtype = detail["shape"], detail["dtype"]
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if np.issubdtype(dtype, np.integer):
        wide = np.dtype(dtype).itemsize > 2
        info = np.iinfo(dtype)
        low, high = (0, 3) if wide else (info.min, info.max + 1)
        return rng.integers(low, high, shape).astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def answers(path):
    interpreter = Interpreter(path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(1)
    out = []
    for _ in range(2):
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], random_input(detail, rng))
        interpreter.invoke()
        out += [np.array(interpreter.get_tensor(d["index"])) for d in interpreter.get_output_details()]
    return out, sorted(interpreter.get_signature_list())


def judge(source, written, say):
    """Says None when equal, 'refused' when the runtime does not run the original, else what differs."""
    say("refused")
    expected, expected_signatures = answers(source)
    say("written file crashes or is refused")
    found, signatures = answers(written)
    if signatures != expected_signatures:
        say(f"signatures {signatures}, expected {expected_signatures}")
    elif any(a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes() for a, b in zip(expected, found)):
        say("outputs differ")
    else:
        say("equal")


def judge_apart(source, written):
    """The last word of judge(), run in a child: a crash leaves the word before it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            judge(source, written, lambda text: os.write(writer, (text + "\n").encode()))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as f:
        words = f.read().splitlines()
    os.waitpid(child, 0)
    return words[-1]


def main():
    if len(sys.argv) == 1:
        root = os.environ.get("LITEGAP_ROOT", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
        shared = os.environ.get("LITEGAP_SHARED", os.path.join(root, "..", "shared"))
        if not os.path.isdir(shared):
            print("no shared models here")
            sys.exit(77)
        sys.argv += [os.path.join(root, "build/release/tests/test_tflite"), os.path.join(shared, "corpus/models"),
                     os.path.join(shared, "corpus/ops")]
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(m, os.path.join(folder, f"{i}.tflite")) for i, m in enumerate(find_models(sys.argv[2:]))]
        listing = os.path.join(folder, "list")
        refused = failed = 0
        with open(listing, "w") as f:
            f.writelines(f"{a}\t{b}\n" for a, b in pairs)
        subprocess.run([sys.argv[1], "--gtest_filter=Shared.WriteListed"], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, LITEGAP_ROUNDTRIP_LIST=listing))
        for source, written in pairs:
            verdict = judge_apart(source, written if os.path.exists(written) else source)
            if verdict == "equal" and not os.path.exists(written):
                verdict = "not written"
            if verdict == "refused":
                refused += 1
                print(f"{source}: the runtime refuses the original")
            if verdict not in ("equal", "refused"):
                failed += 1
                print(f"{source}: {verdict}")
        print(f"{len(pairs)} files, {len(pairs) - refused - failed} equal, {refused} refused by the runtime, {failed} wrong")
        sys.exit(1 if failed or not pairs else 0)


if __name__ == "__main__":
    main()
