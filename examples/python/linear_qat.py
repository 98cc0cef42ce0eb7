"""Quantization-aware training of y = 2x + 1, beside float training of the same length.  The only weight is
the largest of its own range; plain fake quantization would cut its gradient there and freeze it in half
of all runs."""
import litegap
from example import dense, line_samples, print_comparison, sequential

x, y = line_samples(100, seed=1)
architecture = sequential([1], [dense(1)])
litegap.train(architecture, x, y, out="line_float.tflite", loss="mse", optimizer="sgd", epochs=100)
qat = litegap.train(architecture, x, y, out="line_qat.tflite", loss="mse", optimizer="sgd", epochs=100, qat=True)
print(f"fake-quantized mse while training {qat['final']['loss']:.6f}, in the last epoch")
print_comparison(x, y, ["line_float.tflite", "line_qat.tflite"], "mse")
