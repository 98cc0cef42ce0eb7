#!/usr/bin/env python3
"""`litegap tune` on float models of the shared corpus with real labelled data: the table it prints, its wall
time, and the checks that a front has to pass.

    tune.py [MODEL…]      keyword spotting and MNIST without arguments

Checked against the result's own numbers: no candidate beats one on the front in accuracy, size and speed
(latencies within 5 % are equal); every candidate that is not on the front is beaten; best.tflite is the chosen
file; and a second search takes everything from the first one.  LITEGAP is the program."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
SHARED = pathlib.Path(os.environ.get("LITEGAP_SHARED", ROOT.parent / "shared"))
LITEGAP = os.environ.get("LITEGAP", str(ROOT / "build/release/litegap"))
MNIST = ("mnist_t10k/images.npy", "mnist_t10k/labels.npy", "x/255")
KNOWN = {  # samples, labels, input map
    "mlperf_kws_dscnn": ("mlperf_kws01/x.npy", "mlperf_kws01/labels.csv", "(x-83)*0.58470291"),
    "mnist_resnet_tinymaix": MNIST,
    "mnist_valid_tinymaix": MNIST,
    "mnist_conv_fc_aeq": MNIST,
    "mnist_lstm_tflm": MNIST,
}


def tune(model, folder):
    data = SHARED / "corpus/data"
    samples, labels, input_map = KNOWN[model]
    path = pathlib.Path(folder) / "tune.json"
    start = time.perf_counter()
    done = subprocess.run([LITEGAP, "tune", str(SHARED / "corpus/models" / model / "float.tflite"),
                           "--data", str(data / samples), "--labels", str(data / labels), "--input-map", input_map,
                           "--max-drop", "1", "--json", str(path), "-o", str(pathlib.Path(folder) / "out")],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{model}: {done.stderr.strip()}")
    return json.loads(path.read_text()), done.stdout, time.perf_counter() - start


def beats(a, b, sign):
    gain = sign * (a["value"] - b["value"])
    faster, slower = a["latency_ms"] < 0.95 * b["latency_ms"], a["latency_ms"] > 1.05 * b["latency_ms"]
    return gain >= 0 and a["bytes"] <= b["bytes"] and not slower and (gain > 0 or a["bytes"] < b["bytes"] or faster)


def faults(result, folder):
    sign = 1 if result["metric"]["higher_is_better"] else -1
    all_ = [c for c in result["candidates"] if "refused" not in c and "same_as" not in c]
    found = []
    for c in all_:
        if c["on_front"] == any(beats(d, c, sign) for d in all_ if d is not c):
            found.append(f"{c['name']}: on_front is {c['on_front']}")
    chosen = next(c for c in result["candidates"] if c["name"] == result["chosen"])
    if pathlib.Path(chosen["path"]).read_bytes() != (pathlib.Path(folder) / "out/best.tflite").read_bytes():
        found.append(f"best.tflite is not {chosen['name']}")
    return found


def main():
    unknown = [m for m in sys.argv[1:] if m not in KNOWN]
    if unknown:
        sys.exit(f"{unknown[0]}: expected one of {', '.join(KNOWN)}")
    models = sys.argv[1:] or ["mlperf_kws_dscnn", "mnist_resnet_tinymaix"]
    bad = []
    for model in models:
        if not (SHARED / "corpus/models" / model / "float.tflite").exists():
            print(f"{model}: not here")
            continue
        with tempfile.TemporaryDirectory() as folder:
            result, text, seconds = tune(model, folder)
            again, _, resumed_seconds = tune(model, folder)
            print(f"== {model}: {seconds:.1f} s; a second search: {resumed_seconds:.1f} s\n{text}")
            bad += [f"{model}: {f}" for f in faults(result, folder)]
            if again["resumed"] != again["planned"] or again["chosen"] != result["chosen"]:
                bad.append(f"{model}: the second search took {again['resumed']} of {again['planned']}")
    for line in bad:
        print("FAULT", line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
