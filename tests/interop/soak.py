"""Scenarios of a download that two hundred peers come to, trade with and leave, for minutes: what it holds
stays as it was, nothing is left when they are gone, and it ends well in the middle of it.

`DOWNPOUR_SOAK_SECONDS` says for how long, and `run.py --pictures FOLDER` draws what was seen.
"""

import json
import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass

import graph
import torrent as makers
from clients import DOWNPOUR
from endurance import MIB, anonymous_memory, content, done_bytes, progress
from sandbox import Failure, free_port
from transfer import Scenario

SECONDS = int(os.environ.get("DOWNPOUR_SOAK_SECONDS", "600"))
PEERS = 200
# Bytes a second in each direction; what is shared is more than can arrive in the time.
DOWN, UP = 512 * 1024, 8 * MIB
PIECE_LENGTH = 64 * 1024
# What it may hold of blocks: pieces that somebody began and left fill it, and it is full soon.
MEMORY = "16M"
# Between two looks, and how long it may take to become quiet once everybody has left, seconds.
EVERY, QUIET = 1, 20
# Parts of the time that are compared: once it is warm, and at its end.
WARM, LATE = (0.2, 0.4), (0.8, 1.0)
# What it may hold more late than warm; and what may be left, when they are gone, of what was not there before.
GROWN = {"anonymous": 4 * MIB, "descriptors": 40, "tasks": 40}
LEFT = {"descriptors": 2, "tasks": 2}
# The crowd in which it is stopped, the bytes it has by then, and seconds from the signal to the exit.
CROWD, FETCHED, EXIT_SECONDS = 300, 8 * MIB, 5


def scenarios():
    yield Scenario("soak", soak, seconds=SECONDS + 180)
    yield Scenario("stopped-in-a-crowd", stopped_in_a_crowd, seconds=180)


@dataclass
class Sample:
    """What a download holds at one time."""

    time: float
    anonymous: int
    slabs: int
    descriptors: int
    tasks: int
    connections: int


class Watch:
    """Looks at a download that runs with `--json -v`, once a second."""

    def __init__(self, process):
        self.process, self.samples = process, []
        self.file, self.rest = open(process.log, errors="replace"), ""
        self.began = time.monotonic()

    def now(self):
        return time.monotonic() - self.began

    def look(self):
        """True, so that it may be part of a condition that is waited for."""
        if self.samples and self.now() < self.samples[-1].time + EVERY:
            return True
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        objects = [json.loads(line) for line in lines if line.startswith("{")]
        totals = [o for o in objects if o["event"] == "totals"]
        if totals:
            descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
            memory, last = anonymous_memory(self.process), totals[-1]
            tasks, connections = last["tasks"], last["connections"]
            sample = Sample(self.now(), memory, last["slabs"], descriptors, tasks, connections)
            self.samples.append(sample)
        return True

    def last(self, name):
        return getattr(self.samples[-1], name) if self.samples else None

    def median(self, name, first, last=float("inf")):
        """The median of a figure in a stretch of time."""
        values = [getattr(s, name) for s in self.samples if first <= s.time <= last]
        if not values:
            raise Failure(f"{name} was not seen from {first:.0f} s on")
        return statistics.median(values)


def start(run, length, options):
    """A download that listens, where it keeps things, what it fetches, and the file that has it."""
    root, made, _ = content(run, length, PIECE_LENGTH)
    kept = run.folder("output"), run.folder("state")
    limits = ["--json", "--max-peers", str(CROWD + 50), "--state-dir", kept[1], *options]
    peer = DOWNPOUR.leech(run, made, kept[0], options=limits)
    run.listening(peer.process, peer.port)
    return peer, kept, made, root


def come(run, peers, port, made, root):
    """The crowd of `drivers/crowd.py`, which says how many are connected, in a line a second."""
    argv = [sys.executable, makers.DRIVERS / "crowd.py", port, made.info_hash, root, PIECE_LENGTH]
    return run.start("crowd", [*argv, "--peers", peers, "--listen", free_port()])


def told(process):
    """The newest line of a crowd."""
    return (progress_lines(process) or [{"connected": 0, "met": 0, "received": 0, "sent": 0}])[-1]


def progress_lines(process):
    lines = [line for line in process.text().splitlines(keepends=True) if line.endswith("}\n")]
    return [json.loads(line) for line in lines]


