"""The jobs. Each is a function of a run, a client and a content that returns what it measured, and
raises `Failure` when the client did not do it right; a payload is compared every time.

`seconds` is wall time; `processor` the client's seconds of processor time and `bytes` what they are
divided by; `rate` in MB/s (1e6). Further figures have names of their own.
"""

import time
from dataclasses import dataclass
from typing import Callable

from content import Floor, Source, announce_seed, preheat
from sandbox import Failure, direct, free_port
from trackers import Embedded

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# The swarm: bytes a second of the seeder, and leechers.
SWARM_RATE, SWARM_LEECHERS = 5_000_000, 8
# How long the round trip of the latency job is, one way, ms.
DELAY_MS = 50
# How long a client may take to believe corrupt data, seconds.
CONTROL_SECONDS = 8
# Torrents of the idle job, bytes of each, and how long they are watched, seconds.
IDLE_TORRENTS, IDLE_LENGTH, IDLE_SECONDS = 1_000, 16 * KIB, 10


@dataclass(frozen=True)
class Job:
    name: str
    # What it is, for a reader of the table.
    title: str
    # Which of a rival's jobs it is.
    kind: str
    length: int
    piece_length: int
    show: Callable
    files: int = None
    # Columns beside the usual ones: key, heading.
    columns: tuple = ()


def meet(run, content):
    """A tracker, and the torrent that names it."""
    tracker = Embedded().start(run, content.torrent.info_hash)
    return tracker, content.torrent.announced_at(tracker.url, run.dir / "announced.torrent")


def download(run, rival, content, source_options=(), delay_ms=0, start=None):
    """A client downloads from a source: it, its output and the source."""
    output = run.folder("output")
    start = start or rival.leech
    relay_port = free_port()

    def relay(target, *dial):
        listen = ["--listen", f"127.0.0.1:{relay_port}", "--target", target]
        return Floor(run, "relay", *listen, "--delay-ms", delay_ms)

    if not rival.dials:
        tracker, torrent = meet(run, content)
        peer, host = run.place(lambda: start(run, torrent, output))
        tracker.until_known(leechers=1)
        there = f"{host}:{peer.port}"
        if delay_ms:
            relay(there)
            there = f"127.0.0.1:{relay_port}"
        return peer, output, Source(run, content, *source_options, dial=[there])
    source = Source(run, content, *source_options)
    port = source.port
    if delay_ms:
        relay(f"127.0.0.1:{source.port}")
        port = relay_port
    if rival.name == "limit":
        peer = rival.client.leech(run, content.torrent, output, f"127.0.0.1:{port}")
        return peer, output, source
    tracker, torrent = meet(run, content)
    announce_seed(tracker, torrent, port)
    return start(run, torrent, output), output, source


def finish(run, rival, peer, began):
    """Waits for a client to be done; how long it took, and ends it."""
    run.watch(peer.process)
    run.step = rival.step
    run.until(peer.is_done, f"{rival.name} to be done")
    seconds = time.time() - began
    run.step = type(run).step
    peer.process.sample()
    peer.process.stop()
    return seconds


def cost(process, seconds, length):
    return {
        "seconds": seconds,
        "rate": length / seconds / 1e6,
        "processor": process.spent,
        "bytes": length,
        "anonymous": process.anonymous * KIB,
        "resident": process.resident * KIB,
    }


def leech(run, rival, content, delay_ms=0):
    """From the start of the process until it says that it is complete."""
    preheat(run.config, content.length)
    peer, output, source = download(run, rival, content, delay_ms=delay_ms)
    seconds = finish(run, rival, peer, peer.process.began)
    sent = source.final(content.length)
    content.compare(output)
    wire = sent["last"] - sent["first"]
    return {
        **cost(peer.process, seconds, content.length),
        "wire_rate": content.length / wire / 1e6,
        "to_first": sent["first"] - peer.process.began,
        "served": sent["sent"] / content.length,
        "most_waiting": sent["most_waiting"],
    }


def latency(run, rival, content):
    return leech(run, rival, content, DELAY_MS)


def seeding(run, rival, content):
    """A client that serves, has told the tracker and has nothing else to do; its address."""
    content.warm()
    if rival.name == "limit":
        return rival.seed(run, content.torrent, content.root.parent), "127.0.0.1"
    tracker, torrent = meet(run, content)
    peer, host = run.place(lambda: rival.seed(run, torrent, content.root.parent))
    tracker.until_known(seeds=1)
    run.settle(peer.process)
    return peer, host


