#!/usr/bin/env python3
"""Samples a second where a sample is tiny: `litegap eval` with one thread against two uses of the stock
runtime, one thread each, in turns of one run.

    throughput.py [SECONDS]

    eval    litegap eval: everything it does for a sample, metric included
    loop    set_tensor, invoke, get_tensor in Python, one sample after the other
    batch   the same with the input resized to many samples: the speed of the runtime's own C++; the
            best of three sizes
    read    batch, and numpy reading the samples from the file, which eval does too

Times are those of the processor, so that other work does not count; of litegap the slope between few
samples and all, so that starting up does not either.  Medians of five turns, of forty where all samples
take less than a tenth of a second; 10000 samples at most, 50000 where a batch takes less than half a
microsecond for one, as the start of a process is no steadier than what 10000 of these take.  The runtime
is handed codes that are ready; litegap makes them from floats.  A model that does not accept another
batch has no third figure.  Besides the small models of the shared corpus there are three made here: a
table of 16 columns, float and quantized.  Needs numpy and ai-edge-litert."""
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import log

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
MODELS = ["mnist_valid_tinymaix/float", "mnist_valid_tinymaix/int8", "mnist_resnet_tinymaix/float",
          "mnist_resnet_tinymaix/int8", "mnist_conv_fc_aeq/float", "mnist_conv_fc_aeq/int8_srq",
          "mnist_lstm_tflm/float", "mnist_lstm_tflm/int8", "mlperf_kws_dscnn/float", "mlperf_kws_dscnn/int8",
          "mlperf_kws_dscnn/dynamic_range", "kws_dscnn_small_arm/int16x8", "audio_micro_speech/int8",
          "hello_world_tflm/float", "hello_world_tflm/int8", "har_cnn_arm/int8", "mlperf_ad_autoencoder/int8"]
FEW, TURNS, MANY_TURNS, BATCHES = 64, 5, 40, (32, 128, 512)
SHORT, TINY = 0.1, 5e-7  # seconds: of all samples, of one


def processor_seconds(arguments):
    process = subprocess.Popen([LITEGAP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read().decode()
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode != 0:
        raise RuntimeError(error.strip())
    return usage.ru_utime + usage.ru_stime


class Runtime:
    def __init__(self, model, batch=1):
        self.interpreter = Interpreter(str(model), num_threads=1)
        detail = self.interpreter.get_input_details()[0]
        self.batch = batch
        if batch > 1:
            self.interpreter.resize_tensor_input(detail["index"], [batch * detail["shape"][0], *detail["shape"][1:]],
                                                 strict=False)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]["index"]
        if batch > 1 and self.interpreter.get_output_details()[0]["shape"][0] % batch:
            raise ValueError("another batch does not reach the output")

    def seconds(self, samples):
        """A sample; `samples` [n, ...] in the input's own type."""
        i, shape = self.interpreter, self.input["shape"]
        n = len(samples) // self.batch * self.batch
        start = time.process_time()
        for at in range(0, n, self.batch):
            i.set_tensor(self.input["index"], samples[at:at + self.batch].reshape(shape))
            i.invoke()
            i.get_tensor(self.output)
        return (time.process_time() - start) / n


def codes(x, detail):
    if detail["dtype"] == np.float32:
        return x
    scale, zero = detail["quantization"]
    info = np.iinfo(detail["dtype"])
    return np.clip(np.round(x / scale) + zero, info.min, info.max).astype(detail["dtype"])


def table_models(folder):
    """A small network on a table of 16 columns: float, static int8, dynamic range."""
    random = np.random.default_rng(1)
    x = random.normal(size=(2000, 16)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(np.int64)
    np.savez(folder / "table.npz", x=x, y=y)
    layers = [("Dense", {"units": 32, "activation": "relu", "batch_input_shape": [None, 16]}),
              ("Dense", {"units": 16, "activation": "relu"}), ("Dense", {"units": 2, "activation": "softmax"})]
    net = {"class_name": "Sequential", "config": {"name": "table", "layers": [
        {"class_name": kind, "config": {"name": f"d{i}", **config}} for i, (kind, config) in enumerate(layers)]}}
    (folder / "table.json").write_text(json.dumps(net))
    data, made = str(folder / "table.npz"), folder / "table_float.tflite"
    processor_seconds(["train", str(folder / "table.json"), "--data", data, "--loss", "crossentropy", "--epochs", "3",
                       "-o", str(made)])
    all_made = [made]
    for technique in ("static", "dynamic-range"):
        out = folder / f"table_{technique}.tflite"
        processor_seconds(["quantize", str(made), "--technique", technique, "-o", str(out)] +
                          (["--calibration", data] if technique == "static" else []))
        all_made.append(out)
    return all_made


def fastest(batches, samples):
    """Seconds a sample of the best of them; those that fail are taken out."""
    best = math.inf
    for b in list(batches):
        try:
            best = min(best, b.seconds(samples))
        except (RuntimeError, ValueError):
            batches.remove(b)
    return best


def measure(model, seconds, folder):
    one = Runtime(model)
    shape, detail = one.input["shape"][1:], one.input
    random = np.random.default_rng(2)
    draw = lambda n: random.uniform(0, 1, (n, *shape)).astype(np.float32)
    each = one.seconds(codes(draw(200), detail))
    batches = []
    for batch in BATCHES:
        try:
            batches.append(Runtime(model, batch))
        except (RuntimeError, ValueError):
            pass
    n = max(2048, min(10000, int(seconds / each)))
    if fastest(batches, codes(draw(2048), detail)) < TINY:
        n = 50000
    x = draw(n)
    outputs = int(np.prod(one.interpreter.get_output_details()[0]["shape"][1:]))
    y = random.integers(0, max(2, outputs), n) if outputs > 1 else random.uniform(0, 1, (n, 1)).astype(np.float32)
    few, many = folder / "few.npz", folder / "many.npz"
    np.savez(few, x=x[:FEW], y=y[:FEW])
    np.savez(many, x=x, y=y)
    metric = "top1" if outputs > 1 else "mae"
    run = lambda path: processor_seconds(["eval", str(model), "--data", str(path), "--metric", metric, "--threads", "1",
                                          "--budget", "10m", "--json", "-", "--quiet"])
    ready = codes(x, detail)
    ours, loop, batched, read = [], [], [], []
    for _ in range(TURNS if n * each > SHORT and n <= 10000 else MANY_TURNS):
        start = run(few)
        ours.append((run(many) - start) / (n - FEW))
        loop.append(one.seconds(ready))
        start = time.process_time()
        np.load(many)["x"]
        read.append((time.process_time() - start) / n)
        batched.append(fastest(batches, ready))
    ours, loop, batch, read = (statistics.median(times) for times in (ours, loop, batched, read))
    return (ours, loop, batch, batch + read) if batches else (ours, loop, None, None)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2
    to_loop, to_batch, to_read = [], [], []
    print(f"{'model':34s} {'eval':>10s} {'loop':>10s} {'batch':>10s} {'read':>10s}  samples a second; "
          "eval / loop, batch, read")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        here = [SHARED / "corpus/models" / (m + ".tflite") for m in MODELS]
        for model in table_models(folder) + [m for m in here if m.exists()]:
            label = model.stem if model.parent == folder else f"{model.parent.name}/{model.stem}"
            try:
                ours, loop, batch, read = measure(model, seconds, folder)
            except RuntimeError as error:
                print(f"{label:34s} not run: {str(error)[:90]}")
                continue
            to_loop.append(loop / ours)
            log.append("throughput", label, "samples/s: eval, Python loop", 1 / ours, 1 / loop, ours / loop)
            line = f"{label:34s} {1 / ours:10.0f} {1 / loop:10.0f}"
            if batch:
                to_batch.append(batch / ours)
                log.append("throughput", label, "samples/s: eval, resized batch", 1 / ours, 1 / batch, ours / batch)
                to_read.append(read / ours)
                line += f" {1 / batch:10.0f} {1 / read:10.0f}  {loop / ours:6.2f} {batch / ours:6.2f} {read / ours:6.2f}"
            else:
                line += f" {'-':>10s} {'-':>10s}  {loop / ours:6.2f}      -      -"
            print(line, flush=True)
    print(f"geometric mean: {log.geometric_mean(to_loop):.2f} times the Python loop ({len(to_loop)} models), "
          f"{log.geometric_mean(to_batch):.2f} times the resized batch ({len(to_batch)}), "
          f"{log.geometric_mean(to_read):.2f} with its reading")


if __name__ == "__main__":
    main()
