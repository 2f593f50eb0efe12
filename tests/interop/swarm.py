"""Scenarios of a swarm with leechers of every client, all at once."""

import functools
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torrent as makers
from clients import DOWNPOUR, FOREIGN
from clients.aria2 import Aria2
from clients.client import Client, Peer
from clients.downpour import Downpour
from sandbox import Failure
from trackers import Embedded
from transfer import PIECE_LENGTH, Scenario

# What is shared, and how many bytes a second the seed may send: one copy takes 25 seconds.
LENGTH, UPLINK = 25_000_000, 1_000_000
# downpour is not late while it needs no more than so many times what the first needs.
MARGIN = 1.1


def scenarios():
    """The plain one first."""
    ours = Downpour(stays=True)
    everyone = [ours, *FOREIGN]
    our_seed = functools.partial(DOWNPOUR.seed, options=["--max-up", str(UPLINK)])
    aria2_seed = Aria2([f"--max-overall-upload-limit={UPLINK}"]).seed
    needs = tuple(need for client in FOREIGN for need in client.needs)
    for name, seed, leechers, ipv6 in [
        ("one", our_seed, everyone, False),
        ("two", our_seed, [*everyone, ours], False),
        ("of-aria2", aria2_seed, everyone, False),
        ("ipv6", our_seed, everyone, True),
    ]:
        show = functools.partial(mixed_swarm, seed, leechers)
        yield Scenario(f"mixed-swarm.{name}", show, needs, 180, ipv6)


@dataclass
class Member:
    """A leecher, and how long after the seed's coming it had everything."""

    client: Client
    output: Path
    peer: Peer
    seconds: float = None

    def __str__(self):
        return f"{self.client.name} {self.seconds:.1f} s"


def mixed_swarm(seed, leechers, run):
    """A seed with a thin uplink comes to leechers who know one another: all get everything, and
    downpour is among the first. `seed` is what starts the seed.
    """
    root = run.folder("content") / "payload.bin"
    root.write_bytes(run.random.randbytes(LENGTH))
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    tracker = Embedded().start(run, made.info_hash)
    torrent = made.announced_at(tracker.url, run.dir / "announced.torrent")
    members = []
    # Those who do not dial come first, so that all others dial them.
    for client in sorted(leechers, key=lambda client: client.dials_loopback):
        output = run.folder(f"{client.name}-output")
        members.append(Member(client, output, client.leech(run, torrent, output)))
        tracker.until_known(leechers=len(members))
    seed(run, torrent, root.parent)
    began = time.monotonic()

    def all_done():
        for member in members:
            if member.seconds is None and member.peer.is_done():
                member.seconds = time.monotonic() - began
        return all(member.seconds is not None for member in members)

    run.until(all_done, "everyone to have everything")
    for member in members:
        member.peer.process.stop()
        member.client.compare(torrent, root, member.output)
    members.sort(key=lambda member: member.seconds)
    times = ", ".join(map(str, members))
    run.note(times)
    median = statistics.median(member.seconds for member in members)
    limit = max(median, MARGIN * members[0].seconds)
    if any(member.seconds > limit for member in members if member.client.name == DOWNPOUR.name):
        raise Failure(f"downpour is late: {times}")
