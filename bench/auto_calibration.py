#!/usr/bin/env python3
"""Is the automatic choice of the calibration method at least as accurate as min/max on models that it has
never seen?

    auto_calibration.py [MODELS [FIRST_SEED]]      36 models from seed 1 by default

Every seed draws an architecture (dense, convolutional, depthwise, residual, one-dimensional, recurrent), its
widths and activations, a distribution of inputs (uniform, normal, sparse, heavy-tailed, with rare outlier
samples) and the number of calibration samples; every second model is trained for a few epochs on labels of
its own making, the others keep their initial weights, some with widened ones.  The model is quantized twice,
--calibration-method auto and minmax, and both files are run by the stock runtime on samples that calibration
never saw.  The error is noise power over signal power at the outputs; the ratio is auto / minmax: 1 where the
choice was min/max, less where another method helped.  Its 95 % interval is a paired bootstrap over samples.

Exit code 1 when one model is worse by more than its interval allows.  Needs numpy and ai-edge-litert; LITEGAP
is the program."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
from ai_edge_litert.interpreter import Interpreter

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
TEST = 600
FAMILIES = ("dense", "conv", "depthwise", "residual", "conv1d", "recurrent")
INPUTS = ("uniform", "normal", "sparse", "heavy", "rare")


class Net:
    """A functional Keras model as its architecture's JSON."""

    def __init__(self, shape, random, spread):
        self.layers, self.random, self.spread, self.last = [], random, spread, "in"
        self.layers.append({"class_name": "InputLayer", "name": "in", "inbound_nodes": [],
                            "config": {"name": "in", "batch_input_shape": [None, *shape], "dtype": "float32"}})

    def add(self, kind, inputs=None, **config):
        name = f"{kind.lower()}_{len(self.layers)}"
        inputs = inputs or [self.last]
        self.layers.append({"class_name": kind, "name": name, "config": {"name": name, **config},
                            "inbound_nodes": [[[i, 0, 0, {}] for i in inputs]]})
        self.last = name
        return name

    def weights(self, names=("kernel_initializer",)):
        """Initial values; a wide spread lets some layers have several times the usual weights."""
        scale = float(2.0 * self.spread ** self.random.uniform(0, 1))
        seed = int(self.random.integers(1, 1 << 30))
        value = {"class_name": "VarianceScaling", "config": {"scale": scale, "mode": "fan_in", "seed": seed,
                                                             "distribution": "untruncated_normal"}}
        bias = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.1, "seed": seed + 1}}
        return {"bias_initializer": bias, **{n: value for n in names}}

    def text(self):
        return json.dumps({"class_name": "Functional", "config": {
            "name": "m", "layers": self.layers, "input_layers": [["in", 0, 0]],
            "output_layers": [[self.last, 0, 0]]}})


def pick(random, *values):
    return values[int(random.integers(len(values)))]


