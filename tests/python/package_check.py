#!/usr/bin/env python3
"""The Python package as its users get it: `pip install .` into this interpreter, then the Python
examples, every file that they wrote measured again by the stock runtime with NumPy, and the errors.

With LITEGAP, the program in the folder of a release build, the module links the rooms as they were
compiled there; that `pip install .` alone would compile each of their files with the same command is
checked instead.  Without it everything is built as for a user, in several minutes.

Needs numpy and ai-edge-litert.  Prints "N passed, N failed".
"""
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    print("package_check: ai-edge-litert is not installed; skipped")
    sys.exit(77)

ROOT = pathlib.Path(os.environ.get("LITEGAP_ROOT", pathlib.Path(__file__).parents[2])).resolve()
EXAMPLES = ROOT / "examples/python"
OWN = "build/pip_check"  # not the folder of the user's `pip install .`
passed = failed = 0


def check(good, text):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {text}")


def outputs(path, x):
    """Real outputs of the stock runtime, one sample at a time."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    i, o = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for v in x:
        v = v[None]
        if i["dtype"] != np.float32:
            scale, zero = i["quantization"]
            info = np.iinfo(i["dtype"])
            v = np.clip(np.round(v / np.float32(scale)) + zero, info.min, info.max)
        interpreter.set_tensor(i["index"], v.astype(i["dtype"]))
        interpreter.invoke()
        v = interpreter.get_tensor(o["index"])
        if o["dtype"] != np.float32:
            scale, zero = o["quantization"]
            v = (v.astype(np.float32) - zero) * np.float32(scale)
        rows.append(v[0])
    return np.array(rows)


def run_examples(folder):
    sys.path.insert(0, str(EXAMPLES))
    example = importlib.import_module("example")
    for name in ("linear_static", "linear_dynamic_range", "linear_qat", "classifier"):
        run = subprocess.run([sys.executable, str(EXAMPLES / f"{name}.py")], cwd=folder, capture_output=True, text=True)
        check(run.returncode == 0, f"{name}.py" + (": " + run.stderr.strip()[-300:] if run.returncode else ""))
        print("    " + run.stdout.strip().replace("\n", "\n    "))
    return example


def check_files(folder, example, litegap):
    x, y = example.line_samples(100, seed=1)
    for name in ("line_float", "line_static", "line_unchanged", "line_dynamic", "line_qat"):
        path = folder / f"{name}.tflite"
        theirs = float(np.mean((outputs(path, x) - y).astype(np.float64) ** 2))
        ours = litegap.evaluate(path, x, y, metric="mse")["models"][0]["value"]
        check(abs(ours - theirs) <= 1e-5 * theirs, f"{name}: mse {ours:.8f}, the runtime says {theirs:.8f}")
    unchanged = litegap.inspect(folder / "line_unchanged.tflite")["technique"]
    check(unchanged == "float32", f"a dynamic-range file of one weight holds {unchanged}")
    check(litegap.inspect(folder / "line_dynamic.tflite")["technique"] == "dynamic-range", "without the size rule it does")
    real = litegap.run(folder / "line_static.tflite", x[:1], float_io=True)
    check(np.array_equal(real, outputs(folder / "line_static.tflite", x[:1])), "run: real values in and out")


def check_every_file(folder, litegap):
    """Each written file in the stock runtime and in litegap, on the same input."""
    random = np.random.default_rng(1)
    for path in sorted(folder.glob("*.tflite")):
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        i, o = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        whole = i["dtype"] != np.float32
        x = (random.integers(-128, 128, i["shape"]) if whole else random.random(i["shape"])).astype(i["dtype"])
        interpreter.set_tensor(i["index"], x)
        interpreter.invoke()
        theirs, ours = interpreter.get_tensor(o["index"]), litegap.run(path, x)
        # Activations quantized while running: a last bit on another processor may move a code.
        near = 0.02 if "dynamic" in path.name else 1e-5
        same = (np.array_equal(ours, theirs) if o["dtype"] != np.float32 else
                np.allclose(ours, theirs, 0, near * max(1.0, float(np.max(np.abs(theirs))))))
        check(same, f"{path.name}: same outputs as the runtime")


def raises(litegap, text, call):
    try:
        call()
    except litegap.Error as e:
        check(text in str(e), f"error: {e}")
    except Exception as e:  # noqa: BLE001: anything else is the failure
        check(False, f"expected litegap.Error, found {type(e).__name__}: {e}")
    else:
        check(False, f"expected litegap.Error with {text!r}, nothing was raised")


def check_errors(folder, example, litegap):
    x, y = example.line_samples(20, seed=2)
    bad = x.copy()
    bad[7] = np.nan
    line = folder / "line_float.tflite"
    out = folder / "never.tflite"
    net = example.sequential([1], [example.dense(1)])
    raises(litegap, "sample 7", lambda: litegap.train(net, bad, y, out=out))
    raises(litegap, "20 rows", lambda: litegap.train(net, x, y[:7], out=out))
    raises(litegap, "calibration", lambda: litegap.quantize(line, "static", out=out))
    raises(litegap, "expected one of", lambda: litegap.quantize(line, "int7", out=out))
    raises(litegap, "expected one of", lambda: litegap.train(net, x, y, out=out, loss="mean"))
    raises(litegap, "no_such", lambda: litegap.inspect(folder / "no_such.tflite"))
    raises(litegap, "a model is a path", lambda: litegap.train(3, x, y, out=out))
    check(not out.exists(), "nothing was written")


def commands(build):
    """File of the rooms or of their precompiled headers -> its command, whatever the build folder."""
    entries = json.loads((build / "compile_commands.json").read_text().replace(str(build), "BUILD"))
    places = (f"{ROOT}/src/", "BUILD/CMakeFiles/litegap_")
    return {e["file"]: e["command"] for e in entries
            if e["file"].startswith(places) and "/litegap_" in e["command"]}


def check_commands(prebuilt):
    theirs, ours = commands(prebuilt), commands(ROOT / OWN)
    differ = [f for f in {**theirs, **ours} if theirs.get(f) != ours.get(f)]
    check(ours and not differ, f"{len(ours)} files of the rooms have the same commands in both builds" +
          (f", but {differ[0]}: {ours.get(differ[0])}; expected {theirs.get(differ[0])}" if differ else ""))


def prebuilt_rooms():
    """The folder with the archives of the rooms, up to date, or None."""
    program = os.environ.get("LITEGAP")
    folder = pathlib.Path(program).resolve().parent if program else None
    if folder is None or not (folder / "liblitegap_verbs.a").exists():
        return None
    subprocess.run(["cmake", "--build", str(folder), "--target", "litegap_verbs"], check=True, stdout=subprocess.DEVNULL)
    return folder


def main():
    prebuilt = prebuilt_rooms()
    settings = [f"--config-settings={s}" for s in
                (f"build-dir={OWN}", f"cmake.define.LITEGAP_PREBUILT={prebuilt}")] if prebuilt else []
    # The compiler by the name that CMake finds by itself: what a compiler cache knows is used again.
    environment = {"CXX": "c++", **os.environ} if shutil.which("c++") else None
    install = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *settings, str(ROOT)],
                             capture_output=True, text=True, env=environment)
    check(install.returncode == 0, "pip install ." + (": " + install.stderr[-2000:] if install.returncode else ""))
    if install.returncode == 0:
        if prebuilt:
            check_commands(prebuilt)
        import litegap
        with tempfile.TemporaryDirectory() as tmp:
            folder = pathlib.Path(tmp)
            example = run_examples(folder)
            check_files(folder, example, litegap)
            check_every_file(folder, litegap)
            check_errors(folder, example, litegap)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
