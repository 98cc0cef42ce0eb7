"""Post-training dynamic range quantization of y = 2x + 1, and the trap in it: weights of less than 1024
elements stay float32, so the usual "INT8 loss" of this model is the FP32 loss."""
import litegap
from example import dense, line_samples, print_comparison, sequential

x, y = line_samples(100, seed=1)
litegap.train(sequential([1], [dense(1)]), x, y, out="line_float.tflite", loss="mse", optimizer="sgd", epochs=100)
usual = litegap.quantize("line_float.tflite", "dynamic-range", out="line_unchanged.tflite")
for d in usual["decisions"]:
    print(f"{d['item']}: {d['chosen']} ({d['because']})")
litegap.quantize("line_float.tflite", "dynamic-range", least_elements=1, out="line_dynamic.tflite")
print_comparison(x, y, ["line_float.tflite", "line_unchanged.tflite", "line_dynamic.tflite"], "mse")
