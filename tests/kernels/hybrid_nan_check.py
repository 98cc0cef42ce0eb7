#!/usr/bin/env python3
"""Hybrid operators on NaN and infinities against the stock runtime, in each dialect, bit for bit.

    hybrid_nan_check.py [WORD...]       only cases whose name has one of the words

Float activations meet int8 weights here, so the rows are quantized when the operator runs, and what
a NaN does to a row depends on its place: every place has a row of its own, in rows of many lengths,
with and without whole blocks.  Which values XNNPACK hides behind a NaN depends on the width of its
vectors (docs/numerics.md, section 6): with AVX-512 its differences are counted and are no failure.
Elsewhere than on x86 there is nothing to compare with.  Needs numpy and ai_edge_litert; LITEGAP is the program.
"""
import pathlib
import platform
import sys
import tempfile

from ops_check import (CODES, DIALECTS, File, apart, by_litegap, by_runtime, fully_connected, np, packed, quant,
                       schema, sparse_storage)

CODES.update({"CONV_2D": (3, "Conv2D", 1), "DEPTHWISE_CONV_2D": (4, "DepthwiseConv2D", 2),
              "TRANSPOSE_CONV": (67, "TransposeConv", 49), "BATCH_MATMUL": (126, "BatchMatMul", 101),
              "UNIDIRECTIONAL_SEQUENCE_RNN": (35, "SequenceRNN", schema.BuiltinOptions.SequenceRNNOptions)})
RNG = np.random.default_rng(2026)
ODD = np.array([np.nan, np.inf, -np.inf], np.float32)


def odd_rows(width, more=6):
    """A row for each place of a NaN, and rows with a few odd and a few very large values."""
    rows = RNG.normal(0, 2, (width + more, width)).astype(np.float32)
    rows[np.arange(width), np.arange(width)] = np.nan
    for row in rows[width:]:
        for _ in range(RNG.integers(1, 4)):
            row[RNG.integers(width)] = RNG.choice(ODD)
        row[RNG.integers(width)] = RNG.choice([-1, 1]) * 10.0 ** RNG.uniform(0, 20)
    return rows


def codes(*shape):
    return RNG.integers(-127, 128, shape).astype(np.int8)


def scales(n):
    return RNG.uniform(0.01, 0.1, n).astype(np.float32)


def float_bias(n):
    return RNG.normal(0, 2, n).astype(np.float32)


def difference(name, want, got, dialect):
    """None when the bits are equal, or the values where float32 sums differ.  XNNPACK's blockwise
    products may be a unit in the last place apart (ops_check.py): row by row, as the rows have very
    different sizes."""
    if isinstance(want, str) or isinstance(got, str):
        return apart(want, got, 0)
    if "RNN" in name:  # sums and TANH of float32 in the runtime's order
        return apart(want, got, 1e-6)
    if "blockwise" not in name or dialect != "xnnpack":
        return apart(want, got, 0)
    whys = (apart([a], [b], 2e-6) for a, b in zip(want[0], got[0], strict=True))
    return next((why for why in whys if why), None)


# ---- the cases: name, file, input

def product_cases():
    for width in (1, 2, 3, 5, 8, 11, 16, 33, 44, 67):
        x = odd_rows(width)
        for asymmetric in (False, True):
            # The weights of one leave a row's codes readable in its output.
            one = (np.eye(width, dtype=np.int8), quant([1.0]), None, 0)
            for w, q, bias, activation in (one, (codes(5, width), quant(scales(5)), float_bias(5), int(width) % 4)):
                yield (f"FULLY_CONNECTED {width} to {len(w)}, asymmetric {asymmetric}, activation {activation}",
                       fully_connected(x, (list(w.shape), "int8", w.tobytes(), q), bias, activation, asymmetric), x)
    x = odd_rows(64)
    w = RNG.integers(-7, 8, (8, 64))
    for activation in (0, 1):
        yield (f"FULLY_CONNECTED int4, activation {activation}", fully_connected(
            x, ([8, 64], "int4", packed(w, 4), quant(np.full(8, 0.02))), float_bias(8), activation), x)
    block = (scales(16).reshape(8, 2).astype(np.float16), 32)
    yield ("FULLY_CONNECTED blockwise", fully_connected(x, ([8, 64], "int4", packed(w, 4), block), float_bias(8), 1), x)
    storage, stored = sparse_storage(codes(8, 64), 16)
    for asymmetric in (False, True):
        yield (f"FULLY_CONNECTED sparse, asymmetric {asymmetric}", fully_connected(
            x, ([8, 64], "int8", stored, quant(scales(8))), float_bias(8), 1, asymmetric, storage), x)
    for width in (3, 8, 21):
        for asymmetric in (False, True):
            f = File()
            g = f.graph()
            x = odd_rows(width)[None]
            xt, wt = f.tensor(g, x.shape, "float32"), f.constant(g, codes(width, 6), quant([0.05]))
            yt = f.tensor(g, [1, x.shape[1], 6], "float32")
            f.op(g, "BATCH_MATMUL", [xt, wt], [yt], 4, asymmetricQuantizeInputs=asymmetric)
            yield f"BATCH_MATMUL {width}, asymmetric {asymmetric}", f.bytes(g, [xt], [yt]), x


