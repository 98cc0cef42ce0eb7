#!/usr/bin/env python3
"""Speed of single operators against the stock runtime, at the sizes of real models: one thread each, in turns.

    operators.py [SECONDS] [WORD...]

WORDs choose cases by parts of their names.  Each case is a file of one operator made here.  Prints microseconds of
the best run of both and the speed of litegap relative to the runtime (above 1 litegap is faster), then the geometric
mean and the slowest.  Inputs are in place before the clock starts.  The program is that of runtime_bench.cc, built if
needed.  Needs numpy and ai-edge-litert.

Two examples: `mean.int8.hw` is MEAN over height and width of an int8 image of 56x56x64; `add.float32.channel`
adds a value for every channel to such an image."""
import os
import pathlib
import subprocess
import sys
import tempfile

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

import log
from runtime import in_turns

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
PROGRAM = str(ROOT / "build/release/bench/runtime_bench")
IMAGE = (1, 56, 56, 64)
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
RANDOM = np.random.default_rng(1)
CASES = {}


class File:
    """A model of one graph in the making."""

    def __init__(self):
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = 3, b"operators"
        self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [schema.BufferT()], [], [self.graph]
        self.graph.tensors, self.graph.inputs, self.graph.outputs, self.graph.operators = [], [], [], []

    def tensor(self, shape, dtype, data=None, scale=None, zero=0, axis=0, variable=False):
        t = schema.TensorT()
        t.shape, t.type, t.buffer, t.name = list(shape), TYPES[dtype], 0, f"t{len(self.graph.tensors)}".encode()
        t.isVariable = variable
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(np.float32(scale))]
            q.zeroPoint, q.quantizedDimension = [zero] * len(q.scale), axis
            t.quantization = q
        if data is not None:
            b = schema.BufferT()
            b.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(b)
            t.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def value(self, shape, dtype, scale=0.05, zero=None):
        """A quantized tensor where the type is one of codes."""
        if dtype == "int16":
            scale, zero = scale / 256, 0
        coded = dtype in ("int8", "uint8", "int16")
        return self.tensor(shape, dtype, scale=scale if coded else None, zero=(3 if zero is None else zero) if coded else 0)

    def input(self, shape, dtype, scale=0.05, zero=None):
        self.graph.inputs.append(self.value(shape, dtype, scale, zero))
        return self.graph.inputs[-1]

    def integers(self, values, dtype="int32"):
        a = np.asarray(values, dtype)
        return self.tensor(a.shape, dtype, a)

    def weights(self, shape, dtype, scale=0.01, axis=0):
        """Random weights; codes have a scale for every channel, or one where `axis` is None."""
        if dtype == "float32":
            return self.tensor(shape, dtype, RANDOM.normal(0, 0.1, shape).astype(np.float32))
        top = 127 if dtype == "int8" else 32767
        scales = scale if axis is None else [scale] * shape[axis]
        return self.tensor(shape, dtype, RANDOM.integers(-top, top + 1, shape).astype(dtype), scales, axis=axis or 0)

    def op(self, name, inputs, outputs, kind=None, custom=None, intermediates=(), **options):
        code, o = schema.OperatorCodeT(), schema.OperatorT()
        number = getattr(schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        o.opcodeIndex, o.inputs, o.outputs = len(self.model.operatorCodes), list(inputs), list(outputs)
        o.intermediates = list(intermediates)
        self.model.operatorCodes.append(code)
        if kind:
            o.builtinOptions, o.builtinOptionsType = getattr(schema, kind + "T")(), getattr(schema.BuiltinOptions, kind)
            for key, value in options.items():
                setattr(o.builtinOptions, key, value)
        self.graph.operators.append(o)
        self.graph.outputs = list(outputs)

    def bytes(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def case(name, make, *args, **options):
    def build():
        f = File()
        make(f, *args, **options)
        return f.bytes()
    CASES[name] = build


def one(f, name, dtype, shape, out=None, kind=None, more=(), scale=0.05, zero=None, in_scale=0.05, out_type=None,
        **options):
    """One input, constant integers `more` behind it, one output."""
    x = f.input(shape, dtype, in_scale)
    rest = [f.integers(m) for m in more]
    f.op(name, [x, *rest], [f.value(out or shape, out_type or dtype, scale, zero)], kind, **options)


def two(f, name, dtype, a, b, kind=None, constant=False, scale=0.1, out_type=None, **options):
    x = f.input(a, dtype)
    if constant:
        y = f.weights(b, dtype, 0.03 if dtype == "int8" else 0.03 / 256, None)
    else:
        y = f.input(b, dtype, 0.04)
    shape = np.broadcast_shapes(a, b)
    f.op(name, [x, y], [f.value(shape, out_type or dtype, scale)], kind, **options)


def concatenation(f, dtype, shapes, axis, same):
    inputs = [f.input(s, dtype, 0.05 if same else 0.05 + 0.01 * i) for i, s in enumerate(shapes)]
    shape = list(shapes[0])
    shape[axis] = sum(s[axis] for s in shapes)
    f.op("CONCATENATION", inputs, [f.value(shape, dtype)], "ConcatenationOptions", axis=axis)


def split(f, dtype, shape, axis, count):
    part = list(shape)
    part[axis] //= count
    a, x = f.integers(axis), f.input(shape, dtype)
    f.op("SPLIT", [a, x], [f.value(part, dtype) for _ in range(count)], "SplitOptions", numSplits=count)


def pack(f, dtype, shape, axis, count):
    out = list(shape)
    out.insert(axis, count)
    f.op("PACK", [f.input(shape, dtype) for _ in range(count)], [f.value(out, dtype)], "PackOptions", axis=axis,
         valuesCount=count)


def unpack(f, dtype, shape, axis):
    part = list(shape)
    count = part.pop(axis)
    f.op("UNPACK", [f.input(shape, dtype)], [f.value(part, dtype) for _ in range(count)], "UnpackOptions", num=count,
         axis=axis)


def gather(f, dtype, rows, width, count):
    table = f.input((rows, width), dtype)
    f.op("GATHER", [table, f.integers(RANDOM.integers(0, rows, count))], [f.value((count, width), dtype)],
         "GatherOptions", axis=0)


def batch_matmul(f, dtype, a, b, adjoint, constant):
    x = f.input(a, dtype, 0.05, 0)
    y = f.weights(b, dtype, 0.01, None) if constant else f.input(b, dtype, 0.05, 0)
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-2] if adjoint else b[-1])
    f.op("BATCH_MATMUL", [x, y], [f.value(shape, dtype, 0.5, 0)], "BatchMatMulOptions", adjY=adjoint)


