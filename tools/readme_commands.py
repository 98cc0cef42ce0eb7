#!/usr/bin/env python3
"""Runs the commands of README.md, so that the text stays true.

usage: readme_commands.py README.md PROGRAM

Every ```console block is a conversation: lines that start with "$ " are commands, the rest is what
they print.  Commands run in order in one empty folder, `litegap` being PROGRAM.  A command that a
block expects to end with another code than 0 says so: "$ litegap … # exit 2".  `./dev` lines are
checked for a command that the script knows, and not run (this check is itself a part of `./dev test`).
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 120  # seconds a command


def commands_of(text):
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.S | re.M)
    joined = [re.sub(r"\\\n\s*(?:> )?", "", block) for block in blocks]
    return [line[2:].strip() for block in joined for line in block.splitlines() if line.startswith("$ ")]


def run(command, folder, path):
    code = re.search(r"#\s*exit (\d+)\s*$", command)
    expected = int(code.group(1)) if code else 0
    result = subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path},
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT)
    print(f"{'ok    ' if result.returncode == expected else 'FAILED'} $ {command}")
    if result.returncode != expected:
        print(f"exit code {result.returncode}, expected {expected}\n{result.stdout}{result.stderr}")
    return result.returncode == expected


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    readme, program = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    commands = commands_of(readme.read_text(encoding="utf-8"))
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
        for command in commands:
            if command.startswith("./dev "):
                known = re.search(rf"^  {re.escape(command.split()[1])}\b", help_text, re.M) is not None
                print(f"{'ok    ' if known else 'FAILED'} $ {command} (known, not run)")
                good &= known
            else:
                good &= run(command, work, f"{tools}{os.pathsep}{os.environ['PATH']}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
