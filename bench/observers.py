#!/usr/bin/env python3
"""What looking at every tensor costs: extremes and moments of all values against a run that nobody
observes, and the float model with its int8 twin, the errors of every aligned tensor included, against
the sum of the two runs.

    observers.py OBSERVERS_BENCH MODELS_DIR

OBSERVERS_BENCH is the program of observers_bench.cc; one thread, in turns of one process."""
import os
import subprocess
import sys

import log

PAIRS = ["mlperf_ic_resnet8", "mlperf_kws_dscnn", "mlperf_vww_mnv1_025_96", "imagenet_mnv1_025_128_keras",
         "cifar10_tinymaix", "mlperf_ad_autoencoder", "mnist_resnet_tinymaix"]


def main():
    program, folder = sys.argv[1], sys.argv[2]
    means = {"float": [], "int8": [], "twins": []}
    print(f"{'':30s} float, scanned      int8, scanned       twins / sum")
    for name in PAIRS:
        fl, qt = (os.path.join(folder, name, kind + ".tflite") for kind in ("float", "int8"))
        if not os.path.exists(fl) or not os.path.exists(qt):
            continue
        done = subprocess.run([program, fl, qt], capture_output=True, text=True)
        if done.returncode:
            print(f"{name:30s} not run: {done.stderr.strip()}")
            continue
        f, q, f_ratio, q_ratio, twins = map(float, done.stdout.split())
        for what, bare, ratio in (("float", f, f_ratio), ("int8", q, q_ratio), ("twins", f + q, twins)):
            means[what].append(ratio)
            log.append("observers", name, f"us a sample: {what} observed, unobserved", bare * ratio, bare, ratio)
        print(f"{name:30s} {f:8.1f} us {f_ratio:6.3f} {q:9.1f} us {q_ratio:6.3f} {twins:12.3f}", flush=True)
    print("geometric mean: " + ", ".join(f"{k} {log.geometric_mean(v):.3f}" for k, v in means.items()))


if __name__ == "__main__":
    main()
