#!/usr/bin/env python3
"""Speed against the stock runtime: one thread each, the same models, in turns.

    runtime.py RUNTIME_BENCH MODELS_DIR [SECONDS]

RUNTIME_BENCH is the program of runtime_bench.cc, MODELS_DIR a folder of NAME/KIND.tflite.  Needs numpy
and ai-edge-litert.  Prints microseconds of the best run (a busy machine disturbs every other figure),
each model's speed relative to the runtime (above 1 litegap is faster), both the median of five turns, and
the geometric means.
"""
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import log

TURNS = 5
MODELS = {
    "float": ["imagenet_mnv1_025_128/float", "imagenet_mnv1_025_128_keras/float", "mlperf_ic_resnet8/float",
              "mlperf_kws_dscnn/float", "mlperf_vww_mnv1_025_96/float", "mlperf_ad_autoencoder/float",
              "cifar10_tinymaix/float", "seg_deeplabv3_257/float", "face_landmark/float", "mnist_lstm_tflm/float"],
    "int8": ["imagenet_mnv1_025_128_keras/int8", "imagenet_mnv1_025_128/uint8_qat", "imagenet_mnv1_05_160/uint8_qat",
             "imagenet_mnv2_10_224/uint8_qat", "mlperf_ic_resnet8/int8", "mlperf_kws_dscnn/int8",
             "mlperf_vww_mnv1_025_96/int8", "mlperf_ad_autoencoder/int8", "cifar10_tinymaix/int8",
             "person_detect_tflm/int8", "vww_mcunet_80/int8", "seg_deeplabv3_mnv2_dm05_pascal/uint8_qat",
             "ssd_mnv3_320_arm/int8", "kws_dscnn_small_arm/int16x8", "mnist_lstm_tflm/int8"],
    "dynamic range": ["mlperf_kws_dscnn/dynamic_range", "mlperf_ad_autoencoder/dynamic_range",
                      "mnv2_035_96_embedder/dynamic_range"],
}


def stock(path, seconds):
    """Microseconds a run of the stock runtime, default kernels."""
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(1)
    for d in interpreter.get_input_details():
        if d["dtype"] == np.float32:
            value = random.uniform(-1, 1, d["shape"]).astype(np.float32)
        else:
            info = np.iinfo(d["dtype"])
            value = random.integers(info.min, info.max, d["shape"]).astype(d["dtype"])
        interpreter.set_tensor(d["index"], value)
    interpreter.invoke()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - before)
    return min(times) * 1e6


def ours(program, path, seconds, *words):
    done = subprocess.run([program, path, str(seconds), *words], capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return float(done.stdout.split()[1]), ""


def in_turns(program, path, seconds, *words):
    """Microseconds of the best run of both, litegap first, and the ratio theirs / ours: medians over turns, of
    the ratio within a turn, as the machine's speed changes from turn to turn and processes of litegap differ.
    None and the reason where one does not run it.  `words` go to the program (runtime_bench.cc)."""
    mine, theirs = [], []
    for _ in range(TURNS):
        value, why = ours(program, path, seconds, *words)
        if value is None:
            return None, why
        mine.append(value)
        try:
            theirs.append(stock(path, seconds))
        except (RuntimeError, ValueError) as error:
            return None, f"stock runtime: {str(error)[:60]}"
    ratio = statistics.median(b / a for a, b in zip(mine, theirs))
    return (statistics.median(mine), statistics.median(theirs), ratio), ""


def main():
    program, folder = sys.argv[1], sys.argv[2]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5
    every = []
    for kind, models in MODELS.items():
        ratios = []
        for name in models:
            path = os.path.join(folder, name + ".tflite")
            if not os.path.exists(path):
                continue
            times, why = in_turns(program, path, seconds)
            if times is None:
                print(f"{kind:14s} {name:45s} not run: {why}")
                continue
            mine, theirs, ratio = times
            ratios.append(ratio)
            log.append("runtime", name, "us a run: litegap, runtime", mine, theirs, 1 / ratio)
            print(f"{kind:14s} {name:45s} {mine:10.1f} {theirs:10.1f}   {ratios[-1]:5.2f}", flush=True)
        if ratios:
            every += ratios
            print(f"{kind:14s} geometric mean of {len(ratios)}: {log.geometric_mean(ratios):.2f}")
    if every:
        print(f"all: geometric mean of {len(every)}: {log.geometric_mean(every):.2f}")


if __name__ == "__main__":
    main()
