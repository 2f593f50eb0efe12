"""Scenarios over info hashes: those that different programs give the same tree, and those that
different programs read from the same torrent.
"""

import payload
import torrent as makers
from clients import DOWNPOUR
from sandbox import Failure
from transfer import PIECE_LENGTH, Scenario


def scenarios(readers):
    """Makers agree on the info hash of one tree; readers agree on that of each maker's torrent."""
    ours = [makers.DownpourCreate()] if DOWNPOUR in readers else []
    common = [makers.Mktorrent(), makers.Libtorrent(), *ours]
    everyone = [*common, makers.TransmissionCreate()]

    def made_alike(name, tree, makers, private):
        def show(run):
            root = tree(run.folder("content"), run.random)
            hashes = {m.name: m.make(run, root, PIECE_LENGTH, private).info_hash for m in makers}
            if len(set(hashes.values())) != 1:
                raise Failure(f"info hashes differ: {hashes}")

        return Scenario(f"made-alike.{name}", show, needs_of(makers))

    # transmission-create writes `private` in any case, leaves out empty files and has an order of
    # its own for names that are not lower-case ASCII.
    yield made_alike("single", payload.single, common, private=False)
    yield made_alike("folder", payload.folder, common, private=False)
    yield made_alike("many", payload.many, common, private=False)
    yield made_alike("private-single", payload.single, everyone, private=True)
    yield made_alike("private-folder", payload.plain, everyone, private=True)

    def read_alike(maker):
        def show(run):
            root = payload.folder(run.folder("content"), run.random)
            made = maker.make(run, root, PIECE_LENGTH)
            # rtorrent takes no torrent without a tracker; at this one there is nobody.
            nobody = "http://127.0.0.1:1/announce"
            torrent = made.announced_at(nobody, run.dir / "announced.torrent")
            hashes = {reader.name: reader.stated_hash(run, torrent) for reader in readers}
            if set(hashes.values()) != {torrent.info_hash}:
                raise Failure(f"info hashes differ from {torrent.info_hash}: {hashes}")

        return Scenario(f"read-alike.{maker.name}", show, needs_of([maker, *readers]))

    for maker in everyone:
        yield read_alike(maker)


def needs_of(parts):
    return tuple(need for part in parts for need in part.needs)