def architecture(seed):
    random = np.random.default_rng(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    spread = pick(random, 1.0, 1.0, 4.0, 16.0)
    activation = pick(random, "relu", "relu", "relu6", "tanh", "swish", "elu", "sigmoid")
    out = int(random.integers(1, 12))
    if family == "dense":
        shape = [int(random.integers(6, 80))]
        net = Net(shape, random, spread)
        for _ in range(int(random.integers(1, 5))):
            net.add("Dense", units=int(random.integers(8, 96)), activation=activation, **net.weights())
    elif family in ("conv", "depthwise", "residual"):
        side, channels = int(random.integers(10, 22)), int(random.integers(1, 5))
        shape = [side, side, channels]
        net = Net(shape, random, spread)
        width = int(random.integers(8, 24))
        net.add("Conv2D", filters=width, kernel_size=[3, 3], padding="same", strides=[2, 2], activation=activation,
                **net.weights())
        for _ in range(int(random.integers(1, 4))):
            if family == "depthwise":
                net.add("DepthwiseConv2D", kernel_size=[3, 3], padding="same", activation=activation,
                        **net.weights(("depthwise_initializer",)))
                net.add("Conv2D", filters=width, kernel_size=[1, 1], activation=activation, **net.weights())
            elif family == "residual":
                before = net.last
                net.add("Conv2D", filters=width, kernel_size=[3, 3], padding="same", activation=activation,
                        **net.weights())
                net.add("Conv2D", filters=width, kernel_size=[3, 3], padding="same", activation="linear",
                        **net.weights())
                net.add("Add", inputs=[before, net.last])
                net.add("Activation", activation=activation)
            else:
                net.add("Conv2D", filters=width, kernel_size=[3, 3], padding=pick(random, "same", "valid"),
                        activation=activation, **net.weights())
                if side < 5:
                    break
            side = side // 2
        net.add(pick(random, "GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten"))
    elif family == "conv1d":
        shape = [int(random.integers(16, 64)), int(random.integers(1, 8))]
        net = Net(shape, random, spread)
        for _ in range(int(random.integers(1, 4))):
            net.add("Conv1D", filters=int(random.integers(8, 24)), kernel_size=[3], padding="same",
                    activation=activation, **net.weights())
        net.add(pick(random, "GlobalAveragePooling1D", "Flatten"))
    else:
        shape = [int(random.integers(6, 16)), int(random.integers(2, 10))]
        net = Net(shape, random, spread)
        net.add("LSTM", units=int(random.integers(8, 24)), activation="tanh", recurrent_activation="sigmoid",
                return_sequences=False, unit_forget_bias=True, **net.weights())
        if pick(random, True, False):
            net.add("Dense", units=int(random.integers(8, 32)), activation="relu", **net.weights())
    end = pick(random, "softmax", "linear", "linear", "sigmoid") if out > 1 else pick(random, "linear", "sigmoid")
    net.add("Dense", units=out, activation=end, **net.weights())
    return family, shape, out, end, net.text(), random


def samples(random, kind, count, shape, mean, scale):
    """Every feature has a mean and a scale of its own; the kinds differ in what is rare."""
    full = (count, *shape)
    if kind == "uniform":
        z = random.uniform(-1.7, 1.7, full)
    elif kind == "sparse":
        z = random.normal(size=full) * (random.uniform(size=full) < 0.2)
    elif kind == "heavy":
        z = random.standard_t(3, full)
    else:
        z = random.normal(size=full)
    if kind == "rare":  # one sample of a hundred is many times as large
        z = z * np.where(random.uniform(size=(count, *([1] * len(shape)))) < 0.01, 8.0, 1.0)
    return (mean + scale * z).astype(np.float32)


def litegap(*words):
    done = subprocess.run([LITEGAP, *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def outputs(path, x):
    """Real outputs of the stock runtime."""
    i = Interpreter(str(path), num_threads=1)
    i.allocate_tensors()
    put, get = i.get_input_details()[0], i.get_output_details()[0]
    result = []
    for s in x:
        i.set_tensor(put["index"], s[None].reshape(put["shape"]))
        i.invoke()
        result.append(i.get_tensor(get["index"]).ravel().astype(np.float64))
    return np.stack(result)


def make(seed, tmp):
    """(description, float model, calibration file, test samples), or None where it cannot be made"""
    family, shape, out, end, text, random = architecture(seed)
    kind = INPUTS[int(random.integers(len(INPUTS)))]
    last = shape[-1]
    mean, scale = random.normal(size=last) * 0.5, np.exp(random.normal(size=last) * 0.5)
    many = int(np.exp(random.uniform(np.log(20), np.log(400))))
    draw = lambda n: samples(random, kind, n, shape, mean, scale)
    json_path, model = tmp / "m.json", tmp / "m.tflite"
    json_path.write_text(text)
    trained = seed % 2 == 0
    code, said = litegap("convert", json_path, "-o", model)
    if code == 0 and trained:
        x = draw(400)
        target = np.stack([np.sin(x.reshape(len(x), -1) @ random.normal(size=int(np.prod(shape))) /
                                  np.sqrt(np.prod(shape))) for _ in range(out)], 1)
        if end == "softmax":
            np.savez(tmp / "t.npz", x=x, y=target.argmax(1))
            loss = "crossentropy"
        else:
            np.savez(tmp / "t.npz", x=x, y=target.astype(np.float32))
            loss = "mse"
        code, said = litegap("train", "--init", model, "--data", tmp / "t.npz", "--loss", loss, "--optimizer", "adam",
                             "--epochs", 5, "--clip-norm", 1, "--quiet", "-o", model)
    if code != 0:
        return f"{family}: {said}", None, None, None
    np.savez(tmp / "c.npz", x=draw(many))
    about = f"{family}{' trained' if trained else ''}, {kind} inputs, {many} samples"
    return about, model, tmp / "c.npz", draw(TEST)


def noise(exact, got):
    """By sample; its mean is noise power over signal power."""
    signal = np.mean(np.sum((exact - exact.mean()) ** 2, 1))
    return np.sum((got - exact) ** 2, 1) / (signal if signal > 0 else 1)


def compare(seed):
    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        about, model, calibration, x = make(seed, tmp)
        if model is None:
            return {"about": about, "ratio": None}
        errors, chosen = {}, None
        exact = outputs(model, x)
        for method in ("minmax", "auto"):
            code, said = litegap("quantize", model, "--technique", "static", "--io", "float", "--calibration", calibration,
                                 "--calibration-method", method, "--quiet", "--json", tmp / "q.json", "-o", tmp / "q.tflite")
            if code != 0:
                return {"about": f"{about}: {said}", "ratio": None}
            chosen = json.loads((tmp / "q.json").read_text())["calibration"]["method"]
            errors[method] = noise(exact, outputs(tmp / "q.tflite", x))
        a, m = errors["auto"], errors["minmax"]
        if chosen == "minmax" or m.mean() == 0:
            return {"about": about, "chosen": chosen, "minmax": m.mean(), "auto": a.mean(), "low": 1.0, "high": 1.0,
                    "ratio": 1.0 if a.mean() == m.mean() else np.inf}
        rows = np.random.default_rng(seed).integers(0, len(a), (2000, len(a)))
        draws = a[rows].mean(1) / m[rows].mean(1)
        return {"about": about, "chosen": chosen, "minmax": m.mean(), "auto": a.mean(), "ratio": a.mean() / m.mean(),
                "low": np.quantile(draws, 0.025), "high": np.quantile(draws, 0.975)}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 36
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{'seed':>4}  {'model':<52} {'chosen':<15} {'minmax':>9} {'auto':>9} {'ratio':>7}  95 % interval")
    results = []
    for seed in range(first, first + count):
        r = compare(seed)
        if r["ratio"] is None:
            print(f"{seed:4}  left out: {r['about']}")
            continue
        results.append(r)
        print(f"{seed:4}  {r['about']:<52} {r['chosen']:<15} {100 * r['minmax']:8.4f}% {100 * r['auto']:8.4f}% "
              f"{r['ratio']:7.4f}  {r['low']:.4f} to {r['high']:.4f}", flush=True)
    changed = [r for r in results if r["chosen"] != "minmax"]
    worse = [r for r in results if r["ratio"] > 1]
    proved = [r for r in worse if r["low"] > 1]
    print(f"{len(results)} models: auto took another method on {len(changed)}; worse on {len(worse)} "
          f"(beyond its interval on {len(proved)}), worst ratio {max([r['ratio'] for r in results], default=1):.4f}; "
          f"geometric mean of the ratio where it did: "
          f"{np.exp(np.mean([np.log(r['ratio']) for r in changed])) if changed else 1:.3f}")
    return 1 if proved else 0


if __name__ == "__main__":
    sys.exit(main())
