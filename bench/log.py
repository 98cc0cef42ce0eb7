"""bench/log.csv: one line for every ratio that a benchmark measured, so that a regression is seen.

    machine   processor, cores, instruction set
    commit    of the tree, with + when it had changes
    bench     the benchmark's name
    model     what was run
    measure   what was measured, with its unit
    ours      of litegap
    peer      of what it is compared with, named in `measure`
    ratio     ours / peer for times and memory, so that less is better; for speeds peer / ours

Lines are only ever added: `append(bench, model, measure, ours, peer, ratio)`."""
import csv
import math
import os
import pathlib
import subprocess

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).resolve().parents[1]))
PATH = ROOT / "bench" / "log.csv"
COLUMNS = ["machine", "commit", "bench", "model", "measure", "ours", "peer", "ratio"]


def machine():
    name = sets = ""
    try:
        for line in open("/proc/cpuinfo"):
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Processor") and not name:
                name = value.strip()
            if key.strip() in ("flags", "Features") and not sets:
                sets = value
    except OSError:
        pass
    best = next((s for s in ("avx512_vnni", "avx2", "asimd") if s in sets.split()), "other")
    return f"{name or os.uname().machine} x{os.cpu_count()} {best}"


def commit():
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "CMakeLists.txt")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def append(bench, model, measure, ours, peer, ratio):
    new = not PATH.exists()
    with open(PATH, "a", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow([machine(), commit(), bench, model, measure] + [f"{v:.4g}" for v in (ours, peer, ratio)])


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan
