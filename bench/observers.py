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
        f, f_seen, q, q_seen, twins = map(float, done.stdout.split())
        for what, seen, bare in (("float", f_seen, f), ("int8", q_seen, q), ("twins", twins, f + q)):
            means[what].append(seen / bare)
            log.append("observers", name, f"us a sample: {what} observed, unobserved", seen, bare, seen / bare)
        print(f"{name:30s} {f:8.1f} us {f_seen / f:6.3f} {q:9.1f} us {q_seen / q:6.3f} {twins / (f + q):12.3f}", flush=True)
    print("geometric mean: " + ", ".join(f"{k} {log.geometric_mean(v):.3f}" for k, v in means.items()))


if __name__ == "__main__":
    main()