def convolution(f, kind, dtype, shape, channels, kernel, stride, out_size):
    """CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV."""
    weights_type = "int8" if dtype in ("int8", "int16") else dtype
    c, bias_type = shape[-1], {"int8": "int32", "int16": "int64"}.get(dtype, "float32")
    x = f.input(shape, dtype)
    if kind == "DEPTHWISE_CONV_2D":
        w, channels = f.weights((1, kernel, kernel, c), weights_type, 0.01, 3), c
    else:
        w = f.weights((channels, kernel, kernel, c), weights_type)
    in_scale = 0.05 / 256 if dtype == "int16" else 0.05
    b = f.tensor((channels,), bias_type, np.zeros(channels, bias_type),
                 None if dtype == "float32" else [in_scale * np.float32(0.01)] * channels)
    out = f.value((1, out_size, out_size, channels), dtype, 0.5)
    options = {"padding": 0, "strideW": stride, "strideH": stride}
    if kind == "TRANSPOSE_CONV":
        f.op(kind, [f.integers((1, out_size, out_size, channels)), w, x, b], [out], "TransposeConvOptions", **options)
    elif kind == "CONV_2D":
        f.op(kind, [x, w, b], [out], "Conv2DOptions", **options)
    else:
        f.op(kind, [x, w, b], [out], "DepthwiseConv2DOptions", depthMultiplier=1, **options)


def conv_3d(f, transposed=False):
    c = 16
    x = f.input((1, 8, 16, 16, c), "float32")
    w = f.weights((3, 3, 3, c, 32) if not transposed else (3, 3, 3, 32, c), "float32")
    b = f.tensor((32,), "float32", np.zeros(32, np.float32))
    options = dict(strideD=1, strideH=1, strideW=1)
    out = f.value((1, 8, 16, 16, 32), "float32")
    if transposed:
        f.op("CONV_3D_TRANSPOSE", [f.integers((1, 8, 16, 16, 32)), w, x, b], [out], "Conv3DOptions", **options)
    else:
        f.op("CONV_3D", [x, w, b], [out], "Conv3DOptions", **options)


