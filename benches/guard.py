#!/usr/bin/env python3
"""Counts the instructions of each part at fixed work, and compares them with benches/baseline.json.

Instructions, not time: callgrind counts the same on a busy machine as on an idle one. More than the
margin above the baseline is a failure; so much below is told, so that the baseline can be made anew
with --update. The last line is "N passed, N failed".

    benches/guard.py [--update] [--program PATH] [PART...]
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
# Other versions of the compiler and of libraries, and processors for which memory is copied or
# hashed by other instructions, stay within it.
MARGIN = 0.15
LIMIT_SECONDS = 120


def build() -> str:
    """Builds the program; gives its path."""
    command = ["cargo", "bench", "--locked", "--bench", "counted", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "counted":
            return message["executable"]
    sys.exit("cargo does not say where the program is")


def count(program: str, part: str) -> int:
    """The instructions of one part, the program's start included."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, part]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or collected is None:
        sys.exit(f"{part}: no count\n{done.stderr}")
    return int(collected[1])


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares instructions with a baseline.")
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--program", help="the built program, instead of building it")
    parser.add_argument("parts", nargs="*", metavar="PART", help="only these")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    program = options.program or build()
    names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    parts = options.parts or names
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = {}
    failed = 0
    for part in parts:
        counts[part] = now = count(program, part)
        before = baseline.get(part)
        if before is None:
            verdict = "not in the baseline" if not options.update else "new"
            failed += not options.update
        else:
            change = now / before - 1
            verdict = f"{change:+.1%}"
            if change > MARGIN:
                verdict += " TOO MANY"
                failed += not options.update
            elif change < -MARGIN:
                verdict += " fewer: worth a new baseline"
        print(f"{part:24} {now / 1e6:10.1f} million instructions  {verdict}", flush=True)
    if options.update:
        kept = {name: count for name, count in baseline.items() if name in names}
        BASELINE.write_text(json.dumps(kept | counts, indent=2) + "\n")
    print(f"{len(parts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