def seed(connections, run, rival, content):
    """From the first request to the last byte; processor time likewise."""
    peer, host = seeding(run, rival, content)
    preheat(run.config, 0)
    run.watch(peer.process)
    before = peer.process.processor()
    sink = [run.config.floor, "sink", content.torrent.path, "--peer", f"{host}:{peer.port}"]
    process = run.start("floor-sink", [*sink, "--connections", connections], may_exit=True)
    run.until(lambda: process.code is not None, "the sink to have everything")
    spent = peer.process.processor() - before
    if process.code:
        raise Failure(f"the sink: {process.text().strip()}")
    peer.process.sample()
    took = Floor.said(_Said(process))
    return {
        **cost(peer.process, took["seconds"], content.length),
        "processor": spent,
        "first_byte": took["first_byte"],
        "served_connections": took["connections"],
        "compared": took["compared"],
    }


class _Said:
    """What `Floor.said` looks at, for a process that has ended."""

    def __init__(self, process):
        self.process = process


def pair(run, rival, content):
    """Two of the same client; from the start of the downloading one until it is complete."""
    output = run.folder("output")
    seeder, host = seeding(run, rival, content)
    preheat(run.config, content.length)
    before = seeder.process.processor()
    torrent = content.torrent
    if rival.name == "limit":
        peer = rival.client.leech(run, torrent, output, f"{host}:{seeder.port}")
    else:
        torrent = type(torrent).read(run.dir / "announced.torrent")
        peer, own_host = run.place(lambda: rival.leech(run, torrent, output))
        if not rival.dials:
            run.listening(peer.process, peer.port, own_host)
            both = f"{own_host}:{peer.port},{host}:{seeder.port}"
            Floor(run, "relay", "--join", both, "--torrent", torrent.path)
    run.watch(seeder.process)
    seconds = finish(run, rival, peer, peer.process.began)
    spent = seeder.process.processor() - before
    content.compare(output)
    return {
        **cost(peer.process, seconds, content.length),
        "seeder_processor": spent,
        "seeder_anonymous": seeder.process.anonymous * KIB,
    }


def check(run, rival, content):
    """From the start of the process until it says that everything is right."""
    content.warm()
    preheat(run.config, 0)
    torrent = content.torrent.announced_at(
        "http://127.0.0.1:1/announce", run.dir / "announced.torrent"
    )
    peer = rival.check(run, torrent, content.root.parent)
    seconds = finish(run, rival, peer, peer.process.began)
    return cost(peer.process, seconds, content.length)


def control(run, rival, content):
    """Corrupt data: nobody may call it complete."""
    peer, output, source = download(run, rival, content, ["--corrupt"])
    peer.process.may_exit = True
    run.watch(peer.process)
    run.step = 0.05
    until = None

    def over():
        nonlocal until
        sent = source.said().get("sent", 0)
        if until is None and sent:
            until = time.monotonic() + CONTROL_SECONDS
        try:
            done = peer.process.code is None and peer.is_done() or peer.process.code == 0
        except Failure:
            return True
        if done:
            raise Failure("corrupt data was called complete")
        return peer.process.code is not None or until is not None and time.monotonic() > until

    run.until(over, f"{rival.name} to refuse corrupt data")
    peer.process.stop()
    try:
        content.compare(output)
    except Failure:
        return {}
    raise Failure("the harness took corrupt data for good")


def swarm(run, rival, content):
    """A seeder with a thin uplink and eight downloads of the same client, from the start of the
    first of them until all are complete."""
    preheat(run.config, content.length * SWARM_LEECHERS)
    tracker, torrent = meet(run, content)
    rate = ["--rate", SWARM_RATE]
    outputs = [run.folder("output") for _ in range(SWARM_LEECHERS)]
    began = time.time()
    if rival.dials:
        source = Source(run, content, *rate)
        announce_seed(tracker, torrent, source.port)
        began = time.time()
        placed = [run.place(lambda: rival.stay(run, torrent, output)) for output in outputs]
    else:
        placed = [run.place(lambda: rival.stay(run, torrent, output)) for output in outputs]
        addresses = [f"{host}:{peer.port}" for peer, host in placed]
        for peer, host in placed:
            run.listening(peer.process, peer.port, host)
        tracker.until_known(leechers=SWARM_LEECHERS)
        joins = [
            argument
            for number, a in enumerate(addresses)
            for b in addresses[number + 1:]
            for argument in ("--join", f"{a},{b}")
        ]
        began = time.time()
        source = Source(run, content, *rate, dial=addresses)
        Floor(run, "relay", *joins, "--torrent", torrent.path)
    waiting = [peer for peer, _ in placed]
    for peer in waiting:
        run.watch(peer.process)
    run.step = max(rival.step, 0.02)

    def all_done():
        waiting[:] = [peer for peer in waiting if not peer.is_done()]
        return not waiting

    run.until(all_done, "everyone to have everything")
    seconds = time.time() - began
    run.step = type(run).step
    for peer, _ in placed:
        peer.process.stop()
    sent = source.final(content.length)["sent"]
    for output in outputs:
        content.compare(output)
    ideal = content.length / SWARM_RATE
    processes = [peer.process for peer, _ in placed]
    return {
        "seconds": seconds,
        "rate": content.length / seconds / 1e6,
        "processor": sum(process.spent for process in processes),
        "bytes": content.length * SWARM_LEECHERS,
        "anonymous": max(process.anonymous for process in processes) * KIB,
        "resident": max(process.resident for process in processes) * KIB,
        "efficiency": ideal / seconds,
        "copies": sent / content.length,
    }