def lstm(f, kind, time, inputs, cells):
    """UNIDIRECTIONAL_SEQUENCE_LSTM: float32, hybrid (int8 weights), or int8 with an int16 cell."""
    dtype, weights = ("int8", "int8") if kind == "int8" else ("float32", "float32" if kind == "float32" else "int8")
    x = f.input((1, time, inputs), dtype, 0.01)
    w = [f.weights((cells, inputs), weights, 0.005, None) for _ in range(4)]
    r = [f.weights((cells, cells), weights, 0.005, None) for _ in range(4)]
    if kind == "int8":
        bias = [f.tensor((cells,), "int32", RANDOM.integers(-99, 99, cells).astype(np.int32), 0.00005) for _ in range(4)]
        h = f.tensor((1, cells), "int8", scale=1 / 128, variable=True)
        c = f.tensor((1, cells), "int16", scale=2.0 ** -11, variable=True)
        middle = [f.tensor((), "int16", scale=1 / 4096) for _ in range(4)]
        middle.append(f.tensor((), "int8", scale=1 / 128))
    else:
        bias = [f.tensor((cells,), "float32", np.zeros(cells, np.float32)) for _ in range(4)]
        h, c = (f.tensor((1, cells), "float32", variable=True) for _ in range(2))
        middle = []
    out = f.tensor((1, time, cells), dtype, scale=1 / 128 if kind == "int8" else None)
    f.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *w, *r, -1, -1, -1, *bias, -1, -1, h, c, -1, -1, -1, -1], [out],
         "UnidirectionalSequenceLSTMOptions", intermediates=middle, fusedActivationFunction=4)