def soak(run):
    options = ["-v", "--memory", MEMORY, "--max-down", str(DOWN), "--max-up", str(UP)]
    peer, _, made, root = start(run, DOWN * SECONDS * 5 // 4, options)
    watch = Watch(peer.process)
    run.until(lambda: watch.look() and watch.now() > 5, "it to be quiet before anybody comes")
    before = {name: watch.median(name, 0) for name in LEFT}
    came = watch.now()
    crowd = come(run, PEERS, peer.port, made, root)
    run.until(lambda: watch.look() and watch.now() > came + SECONDS, "the crowd to come and go")
    left = watch.now()
    seen = told(crowd)
    crowd.stop()
    run.until(lambda: watch.look() and watch.last("connections") == 0, "the last to be gone", QUIET)
    gone = watch.now()
    run.until(lambda: watch.look() and watch.now() > gone + QUIET, "it to be quiet again")
    draw(run, watch, [(came, "they come"), (left, "they leave")])
    span = [[came + part * SECONDS for part in parts] for parts in (WARM, LATE)]
    warm, late = ({name: watch.median(name, *part) for name in GROWN} for part in span)
    after = {name: watch.median(name, gone + QUIET / 2) for name in GROWN}
    sizes = ", ".join(
        f"{name} {shown(before.get(name))} before, {shown(warm[name])} warm, {shown(late[name])} late,"
        f" {shown(after[name])} after" for name in GROWN)
    most = max(s.connections for s in watch.samples)
    traded = f"{seen['sent'] // MIB} MiB in, {seen['received'] // MIB} MiB out"
    run.note(f"{seen['met']} peers, {most} at a time, {traded}; {sizes}")
    if most < PEERS * 0.8 or min(seen["sent"], seen["received"]) < DOWN * SECONDS / 4:
        raise Failure(f"there was no trade: {most} peers at a time, {traded}")
    for name, more in GROWN.items():
        if late[name] > warm[name] + more:
            raise Failure(f"{name} grew: {sizes}")
    for name, more in LEFT.items():
        if after[name] > before[name] + more:
            raise Failure(f"{name} are left: {sizes}")
    if after["anonymous"] > warm["anonymous"] + GROWN["anonymous"]:
        raise Failure(f"memory is left: {sizes}")


def shown(value):
    if value is None:
        return "-"
    return f"{value / MIB:.1f} MiB" if value > MIB else f"{value:.0f}"


def draw(run, watch, marks):
    """The picture, if one is wanted."""
    if not run.config.pictures:
        return
    panels = [
        ("anonymous memory, MiB", [s.anonymous / MIB for s in watch.samples]),
        ("blocks of unfinished pieces, and on their way, MiB", [s.slabs / MIB for s in watch.samples]),
        ("open descriptors", [s.descriptors for s in watch.samples]),
        ("tasks", [s.tasks for s in watch.samples]),
        ("connections", [s.connections for s in watch.samples]),
    ]
    title = f"A download in a crowd of {PEERS} that come, trade and leave"
    run.config.pictures.mkdir(parents=True, exist_ok=True)
    picture = graph.draw(title, [s.time for s in watch.samples], panels, marks)
    (run.config.pictures / "soak.svg").write_text(picture)


def stopped_in_a_crowd(run):
    """A signal while hundreds trade: it ends at once, and the next run neither hashes nor fetches again."""
    peer, (output, state), made, root = start(run, 64 * MIB, ["--max-down", "2M"])
    crowd = come(run, CROWD, peer.port, made, root)
    enough = lambda: told(crowd)["connected"] >= CROWD * 0.8 and done_bytes(peer.process) >= FETCHED
    run.until(enough, "a crowd that trades")
    began = time.monotonic()
    peer.process.signal(signal.SIGTERM)
    run.until(lambda: peer.process.code is not None, "the exit", 2 * EXIT_SECONDS)
    took = time.monotonic() - began
    crowd.stop()
    if peer.process.code != 143:
        raise Failure(f"exit code {peer.process.code} instead of 143")
    if took > EXIT_SECONDS:
        raise Failure(f"it took {took:.1f} s to end")
    done = done_bytes(peer.process)
    again = DOWNPOUR.leech(run, made, output, options=["--json", "--state-dir", state])
    run.listening(again.process, again.port)
    run.until(lambda: done_bytes(again.process) >= done, "the next run to know what is there")
    hashed = [o for o in progress(again.process) if o["event"] == "checking" and o["done"]]
    crowd = come(run, CROWD // 10, again.port, made, root)
    run.until(again.is_done, "the second run to finish")
    DOWNPOUR.compare(made, root, output)
    fetched = max(o.get("downloaded", 0) for o in progress(again.process))
    run.note(f"{took:.2f} s to the exit, {done // MIB} MiB kept, {fetched // MIB} MiB fetched then")
    if hashed:
        raise Failure(f"what was verified was hashed again: {hashed[-1]}")
    if fetched > root.stat().st_size - done:
        raise Failure(f"{done} bytes were there, yet {fetched} were fetched again")
