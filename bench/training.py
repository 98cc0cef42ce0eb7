#!/usr/bin/env python3
"""Speed of training against tf-keras: one thread each, the same architecture and data, in turns.

    training.py [MODEL.h5]

MODEL.h5: by default ResNet-8 for 32x32 pictures among the shared models.  An epoch of 1600 random
pictures in batches of 32, SGD.  Needs tensorflow and tf-keras (TF_PYTHON: the interpreter that has them;
without it only our own time is printed).  LITEGAP: the program.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

SAMPLES = 1600
ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parent.parent))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))

THEIRS = r"""
import sys, time
import numpy as np, tensorflow as tf, tf_keras
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
m = tf_keras.models.load_model(sys.argv[1], compile=False)
d = np.load(sys.argv[2])
m.compile(tf_keras.optimizers.legacy.SGD(0.01), "sparse_categorical_crossentropy")
m.fit(d["x"], d["y"], batch_size=32, epochs=1, verbose=0)
times = []
for _ in range(3):
    start = time.perf_counter()
    m.fit(d["x"], d["y"], batch_size=32, epochs=1, verbose=0)
    times.append(time.perf_counter() - start)
print("seconds", min(times))
"""


def ours(model, data, folder, epochs):
    program = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
    start = time.perf_counter()
    subprocess.run([program, "train", model, "--data", data, "--loss", "crossentropy", "--epochs", str(epochs),
                    "--batch-size", "32", "--quiet", "-o", str(pathlib.Path(folder, "out.tflite"))],
                   check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    model = sys.argv[1] if len(sys.argv) > 1 else str(SHARED / "corpus/models/mlperf_ic_resnet8/keras.h5")
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        data = str(pathlib.Path(folder, "data.npz"))
        np.savez(data, x=random.uniform(0, 1, (SAMPLES, 32, 32, 3)).astype(np.float32),
                 y=random.integers(0, 10, SAMPLES))
        one = min((ours(model, data, folder, 3) - ours(model, data, folder, 1)) / 2 for _ in range(3))
        print(f"litegap   {one:.2f} s an epoch of {SAMPLES} samples")
        python = os.environ.get("TF_PYTHON")
        if python is None:
            return 0
        done = subprocess.run([python, "-c", THEIRS, model, data], capture_output=True, text=True,
                              env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"})
        if done.returncode != 0:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        theirs = float(done.stdout.split()[-1])
        print(f"tf-keras  {theirs:.2f} s")
        print(f"speed of litegap relative to tf-keras: {theirs / one:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
