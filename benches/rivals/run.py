#!/usr/bin/env python3
"""Runs downpour side by side with other clients, and writes a table and a picture.

    python3 benches/rivals/run.py [--jobs leech,seed8] [--clients downpour,libtorrent,limit]
                                  [--runs 3] [--size 512M] [--out FOLDER]

Clients take turns in every round, so that all of them see the same machine; memory is warmed right
before each run; a run counts only when the payload is right. Everything is on loopback and ends with
this program. `jobs.py` says what is measured, `rivals.py` how each client is set up, `floor/` what
they talk to. `results.jsonl` has every run, `RESULTS.md` the medians, `results.svg` the picture.

Python 3.11, its standard library, and the clients: `.ci/install ~/.cache/downpour-ci` brings most,
`cargo install rqbit --locked --root ~/.cache/downpour-ci/rqbit` rqbit. Those that lack are left out.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "tests" / "interop"))

import content
import jobs as all_jobs
import picture
import table
from measure import Run
from rivals import RIVALS
from sandbox import Failure, stopping

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "downpour-ci"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def main():
    # libtorrent is in an environment of its own.
    own = CACHE / "python" / "bin" / "python"
    if own.exists() and not importlib.util.find_spec("libtorrent"):
        os.execv(own, [own, *sys.argv])
    os.environ["PATH"] += f":{CACHE / 'rqbit' / 'bin'}:{Path.home() / '.cargo' / 'bin'}"
    config = arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: (stopping.set(), sys.exit(130)))
    chosen = choose_jobs(config)
    rivals = choose_rivals(config)
    config.floor = config.floor or content.build_floor()
    config.out.mkdir(parents=True, exist_ok=True)
    rows, lines = [], config.out / "results.jsonl"
    if config.add and lines.exists():
        again = {(job.name, rival.name) for job in chosen for rival in rivals}
        kept = map(json.loads, lines.read_text().splitlines())
        rows = [row for row in kept if (row["job"], row["client"]) not in again]
    with tempfile.TemporaryDirectory(prefix="downpour-rivals-", dir=config.dir) as folder:
        tempfile.tempdir = folder
        contents = content.Contents(config, Path(folder))
        longest = max(job.length for job in chosen)
        versions = {rival.name: rival.version(config) for rival in rivals}
        with content.held(config, longest), open(lines, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            for job in chosen:
                if job.kind == "idle":
                    made = contents.crowd(job.files, job.piece_length)
                else:
                    made = contents.get(job.length, job.piece_length, job.files)
                takers = [rival for rival in rivals if job.kind in rival.jobs]
                for round in range(config.runs):
                    # Each comes first once.
                    for rival in takers[round % len(takers):] + takers[:round % len(takers)]:
                        row = measure(config, job, rival, made, round)
                        row["version"] = versions[rival.name]
                        rows.append(row)
                        file.write(json.dumps(row) + "\n")
                        file.flush()
                write(config, rows)
    failed = sum(not row["ok"] for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


def measure(config, job, rival, made, round):
    """One run: what becomes of it, said in one line."""
    began = time.monotonic()
    row = {"job": job.name, "client": rival.name, "round": round, "length": job.length,
           "piece_length": job.piece_length, "time": time.time(), "ok": False}
    seconds = config.seconds + job.length / 4e6
    if job.kind == "idle":
        # Two processes, of which one has many to check.
        seconds += 60 + job.files / 5
    with Run(f"{job.name}-{rival.name}", config, seconds) as run:
        try:
            row["figures"] = job.show(run, rival, made)
            row["ok"] = True
        except Failure as failure:
            row["why"] = str(failure)
            if config.verbose:
                print("\n".join(run.logs()))
    took = time.monotonic() - began
    if row["ok"]:
        figures = table.derive(row)
        said = [f"{figures[key]:8.2f} {head}" for key, head in table.USUAL if key in figures]
        said += [f"{figures[k]:.2f} {head}" for k, head in job.columns if k in figures]
        text = ", ".join(said) or "refused"
    else:
        text = f"FAILED: {row['why']}"
    print(f"{round + 1}/{config.runs} {job.name:9} {rival.name:12} {text} [{took:.1f} s]", flush=True)
    return row


def write(config, rows):
    head = heading(config)
    names = {row["client"] for row in rows}
    shown = [rival for rival in (kind() for kind in RIVALS) if rival.name in names]
    measured = {row["job"] for row in rows}
    chosen = [job for job in all_jobs.jobs(config) if job.name in measured]
    (config.out / "RESULTS.md").write_text(table.markdown(head, chosen, rows, shown))
    title = f"downpour and others, {datetime.date.today()}, {machine()}"
    (config.out / "results.svg").write_text(picture.bars(title, chosen, rows))


def heading(config):
    # Without the paths of this machine.
    words = [word for word in sys.argv[1:] if word != "--add"]
    ours = [i for i, word in enumerate(words) if "/" not in word
            and not any("/" in behind for behind in words[i + 1:i + 2] if word.startswith("--"))]
    given = " ".join(words[i] for i in ours)
    return f"""\
