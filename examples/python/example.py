"""What the examples share: the line's samples, and the table that they end with."""
import litegap
import numpy as np


def line_samples(count, seed):
    """y = 2x + 1 + N(0, 0.1), x uniform in [0, 1)."""
    random = np.random.default_rng(seed)
    x = random.random((count, 1)).astype(np.float32)
    return x, (2 * x + 1 + random.normal(0, 0.1, (count, 1))).astype(np.float32)


def dense(units, activation="linear"):
    return {"class_name": "Dense", "config": {"name": "dense", "units": units, "activation": activation}}


def sequential(shape, layers):
    """The dict that Keras's to_json() holds; a Keras model itself would do as well."""
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape], "name": "x"}}
    for i, layer in enumerate(layers):
        layer["config"]["name"] = f"{layer['class_name'].lower()}_{i}"
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": [first, *layers]}}


def print_comparison(x, y, files, metric):
    """The files, loaded again and run in the integers they hold, on the same samples."""
    report = litegap.evaluate(files, x, y, metric=metric)
    for m in report["models"]:
        print(f"{m['path']:28} {m['technique']:16} {m['bytes']:6} bytes   {metric} {m['value']:.6f}")
    return [m["value"] for m in report["models"]]