def detection(f, boxes, classes):
    from flatbuffers import flexbuffers
    options = {"max_detections": 10, "max_classes_per_detection": 1, "num_classes": classes, "nms_score_threshold": 0.3,
               "nms_iou_threshold": 0.6, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
    x, s = f.input((1, boxes, 4), "float32"), f.input((1, boxes, classes + 1), "float32")
    anchors = np.concatenate([RANDOM.uniform(0, 1, (boxes, 2)), RANDOM.uniform(0.05, 0.3, (boxes, 2))], 1)
    a = f.tensor((boxes, 4), "float32", anchors.astype(np.float32))
    out = [f.tensor(shape, "float32") for shape in ((1, 10, 4), (1, 10), (1, 10), (1,))]
    f.op("CUSTOM", [x, s, a], out)
    f.model.operatorCodes[-1].customCode = b"TFLite_Detection_PostProcess"
    f.graph.operators[-1].customOptions = list(flexbuffers.Dumps(options))


def add_cases():
    small, line = (1, 28, 28, 32), (1, 128, 768)
    for t in ("float32", "int8", "uint8", "int16"):
        unit = {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 128, 0)}.get(t, (0, 0))
        plain = {"int8": (1 / 128, 0), "uint8": (1 / 128, 128), "int16": (1 / 128, 0)}.get(t, (0, 0))
        case(f"logistic.{t}", one, "LOGISTIC", t, IMAGE, scale=unit[0], zero=unit[1])
        case(f"tanh.{t}", one, "TANH", t, IMAGE, scale=plain[0], zero=plain[1], kind=None)
        for shape, word in (((1, 1000), "1000"), ((1, 12, 128, 128), "attention"), ((1, 257, 257, 21), "segments")):
            case(f"softmax.{t}.{word}", one, "SOFTMAX", t, shape, kind="SoftmaxOptions", scale=unit[0], zero=unit[1],
                 beta=1.0)
        if t != "int16":
            case(f"log_softmax.{t}", one, "LOG_SOFTMAX", t, (128, 1000), kind="LogSoftmaxOptions", scale=16 / 256,
                 zero={"int8": 127, "uint8": 255}.get(t))
        case(f"add.{t}", two, "ADD", t, IMAGE, IMAGE, "AddOptions")
        case(f"mul.{t}", two, "MUL", t, IMAGE, IMAGE, "MulOptions")
        case(f"sub.{t}", two, "SUB", t, IMAGE, IMAGE, "SubOptions")
        case(f"average_pool.{t}.2x2", one, "AVERAGE_POOL_2D", t, IMAGE, (1, 28, 28, 64), "Pool2DOptions", padding=0,
             strideW=2, strideH=2, filterWidth=2, filterHeight=2)
        case(f"average_pool.{t}.3x3", one, "AVERAGE_POOL_2D", t, IMAGE, IMAGE, "Pool2DOptions", padding=0,
             strideW=1, strideH=1, filterWidth=3, filterHeight=3)
        case(f"average_pool.{t}.global", one, "AVERAGE_POOL_2D", t, (1, 7, 7, 1024), (1, 1, 1, 1024), "Pool2DOptions",
             padding=1, strideW=1, strideH=1, filterWidth=7, filterHeight=7)
        case(f"max_pool.{t}.2x2", one, "MAX_POOL_2D", t, IMAGE, (1, 28, 28, 64), "Pool2DOptions", padding=0,
             strideW=2, strideH=2, filterWidth=2, filterHeight=2)
        case(f"max_pool.{t}.3x3s2", one, "MAX_POOL_2D", t, (1, 112, 112, 64), IMAGE, "Pool2DOptions", padding=0,
             strideW=2, strideH=2, filterWidth=3, filterHeight=3)
        for axes, word, out in (((1, 2), "hw", (1, 64)), ((3,), "channels", (1, 56, 56)), ((1,), "h", (1, 56, 64))):
            case(f"mean.{t}.{word}", one, "MEAN", t, IMAGE, out, "ReducerOptions", more=[axes], scale=0.04)
            if t != "int16":
                case(f"sum.{t}.{word}", one, "SUM", t, IMAGE, out, "ReducerOptions", more=[axes], scale=0.5)
                case(f"reduce_max.{t}.{word}", one, "REDUCE_MAX", t, IMAGE, out, "ReducerOptions", more=[axes])
        case(f"pad.{t}", one, "PAD", t, IMAGE, (1, 58, 58, 64), "PadOptions", more=[[[0, 0], [1, 1], [1, 1], [0, 0]]])
        for out, perm, word in (((1, 64, 56, 56), (0, 3, 1, 2), "to_channels_first"),
                                ((1, 56, 56, 64), (0, 2, 1, 3), "hw")):
            case(f"transpose.{t}.{word}", one, "TRANSPOSE", t, IMAGE, out, "TransposeOptions", more=[perm])
        case(f"transpose.{t}.heads", one, "TRANSPOSE", t, (1, 128, 12, 64), (1, 12, 128, 64), "TransposeOptions",
             more=[(0, 2, 1, 3)])
        case(f"concatenation.{t}", concatenation, t, [IMAGE, IMAGE], 3, True)
        case(f"strided_slice.{t}.every2", one, "STRIDED_SLICE", t, IMAGE, (1, 28, 28, 64), "StridedSliceOptions",
             more=[(0, 0, 0, 0), (1, 56, 56, 64), (1, 2, 2, 1)])
        case(f"strided_slice.{t}.channels", one, "STRIDED_SLICE", t, IMAGE, (1, 56, 56, 32), "StridedSliceOptions",
             more=[(0, 0, 0, 0), (1, 56, 56, 32), (1, 1, 1, 1)])
        case(f"slice.{t}", one, "SLICE", t, IMAGE, (1, 56, 56, 32), "SliceOptions", more=[(0, 0, 0, 16), (1, 56, 56, 32)])
        case(f"split.{t}", split, t, IMAGE, 3, 4)
        case(f"pack.{t}", pack, t, (1, 56, 56, 16), 4, 4)
        case(f"unpack.{t}", unpack, t, (1, 56, 56, 8), 3)
        case(f"relu.{t}", one, "RELU", t, IMAGE)
        case(f"leaky_relu.{t}", one, "LEAKY_RELU", t, IMAGE, kind="LeakyReluOptions", alpha=0.1)
    case("concatenation.uint8.rescaled", concatenation, "uint8", [IMAGE, IMAGE], 3, False)
    for t in ("float32", "int8", "uint8"):
        case(f"resize_bilinear.{t}", one, "RESIZE_BILINEAR", t, (1, 33, 33, 64), (1, 129, 129, 64),
             "ResizeBilinearOptions", more=[(129, 129)], alignCorners=True)
        case(f"resize_bilinear.{t}.half", one, "RESIZE_BILINEAR", t, (1, 32, 32, 64), (1, 64, 64, 64),
             "ResizeBilinearOptions", more=[(64, 64)], halfPixelCenters=True)
        case(f"resize_nearest.{t}", one, "RESIZE_NEAREST_NEIGHBOR", t, (1, 28, 28, 64), IMAGE,
             "ResizeNearestNeighborOptions", more=[(56, 56)])
        case(f"hard_swish.{t}", one, "HARD_SWISH", t, IMAGE, kind="HardSwishOptions")
        case(f"space_to_depth.{t}", one, "SPACE_TO_DEPTH", t, IMAGE, (1, 28, 28, 256), "SpaceToDepthOptions", blockSize=2)
        case(f"depth_to_space.{t}", one, "DEPTH_TO_SPACE", t, (1, 28, 28, 256), IMAGE, "DepthToSpaceOptions", blockSize=2)
        case(f"arg_max.{t}", one, "ARG_MAX", t, (1, 257, 257, 21), (1, 257, 257), "ArgMaxOptions", more=[3],
             out_type="int32", outputType=2)
        case(f"gather.{t}", gather, t, 5000, 128, 512)
        case(f"l2_normalization.{t}", one, "L2_NORMALIZATION", t, (128, 256), kind="L2NormOptions", scale=1 / 128,
             zero={"int8": 0, "uint8": 128}.get(t))
        case(f"topk.{t}", topk, t)
        case(f"space_to_batch.{t}", one, "SPACE_TO_BATCH_ND", t, IMAGE, (4, 28, 28, 64), "SpaceToBatchNDOptions",
             more=[(2, 2), [[0, 0], [0, 0]]])
        case(f"batch_to_space.{t}", one, "BATCH_TO_SPACE_ND", t, (4, 28, 28, 64), IMAGE, "BatchToSpaceNDOptions",
             more=[(2, 2), [[0, 0], [0, 0]]])
        case(f"mirror_pad.{t}", one, "MIRROR_PAD", t, IMAGE, (1, 58, 58, 64), "MirrorPadOptions",
             more=[[[0, 0], [1, 1], [1, 1], [0, 0]]])
        case(f"tile.{t}", one, "TILE", t, (1, 28, 28, 64), (1, 56, 56, 64), "TileOptions", more=[(1, 2, 2, 1)])
        case(f"prelu.{t}", two, "PRELU", t, IMAGE, (1, 1, 64), constant=True)
        case(f"relu6.{t}", one, "RELU6", t, IMAGE)
    for t in ("float32", "int8"):
        for word, b in (("channel", (64,)), ("pixel", (1, 56, 56, 1)), ("gate", (1, 1, 1, 64)), ("scalar", ())):
            case(f"add.{t}.{word}", two, "ADD", t, IMAGE, b, "AddOptions", constant=True)
            case(f"mul.{t}.{word}", two, "MUL", t, IMAGE, b, "MulOptions", constant=word != "gate")
        case(f"maximum.{t}", two, "MAXIMUM", t, IMAGE, IMAGE, "MaximumMinimumOptions", scale=0.05)
        case(f"minimum.{t}.channel", two, "MINIMUM", t, IMAGE, (64,), "MaximumMinimumOptions", scale=0.05)
        case(f"squared_difference.{t}", two, "SQUARED_DIFFERENCE", t, line, (1, 128, 1), "SquaredDifferenceOptions")
        
        case(f"exp.{t}", one, "EXP", t, line, scale=0.05, kind="ExpOptions")
        case(f"gelu.{t}", one, "GELU", t, line, kind="GeluOptions")
        case(f"gelu.{t}.approximate", one, "GELU", t, line, kind="GeluOptions", approximate=True)
        case(f"elu.{t}", one, "ELU", t, IMAGE)
        case(f"abs.{t}", one, "ABS", t, IMAGE, kind="AbsOptions")
        case(f"less.{t}", two, "LESS", t, IMAGE, IMAGE, "LessOptions", out_type="bool")
        case(f"batch_matmul.{t}.scores", batch_matmul, t, (1, 12, 128, 64), (1, 12, 128, 64), True, False)
        case(f"batch_matmul.{t}.values", batch_matmul, t, (1, 12, 128, 128), (1, 12, 128, 64), False, False)
        case(f"batch_matmul.{t}.weights", batch_matmul, t, (1, 128, 256), (256, 256), False, True)
    for t in ("float32", "int8", "int16"):
        case(f"transpose_conv.{t}.2x2", convolution, "TRANSPOSE_CONV", t, (1, 28, 28, 64), 32, 2, 2, 56)
        case(f"transpose_conv.{t}.4x4", convolution, "TRANSPOSE_CONV", t, (1, 28, 28, 64), 32, 4, 2, 56)
        case(f"conv.{t}.3x3", convolution, "CONV_2D", t, (1, 28, 28, 64), 64, 3, 1, 28)
        case(f"conv.{t}.1x1", convolution, "CONV_2D", t, (1, 28, 28, 128), 128, 1, 1, 28)
        case(f"conv.{t}.1x1.widen", convolution, "CONV_2D", t, (1, 28, 28, 32), 192, 1, 1, 28)
        case(f"conv.{t}.1x1.narrow", convolution, "CONV_2D", t, (1, 14, 14, 384), 64, 1, 1, 14)
        case(f"conv.{t}.3x3.late", convolution, "CONV_2D", t, (1, 14, 14, 128), 128, 3, 1, 14)
        case(f"depthwise.{t}.3x3", convolution, "DEPTHWISE_CONV_2D", t, IMAGE, 64, 3, 1, 56)
    for name in ("div", "pow"):
        case(f"{name}.float32", two, name.upper(), "float32", IMAGE, IMAGE, f"{name.title()}Options")
    for name in ("RSQRT", "SQRT", "LOG", "SIN", "COS", "FLOOR", "CEIL", "ROUND", "SQUARE", "NEG"):
        case(f"{name.lower()}.float32", one, name, "float32", IMAGE)
    case("cumsum.float32", one, "CUMSUM", "float32", line, kind="CumsumOptions", more=[2])
    case("cast.int8", one, "CAST", "int32", IMAGE, out_type="float32", kind="CastOptions")
    for t in ("int8", "uint8", "int16"):
        case(f"quantize.{t}", one, "QUANTIZE", "float32", IMAGE, out_type=t, kind="QuantizeOptions")
        case(f"dequantize.{t}", one, "DEQUANTIZE", t, IMAGE, out_type="float32", kind="DequantizeOptions")
        case(f"requantize.{t}", one, "QUANTIZE", t, IMAGE, kind="QuantizeOptions", scale=0.07)
    case("select.float32", select, IMAGE)
    case("conv_3d.float32", conv_3d)
    case("conv_3d_transpose.float32", conv_3d, True)
    case("lrn.float32", one, "LOCAL_RESPONSE_NORMALIZATION", "float32", IMAGE, kind="LocalResponseNormalizationOptions",
         radius=5, bias=1.0, alpha=1e-4, beta=0.75)
    for kind in ("float32", "hybrid", "int8"):
        case(f"lstm.{kind}.28x28x20", lstm, kind, 28, 28, 20)
        case(f"lstm.{kind}.100x40x128", lstm, kind, 100, 40, 128)
    case("detection.1917x90", detection, 1917, 90)
    case("detection.2034x20", detection, 2034, 20)


