#!/usr/bin/env python3
"""Runs downpour against other clients on loopback.

    python3 tests/interop/run.py core|matrix|endurance|foreign|list [-k PATTERN] [--bin FILE]

`core` has each client once in each direction, `matrix` downpour with everyone in every way and the
others with one another, `endurance` downpour alone for long, `foreign` the other clients among
themselves (no downpour: it proves the harness); `list` prints the names of all. One line per
scenario, the logs of those that fail, and at the end `N passed, N failed`; exit 1 if any failed. A
program that is not installed is a failure.

Python 3.11, its standard library, and `libtorrent`; the other programs are named in the adapters
in `clients/`, `trackers.py` and `torrent.py`. `scenarios.py` says what there is.
"""

import argparse
import concurrent.futures
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import network
from sandbox import Failure, Sandbox, stopping
from scenarios import SETS


def main():
    config = arguments()
    chosen = {}
    for name in SETS if config.set == "list" else [config.set]:
        chosen.update({s.name: s for s in SETS[name]() if re.search(config.pattern, s.name)})
    if config.set == "list":
        print("\n".join(chosen))
        return 0
    if not chosen:
        sys.exit(f"no scenario matches {config.pattern!r}")
    # A request to end must unwind, so that every process started is ended.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: (stopping.set(), sys.exit(1)))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(config.jobs) as pool:
        jobs = [pool.submit(run, scenario, config) for scenario in chosen.values()]
        for job in concurrent.futures.as_completed(jobs):
            good, lines = job.result()
            failed += not good
            print("\n".join(lines), flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("set", choices=[*SETS, "list"])
    parser.add_argument("-k", dest="pattern", default="", metavar="PATTERN",
                        help="only scenarios whose name matches this regular expression")
    parser.add_argument("--bin", type=Path, default=Path("target/release/downpour"),
                        help="the downpour under test (%(default)s)")
    parser.add_argument("--npm", type=Path, default=Path(os.environ.get("INTEROP_NPM", ".")),
                        help="folder with node_modules/webtorrent-fixtures ($INTEROP_NPM)")
    parser.add_argument("--jobs", type=int, default=4, help="scenarios at a time (%(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER",
                        help="where scenarios that measure draw what they saw")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folders")
    config = parser.parse_args()
    config.bin, config.npm = config.bin.absolute(), config.npm.absolute()
    return config


def run(scenario, config):
    """One scenario: whether it passed, and the lines to print."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        hosts = None
        try:
            if scenario.own_network:
                require("ip")
                stack.enter_context(network.of_its_own())
                hosts = network.ADDRESSES
        except Failure as failure:
            return False, [f"FAIL  {scenario.name}: {failure}"]
        sandbox = Sandbox(scenario.name, config, scenario.seconds, scenario.ipv6, hosts)
        stack.enter_context(sandbox)
        try:
            if stopping.is_set():
                raise Failure("stopped")
            for need in scenario.needs:
                require(need)
            scenario.show(sandbox)
            notes = "".join(f": {note}" for note in sandbox.notes)
            return True, [f"ok    {scenario.name} ({time.monotonic() - began:.1f} s){notes}"]
        except Failure as failure:
            said = str(failure)
        except Exception:
            said = traceback.format_exc()
        head = f"FAIL  {scenario.name} ({time.monotonic() - began:.1f} s): {said}"
        kept = [f"      kept in {sandbox.dir}"] if config.keep else []
        return False, [head, *kept, *sandbox.logs()]


def require(need):
    """Fails unless a program, or a `python:MODULE`, is installed."""
    kind, _, name = need.rpartition(":")
    found = importlib.util.find_spec(name) if kind == "python" else shutil.which(name)
    if not found:
        raise Failure(f"{name} is not installed")


if __name__ == "__main__":
    sys.exit(main())
