"""Tells why a TensorFlow model and its TensorFlow Lite twin disagree.

    import litegap
    litegap.train(keras_model, x, y, out="float.tflite", loss="mse", epochs=100)
    litegap.quantize("float.tflite", "static", calibration=x, out="int8.tflite")
    litegap.evaluate(["float.tflite", "int8.tflite"], x, y)["pairs"][0]["delta"]
    litegap.inspect("model.tflite")["technique"]                    # "dynamic-range"

Samples are arrays with one row a sample, or the path of a data file (.npz, .npy, .csv).  Models are
paths; where an architecture or a Keras model is taken, it may be a path (.json, .keras, .h5), the
dict that Keras's to_json() holds, or the Keras object itself.  Reports are the same values that the
command line writes with --json.  What does not fit raises litegap.Error.
"""
import contextlib as _contextlib
import json as _json
import os as _os
import tempfile as _tempfile

import numpy as _np

from . import _litegap
from ._litegap import Error, runtime
from ._litegap import version as __version__

__all__ = ["Error", "evaluate", "inspect", "quantize", "run", "runtime", "train"]


def _path(value):
    return _os.fspath(value)


def _is_path(value):
    return isinstance(value, (str, _os.PathLike))


def _arrays(value):
    """One array, or several in a list or tuple of arrays -> a list of contiguous arrays."""
    if value is None:
        return []
    many = isinstance(value, (list, tuple)) and any(isinstance(v, _np.ndarray) for v in value)
    return [_np.ascontiguousarray(v) for v in (value if many else [value])]


def _samples(x, y):
    """(path or None, arrays, labels or None)"""
    if _is_path(x):
        if y is not None:
            raise Error("y is read from the data file: give either a path or arrays x and y")
        return _path(x), [], None
    return None, _arrays(x), None if y is None else _np.ascontiguousarray(y)


@_contextlib.contextmanager
def _model(value):
    """What the user calls a model -> the keys of a request that name it."""
    if _is_path(value):
        yield {"model": _path(value)}
    elif isinstance(value, dict):
        yield {"architecture": _json.dumps(value)}
    elif hasattr(value, "save"):  # a Keras model; its own file format carries the weights
        # Keras 3 writes .keras; tf_keras writes .h5 as completely.
        suffix = ".h5" if type(value).__module__.startswith("tf_keras") else ".keras"
        with _tempfile.TemporaryDirectory() as folder:
            path = _os.path.join(folder, "model" + suffix)
            value.save(path)
            yield {"model": path}
    else:
        raise Error(f"a model is a path, the dict of an architecture or a Keras model; found {type(value).__name__}")


def _request(**fields):
    return _json.dumps({k: v for k, v in fields.items() if v is not None})


def inspect(model):
    """What a file really is: technique, input and output formulas, faults visible without data."""
    return _json.loads(_litegap.inspect(_path(model)))


def train(model, x, y=None, *, out, loss="mse", optimizer="sgd", learning_rate=None, epochs=1, batch_size=32,
          validation_split=0.0, patience=0, keep_best=False, shuffle=True, clip_norm=None, weight_decay=None,
          teacher=None, temperature=None, qat=False, learned_steps=False, resume=False, input_map="", seed=1):
    """Trains an architecture, a Keras model or a float .tflite, and writes `out`.

    loss: mse, mae, huber, binary-crossentropy, crossentropy, kl, distill (with teacher=MODEL).
    optimizer: sgd, momentum, adam, adamw, rmsprop, with Keras's defaults where nothing is given.
    qat: trains with the rounding of the int8 file, and writes that file.
    Returns the report: epochs with their losses, decisions, for qat the fake-quantized loss.
    """
    data, arrays, labels = _samples(x, y)
    with _model(model) as named:
        request = _request(
            out=_path(out), loss=loss, optimizer=optimizer, learning_rate=learning_rate, epochs=epochs,
            batch_size=batch_size, validation_split=validation_split, patience=patience, keep_best=keep_best,
            shuffle=shuffle, clip_norm=clip_norm, weight_decay=weight_decay,
            teacher=None if teacher is None else _path(teacher), temperature=temperature, qat=qat,
            learned_steps=learned_steps, resume=resume, input_map=input_map, seed=seed, **named)
        return _json.loads(_litegap.train(request, data, arrays, labels))


def quantize(model, technique, *, out, calibration=None, method="auto", granularity="per-channel", io="integer",
             equalize="off", bias_correction="off", rounding="nearest", weights="minmax", recipe=None,
             least_elements=1024, input_map="", seed=1, threads=0):
    """Quantizes a float .tflite or a Keras model, and writes `out`, read back and checked.

    technique: static, dynamic-range, float16, int16x8, weight-only-int8, weight-only-int4, mixed.
    calibration: arrays, or the path of a data file; static and int16x8 need them.
    method: auto, minmax, moving-average, percentile, mse, kl, octav.  io: integer, uint8, float.
    least_elements: dynamic-range leaves smaller weight tensors in float, as the converter does.
    Returns the report: sizes, decisions, warnings, what was tried.
    """
    data, arrays, _ = _samples(calibration, None)
    with _model(model) as named:
        if "model" not in named:
            raise Error("an architecture has no weights to quantize; train it first")
        request = _request(
            technique=technique, out=_path(out), method=method, granularity=granularity, io=io, equalize=equalize,
            bias_correction=bias_correction, rounding=rounding, weights=weights,
            recipe=None if recipe is None else _path(recipe), least_elements=least_elements, input_map=input_map,
            seed=seed, threads=threads, **named)
        return _json.loads(_litegap.quantize(request, data, arrays))


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
    if _is_path(models):
        models = [models]
    data, arrays, labels = _samples(x, y)
    return _json.loads(
        _litegap.evaluate([_path(m) for m in models], data, arrays, labels, metric, input_map, dialect, threads,
                          latency, seed))
