#!/usr/bin/env python3
"""Single operators against the stock runtime, in each dialect, bit for bit.

    ops_check.py [WORD...]       only cases whose name has one of the words

Each case is a small file made here: blockwise and sparse weights, 4-bit layers of every size, the
operators named after StableHLO, random numbers with seeds, graphs that call graphs, NaN.  The
runtime and litegap run it on the same inputs; outputs have the same bits, or the case says how far
they may be apart.  A file that the runtime refuses litegap has to refuse too.  The default
kernels depend on the processor: where the last step of XNNPACK's blockwise product is fused, and
litegap reproduces the one that is not, a unit in the last place is allowed.  Needs numpy and
ai_edge_litert; LITEGAP is the program.
"""
import os
import pathlib
import pickle
import platform
import subprocess
import sys
import tempfile

try:
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as e:
    print(f"ops_check: {e}")
    sys.exit(77)

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[2]))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
DIALECTS = {
    "reference": OpResolverType.BUILTIN_REF,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9,
         "float64": 10, "uint64": 12, "uint32": 15, "uint16": 16, "int4": 17, "int2": 19}
CODES = {"ADD": (0, "Add", 11), "FULLY_CONNECTED": (9, "FullyConnected", 8), "MUL": (18, "Mul", 21),
         "CONCATENATION": (2, "Concatenation", 10), "EMBEDDING_LOOKUP": (7, None, 0),
         "LESS": (58, "Less", 41), "NEG": (59, "Neg", 42), "MAXIMUM": (55, "MaximumMinimum", 39),
         "MINIMUM": (57, "MaximumMinimum", 39), "LOGICAL_AND": (86, "LogicalAnd", 62),
         "LOGICAL_OR": (84, "LogicalOr", 60), "GREATER": (61, "Greater", 44), "WHERE": (109, "Where", 85),
         "GATHER_ND": (107, "GatherNd", 83), "WHILE": (119, "While", 93), "IF": (118, "If", 92),
         "LSH_PROJECTION": (15, "LSHProjection", 4), "RANDOM_STANDARD_NORMAL": (146, "Random", 114),
         "RANDOM_UNIFORM": (148, "Random", 114), "MULTINOMIAL": (149, "Random", 114)}
CODES_2 = {"STABLEHLO_ADD": (163, None, 0), "STABLEHLO_MULTIPLY": (165, None, 0),
           "STABLEHLO_MAXIMUM": (166, None, 0), "STABLEHLO_AND": (176, None, 0),
           "STABLEHLO_MINIMUM": (181, None, 0), "STABLEHLO_SCATTER": (190, "StablehloScatter", 7),
           "STABLEHLO_REDUCE_WINDOW": (198, "StablehloReduceWindow", 13),
           "STABLEHLO_GATHER": (201, "StablehloGather", 16),
           "STABLEHLO_RNG_BIT_GENERATOR": (204, "StablehloRngBitGenerator", 19),
           "STABLEHLO_CASE": (209, "StablehloCase", 23)}


class File:
    """A model in the making: graphs of tensors and operators."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"ops_check"
        self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [schema.BufferT()], [], []

    def graph(self):
        g = schema.SubGraphT()
        g.tensors, g.inputs, g.outputs, g.operators = [], [], [], []
        self.model.subgraphs.append(g)
        return g

    def tensor(self, g, shape, dtype, data=None, quant=None):
        t = schema.TensorT()
        t.shape, t.type, t.buffer, t.quantization = list(shape), TYPES[dtype], 0, quant
        t.name = f"t{len(g.tensors)}".encode()
        if data is not None:
            b = schema.BufferT()
            b.data = np.frombuffer(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(b)
            t.buffer = len(self.model.buffers) - 1
        g.tensors.append(t)
        return len(g.tensors) - 1

    def constant(self, g, array, quant=None):
        array = np.asarray(array)
        return self.tensor(g, array.shape, array.dtype.name, array, quant)

    def op(self, g, name, inputs, outputs, version=1, **options):
        second = name in CODES_2
        code, kind, tag = (CODES_2 if second else CODES)[name]
        c = schema.OperatorCodeT()
        c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), version
        self.model.operatorCodes.append(c)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = len(self.model.operatorCodes) - 1, list(inputs), list(outputs)
        if kind:
            table = getattr(schema, kind + "OptionsT")()
            for key, value in options.items():
                setattr(table, key, value)
            if second:
                o.builtinOptions2, o.builtinOptions2Type = table, tag
            else:
                o.builtinOptions, o.builtinOptionsType = table, tag
        g.operators.append(o)

    def bytes(self, g, inputs, outputs):
        g.inputs, g.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def quant(scale, zero=None, axis=0):
    p = schema.QuantizationParametersT()
    p.scale = [float(s) for s in np.atleast_1d(np.asarray(scale, np.float32))]
    p.zeroPoint = [0] * len(p.scale) if zero is None else [zero]
    p.quantizedDimension = axis
    return p


def packed(codes, bits):
    flat = codes.reshape(-1).astype(np.int64) & (2 ** bits - 1)
    per = 8 // bits
    flat = np.append(flat, np.zeros(-len(flat) % per, np.int64)).reshape(-1, per)
    return sum(flat[:, k] << (bits * k) for k in range(per)).astype(np.uint8).tobytes()


RNG = np.random.default_rng(2026)


def values(dtype, shape):
    t = np.dtype(dtype)
    if t == np.bool_:
        return RNG.integers(0, 2, shape).astype(bool)
    if t.kind == "f":
        return RNG.normal(0.3, 2, shape).astype(t)
    info = np.iinfo(t)
    return RNG.integers(info.min, info.max, shape, dtype=t, endpoint=True)


# ---- what is compared

def by_runtime(data, inputs, dialect):
    """Outputs, or the text of a refusal; in a child, as the runtime may crash."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            it = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=DIALECTS[dialect])
            it.allocate_tensors()
            for d, x in zip(it.get_input_details(), inputs):
                it.set_tensor(d["index"], x)
            it.invoke()
            found = [np.array(it.get_tensor(d["index"])) for d in it.get_output_details()]
        except (RuntimeError, ValueError) as e:
            found = str(e)
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(text) if text else "the runtime crashes"


