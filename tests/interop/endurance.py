"""Scenarios of downpour alone that take long or want a whole machine: killed and started again,
interrupted, and how much memory it takes.
"""

import functools
import json
import os
import shutil
import signal
import socket
import time

import payload
import torrent as makers
from clients import DOWNPOUR
from clients.downpour import Downpour
from sandbox import Failure
from trackers import Embedded
from transfer import Scenario

MIB = 1 << 20
GIB = 1 << 30
# How often downloads are killed before the last one may finish.
KILLS = int(os.environ.get("DOWNPOUR_KILLS", "20"))
# What they are of, in pieces of which length, and how many bytes a second come. No more than a second brings may
# be sent twice for each kill: what was on its way, and pieces that were not whole.
KILLED_BYTES, KILLED_PIECE, KILLED_DOWN = 64 * MIB, 256 * 1024, 8 * MIB
# When that happens: while it starts, looks at what is there and records it for the first time; while it fetches;
# and so soon after a signal that asks it to end, while it saves. Seconds at most, from its start or else from the
# end of its check.
KILL_MOMENTS = {"at the start": 0.15, "fetching": 2.0, "saving": 1.0}
SAVING_SECONDS = 0.05
# Most anonymous memory of each side of a download, and of 300 idle peers, in bytes.
TRANSFER_MEMORY = 64 * MIB
IDLE_PEERS, IDLE_MEMORY = 300, 2 * MIB
# The most that may be open in the run with few descriptors, how long a crowd sits there, and when
# after the check of its files a seed has nothing left to do.
DESCRIPTORS = 80
CROWDED_SECONDS, SETTLE_SECONDS = 4, 2
# The swarm of processes: payload, the seed's uplink in bytes a second, downloads, copies it may send.
SWARM_BYTES, SWARM_UPLINK = 64 * MIB, 5_000_000
SWARM_DOWNLOADS, SWARM_COPIES = 8, 1.2
# Time from a signal to the exit in seconds: a `stopped` announce may take 5.
EXIT_SECONDS = 7


def scenarios():
    yield Scenario("killed-downloads", killed_downloads, seconds=180 + 5 * KILLS)
    for name, number, code in [("sigint", signal.SIGINT, 130), ("sigterm", signal.SIGTERM, 143)]:
        show = functools.partial(stopped_download, number, code)
        yield Scenario(f"stopped-download.{name}", show)
    yield Scenario("stopped-seed.sigint", stopped_seed)
    for piece_length in (MIB, 16 * MIB):
        show = functools.partial(memory_of_a_transfer, piece_length)
        yield Scenario(f"memory.{piece_length // MIB}-mib-pieces", show, seconds=600)
    yield Scenario("memory.idle-peers", memory_of_idle_peers)
    yield Scenario("real-swarm", real_swarm)
    yield Scenario("few-descriptors", few_descriptors, needs=("prlimit",))


def content(run, length, piece_length):
    """A file of random bytes, a torrent of it, and the folder that holds the file."""
    folder = run.folder("content")
    with (folder / "payload.bin").open("wb") as payload:
        # More than 256 MiB at once are too many for `randbytes`.
        for at in range(0, length, 64 * MIB):
            payload.write(run.random.randbytes(min(64 * MIB, length - at)))
    made = makers.DownpourCreate().make(run, folder / "payload.bin", piece_length)
    return folder / "payload.bin", made, folder


