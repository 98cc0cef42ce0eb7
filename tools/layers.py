#!/usr/bin/env python3
"""Keeps the rooms of src/ apart (docs/how-it-works.md, "Rooms").

usage: layers.py SRC | --self-test

Fails on an include that the table below does not allow, on a room the table does not know, on a
cycle between rooms, on two types of one name in headers (the linker would mix them up), on the generated schema outside tflite/, on printing or reading the environment
outside cli/ and base/, and on mutable variables at namespace level.  Warns about long files.
Tested by --self-test.
"""
import re
import sys
import tempfile
from pathlib import Path

LONG = 700  # lines
LOWER = {"base", "model", "data", "kernels", "run", "quant"}
MAY_INCLUDE = {
    "base": set(),
    "model": {"base"},
    "tflite": {"base", "model"},
    "keras": {"base", "model"},
    "data": {"base", "model"},
    "kernels": {"base", "model"},
    "run": {"base", "model", "data", "kernels"},
    "quant": {"base", "model", "data", "kernels", "run"},
    "train": LOWER | {"keras"},
    "diagnose": LOWER | {"train", "tflite"},
    "report": LOWER | {"keras", "train", "tflite", "diagnose", "tune"},
    "tune": LOWER | {"keras", "train", "tflite"},
    "verbs": LOWER | {"keras", "train", "tflite", "diagnose", "tune", "report"},
    "cli": LOWER | {"keras", "train", "tflite", "diagnose", "tune", "report", "verbs"},
    "python": LOWER | {"keras", "train", "tflite", "diagnose", "tune", "report", "verbs"},
}
DOORS = {"cli", "base"}  # may print, read the environment and keep what a signal handler needs
SCHEMA = "tflite/schema_generated.h"
TALK = re.compile(r"\bstd::(?:cout|cerr|clog)\b|\b(?:std::)?(?:printf|fprintf|puts|getenv)\s*\(")
TYPE = re.compile(r"^(?:class|struct|enum class) (\w+)(?: final)?\s*(?::(?!:)[^;{]*)?\{", re.M)  # at the left margin
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
# A line at the left margin that declares a variable: TYPE name = …; or TYPE name{…}; or TYPE name;
VARIABLE = re.compile(
    r"^(?!.*\b(?:const|constexpr|constinit const|using|typedef|extern|return|namespace|class|struct|"
    r"enum|template|concept|friend|operator|static_assert|case|default|public|private|goto)\b)"
    r"(?:(?:static|inline|thread_local)\s+)*[A-Za-z_][\w:]*(?:<[^;()]*>)?[\s&*]+[A-Za-z_]\w*\s*(?:=[^=].*|\{.*\})?;")


def strip(text, keep_strings):
    """The code without comments, and without the contents of strings; line numbers stay."""
    def blank(match):
        piece = match.group(0)
        if piece[0] != "/" and keep_strings:
            return piece
        return ('""' if piece[0] != "/" else "") + "\n" * piece.count("\n")
    return re.sub(r'R"(\w*)\((?:.|\n)*?\)\1"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"', blank, text)


def check_file(path, room, name, complain, arrows):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > LONG and "schema" not in path.name:
        print(f"{name}: warning: {lines} lines, more than {LONG}", file=sys.stderr)
    for target in INCLUDE.findall(strip(text, keep_strings=True)):
        if target == SCHEMA:
            if room != "tflite":
                complain(name, "only tflite/ may include the generated schema")
            continue
        other = target.split("/")[0] if "/" in target else room
        if other == room:
            continue
        arrows.add((room, other))
        if other not in MAY_INCLUDE:
            complain(name, f'includes "{target}": {other} is not a room')
        elif other not in MAY_INCLUDE[room]:
            complain(name, f'includes "{target}": {room} may not include {other}')
    if room in DOORS:
        return
    for number, line in enumerate(strip(text, keep_strings=False).splitlines(), 1):
        if TALK.search(line):
            complain(f"{name}:{number}", "prints or reads the environment; only cli/ and base/ may")
        if VARIABLE.match(line):
            complain(f"{name}:{number}", f"a mutable variable at namespace level: {line.strip()}")


