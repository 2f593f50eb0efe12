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
# When that happens: while it starts, looks at what is there and records it for the first time; while it
# fetches; and so soon after a signal that asks it to end, while it saves. All in seconds.
KILL_MOMENTS = {"at the start": (0.0, 0.15), "fetching": (0.15, 2.0), "saving": (0.15, 1.0)}
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
    yield Scenario("killed-downloads", killed_downloads, seconds=180 + 3 * KILLS)
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
    """Downloads that are killed again and again never lose a verified piece, and finish."""
    root, torrent, folder = content(run, 64 * MIB, 256 * 1024)
    seed = DOWNPOUR.seed(run, torrent, folder)
    output, state = run.folder("output"), run.folder("state")
    options = ["--json", "--state-dir", state]
    peers = [f"127.0.0.1:{seed.port}"]
    before, finished = 0, 0
    killed = dict.fromkeys(KILL_MOMENTS, 0)
    for _ in range(KILLS):
        slow = [*options, "--max-down", "8M"]
        peer = DOWNPOUR.leech(run, torrent, output, peers, slow)
        moment = run.random.choice(list(KILL_MOMENTS))
        time.sleep(run.random.uniform(*KILL_MOMENTS[moment]))
        if moment == "saving":
            peer.process.may_exit = True
            peer.process.signal(signal.SIGINT)
            time.sleep(run.random.uniform(0, SAVING_SECONDS))
        killed[moment] += peer.process.code is None
        peer.process.signal(signal.SIGKILL)
        run.until(lambda: peer.process.code is not None, "the end of the killed download")
        if peer.process.code not in (0, 130, -signal.SIGKILL):
            raise Failure(f"exit code {peer.process.code}")
        said = done_bytes(peer.process)
        if said and said < before:
            raise Failure(f"{before} bytes were done before a kill {moment}, {said} after it")
        before = max(before, said)
        if peer.process.code == 0:
            DOWNPOUR.compare(torrent, root, output)
            before, finished = 0, finished + 1
            for path in (output, state):
                shutil.rmtree(path)
                path.mkdir()
    peer = DOWNPOUR.leech(run, torrent, output, peers, options)
    run.until(peer.is_done, "the last download to finish")
    DOWNPOUR.compare(torrent, root, output)
    moments = ", ".join(f"{number} {moment}" for moment, number in killed.items())
    run.note(f"{sum(killed.values())} kills ({moments}), {finished + 1} downloads complete, nothing lost")


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