def topk(f, dtype):
    x = f.input((1, 1000), dtype)
    f.op("TOPK_V2", [x, f.integers(5)], [f.value((1, 5), dtype), f.tensor((1, 5), "int32")], "TopKV2Options")


def select(f, shape):
    a, b = f.input(shape, "float32"), f.input(shape, "float32")
    c = f.tensor(shape, "bool", RANDOM.integers(0, 2, shape).astype(np.bool_))
    f.op("SELECT_V2", [c, a, b], [f.value(shape, "float32")], "SelectV2Options")


def main():
    rest = sys.argv[1:]
    seconds = float(rest.pop(0)) if rest and rest[0][0].isdigit() else 0.1
    subprocess.run(["cmake", "--build", str(ROOT / "build/release"), "--target", "runtime_bench"], check=True,
                   stdout=sys.stderr)
    add_cases()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "m.tflite")
        for name, build in CASES.items():
            if rest and not any(word in name for word in rest):
                continue
            pathlib.Path(path).write_bytes(build())
            times, why = in_turns(PROGRAM, path, seconds, "xnnpack", "filled")
            if times is None:
                print(f"{name:36s} not run: {why}")
                continue
            lines.append((times[2], name, *times[:2]))
            print(f"{name:36s} {lines[-1][2]:10.1f} {lines[-1][3]:10.1f}   {lines[-1][0]:5.2f}", flush=True)
    if not lines:
        return
    mean, mine, theirs = (log.geometric_mean([line[k] for line in lines]) for k in (0, 2, 3))
    log.append("operators", f"{len(lines)} cases", "us a run, geometric mean: litegap, runtime", mine, theirs, mine / theirs)
    print(f"geometric mean of {len(lines)}: {mean:.2f}; slowest:")
    for ratio, name, mine, theirs in sorted(lines)[:20]:
        print(f"{name:36s} {mine:10.1f} {theirs:10.1f}   {ratio:5.2f}")


if __name__ == "__main__":
    main()