def idle(run, rival, content):
    """Many small torrents that one process serves, and nobody wants: what each of them costs, as
    the difference to a process with one."""
    alone = many_idle(run, rival, content, 1)
    began = time.time()
    crowd = many_idle(run, rival, content, content.files)
    seconds = crowd["ready"] - began
    more = content.files - 1
    return {
        "seconds": seconds,
        "anonymous": crowd["anonymous"],
        "resident": crowd["resident"],
        "anonymous_each": (crowd["anonymous"] - alone["anonymous"]) / more / KIB,
        "resident_each": (crowd["resident"] - alone["resident"]) / more / KIB,
        "adding": crowd["adding"] - alone["adding"],
        "idling": crowd["idling"],
    }


def many_idle(run, rival, content, number):
    tracker = Embedded().start(run, "0" * 40)
    folder = run.folder("announced")
    torrents = [
        torrent.announced_at(tracker.url, folder / torrent.path.name)
        for torrent in content.torrents[:number]
    ]
    peer = rival.seed_many(run, torrents, content.root)
    run.step = 0.05

    def seeds():
        with direct.open(f"http://{tracker.where}/stats", timeout=10) as page:
            stats = dict(line.split() for line in page.read().decode().splitlines() if line)
        return int(stats["seeds"])

    run.until(lambda: seeds() >= number, f"{number} seeds at the tracker")
    ready = time.time()
    run.settle(peer.process, 20)
    before = peer.process.processor()
    began = time.monotonic()
    run.until(lambda: time.monotonic() > began + IDLE_SECONDS, "the time to pass")
    after = peer.process.processor()
    anonymous, resident = peer.process.sample()
    peer.process.stop()
    run.step = type(run).step
    return {"ready": ready, "adding": before, "idling": (after - before) / IDLE_SECONDS * 30,
            "anonymous": anonymous * KIB, "resident": resident * KIB}


def jobs(config):
    """All jobs, with the sizes asked for."""

    def size(usual, most=None):
        return config.size if config.size and (most is None or config.size < most) else usual

    def seed_job(connections):
        title = f"seed, {connections} connection{'s' * (connections > 1)}"
        return Job(
            f"seed{connections}", title, "seed", size(GIB), 256 * KIB,
            lambda *args: seed(connections, *args),
            columns=(("first_byte", "s to first byte"), ("served_connections", "connections")),
        )

    of_leech = (("wire_rate", "MB/s first to last byte"), ("to_first", "s to first request"),
                ("served", "served/size"), ("most_waiting", "most requests"))
    of_pair = (("seeder_cost", "seeder CPU s/GiB"), ("seeder_anonymous_mib", "seeder anon MiB"))
    of_swarm = (("efficiency", "of the ideal"), ("copies", "copies sent"))
    files = max(1, 20_000 * size(600_000_000) // 600_000_000)
    return [
        Job("leech", "leech", "leech", size(2 * GIB), 256 * KIB, leech, columns=of_leech),
        Job("leech4m", "leech", "leech", size(2 * GIB), 4 * MIB, leech, columns=of_leech),
        *map(seed_job, (1, 8, 64)),
        Job("pair", "pair: both sides the same client", "pair", size(GIB), 256 * KIB, pair,
            columns=of_pair),
        Job("check", "check", "check", size(2 * GIB), 256 * KIB, check),
        Job("check4m", "check", "check", size(2 * GIB), 4 * MIB, check),
        Job("latency", "latency: leech with a round trip of 100 ms", "latency",
            size(256 * MIB), 256 * KIB, latency, columns=of_leech),
        Job("swarm", "swarm: a seeder of 5 MB/s and 8 leechers", "swarm",
            size(64 * MIB, 64 * MIB), 256 * KIB, swarm, columns=of_swarm),
        Job("manysmall", "leech of many small files", "leech", size(600_000_000), MIB, leech,
            files=files, columns=of_leech),
        Job("idle", "idle: many torrents of 16 KiB in one process", "idle",
            config.torrents * IDLE_LENGTH, IDLE_LENGTH, idle, files=config.torrents,
            columns=(("anonymous_each", "anon KiB each"), ("resident_each", "RSS KiB each"),
                     ("adding", "CPU s to add"), ("idling", "CPU s in 30 s"))),
        Job("control", "control: corrupt data", "control", size(64 * MIB, 64 * MIB), 256 * KIB,
            control),
    ]


GROUPS = {
    "seed": ("seed1", "seed8", "seed64"),
    "all": ("leech", "leech4m", "seed1", "seed8", "seed64", "pair", "check", "check4m", "latency",
            "swarm", "idle", "manysmall", "control"),
}
