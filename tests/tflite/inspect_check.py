#!/usr/bin/env python3
"""Does `litegap inspect` name the technique of every shared model, and raise no false alarm?

    inspect_check.py [LITEGAP SHARED]

Without arguments: the release build, and the shared models where they are (else exit code 77).
Techniques are compared with the schemes of SHARED/corpus/MANIFEST.md; no corpus model, and no case
whose answer is "healthy", may have a fault.  Faults of the other cases must be among what their
answers accept.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

# Schemes of the manifest are coarser, and for two files less exact, than what inspect says.
TECHNIQUES = {
    "float32": "float32", "float16-weights": "float16", "int8-full": "static-int8", "uint8-full": "static-uint8",
    "dynamic-range": "dynamic-range", "int16x8": "int16x8", "int16-act": "float32",
}
EXCEPTIONS = {"mnist_conv_fc_aeq/weight_only.tflite": "weight-only-int8"}


def inspect(litegap, path):
    run = subprocess.run([litegap, "inspect", str(path), "--json", "-"], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        return {"technique": "error: " + run.stderr.strip(), "weights": "", "faults": [], "bytes": 0, "size": {}}
    return json.loads(run.stdout)


def wrong_in_corpus(litegap, corpus):
    for line in (corpus / "MANIFEST.md").read_text().splitlines():
        row = re.match(r"\| models/(\S+\.tflite) \| (\d+) \| \S+ \| (\S+) \|", line)
        if not row:
            continue
        name, size, scheme = row.groups()
        report = inspect(litegap, corpus / "models" / name)
        expected = EXCEPTIONS.get(name, TECHNIQUES[scheme.split("/")[0]])
        if report["technique"] != expected:
            yield f"{name}: {report['technique']}, expected {expected} ({scheme})"
        granularity = scheme.split("/")[-1]
        if granularity.startswith("per-") and report["weights"] != granularity:
            yield f"{name}: {report['weights']} weights, expected {granularity}"
        if report["bytes"] != int(size) or sum(report["size"].values()) != int(size):
            yield f"{name}: parts {report['size']} do not add up to {size} bytes"
        for fault in report["faults"]:
            yield f"{name}: false alarm {fault['cause']}: {fault['says']}"


def wrong_in_cases(litegap, cases):
    for folder in sorted(cases.glob("case_*")):
        answer = json.loads((folder / "answer.json").read_text())
        accepted = set(answer["cause"]) | set(answer.get("acceptable_alternatives", []))
        for fault in inspect(litegap, folder / "quant.tflite")["faults"]:
            if answer["cause"] == ["healthy"] or fault["cause"] not in accepted:
                yield f"{folder.name}: {fault['cause']} is not among {sorted(accepted)}: {fault['says']}"


def main():
    if len(sys.argv) == 1:
        root = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[2]))
        folder = pathlib.Path(os.environ.get("LITEGAP_SHARED", root.parent / "shared"))
        if not folder.is_dir():
            print("no shared models here")
            sys.exit(77)
        sys.argv += [os.environ.get("LITEGAP", str(root / "build/release/litegap")), str(folder)]
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    shared = pathlib.Path(sys.argv[2])
    wrong = list(wrong_in_corpus(sys.argv[1], shared / "corpus")) + list(wrong_in_cases(sys.argv[1], shared / "cases"))
    print("\n".join(wrong + [f"{len(wrong)} wrong"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
