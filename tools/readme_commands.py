#!/usr/bin/env python3
"""Runs the commands of README.md, so that the text stays true.

usage: readme_commands.py README.md PROGRAM

Every ```console block is a conversation: lines that start with "$ " are commands, the rest is what
they print.  Commands run in order in one empty folder, `litegap` being PROGRAM.  What a block shows
must be printed, line by line and in order; numbers may differ (another processor, another time), and
a line "..." stands for any lines.  A command that a block expects to end with another code than 0
says so: "$ litegap ... # exit 2".  `./dev` lines are checked for a command that the script knows, and
not run (this check is itself a part of `./dev test`).
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 300  # seconds a command


def conversations(text):
    """[(command, lines that it prints according to the text)]"""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.S | re.M):
        for line in re.sub(r"\\\n\s*(?:> )?", "", block).splitlines():
            if line.startswith("$ "):
                found.append((line[2:].strip(), []))
            elif found:
                found[-1][1].append(line)
    return found


def masked(line):
    """The line without what may differ: numbers (with sign and exponent) and widths of gaps."""
    return re.sub(r"[-+]?\d[\d.]*(?:e[-+]?\d+)?", "#", re.sub(r"\s+", " ", line)).strip()


def first_difference(shown, printed):
    """The first shown line that was not printed in its place, or None."""
    printed = [masked(line) for line in printed]
    at, anywhere = 0, False
    for line in shown:
        if not line.strip():
            continue
        if line.strip() == "...":
            anywhere = True
            continue
        wanted = masked(line)
        while at < len(printed) and (not printed[at] or anywhere and printed[at] != wanted):
            at += 1
        if at == len(printed) or printed[at] != wanted:
            return line
        at, anywhere = at + 1, False
    return None


def run(command, shown, folder, path):
    code = re.search(r"#\s*exit (\d+)\s*$", command)
    expected = int(code.group(1)) if code else 0
    result = subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path},
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT)
    strange = first_difference(shown, result.stdout.splitlines())
    good = result.returncode == expected and strange is None
    print(f"{'ok    ' if good else 'FAILED'} $ {command}")
    if result.returncode != expected:
        print(f"exit code {result.returncode}, expected {expected}\n{result.stdout}{result.stderr}")
    if strange is not None:
        print(f"the text shows this line, the program did not print it there:\n{strange}\nit printed:\n{result.stdout}")
    return good


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    readme, program = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    commands = conversations(readme.read_text(encoding="utf-8"))
    if not commands:
        print(f"{readme}: no commands found", file=sys.stderr)
        return 1
    help_text = subprocess.run([readme.resolve().parent / "dev", "help"], capture_output=True, text=True).stdout
    good = True
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder, "bin")
        tools.mkdir()
        (tools / "litegap").symlink_to(program)
        work = Path(folder, "work")
        work.mkdir()
        for command, shown in commands:
            if command.startswith("./dev "):
                known = re.search(rf"^  {re.escape(command.split()[1])}\b", help_text, re.M) is not None
                print(f"{'ok    ' if known else 'FAILED'} $ {command} (known, not run)")
                good &= known
            else:
                good &= run(command, shown, work, f"{tools}{os.pathsep}{os.environ['PATH']}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
