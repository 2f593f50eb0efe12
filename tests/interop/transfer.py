"""The scenario that most are: one client downloads from another, whom it meets at a tracker."""

from dataclasses import dataclass, field
from typing import Callable

import payload
import torrent as makers

PIECE_LENGTH = 64 * 1024


@dataclass(frozen=True)
class Scenario:
    """A function of a `Sandbox` that raises `Failure` when it does not show what `name` says."""

    name: str
    show: Callable
    # What has to be installed: programs, and `python:MODULE`.
    needs: tuple = ()
    seconds: int = 90
    # Whether all that is started listens at `::1`.
    ipv6: bool = False
    # Whether it has a network of its own, whose addresses are no loopback addresses.
    own_network: bool = False


@dataclass(frozen=True)
class Layout:
    """A tree, and the program that makes the torrent of it."""

    name: str
    tree: Callable
    maker: makers.Maker = field(default_factory=makers.Mktorrent)
    seconds: int = 90


SINGLE = Layout("single", payload.single, makers.TransmissionCreate())
FOLDER = Layout("folder", payload.folder)
PADDED = Layout("padded", payload.folder, makers.Libtorrent(padding=True))
OURS = Layout("ours", payload.folder, makers.DownpourCreate())
MANY = Layout("many", payload.many, seconds=180)


def can_meet(seeder, leecher):
    """Whether one of them connects to the other when both run on loopback, and stays connected."""
    seeder_dials = seeder.dials_loopback and seeder.dials_when_seeding
    stays = seeder.takes_late_bitfield or not leecher.sends_late_bitfield
    return stays and (seeder_dials or leecher.dials_loopback)


def transfer(seeder, leecher, tracker, layout, ipv6=False):
    """`leecher` downloads from `seeder`, which it meets at `tracker`."""
    name = f"{seeder.name}-to-{leecher.name}.{tracker.name}.{layout.name}"

    def show(run):
        root = layout.tree(run.folder("content"), run.random)
        made = layout.maker.make(run, root, PIECE_LENGTH)
        meet(run, seeder, leecher, tracker, made, root)

    needs = (*seeder.needs, *leecher.needs, *tracker.needs, *layout.maker.needs)
    return Scenario(name + ".ipv6" * ipv6, show, needs, layout.seconds, ipv6)


def meet(run, seeder, leecher, tracker, made, root):
    """Starts the tracker and both clients for a torrent whose content is `root`, waits until the
    leecher has everything, and compares."""
    running = tracker.start(run, made.info_hash)
    torrent = made.announced_at(running.url, run.dir / "announced.torrent")
    data, output = seeder.lay_out(run, torrent, root), run.folder(f"{leecher.name}-output")
    # Whoever connects comes second, because it asks the tracker once and not again for minutes.
    if leecher.dials_loopback:
        seeder.seed(run, torrent, data)
        running.until_known(seeds=1)
        peer = leecher.leech(run, torrent, output)
    else:
        peer = leecher.leech(run, torrent, output)
        running.until_known(leechers=1)
        seeder.seed(run, torrent, data)
    run.until(peer.is_done, f"{leecher.name} to have everything")
    peer.process.stop()
    leecher.compare(torrent, root, output)
