"""What an adapter says about its client, and what the scenarios do with it."""

import payload
from sandbox import Failure


class Client:
    """One kind of client. `seed` and `leech` start it for one torrent, which names the tracker."""

    name = None
    # Programs in the path, or `python:MODULE`, without which nothing can be shown.
    needs = ()
    # Whether it connects to a loopback address that a tracker gave it.
    dials_loopback = True
    # Whether it connects to anyone while it seeds.
    dials_when_seeding = True
    # Whether it knows BEP 47; else padding files are files like all others to it.
    knows_padding = True
    # Whether it says what it takes for the info hash.
    states_hash = True
    # Whether it takes torrents with padding files at all.
    takes_padding = True
    # Whether it makes all of the empty files of a torrent.
    makes_empty_files = True

    def seed(self, run, torrent, data, peers=()):
        """Serves `data`, the parent of the torrent's content. Returns a `Peer`."""
        raise NotImplementedError

    def leech(self, run, torrent, output, peers=()):
        """Downloads into the folder `output`. Returns a `Peer`."""
        raise NotImplementedError

    def stated_hash(self, run, torrent):
        """The info hash in hex, as this client reads the torrent."""
        raise NotImplementedError

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
            raise Failure(f"{len(wrong)} files of {len(wanted)} are wrong: {'; '.join(wrong[:5])}")


class Peer:
    """A running client."""

    def __init__(self, process, port, is_done):
        self.process, self.port, self._is_done = process, port, is_done

    def is_done(self):
        """Whether everything is downloaded and checked."""
        return self._is_done()