def progress(process):
    """The objects of `--json` so far; the last line may be half written."""
    lines = [line for line in process.text().splitlines(keepends=True) if line.endswith("}\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def done_bytes(process):
    """The most verified bytes that the process spoke of once its check was over."""
    return max((o["done"] for o in progress(process) if o["event"] == "progress"), default=0)


def killed_downloads(run):
    """Downloads that are killed again and again find all that was verified, fetch none of it again, and finish.
    Whether they find it by the record is not seen: what is written outlives a kill, and without a record it is
    hashed.
    """
    root, torrent, folder = content(run, KILLED_BYTES, KILLED_PIECE)
    seed = DOWNPOUR.seed(run, torrent, folder, options=["--json"])
    output, state = run.folder("output"), run.folder("state")
    options = ["--json", "-v", "--state-dir", state]
    peers = [f"127.0.0.1:{seed.port}"]
    kept, finished, amid = Kept(), 1, 0
    killed = dict.fromkeys(KILL_MOMENTS, 0)
    for _ in range(KILLS):
        slow = [*options, "--max-down", str(KILLED_DOWN)]
        process = DOWNPOUR.leech(run, torrent, output, peers, slow).process
        moment = run.random.choice(list(KILL_MOMENTS))
        if moment != "at the start":
            has_begun = lambda: first_done(process) is not None or process.code is not None
            run.until(has_begun, "the end of the check")
        time.sleep(run.random.uniform(0, KILL_MOMENTS[moment]))
        if moment == "saving":
            process.signal(signal.SIGINT)
            time.sleep(run.random.uniform(0, SAVING_SECONDS))
        was_there = process.code is None
        process.signal(signal.SIGKILL)
        run.until(lambda: process.code is not None, "the end of the killed download")
        if process.code not in (0, 130, -signal.SIGKILL):
            raise Failure(f"exit code {process.code}")
        pieces = kept.goes_on(process)
        killed[moment] += was_there
        amid += was_there and bool(pieces)
        if process.code == 0:
            DOWNPOUR.compare(torrent, root, output)
            kept, finished = Kept(), finished + 1
            for path in (output, state):
                shutil.rmtree(path)
                path.mkdir()
        else:
            kept.is_recorded(recorded(run, state), process.code == 130)
    peer = DOWNPOUR.leech(run, torrent, output, peers, options)
    run.until(peer.is_done, "the last download to finish")
    kept.goes_on(peer.process)
    DOWNPOUR.compare(torrent, root, output)
    # The figures of the last second are in the last line.
    seed.process.may_exit = True
    seed.process.signal(signal.SIGINT)
    run.until(lambda: seed.process.code is not None, "the seed to end", EXIT_SECONDS)
    sent = max(o["uploaded"] for o in progress(seed.process) if o["event"] == "progress")
    hits = sum(killed.values())
    cost = (sent - finished * KILLED_BYTES) / max(hits, 1)
    moments = ", ".join(f"{number} {moment}" for moment, number in killed.items())
    run.note(f"{hits} kills ({moments}), {amid} after something was verified, {finished} downloads complete,"
             f" {cost / MIB:.1f} MiB sent twice for each kill")
    if min(killed.values()) < KILLS // 20 or amid < KILLS // 5:
        raise Failure(f"too few of {KILLS} kills hit: {moments}, {amid} after something was verified")
    if cost > KILLED_DOWN:
        raise Failure(f"each kill cost {cost / MIB:.1f} MiB")


class Kept:
    """What the runs of one download have said is verified: pieces, and bytes in all."""

    def __init__(self):
        self.pieces, self.bytes = set(), 0

    def goes_on(self, process):
        """The pieces that one more run has verified. Fails unless that found everything at first, and unless it
        fetched none of it again."""
        first = first_done(process)
        if first is not None and first < self.bytes:
            raise Failure(f"{self.bytes} bytes were verified before a kill, {first} were found after it")
        pieces = {o["piece"] for o in progress(process) if o["event"] == "piece"}
        if again := pieces & self.pieces:
            raise Failure(f"{len(again)} of {len(self.pieces)} pieces were fetched again after a kill")
        self.pieces |= pieces
        self.bytes = max(self.bytes, done_bytes(process), len(self.pieces) * KILLED_PIECE)
        return pieces

    def is_recorded(self, bytes_, ended_well):
        """So many bytes are said to be recorded, or None. Fails if they are not all, although the run `ended_well`.
        """
        if bytes_ is None:
            # Nothing is told of what is complete, nor of what was never saved.
            bytes_ = KILLED_BYTES if ended_well else 0
        if ended_well and bytes_ < self.bytes:
            raise Failure(f"{self.bytes} bytes were verified and {bytes_} recorded at the end")
        self.bytes = max(self.bytes, bytes_)


def first_done(process):
    """The verified bytes that the process spoke of first once its check was over."""
    return next((o["done"] for o in progress(process) if o["event"] == "progress"), None)


def recorded(run, state):
    """Bytes of the unfinished torrent whose state is there that were verified when it was saved, or None."""
    why = run.output("downpour-why", [run.config.bin, "why", "--json", "--state-dir", state])
    return next((o["done"] for o in map(json.loads, why.splitlines()) if o["event"] == "why"), None)


def stopped_download(number, code, run):
    """A signal in the middle: the state is saved, the tracker told, and the next run goes on."""
    root, made, folder = content(run, 32 * MIB, 256 * 1024)
    tracker = Embedded().start(run, made.info_hash)
    torrent = made.announced_at(tracker.url, run.dir / "announced.torrent")
    DOWNPOUR.seed(run, torrent, folder)
    tracker.until_known(seeds=1)
    output, state = run.folder("output"), run.folder("state")
    options = ["--json", "--state-dir", state]
    peer = DOWNPOUR.leech(run, torrent, output, options=[*options, "--max-down", "4M"])
    run.until(lambda: done_bytes(peer.process) >= 4 * MIB, "the first 4 MiB")
    peer.process.signal(number)
    run.until(lambda: peer.process.code is not None, "the exit", EXIT_SECONDS)
    if peer.process.code != code:
        raise Failure(f"exit code {peer.process.code} instead of {code}")
    if tracker.counts() != (1, 0):
        raise Failure(f"the tracker was not told: {tracker.counts()} seeds and leechers")
    done = done_bytes(peer.process)
    again = DOWNPOUR.leech(run, torrent, output, options=options)
    run.until(again.is_done, "the second run to finish")
    DOWNPOUR.compare(torrent, root, output)
    fetched = max(o.get("downloaded", 0) for o in progress(again.process))
    if fetched > root.stat().st_size - done:
        raise Failure(f"{done} bytes were there, yet {fetched} were fetched again")


def stopped_seed(run):
    """Ctrl-C while only seeding is success."""
    _, torrent, folder = content(run, MIB, 256 * 1024)
    tracker = Embedded().start(run, torrent.info_hash)
    torrent = torrent.announced_at(tracker.url, run.dir / "announced.torrent")
    seed = DOWNPOUR.seed(run, torrent, folder)
    tracker.until_known(seeds=1)
    seed.process.may_exit = True
    seed.process.signal(signal.SIGINT)
    run.until(lambda: seed.process.code is not None, "the exit", EXIT_SECONDS)
    if seed.process.code != 0:
        raise Failure(f"exit code {seed.process.code} instead of 0")
    if tracker.counts() != (0, 0):
        raise Failure(f"the tracker was not told: {tracker.counts()} seeds and leechers")


def anonymous_memory(process):
    """Bytes of anonymous memory that a process has now; 0 when it is gone."""
    try:
        status = open(f"/proc/{process.pid}/status").read()
    except FileNotFoundError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields.get("RssAnon", "0 kB").split()[0]) * 1024


def memory_of_a_transfer(piece_length, run):
    """4 GiB from one downpour to another, both in bounds all the time."""
    if shutil.disk_usage(run.dir).free < 5 * GIB:
        raise Failure(f"needs 5 GiB free in {run.dir}")
    folder = run.folder("content")
    root = folder / "disk.img"
    with open(root, "wb") as file:
        # Holes, but no two pieces alike.
        file.truncate(4 * GIB)
        for at in range(0, 4 * GIB, MIB):
            file.seek(at)
            file.write(run.random.randbytes(32))
    torrent = makers.DownpourCreate().make(run, root, piece_length)
    seed = DOWNPOUR.seed(run, torrent, folder)
    run.listening(seed.process, seed.port)
    output = run.folder("output")
    peer = DOWNPOUR.leech(run, torrent, output, [f"127.0.0.1:{seed.port}"])
    most = {"the seed": 0, "the download": 0}

    def done():
        for name, process in (("the seed", seed.process), ("the download", peer.process)):
            most[name] = max(most[name], anonymous_memory(process))
        return peer.is_done()

    run.until(done, "the download to finish")
    run.note(", ".join(f"{name} {most[name] / MIB:.1f} MiB" for name in most))
    DOWNPOUR.compare(torrent, root, output)
    for name, bytes_ in most.items():
        if bytes_ > TRANSFER_MEMORY:
            raise Failure(f"{name} took {bytes_ / MIB:.1f} MiB of anonymous memory")


def memory_of_idle_peers(run):
    """Three hundred peers that say hello, each from an address of its own, and then nothing."""
    _, torrent, folder = content(run, MIB, 256 * 1024)
    seed = DOWNPOUR.seed(run, torrent, folder, options=["--max-peers", "400"])
    run.listening(seed.process, seed.port)
    greet(seed.port, torrent, 0).close()
    before = anonymous_memory(seed.process)
    peers = [greet(seed.port, torrent, n) for n in range(1, IDLE_PEERS + 1)]
    grown = anonymous_memory(seed.process) - before
    run.note(f"{grown / MIB:.2f} MiB")
    for peer in peers:
        # Still open: nothing to read but what it has sent so far.
        peer.setblocking(False)
        try:
            while peer.recv(65_536):
                pass
            raise Failure("an idle peer was disconnected")
        except BlockingIOError:
            peer.close()
    if grown > IDLE_MEMORY:
        raise Failure(f"{IDLE_PEERS} idle peers took {grown / MIB:.2f} MiB")


def processor_seconds(process):
    """Seconds of processor time that a process has used."""
    fields = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def real_swarm(run):
    """One seed with a thin uplink and eight downloads as processes of their own: the seed gives
    little more than one copy, and all have everything soon after it is out.
    """
    root, made, folder = content(run, SWARM_BYTES, 256 * 1024)
    tracker = Embedded().start(run, made.info_hash)
    torrent = made.announced_at(tracker.url, run.dir / "announced.torrent")
    limit = ["--json", "--max-up", str(SWARM_UPLINK)]
    seed = DOWNPOUR.seed(run, torrent, folder, options=limit)
    tracker.until_known(seeds=1)
    began = time.monotonic()
    outputs = [run.folder("output") for _ in range(SWARM_DOWNLOADS)]
    peers = [DOWNPOUR.leech(run, torrent, o, options=["--json", "--seed"]) for o in outputs]

    def all_done():
        return all(any(o["event"] == "done" for o in progress(p.process)) for p in peers)

    run.until(all_done, "everyone to have everything")
    ratio = SWARM_BYTES / SWARM_UPLINK / (time.monotonic() - began)
    # The figures of the last second are in the last line.
    seed.process.may_exit = True
    seed.process.signal(signal.SIGINT)
    run.until(lambda: seed.process.code is not None, "the seed to end", EXIT_SECONDS)
    sent = max(o["uploaded"] for o in progress(seed.process) if o["event"] == "progress")
    copies = sent / SWARM_BYTES
    run.note(f"{ratio:.2f} of the ideal, {copies:.2f} copies from the seed")
    for output in outputs:
        DOWNPOUR.compare(torrent, root, output)
    if copies > SWARM_COPIES:
        raise Failure(f"the seed sent {copies:.2f} copies")


def few_descriptors(run):
    """Two thousand files and a crowd that only connects, with next to no descriptors: nothing fails
    and nothing spins.
    """
    root = payload.many(run.folder("content"), run.random)
    torrent = makers.DownpourCreate().make(run, root, 64 * 1024)
    scarce = Downpour(within=["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"])
    seed = scarce.seed(run, torrent, root.parent)
    run.listening(seed.process, seed.port)
    crowd = []
    for n in range(3 * DESCRIPTORS):
        address = f"127.0.{1 + n // 200}.{1 + n % 200}"
        crowd.append(socket.create_connection(("127.0.0.1", seed.port), 5, (address, 0)))
    # While the crowd comes it checks its files, and then it records what it found: that is work.
    run.until(lambda: "seeding" in seed.process.text(), "the seed to have checked its files")
    checked = time.monotonic()
    run.until(lambda: time.monotonic() > checked + SETTLE_SECONDS, "the seed to have settled")
    began = time.monotonic()
    before = processor_seconds(seed.process)
    run.until(lambda: time.monotonic() > began + CROWDED_SECONDS, "the crowd to be borne")
    spent = processor_seconds(seed.process) - before
    run.note(f"{spent:.2f} s of processor in {CROWDED_SECONDS} s")
    if spent > CROWDED_SECONDS / 10:
        raise Failure(f"{spent:.2f} s of processor while {len(crowd)} connections said nothing")
    output = run.folder("output")
    peer = scarce.leech(run, torrent, output, [f"127.0.0.1:{seed.port}"])
    run.until(peer.is_done, "the download to finish")
    scarce.compare(torrent, root, output)
    for connection in crowd:
        connection.close()


def greet(port, torrent, number):
    """A connection after both handshakes and the seed's first message (BEP 3)."""
    address = f"127.0.{1 + number // 250}.{1 + number % 250}"
    peer = socket.create_connection(("127.0.0.1", port), 5, source_address=(address, 0))
    hello = b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(torrent.info_hash)
    peer.sendall(hello + b"-XX0000-%012d" % number)
    answer = b""
    while len(answer) < 68 + 5:
        part = peer.recv(65_536)
        if not part:
            raise Failure("the seed closed the connection during the handshake")
        answer += part
    return peer