# How fast, side by side

{datetime.date.today()}; {machine()}. Median (least–most) over the runs whose payload was right.

    python3 benches/rivals/run.py {given}

CPU is user and system time of the client per GiB of payload; anon and RSS the most memory it took.
leech, pair and check: all of the process's life, until it says it is complete; seed: from the first
request to the last byte. MB is 10^6 bytes."""


def machine():
    model = ""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def choose_jobs(config):
    known = {job.name: job for job in all_jobs.jobs(config)}
    names = []
    for name in config.jobs.split(","):
        for one in all_jobs.GROUPS.get(name, (name,)):
            if one not in known:
                sys.exit(f"no job {one!r}: {', '.join([*known, *all_jobs.GROUPS])}")
            names.append(one)
    return [known[name] for name in dict.fromkeys(names)]


def choose_rivals(config):
    known = {rival.name: rival for rival in (kind() for kind in RIVALS)}
    names = list(known) if config.clients == "all" else config.clients.split(",")
    chosen = []
    for name in names:
        if name not in known:
            sys.exit(f"no client {name!r}: {', '.join(known)}")
        lacking = [need for need in known[name].needs if not installed(need)]
        if lacking:
            print(f"{name} is left out: {', '.join(lacking)} is not installed")
        else:
            chosen.append(known[name])
    return chosen


def installed(need):
    kind, _, name = need.rpartition(":")
    return importlib.util.find_spec(name) if kind == "python" else shutil.which(name)


def size(text):
    """Bytes, with K, M or G for powers of 1024."""
    unit = UNITS.get(text[-1:].upper())
    return int(float(text[:-1]) * unit) if unit else int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", default="all", help="names, with commas (%(default)s)")
    parser.add_argument("--clients", default="all", help="names, with commas (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each (%(default)s)")
    parser.add_argument("--size", type=size, help="of every payload, such as 64M")
    parser.add_argument("--torrents", type=int, default=all_jobs.IDLE_TORRENTS,
                        help="of the job idle (%(default)s)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()),
                        help="folder on the disk to use (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("target/rivals"),
                        help="folder for the results (%(default)s)")
    parser.add_argument("--bin", type=Path, default=HERE.parents[1] / "target/release/downpour",
                        help="the downpour to measure (%(default)s)")
    parser.add_argument("--floor", type=Path, help="the program `floor`, if it is built")
    parser.add_argument("--no-preheat", dest="preheat", action="store_false",
                        help="do not warm memory")
    parser.add_argument("--add", action="store_true",
                        help="keep what earlier runs measured into the same folder, but for what "
                             "is measured again")
    parser.add_argument("--hold", action="store_true",
                        help="keep most of the memory from everybody, and the rest warm")
    parser.add_argument("--seconds", type=float, default=60, help="grace of one run (%(default)s)")
    parser.add_argument("-v", "--verbose", action="store_true", help="logs of runs that fail")
    config = parser.parse_args()
    config.keep, config.npm = False, Path(".")
    config.bin, config.out = config.bin.absolute(), config.out.absolute()
    config.floor = config.floor and config.floor.absolute()
    return config


if __name__ == "__main__":
    sys.exit(main())