def cycle(arrows):
    """A list of rooms that leads back to its first, or None."""
    def visit(room, path):
        if room in path:
            return path[path.index(room):] + [room]
        for start, end in sorted(arrows):
            if start == room and (found := visit(end, path + [room])):
                return found
        return None
    for start in sorted({a for a, _ in arrows}):
        if found := visit(start, []):
            return found
    return None


def check(src):
    faults, arrows, types = [], set(), {}
    complain = lambda where, what: faults.append(f"{where}: {what}")
    for path in sorted(p for p in Path(src).rglob("*") if p.suffix in {".h", ".cc", ".inc"}):
        parts = path.relative_to(src).parts
        name = "/".join(("src",) + parts)
        if len(parts) < 2 or parts[0] not in MAY_INCLUDE:
            complain(name, f"{parts[0]} is not a room")
            continue
        check_file(path, parts[0], name, complain, arrows)
        if path.suffix == ".h":
            for kind in TYPE.findall(strip(path.read_text(encoding="utf-8"), keep_strings=False)):
                if kind in types:
                    complain(name, f"defines {kind}, as {types[kind]} does")
                types.setdefault(kind, name)
    if loop := cycle(arrows):
        complain("src", "cycle between rooms: " + " -> ".join(loop))
    return faults


def self_test():
    cases = {  # file, text, a part of the expected fault ("" = no fault)
        "base/a.h": ('#include "base/b.h"\n// std::cout in a comment\n', ""),
        "run/good.cc": ('#include "kernels/k.h"\nnamespace n {\nconst int kA = 1;\nint f();\nint g(int a) {\n  int local = a;\n  return local;\n}\n}\n', ""),
        "model/up.h": ('#include "run/plan.h"\n', "model may not include run"),
        "kernels/up.cc": ('#include "run/plan.h"\n', "kernels may not include run"),
        "tflite/schema.cc": ('#include "tflite/schema_generated.h"\n', ""),
        "run/schema.cc": ('#include "tflite/schema_generated.h"\n', "only tflite/"),
        "quant/unknown.cc": ('#include "magic/x.h"\n', "magic is not a room"),
        "mystery/x.h": ("int f();\n", "mystery is not a room"),
        "run/talk.cc": ('void f() {\n  printf("x");\n}\n', "run/talk.cc:2: prints"),
        "data/env.cc": ('auto f() { return getenv("HOME"); }\n', "prints or reads"),
        "cli/talk.cc": ('void f() { std::printf("x"); }\n', ""),
        "run/snprintf.cc": ('void f(char* p) { snprintf(p, 1, "x"); }\n', ""),
        "data/twin_a.h": ("struct Twin {\n  int a;\n};\nstruct Later;\n", ""),
        "data/twin_b.h": ("class Twin : public A {\n};\nstruct Later {\n};\n", "defines Twin, as src/data/twin_a.h does"),
        "model/concept.h": ("template <class A>\nconcept Small = kSize<A> < kLimit<A>;\n", ""),
        "train/global.cc": ("static int counter = 0;\n", "mutable variable"),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (text, _) in cases.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        faults = check(folder)
    bad = []
    for name, (_, expected) in cases.items():
        found = [f for f in faults if f.startswith("src/" + name)]
        if not expected and found or expected and not any(expected in f for f in found):
            bad.append(f"{name}: expected '{expected}', found {found}")
    if not any("cycle between rooms: kernels -> run -> kernels" in f for f in faults):
        bad.append(f"no cycle reported in {faults}")
    return bad


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    faults = self_test() if sys.argv[1] == "--self-test" else check(sys.argv[1])
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