def by_litegap(data, inputs, dialect, folder):
    (folder / "m.tflite").write_bytes(data)
    np.savez(folder / "in.npz", **{f"in_{i}": x for i, x in enumerate(inputs)})
    run = subprocess.run([LITEGAP, "run", str(folder / "m.tflite"), "--input", str(folder / "in.npz"), "--dialect",
                          dialect, "-o", str(folder / "out.npz"), "--quiet"], capture_output=True, text=True)
    if run.returncode == 1:
        return run.stderr.strip()
    if run.returncode != 0:
        raise RuntimeError(f"exit code {run.returncode}: {run.stderr}")
    got = np.load(folder / "out.npz")
    return [got[f"out_{i}"] for i in range(len(got.files))]


def apart(want, got, tolerance):
    """None when equal by the rule of the case, else a text."""
    if isinstance(want, str) or isinstance(got, str):
        if isinstance(want, str) and isinstance(got, str):
            return None
        return f"runtime: {want if isinstance(want, str) else 'runs'}; litegap: {got if isinstance(got, str) else 'runs'}"
    for i, (a, b) in enumerate(zip(want, got, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i}: {b.dtype} {b.shape}, expected {a.dtype} {a.shape}"
        if a.tobytes() == b.tobytes() or (a.dtype.kind == "f" and np.array_equal(a, b, equal_nan=True)
                                          and np.array_equal(np.signbit(a[a == 0]), np.signbit(b[a == 0]))):
            continue
        peak = float(np.max(np.abs(a), initial=0, where=np.isfinite(a))) if a.dtype.kind == "f" else 0
        if a.dtype.kind == "f" and np.allclose(a, b, rtol=0, atol=tolerance * peak, equal_nan=True):
            continue
        return f"output {i}: {int(np.sum(a != b))} of {a.size} differ, {a.reshape(-1)[:4]} {b.reshape(-1)[:4]}"
    return None


# ---- the cases: name, file, inputs, tolerance (of the peak; a number, or one by dialect)

def body(f, name, dtype):
    """A graph of one operator on two scalars; without a name, the second of them."""
    g = f.graph()
    x, y = f.tensor(g, [], dtype), f.tensor(g, [], dtype)
    g.inputs, g.outputs = [x, y], [y]
    if name:
        z = f.tensor(g, [], dtype)
        f.op(g, name, [x, y], [z])
        g.outputs = [z]


def fully_connected(x, weights, bias, activation=0, asymmetric=False, sparsity=None, x_quant=None, y_quant=None):
    """weights: (shape, type, bytes, quantization or (scales, block size))."""
    f = File()
    g = f.graph()
    shape, dtype, data, q = weights
    integer = x.dtype == np.int8
    xt = f.tensor(g, x.shape, x.dtype.name, quant=x_quant)
    if isinstance(q, tuple):
        p = schema.QuantizationParametersT()
        p.details, p.detailsType = schema.BlockwiseQuantizationT(), 2
        p.details.scales, p.details.zeroPoints, p.details.blockSize = f.constant(g, q[0]), -1, q[1]
        q = p
    wt = f.tensor(g, shape, dtype, data, q)
    g.tensors[wt].sparsity = sparsity
    inputs = [xt, wt] if bias is None else [xt, wt, f.constant(g, bias)]
    yt = f.tensor(g, [x.shape[0], shape[0]], "int8" if integer else "float32", quant=y_quant)
    f.op(g, "FULLY_CONNECTED", inputs, [yt], 8 if sparsity else 12, fusedActivationFunction=activation,
         asymmetricQuantizeInputs=asymmetric)
    return f.bytes(g, [xt], [yt])


def blockwise_cases():
    for rows, depth, channels, block in [(1, 64, 16, 32), (3, 128, 48, 32), (2, 256, 33, 64), (5, 64, 7, 16),
                                         (2, 32, 8, 8), (4, 512, 40, 128), (3, 64, 3, 32), (3, 24, 8, 8), (1, 32, 4, 32)]:
        codes = RNG.integers(-8, 8, (channels, depth))
        scales = RNG.uniform(0.01, 0.1, (channels, depth // block)).astype(np.float16)
        x = values("float32", (rows, depth))
        if rows > 2 and block % 32 != 0:  # of zeros; XNNPACK's has scale 1, and leaves what rounding left
            x[rows // 2] = 0
        for activation, bias in ((0, values("float32", channels)), (1, values("float32", channels)), (0, None)):
            data = fully_connected(x, ([channels, depth], "int4", packed(codes, 4), (scales, block)), bias, activation)
            yield (f"blockwise {rows}x{depth}x{channels} of {block}, activation {activation}, bias {bias is not None}",
                   data, [x], {"xnnpack": 2e-6})
    codes, x = RNG.integers(-8, 8, (8, 64)), values("float32", (2, 64))
    for word, scale in (("zero", 0.0), ("negative", -0.5)):
        scales = np.full((8, 2), 0.25, np.float16)
        scales[3, 1] = scale
        yield (f"blockwise with a {word} scale",
               fully_connected(x, ([8, 64], "int4", packed(codes, 4), (scales, 32)), None), [x], 0)
    for bits in (8, 2):
        small = RNG.integers(-2, 2, (8, 64))
        yield (f"blockwise int{bits}", fully_connected(
            x, ([8, 64], f"int{bits}", packed(small, bits), (np.full((8, 4), 0.25, np.float16), 16)),
            values("float32", 8)), [x], 0)
    f = File()
    g = f.graph()
    ids, scales = f.tensor(g, [5], "int32"), f.constant(g, RNG.uniform(0.01, 0.1, (6, 4)).astype(np.float16))
    for bits in (4, 2):
        p = schema.QuantizationParametersT()
        p.details, p.detailsType = schema.BlockwiseQuantizationT(), 2
        p.details.scales, p.details.zeroPoints, p.details.blockSize = scales, -1, 8
        table = f.tensor(g, [6, 32], f"int{bits}",
                         packed(RNG.integers(-2 ** (bits - 1), 2 ** (bits - 1), (6, 32)), bits), p)
        g.outputs.append(f.tensor(g, [5, 32], "float32"))
        f.op(g, "EMBEDDING_LOOKUP", [ids, table], [g.outputs[-1]], 4)
    yield "blockwise embeddings", f.bytes(g, [ids], g.outputs), [np.array([0, 5, 2, 2, 1], np.int32)], 0


def four_bit_cases():
    for depth, channels in ((64, 8), (64, 3), (30, 8), (33, 8), (32, 4), (16, 2)):
        codes, x = RNG.integers(-7, 8, (channels, depth)), values("float32", (3, depth))
        for asymmetric in (False, True):
            yield (f"int4 {depth}x{channels}, asymmetric {asymmetric}", fully_connected(
                x, ([channels, depth], "int4", packed(codes, 4), quant(np.full(channels, 0.02))),
                values("float32", channels), 0, asymmetric), [x], {"xnnpack": 2e-7})


def sparse_storage(w, block):
    """Rows dense, columns compressed in blocks of 1 x block; block 1 has two levels."""
    segments, indices, stored = [0], [], []
    for row in w:
        for j in range(w.shape[1] // block):
            part = row[j * block:(j + 1) * block]
            if np.any(part):
                indices.append(j)
                stored.append(part)
        segments.append(len(indices))
    levels = [schema.DimensionMetadataT() for _ in range(2 if block == 1 else 3)]
    levels[0].format, levels[0].denseSize, levels[1].format = 0, w.shape[0], 1
    for kind, numbers in (("Segments", segments), ("Indices", indices)):
        vector = schema.Int32VectorT()
        vector.values = numbers
        setattr(levels[1], "array" + kind, vector)
        setattr(levels[1], f"array{kind}Type", 1)
    s = schema.SparsityParametersT()
    s.traversalOrder, s.blockMap, s.dimMetadata = list(range(len(levels))), [] if block == 1 else [1], levels
    if block > 1:
        levels[2].format, levels[2].denseSize = 0, block
    return s, (np.concatenate(stored) if stored else np.zeros(0)).astype(w.dtype)


def sparse_cases():
    rows, depth, channels = 5, 96, 12
    for block in (1, 4, 16):
        w = RNG.integers(-127, 128, (channels, depth)).astype(np.int8)
        for o in range(channels):
            for j in range(depth // block):
                w[o, j * block:(j + 1) * block] *= RNG.random() < 0.5
        storage, stored = sparse_storage(w, block)
        real_storage, real = sparse_storage((w * 0.01).astype(np.float32), block)
        x = values("float32", (rows, depth))
        x[2] = 0
        yield (f"sparse float, blocks of {block}", fully_connected(
            x, ([channels, depth], "float32", real, None), values("float32", channels), 1, sparsity=real_storage), [x], 1e-6)
        if block != 16:  # refused, or read as dense
            continue
        for scale in (RNG.uniform(0.005, 0.02, channels), [0.01]):
            q = quant(scale)
            for asymmetric in (False, True):
                for activation in (0, 3):
                    yield (f"sparse hybrid, {len(scale)} scales, asymmetric {asymmetric}, activation {activation}",
                           fully_connected(x, ([channels, depth], "int8", stored, q), values("float32", channels),
                                           activation, asymmetric, storage), [x], 0)
            codes = values("int8", (rows, depth))
            for activation in (0, 1):
                yield (f"sparse int8, {len(scale)} scales, activation {activation}", fully_connected(
                    codes, ([channels, depth], "int8", stored, q), RNG.integers(-1000, 1000, channels).astype(np.int32),
                    activation, False, storage, quant(0.05, 3), quant(0.11, -5)), [codes], 0)


def scatter(shape, indices, updates, dtype, name, window, inserted, to, vector_dim):
    f = File()
    g = f.graph()
    x, i = f.tensor(g, shape, dtype), f.tensor(g, indices.shape, indices.dtype.name)
    u, y = f.tensor(g, updates, dtype), f.tensor(g, shape, dtype)
    f.op(g, "STABLEHLO_SCATTER", [x, i, u], [y], updateWindowDims=window, insertedWindowDims=inserted,
         scatterDimsToOperandDims=to, indexVectorDim=vector_dim, updateComputationSubgraphIndex=1)
    body(f, name, dtype)
    return f.bytes(g, [x, i, u], [y]), [values(dtype, shape), indices, values(dtype, updates)]


def gather(shape, indices, out, dtype, offset, collapsed, start, vector_dim, sizes):
    f = File()
    g = f.graph()
    x, i, y = f.tensor(g, shape, dtype), f.tensor(g, indices.shape, indices.dtype.name), f.tensor(g, out, dtype)
    f.op(g, "STABLEHLO_GATHER", [x, i], [y], offsetDims=offset, collapsedSliceDims=collapsed, startIndexMap=start,
         indexVectorDim=vector_dim, sliceSizes=sizes)
    return f.bytes(g, [x, i], [y]), [values(dtype, shape), indices]


def window(shape, out, dtype, name, size, stride, base, dilation, padding, start, x=None):
    f = File()
    g = f.graph()
    xt, i, y = f.tensor(g, shape, dtype), f.constant(g, np.array(start, dtype)), f.tensor(g, out, dtype)
    f.op(g, "STABLEHLO_REDUCE_WINDOW", [xt, i], [y], windowDimensions=size, windowStrides=stride, baseDilations=base,
         windowDilations=dilation, padding=padding, bodySubgraphIndex=1)
    body(f, name, dtype)
    return f.bytes(g, [xt], [y]), [values(dtype, shape) if x is None else x]


def stablehlo_cases():
    everything = ("float32", "float64", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
    for name in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM", "AND"):
        for dtype in everything + ("bool", "uint16"):
            a, b = values(dtype, (2, 5)), values(dtype, (2, 5))
            if np.dtype(dtype).kind == "f":
                a[0], b[0] = [np.nan, 1, 0.0, -0.0, np.inf], [1, np.nan, -0.0, 0.0, -np.inf]
            if dtype in ("bool", "uint16") and name != "AND":
                continue
            f = File()
            g = f.graph()
            x, y, z = (f.tensor(g, [2, 5], dtype) for _ in range(3))
            f.op(g, "STABLEHLO_" + name, [x, y], [z])
            yield f"STABLEHLO_{name} {dtype}", f.bytes(g, [x, y], [z]), [a, b], 0
    rows = np.array([[0], [4], [0], [7]], np.int32)
    for name in (None, "STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM", "ADD"):
        for dtype in ("float32", "int8", "int32", "int64", "bool", "uint16", "float64"):
            yield (f"scatter {name} {dtype}", *scatter([5, 3], rows, [4, 3], dtype, name, [1], [0], [0], 1), 0)
    for word, args in {
            "windows": ([4, 5, 2], np.array([[0, 0], [3, 4], [-1, 2]]), [3, 2, 2], "float32", "STABLEHLO_ADD", [1, 2], [0], [0, 1], 1),
            "vectors first": ([4, 5, 2], np.array([[0, 3, -1], [0, 4, 2]]), [3, 2, 2], "float32", None, [1, 2], [0], [0, 1], 0),
            "swapped": ([4, 5, 2], np.array([[0, 0], [3, 3], [1, 2]]), [2, 3, 2], "float32", None, [2, 0], [0], [1, 0], 1),
            "ends of the type": ([5, 3], np.array([[2 ** 31 - 1], [-2 ** 31]], np.int32), [2, 3], "float32", None, [1], [0], [0], 1),
    }.items():
        yield ("scatter " + word, *scatter(*args), 0)
    reach = np.array([[0], [4], [9], [-3]], np.int32)
    for dtype in ("float32", "int8", "int64", "bool", "float16"):
        yield ("gather " + dtype, *gather([5, 3], reach, [4, 3], dtype, [1], [0], [0], 1, [1, 3]), 0)
    for word, args in {
            "windows": ([6, 7, 2], np.array([[0, 0], [5, 6], [2, 1]]), [3, 2, 4, 2], "float32", [1, 2, 3], [], [0, 1], 1, [2, 4, 2]),
            "vectors first": ([6, 7, 2], np.array([[0, 5, 2], [0, 6, 1]]), [2, 3, 2], "float32", [0, 2], [0], [0, 1], 0, [1, 2, 2]),
            "swapped": ([6, 7], np.array([[0, 5], [6, 0], [3, 2], [9, 9]]), [4], "float32", [], [0, 1], [1, 0], 1, [1, 1]),
            "unsorted": ([6, 7, 2], np.array([[0], [5], [2]]), [7, 3, 2], "float32", [2, 0], [0], [0], 1, [1, 7, 2]),
    }.items():
        yield ("gather " + word, *gather(*args), 0)
    for name in ("ADD", "MUL", "MAXIMUM", "MINIMUM", "STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM",
                 "STABLEHLO_MINIMUM", "STABLEHLO_AND", "LOGICAL_AND", "LOGICAL_OR"):
        for dtype in ("float32", "int8", "int32") if "LOGICAL" not in name else ("bool",):
            yield (f"window {name} {dtype}", *window([6, 5], [3, 4], dtype, name, [2, 2], [2, 1], [1, 1], [1, 1], [0] * 4, 1), 0)
    strange = values("float32", (6, 5))
    strange[1, 1] = np.nan
    for name in ("MAXIMUM", "MINIMUM"):
        yield (f"window {name} of NaN", *window([6, 5], [5, 4], "float32", name, [2, 2], [1, 1], [1, 1], [1, 1], [0] * 4, 0, strange), 0)
    yield ("window padded and dilated", *window([4, 5], [5, 6], "float32", "ADD", [2, 3], [2, 2], [2, 3], [2, 1], [1, 2, 0, -1], 0.5), 0)
    yield ("window cropped", *window([6, 6], [2, 3], "int32", "MAXIMUM", [2, 2], [1, 1], [1, 1], [2, 1], [-1, -1, -2, 0], -7), 0)
    yield ("window of an image", *window([1, 4, 5, 2], [1, 4, 5, 2], "float32", "ADD", [1, 3, 3, 1], [1] * 4, [1] * 4, [1] * 4, [0, 0, 1, 1, 1, 1, 0, 0], 0), 0)


def random_cases():
    for algorithm in (0, 1, 2):
        for size in (2, 3):
            for dtype in ("int32", "uint32", "int64", "uint64"):
                f = File()
                g = f.graph()
                x, s, y = f.tensor(g, [size], "uint64"), f.tensor(g, [size], "uint64"), f.tensor(g, [3, 7], dtype)
                f.op(g, "STABLEHLO_RNG_BIT_GENERATOR", [x], [s, y], algorithm=algorithm)
                state = np.array([0x123456789abcdef0, 0xfffffffffffffffe, 5][:size], np.uint64)
                yield f"bits, algorithm {algorithm}, {size} {dtype}", f.bytes(g, [x], [s, y]), [state], 0
    for name, tolerance in (("RANDOM_UNIFORM", 0), ("RANDOM_STANDARD_NORMAL", 3e-7)):
        for shape in ([7], [3, 5], [1], [2, 2, 2]):
            for seeds in ((1, 2), (0, 5), (123456789012, -3)):
                f = File()
                g = f.graph()
                x, z = f.tensor(g, [1], "float32"), f.tensor(g, [1], "float32")
                f.op(g, "NEG", [x], [z])
                y = f.tensor(g, shape, "float32")
                f.op(g, name, [f.constant(g, np.array(shape, np.int32))], [y], seed=seeds[0], seed2=seeds[1])
                yield f"{name} {shape} {seeds}", f.bytes(g, [x], [y, z]), [np.ones(1, np.float32)], tolerance
    for dtype in ("int64", "int32"):
        for samples in (1, 5, 8):
            f = File()
            g = f.graph()
            x, y = f.tensor(g, [3, 6], "float32"), f.tensor(g, [3, samples], dtype)
            f.op(g, "MULTINOMIAL", [x, f.constant(g, np.array(samples, np.int32))], [y], seed=4, seed2=9)
            logits = values("float32", (3, 6))
            logits[0, 1], logits[2] = np.inf, -np.inf
            yield f"MULTINOMIAL {dtype} {samples}", f.bytes(g, [x], [y]), [logits], 0


def projection_cases():
    for kind in (1, 2):
        for dtype, shape in (("int32", [4]), ("int8", [3]), ("float32", [2, 5]), ("int64", [3, 8]), ("int8", [5, 13]),
                             ("int16", [2, 30]), ("uint8", [2, 200]), ("float32", [3, 61])):
            for weighted in (False, True):
                f = File()
                g = f.graph()
                seeds = f.constant(g, values("float32", (3, 5)))
                x, y = f.tensor(g, shape, dtype), f.tensor(g, [3 if kind == 1 else 15], "int32")
                weights = [f.constant(g, values("float32", shape[:1]))] if weighted else []
                f.op(g, "LSH_PROJECTION", [seeds, x] + weights, [y], type=kind)
                yield (f"LSH_PROJECTION {kind} {dtype} {shape} weighted {weighted}", f.bytes(g, [x], [y]),
                       [values(dtype, shape)], 0)


def hybrid(f, g, x, y):
    """y = x times int8 weights: XNNPACK's codes are others than the built-in kernel's."""
    w = f.constant(g, np.arange(-32, 32, dtype=np.int8).reshape(8, 8), quant(np.full(8, 0.02)))
    f.op(g, "FULLY_CONNECTED", [x, w, f.constant(g, np.linspace(-1, 1, 8, dtype=np.float32))], [y], 12,
         asymmetricQuantizeInputs=True)


def loop(rounds, grow):
    f = File()
    g, cond, loop_body = f.graph(), f.graph(), f.graph()
    i, x, i_out, x_out, y = (f.tensor(g, s, t) for s, t in (([1], "int32"), ([2, 8], "float32"), ([1], "int32"),
                                                           ([2, 8], "float32"), ([2, 8], "float32")))
    f.op(g, "WHILE", [i, x], [i_out, x_out], condSubgraphIndex=1, bodySubgraphIndex=2)
    hybrid(f, g, x_out, y)
    ci, cx, less = f.tensor(cond, [1], "int32"), f.tensor(cond, [2, 8], "float32"), f.tensor(cond, [1], "bool")
    f.op(cond, "LESS", [ci, f.constant(cond, np.array([rounds], np.int32))], [less])
    cond.inputs, cond.outputs = [ci, cx], [less]
    bi, bx, bo = f.tensor(loop_body, [1], "int32"), f.tensor(loop_body, [2, 8], "float32"), f.tensor(loop_body, [1], "int32")
    out = f.tensor(loop_body, [2, 8], "float32")
    f.op(loop_body, "ADD", [bi, f.constant(loop_body, np.array([1], np.int32))], [bo])
    hybrid(f, loop_body, bx, out)
    if grow:
        twice = f.tensor(loop_body, [4, 8], "float32")
        f.op(loop_body, "CONCATENATION", [out, out], [twice], axis=0)
        out = twice
    loop_body.inputs, loop_body.outputs = [bi, bx], [bo, out]
    return f.bytes(g, [i, x], [i_out, y])


def graph_cases():
    x = values("float32", (2, 8))
    for grow in (False, True):
        for rounds in (1, 3):
            yield f"WHILE, {rounds} rounds, grows {grow}", loop(rounds, grow), [np.zeros(1, np.int32), x], {"xnnpack": 2e-7}
    f = File()
    g = f.graph()
    a, pick, where = f.tensor(g, [2, 8], "float32"), f.tensor(g, [2], "bool"), f.tensor(g, [1, 1], "int64")
    some, y = f.tensor(g, [1, 8], "float32"), f.tensor(g, [1, 8], "float32")
    f.op(g, "WHERE", [pick], [where])
    f.op(g, "GATHER_ND", [a, where], [some])
    hybrid(f, g, some, y)
    yield "rows that WHERE picks", f.bytes(g, [a, pick], [y]), [x, np.array([True, True])], {"xnnpack": 2e-7}
    for choice in (0, 1, 2, -1, 9):
        f = File()
        g = f.graph()
        which, v, y = f.tensor(g, [1], "int32"), f.tensor(g, [3], "float32"), f.tensor(g, [3], "float32")
        f.op(g, "STABLEHLO_CASE", [which, v], [y], branchSubgraphIndices=[1, 2, 3])
        for k in range(3):
            branch = f.graph()
            bv, by = f.tensor(branch, [3], "float32"), f.tensor(branch, [3], "float32")
            f.op(branch, "MUL", [bv, f.constant(branch, np.array([k + 2], np.float32))], [by])
            branch.inputs, branch.outputs = [bv], [by]
        yield (f"STABLEHLO_CASE {choice}", f.bytes(g, [which, v], [y]),
               [np.array([choice], np.int32), np.array([1, 2, 3], np.float32)], 0)


def fuses_in_eight():
    """Whether XNNPACK's float kernels here are those that litegap reproduces: AVX2 with fused multiply-adds."""
    try:
        flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return {"avx2", "fma"} <= set(flags) and "avx512f" not in flags


def curve_cases():
    """Smooth functions: bit for bit where the processor is one whose form litegap has, else close (ELU's is that of
    AVX-512).  With AVX-512 XNNPACK's LOGISTIC of numbers beyond 4.29e26 is NaN, not 0 or 1: left out there."""
    tolerance = {"reference": 1e-6, "builtin": 1e-6, "xnnpack": 0 if fuses_in_eight() else 1e-6}
    bits = RNG.integers(0, 2 ** 32, 4096, dtype=np.uint32).view(np.float32)
    bits = bits[np.isfinite(bits)]
    edges = np.array([0.0, -0.0, np.inf, -np.inf, 1e-40, -1e-40, 88.5, -88.5, -87.3, -104], np.float32)
    near = RNG.normal(0, 3, 5000).astype(np.float32)
    for name, kind, wild, options in (("LOGISTIC", None, True, {}), ("TANH", None, True, {}), ("ELU", None, False, {}),
                                      ("GELU", "Gelu", False, {}), ("GELU", "Gelu", False, {"approximate": True}),
                                      ("LOG", None, False, {}), ("EXP", "Exp", True, {}), ("SIN", None, False, {}), ("COS", "Cos", False, {}),
                                      ("SOFTMAX", "Softmax", False, {"beta": 1.0})):
        x = np.concatenate([near, edges, bits]) if wild else near
        if name == "LOG":
            x = np.abs(x)
        if name == "LOGISTIC" and not fuses_in_eight():
            x = x[np.abs(x) < 4e26]
        CODES[name] = (getattr(schema.BuiltinOperator, name), kind, getattr(schema.BuiltinOptions, f"{kind}Options", 0))
        for n in (len(x), 37, 3) if name == "SOFTMAX" else (len(x),):
            f = File()
            g = f.graph()
            v, y = f.tensor(g, [1, n], "float32"), f.tensor(g, [1, n], "float32")
            f.op(g, name, [v], [y], **options)
            yield (f"{name} {options} of {n}", f.bytes(g, [v], [y]), [x[None, :n]],
                   1e-6 if name == "ELU" else tolerance)


def log_softmax_cases():
    """The built-in kernel's e^x and its sums in vectors of four, whatever the processor has (x86)."""
    same = 0 if platform.machine() == "x86_64" else 1e-6
    CODES["LOG_SOFTMAX"] = (schema.BuiltinOperator.LOG_SOFTMAX, "LogSoftmax", schema.BuiltinOptions.LogSoftmaxOptions)
    for n in (1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 15, 31, 33, 100, 255, 257, 263, 1000):
        x = RNG.normal(0, 4, (200, n)).astype(np.float32)
        x[:3] *= 30
        x[3, -1], x[4, 0], x[5] = -np.inf, np.nan, 7
        f = File()
        g = f.graph()
        v, y = f.tensor(g, x.shape, "float32"), f.tensor(g, x.shape, "float32")
        f.op(g, "LOG_SOFTMAX", [v], [y])
        yield (f"LOG_SOFTMAX of {n}", f.bytes(g, [v], [y]), [x], {"reference": 1e-6, "builtin": same, "xnnpack": same})
        for dtype in ("int8", "uint8"):
            codes = values(dtype, (19, n))
            f = File()
            g = f.graph()
            v = f.tensor(g, codes.shape, dtype, quant=quant(0.07, 3))
            y = f.tensor(g, codes.shape, dtype, quant=quant(1 / 16, 127 if dtype == "int8" else 255))
            f.op(g, "LOG_SOFTMAX", [v], [y], 2)
            yield f"LOG_SOFTMAX {dtype} of {n}", f.bytes(g, [v], [y]), [codes], 0


def broadcast_cases():
    """A value per channel, per pixel, or a single one, on either side, in rows of odd lengths; scales with ties, where
    the built-in vector code of ADD rounds in other places than the rest of its rows, and without."""
    CODES["SUB"] = (schema.BuiltinOperator.SUB, "Sub", schema.BuiltinOptions.SubOptions)
    for dtype, other, result in (("float32", 0, 0), ("int8", 0.031721, 0.0717), ("int8", 0.031, 0.07),
                                 ("uint8", 0.031721, 0.0717), ("uint8", 0.031, 0.07), ("int16", 0.031721, 0.0717)):
        words, real = dtype == "int16", dtype == "float32"

        def scaled(scale, zero):
            return None if real else quant(scale / 300 if words else scale, 0 if words else zero)
        for n in (1, 7, 8, 9, 15, 16, 17, 31, 33, 100):
            f = File()
            g = f.graph()
            big, others = [1, 3, 5, n], ([n], [1, 1, 1, n], [1, 3, 5, 1], [1, 1, 5, 1], [1], [1, 3, 5, n])
            inputs, outputs = [f.tensor(g, big, dtype, quant=scaled(0.05, 3))], []
            x = [values(dtype, big)]
            for shape in others:
                inputs.append(f.tensor(g, shape, dtype, quant=scaled(other, 2)))
                x.append(values(dtype, shape))
                for name in ("ADD", "SUB", "MUL"):
                    for sides in ([inputs[0], inputs[-1]], [inputs[-1], inputs[0]]):
                        outputs.append(f.tensor(g, big, dtype, quant=scaled(result, 5)))
                        f.op(g, name, sides, [outputs[-1]], 3 if words else 2)
            if real:
                for v in x:
                    v.reshape(-1)[::5] *= np.float32(1e-39)
            yield f"broadcast {dtype} of {n}, scales 0.05, {other}, {result}", f.bytes(g, inputs, outputs), x, 0


def reduction_cases():
    """Maxima and minima over rows and columns of odd lengths."""
    for name in ("REDUCE_MAX", "REDUCE_MIN"):
        CODES[name] = (getattr(schema.BuiltinOperator, name), "Reducer", schema.BuiltinOptions.ReducerOptions)
        for dtype in ("float32", "int8", "uint8", "int16"):
            for n in (1, 7, 8, 9, 31, 33, 64, 100, 129, 200):
                f = File()
                g = f.graph()
                q = None if dtype == "float32" else quant(0.05, 0 if dtype == "int16" else 3)
                x, outputs = f.tensor(g, [3, 5, n], dtype, quant=q), []
                for axes in ([0], [1], [2], [0, 2], [1, 2]):
                    shape = [d for i, d in enumerate((3, 5, n)) if i not in axes]
                    outputs.append(f.tensor(g, shape, dtype, quant=q))
                    f.op(g, name, [x, f.constant(g, np.array(axes, np.int32))], outputs[-1:], 3 if dtype == "int16" else 2)
                yield f"{name} {dtype} of {n}", f.bytes(g, [x], outputs), [values(dtype, (3, 5, n))], 0


def sum_cases():
    """Sums of float32 over lines, rows, and several axes that are no neighbours."""
    same = {"reference": 3e-6, "builtin": 3e-6, "xnnpack": 0 if fuses_in_eight() else 3e-6}
    for name in ("SUM", "MEAN"):
        CODES[name] = (getattr(schema.BuiltinOperator, name), "Reducer", schema.BuiltinOptions.ReducerOptions)
        for n in (1, 3, 7, 8, 9, 16, 23, 31, 32, 33, 40, 63, 64, 65, 127, 300, 1000):
            f = File()
            g = f.graph()
            x, outputs = f.tensor(g, [2, 3, 5, n], "float32"), []
            for axes in ([0], [1], [2], [3], [1, 2], [2, 3], [0, 1, 2, 3], [1, 2, 3], [0, 2], [1, 3], [0, 1, 3], [0, 2, 3]):
                shape = [d for i, d in enumerate((2, 3, 5, n)) if i not in axes]
                outputs.append(f.tensor(g, shape, "float32"))
                f.op(g, name, [x, f.constant(g, np.array(axes, np.int32))], outputs[-1:], 2)
            yield f"{name} float32 of {n}", f.bytes(g, [x], outputs), [values("float32", (2, 3, 5, n))], same


def rescaled_cases():
    """CONCATENATION of uint8 with a scale for each input, in short and long rows."""
    for n in (1, 7, 33, 64, 127, 129, 1023, 1025, 5000):
        f = File()
        g = f.graph()
        x = [f.tensor(g, [3, n + i], "uint8", quant=quant(0.05 + 0.013 * i, 100 + i)) for i in range(3)]
        y = f.tensor(g, [3, 3 * n + 3], "uint8", quant=quant(0.05, 100))
        f.op(g, "CONCATENATION", x, [y], 2, axis=1)
        yield f"rescaled CONCATENATION of {n}", f.bytes(g, x, [y]), [values("uint8", (3, n + i)) for i in range(3)], 0


def pool_cases():
    """Bounds of an activation that lie in the middle of two codes, where XNNPACK rounds them in its own way."""
    CODES["MAX_POOL_2D"] = (schema.BuiltinOperator.MAX_POOL_2D, "Pool2D", schema.BuiltinOptions.Pool2DOptions)
    CODES["AVERAGE_POOL_2D"] = (schema.BuiltinOperator.AVERAGE_POOL_2D, *CODES["MAX_POOL_2D"][1:])
    for name in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        for dtype in ("int8", "uint8", "int16"):
            for activation in range(4):
                for scale, zero in ((2.0, 7), (2.0, 8), (12.0, 6), (12.0, 7), (0.7, 11)):
                    for stride in (1, 3) if scale == 12 else (1,):
                        f = File()
                        g = f.graph()
                        q = quant(scale, 0 if dtype == "int16" else zero)
                        size = [1, 6, 6, 3] if stride == 1 else [1, 2, 2, 3]
                        x, y = f.tensor(g, [1, 6, 6, 3], dtype, quant=q), f.tensor(g, size, dtype, quant=q)
                        f.op(g, name, [x], [y], 3 if dtype == "int16" else 2, padding=0, strideH=stride,
                             strideW=stride, filterHeight=2, filterWidth=2, fusedActivationFunction=activation)
                        g.tensors[y].shape = [1, 5, 5, 3] if stride == 1 else size
                        yield (f"{name} {dtype}, activation {activation}, scale {scale}, zero point {zero}, stride {stride}",
                               f.bytes(g, [x], [y]), [RNG.integers(-8, 8, (1, 6, 6, 3)).astype(dtype) + np.dtype(dtype).type(8)], 0)


def cases():
    for family in (pool_cases, curve_cases, log_softmax_cases, broadcast_cases, reduction_cases, sum_cases, rescaled_cases, blockwise_cases, four_bit_cases, sparse_cases, stablehlo_cases, random_cases, projection_cases,
                   graph_cases):
        yield from family()


def main():
    words = sys.argv[1:]
    bad = same = close = refused = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name, data, inputs, tolerance in cases():
            if words and not any(w in name for w in words):
                continue
            for dialect in DIALECTS:
                want = by_runtime(data, inputs, dialect)
                got = by_litegap(data, inputs, dialect, pathlib.Path(tmp))
                allowed = tolerance.get(dialect, 0) if isinstance(tolerance, dict) else tolerance
                why = apart(want, got, allowed)
                if why:
                    bad += 1
                    print(f"BAD  {name} [{dialect}] {why}")
                elif isinstance(want, str):
                    refused += 1
                elif apart(want, got, 0):
                    close += 1
                else:
                    same += 1
    print(f"ops_check: {same} equal, {close} close, {refused} refused by both, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
