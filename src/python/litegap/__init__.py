"""Tells why a TensorFlow model and its TensorFlow Lite twin disagree.

    import litegap
    litegap.inspect("model.tflite")["technique"]                    # "dynamic-range"
    litegap.evaluate(["float.tflite", "int8.tflite"], x, y)["pairs"][0]["delta"]

Samples are arrays with one row a sample, or the path of a data file (.npz, .npy, .csv).  Reports are
the same values that the command line writes with --json.  What does not fit raises litegap.Error.
"""
import json as _json
import os as _os

import numpy as _np

from . import _litegap
from ._litegap import Error, runtime
from ._litegap import version as __version__

__all__ = ["Error", "evaluate", "inspect", "run", "runtime"]


def _path(value):
    return _os.fspath(value)


def _arrays(value):
    """One array, or several in a list or tuple of arrays -> a list of contiguous arrays."""
    if value is None:
        return []
    many = isinstance(value, (list, tuple)) and any(isinstance(v, _np.ndarray) for v in value)
    return [_np.ascontiguousarray(v) for v in (value if many else [value])]


def _samples(x, y):
    """(path or None, arrays, labels or None)"""
    if isinstance(x, (str, _os.PathLike)):
        if y is not None:
            raise Error("y is read from the data file: give either a path or arrays x and y")
        return _path(x), [], None
    return None, _arrays(x), None if y is None else _np.ascontiguousarray(y)


def inspect(model):
    """What a file really is: technique, input and output formulas, faults visible without data."""
    return _json.loads(_litegap.inspect(_path(model)))


def run(model, inputs, *, dialect="xnnpack", float_io=False):
    """Runs a model once.

    inputs: an array, or a list of arrays in the order of the model's inputs; real values given to a
    quantized input become its codes.  float_io: outputs as real values instead of codes.
    Returns an array, or a list when the model has several outputs.
    """
    out = _litegap.run(_path(model), _arrays(inputs), dialect, float_io)
    return out[0] if len(out) == 1 else out


def evaluate(models, x, y=None, *, metric="", input_map="", dialect="xnnpack", threads=0, latency=False, seed=1):
    """The metric of one model or several on the same samples, each compared with the first.

    models: a path or a list of paths.  x, y: arrays, or x the path of a data file.
    metric: top1, auc, mse ...; guessed when empty.
    """
    if isinstance(models, (str, _os.PathLike)):
        models = [models]
    data, arrays, labels = _samples(x, y)
    return _json.loads(
        _litegap.evaluate([_path(m) for m in models], data, arrays, labels, metric, input_map, dialect, threads,
                          latency, seed))
