"""Post-training static quantization of y = 2x + 1: train, quantize with calibration, compare."""
import litegap
from example import dense, line_samples, print_comparison, sequential

x, y = line_samples(100, seed=1)
litegap.train(sequential([1], [dense(1)]), x, y, out="line_float.tflite", loss="mse", optimizer="sgd", epochs=100)
# The scale of every activation is fixed in advance, from samples: without them this is refused,
# because what came out would not be a static file.
litegap.quantize("line_float.tflite", "static", calibration=x, method="minmax", out="line_static.tflite")
print_comparison(x, y, ["line_float.tflite", "line_static.tflite"], "mse")
