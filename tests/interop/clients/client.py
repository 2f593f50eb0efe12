"""What an adapter says about its client, and what the scenarios do with it."""

import copy
from dataclasses import dataclass
from typing import Callable

import payload
from sandbox import Failure, Process


class Client:
    """One kind of client. An adapter has either `start`, where seeding is nothing else than having
    everything from the first moment, or both `seed` and `leech`.
    """

    name = None
    # Programs in the path, or `python:MODULE`, without which nothing can be shown.
    needs = ()
    # Whether it connects to a loopback address that a tracker gave it.
    dials_loopback = True
    # Whether it connects to anyone while it seeds.
    dials_when_seeding = True
    # Whether it may send a bitfield in place of many `have`s, and whether it bears that.
    sends_late_bitfield = False
    takes_late_bitfield = True
    # Whether it finds peers by UDP trackers that it reaches over IPv6.
    asks_udp_by_ipv6 = True
    # Whether it knows BEP 47; else padding files are files like all others to it.
    knows_padding = True
    # Whether it makes all of the empty files of a torrent.
    makes_empty_files = True
    # Whether it takes magnet links.
    takes_links = True
    # A node by which it enters the DHT, `HOST:PORT`; without one it does not use it.
    entrance = None
    # Whether it is given a magnet link in place of the torrent: metadata comes from the other side.
    by_link = False

    def linked(self):
        """The same client, given links."""
        other = copy.copy(self)
        other.name, other.by_link = f"{self.name}-by-link", True
        return other

    def in_dht(self, entrance):
        """The same client, which finds peers in the DHT and nowhere else."""
        other = copy.copy(self)
        other.entrance = entrance
        return other

    def given(self, torrent):
        """What it is given, as an argument."""
        return torrent.magnet() if self.by_link else torrent.path

    def start(self, run, torrent, folder):
        """Starts it for one torrent, which names the tracker, with its content in the folder
        `folder`. Returns a `Peer`."""
        raise NotImplementedError

    def seed(self, run, torrent, data):
        """Serves the content in `data`."""
        return self.start(run, torrent, data)

    def leech(self, run, torrent, output):
        """Downloads into `output`, and then serves or leaves, as the client likes."""
        return self.start(run, torrent, output)

    def stated_hash(self, run, torrent):
        """The info hash in hex, as this client reads the torrent."""
        peer = self.start(run, torrent, run.folder("nothing"))
        run.until(peer.stated_hash, f"{self.name} to say the info hash")
        stated = peer.stated_hash().lower()
        peer.process.stop()
        return stated

    def lay_out(self, run, torrent, root):
        """A folder with a copy of the content `root` in it, as the client wants it for seeding."""
        data = run.folder(f"{self.name}-data")
        top = payload.copy(root, data)
        if not self.knows_padding:
            for path, length in torrent.padding:
                (top / path).parent.mkdir(exist_ok=True)
                (top / path).write_bytes(bytes(length))
        return data

    def compare(self, torrent, root, output):
        """Fails unless `output` holds the content of `root`, nothing missing, nothing besides."""
        top = output / torrent.name
        if not top.exists():
            raise Failure(f"{self.name} did not write {torrent.name}")
        wanted = payload.digests(root)
        found = payload.digests(top)
        if not self.makes_empty_files and root.is_dir():
            for path in [path for path in wanted if not (root / path).stat().st_size]:
                del wanted[path]
                found.pop(path, None)
        if not self.knows_padding:
            for path, _ in torrent.padding:
                found.pop(path, None)
        wrong = list(payload.differences(wanted, found))
        if wrong:
            some = "; ".join(wrong[:5])
            raise Failure(f"{self.name}: {len(wrong)} files of {len(wanted)} are wrong: {some}")


@dataclass(frozen=True)
class Peer:
    """A running client."""

    process: Process
    port: int
    # Whether everything is downloaded and checked; some of it may be on disk only when it ends.
    is_done: Callable
    # The info hash in hex, or nothing while it has said none.
    stated_hash: Callable = lambda: None
    # Where it listens, if not everywhere.
    host: str = None
