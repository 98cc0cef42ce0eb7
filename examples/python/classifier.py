"""A picture classifier: float, static, dynamic range and quantization-aware, on pictures that neither
training nor calibration saw."""
import litegap
import numpy as np
from example import dense, print_comparison, sequential


def pictures(count, seed):
    """Grey disks of four kinds, flat, bright rim, bright core, lit from the left, in twelvefold light."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 4, count)
    radius, light = random.uniform(4, 6, count), 0.08 * 12 ** random.random(count)
    centre = random.uniform(6.5, 8.5, (count, 2))
    rows, columns = np.mgrid[0:16, 0:16]
    u = (columns - centre[:, 0, None, None]) / radius[:, None, None]
    r = np.hypot(u, (rows - centre[:, 1, None, None]) / radius[:, None, None])
    shades = np.stack([np.full_like(r, 0.7), np.where(r > 0.65, 1, 0.45), np.where(r < 0.55, 1, 0.45),
                       np.where(u < 0, 1, 0.45)])
    disk = np.where(r > 1, 0, shades[kind, np.arange(count)])
    x = light[:, None, None] * (disk + 0.12 * random.normal(size=r.shape))
    return np.clip(x, 0, 1)[..., None].astype(np.float32), kind


def conv(filters):
    return {"class_name": "Conv2D",
            "config": {"filters": filters, "kernel_size": [3, 3], "padding": "same", "activation": "relu"}}


def pool():
    return {"class_name": "MaxPooling2D", "config": {"pool_size": [2, 2]}}


x, y = pictures(800, seed=11)
test_x, test_y = pictures(600, seed=12)
architecture = sequential([16, 16, 1], [conv(12), pool(), conv(16), pool(), conv(24),
                                        {"class_name": "GlobalAveragePooling2D", "config": {}}, dense(4, "softmax")])
litegap.train(architecture, x, y, out="pictures_float.tflite", loss="crossentropy", optimizer="momentum",
              learning_rate=0.02, epochs=24, batch_size=16, seed=3)
litegap.quantize("pictures_float.tflite", "static", calibration=x, out="pictures_static.tflite")
litegap.quantize("pictures_float.tflite", "dynamic-range", out="pictures_dynamic.tflite")
litegap.train("pictures_float.tflite", x, y, out="pictures_qat.tflite", loss="crossentropy", optimizer="momentum",
              learning_rate=0.002, epochs=4, qat=True)
print_comparison(test_x, test_y, ["pictures_float.tflite", "pictures_static.tflite", "pictures_dynamic.tflite",
                                  "pictures_qat.tflite"], "top1")
