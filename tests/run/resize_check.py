#!/usr/bin/env python3
"""Models whose input is resized before they run, in litegap and in the stock runtime, with default and with
built-in kernels: three times the rows of the file, and a larger image.

    resize_check.py

Operator cases of ../shared/goldens with one input take part, but for files made for an input of one element:
XNNPACK prepares such a convolution as another kernel and keeps it.  Integers must be equal; floats within a
millionth of the peak.  Each case runs in a process of its own, since the runtime crashes on some.  Needs
numpy, ai-edge-litert and ../shared; ends with 77 where they are not."""
import collections
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError:
    print("numpy or ai-edge-litert is not installed")
    sys.exit(77)

from isolated import isolated

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[2]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
OPERATORS = ["conv_2d", "depthwise_conv_2d", "fully_connected", "average_pool_2d", "resize_bilinear"]
RESOLVERS = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def interpreter(model, dialect):
    return Interpreter(str(model), num_threads=1, experimental_op_resolver_type=RESOLVERS[dialect])


def sample(detail, shape):
    rng = np.random.default_rng(1)
    if detail["dtype"] == np.float32:
        return rng.normal(size=shape).astype(np.float32)
    limits = np.iinfo(detail["dtype"])
    return rng.integers(limits.min, limits.max, size=shape, endpoint=True).astype(detail["dtype"])


def equal(a, b):
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype != np.float32:
        return np.array_equal(a, b)
    return np.allclose(a, b, rtol=0, atol=1e-6 * max(1e-30, float(np.abs(a).max(initial=0))))


def compare(model, larger_image, folder):
    """A word for what happened: equal, different, refused by either side, or not of this check."""
    detail = interpreter(model, "builtin").get_input_details()
    shape = [int(d) for d in detail[0]["shape"]] if len(detail) == 1 else []
    types = (np.float32, np.int8, np.uint8, np.int16)
    if len(shape) < 2 or np.prod(shape) == 1 or detail[0]["dtype"] not in types or (larger_image and len(shape) != 4):
        return "skipped"
    if larger_image:
        shape[1], shape[2] = shape[1] + 2, shape[2] + 1
    else:
        shape[0] *= 3
    x = sample(detail[0], shape)
    np.savez(folder / "in.npz", in_0=x)
    for dialect in RESOLVERS:
        try:
            runtime = interpreter(model, dialect)
            runtime.resize_tensor_input(detail[0]["index"], shape)
            runtime.allocate_tensors()
            runtime.set_tensor(detail[0]["index"], x)
            runtime.invoke()
        except (RuntimeError, ValueError):
            return "refused"
        expected = runtime.get_tensor(runtime.get_output_details()[0]["index"])
        ran = subprocess.run([LITEGAP, "run", model, "--input", folder / "in.npz", "--dialect", dialect, "-o",
                              folder / "out.npz"], capture_output=True, text=True)
        if ran.returncode != 0:
            return "refused"
        if not equal(expected, np.load(folder / "out.npz")["out_0"]):
            return f"different in {dialect}"
    return "equal"


def report(model, larger_image, folder, pipe):
    try:
        pipe.write(compare(model, larger_image, folder))
    except (RuntimeError, ValueError):
        pipe.write("refused")


def main():
    if not (SHARED / "goldens").is_dir():
        print("../shared is not there")
        return 77
    failed, counts = 0, collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for operator in OPERATORS:
            for model in sorted((SHARED / "goldens" / operator).glob("*.tflite")):
                for larger_image in (False, True):
                    word = isolated(report, model, larger_image, pathlib.Path(folder)) or "crashed in the runtime"
                    counts[word.split(" in ")[0]] += 1
                    if word.startswith("different"):
                        failed += 1
                        print(f"{model.relative_to(SHARED)}, {'image' if larger_image else 'rows'}: {word}")
    print(", ".join(f"{n} {word}" for word, n in counts.most_common()), f"({failed} failed)")
    return 1 if failed or not counts["equal"] else 0


if __name__ == "__main__":
    sys.exit(main())