def zero_cases():
    """What counts as an input of zeros, where only NaN is left of it."""
    for width, at in ((4, [0, 1, 2, 3]), (8, [5]), (8, [0]), (5, [0, 4]), (9, list(range(8)))):
        x = np.zeros((1, width), np.float32)
        x[0, at] = np.nan
        w = codes(3, width)
        yield (f"FULLY_CONNECTED {width} zeros, NaN at {at}",
               fully_connected(x, ([3, width], "int8", w.tobytes(), quant([0.1])), float_bias(3)), x)


def recurrent_cases():
    units = 4
    for width in (5, 12):
        for asymmetric in (False, True):
            for activation in (1, 4):
                f = File()
                g = f.graph()
                x = odd_rows(width)[RNG.permutation(width + 6)[:4]].reshape(2, 2, width)
                xt, yt, h = f.tensor(g, x.shape, "float32"), f.tensor(g, [2, 2, units], "float32"), f.tensor(
                    g, [2, units], "float32")
                g.tensors[h].isVariable = True
                f.op(g, "UNIDIRECTIONAL_SEQUENCE_RNN",
                     [xt, f.constant(g, codes(units, width), quant([0.01])),
                      f.constant(g, codes(units, units), quant([0.01])), f.constant(g, float_bias(units)), h], [yt], 3,
                     timeMajor=True, fusedActivationFunction=activation, asymmetricQuantizeInputs=asymmetric)
                yield (f"UNIDIRECTIONAL_SEQUENCE_RNN {width}, asymmetric {asymmetric}, activation {activation}",
                       f.bytes(g, [xt], [yt]), x)


def images(height, width, channels):
    """odd_rows as images, an odd one beside a plain one."""
    n = height * width * channels
    rows = odd_rows(n)[RNG.permutation(n + 6)[:10]]
    rows[3] = RNG.normal(0, 2, n)
    return rows.reshape(-1, height, width, channels)


def window(name, x, w, q, activation, stride, padding, version, **options):
    """A CONV_2D or DEPTHWISE_CONV_2D."""
    f = File()
    g = f.graph()
    out_c = w.shape[3 if name[0] == "D" else 0]
    size = [-(-(n if padding == 0 else n - k + 1) // stride) for n, k in zip(x.shape[1:3], w.shape[1:3])]
    xt, yt = f.tensor(g, x.shape, "float32"), f.tensor(g, [len(x), *size, out_c], "float32")
    f.op(g, name, [xt, f.constant(g, w, q), f.constant(g, float_bias(out_c))], [yt], version, strideW=stride,
         strideH=stride, padding=padding, fusedActivationFunction=activation, dilationWFactor=1, dilationHFactor=1,
         **options)
    return f.bytes(g, [xt], [yt])


def window_cases():
    for h, w, c, out, k, stride, padding in ((3, 3, 3, 5, 3, 1, 0), (4, 5, 2, 4, 2, 2, 1), (2, 2, 5, 9, 1, 1, 0)):
        x = images(h, w, c)
        for name, q in (("one scale", quant([0.02])), ("equal scales", quant(np.full(out, 0.02))),
                        ("scales", quant(scales(out)))):
            for activation in (0, 1):
                yield (f"CONV_2D {h}x{w}x{c} by {k}x{k}, {name}, activation {activation}",
                       window("CONV_2D", x, codes(out, k, k, c), q, activation, stride, padding, 5), x)
        yield (f"DEPTHWISE_CONV_2D {h}x{w}x{c} by {k}x{k}", window(
            "DEPTHWISE_CONV_2D", x, codes(1, k, k, c), quant(scales(c), axis=3), c % 4, stride, padding, 6,
            depthMultiplier=1), x)
    for version, bias in ((3, float_bias(4)),):
        x = images(3, 3, 3)
        f = File()
        g = f.graph()
        shape = f.constant(g, np.array([len(x), 6, 6, 4], np.int32))
        xt, yt = f.tensor(g, x.shape, "float32"), f.tensor(g, [len(x), 6, 6, 4], "float32")
        f.op(g, "TRANSPOSE_CONV", [shape, f.constant(g, codes(4, 3, 3, 3), quant(scales(4))), xt, f.constant(g, bias)],
             [yt], version, strideW=2, strideH=2, padding=0)
        yield "TRANSPOSE_CONV", f.bytes(g, [xt], [yt]), x


def has_avx512():
    info = pathlib.Path("/proc/cpuinfo")
    return info.exists() and "avx512f" in info.read_text()


def main():
    words = sys.argv[1:]
    if platform.machine() not in ("x86_64", "AMD64"):
        print("hybrid_nan_check: another processor than the rules are of")
        return 77
    wider = has_avx512()
    bad = same = refused = mistrusted = 0
    with tempfile.TemporaryDirectory() as tmp:
        for family in (product_cases, zero_cases, recurrent_cases, window_cases):
            for name, data, x in family():
                if words and not any(w in name for w in words):
                    continue
                for dialect in DIALECTS:
                    want = by_runtime(data, [x], dialect)
                    why = difference(name, want, by_litegap(data, [x], dialect, pathlib.Path(tmp)), dialect)
                    if why and dialect == "xnnpack" and wider:
                        mistrusted += 1
                        continue
                    bad += why is not None
                    refused += why is None and isinstance(want, str)
                    same += why is None and not isinstance(want, str)
                    if why:
                        print(f"BAD  {name} [{dialect}] {why}")
    print(f"hybrid_nan_check: {same} equal, {refused} refused by both, {mistrusted} mistrusted, {bad} failed")
    return 1 if bad else 0


sys.exit(main())
