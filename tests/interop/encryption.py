"""Scenarios of encrypted connections: one side wants nothing else, and both meet, or do not."""

from functools import partial

import payload
import torrent as makers
from clients.aria2 import Aria2
from clients.downpour import ALONE, Downpour
from clients.libtorrent_client import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.transmission import Transmission
from sandbox import Failure, endpoint
from trackers import Embedded
from transfer import FOLDER, PIECE_LENGTH, Scenario, meet

# Each client as it is, as it wants everything encrypted, and where it can as it wants nothing so.
CLIENTS = [
    (Transmission(), Transmission({"encryption": 2}), None),
    (Libtorrent(), Libtorrent(["--encryption=forced"]), Libtorrent(["--encryption=disabled"])),
    (Qbittorrent(), Qbittorrent("Session\\Encryption=1\n"), Qbittorrent("Session\\Encryption=2\n")),
    (Aria2(), Aria2(["--bt-force-encryption=true"]), None),
]
ENCRYPTED = r"connected (?:to|from) \S+, (encrypted)"


def scenarios():
    """One side wants everything encrypted; nobody has to be patient."""
    return (scenario for scenario, more in everything() if not more)


def more():
    """One side only prefers it; and libtorrent, and whoever has it inside, to one that is strict: it dials
    plainly first, and after that again in a minute."""
    return (scenario for scenario, more in everything() if more)


def everything():
    """Scenarios, and whether each is one of `more`."""
    for usual, strict, plain in CLIENTS:
        for policy, client in [("allowed", strict), ("required", usual), ("preferred", usual)]:
            ours = Downpour(verbose=True, options=["--encryption", policy])
            for seeder, leecher in [(client, ours), (ours, client)]:
                waits = policy == "required" and leecher is client and plain is not None
                more = waits or policy == "preferred"
                ways = f"{seeder.name}-to-{leecher.name}"
                who = "theirs" if client is strict else policy
                # Whether the stream behind the handshake is encrypted too is theirs to say else.
                strictly = who != "preferred"
                show = partial(transfer, seeder, leecher, strictly)
                yield Scenario(f"encryption.{who}.{ways}", show, client.needs), more
        for policy, client in [("disabled", strict), ("required", plain)]:
            if client:
                show = partial(clash, client, policy)
                yield Scenario(f"encryption.clash.{client.name}.{policy}", show, client.needs), False


def transfer(seeder, leecher, strictly, run):
    root = FOLDER.tree(run.folder("content"), run.random)
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    meet(run, seeder, leecher, Embedded("http"), made, root)
    ours = [p for p in run.processes if p.name in ("downpour-seed", "downpour-download")]
    if strictly and not any(p.find(ENCRYPTED) for p in ours):
        raise Failure("no connection of downpour's was encrypted")


def clash(client, policy, run):
    """`client` serves, and what it wants downpour does not: nothing is downloaded."""
    root = payload.single(run.folder("content"), run.random)
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    seed = client.seed(run, made, client.lay_out(run, made, root))
    host = seed.host or run.own_host()
    run.listening(seed.process, seed.port, host)
    port, output = seed.port, run.folder("output")
    where = ["--peer", endpoint(host, port), "--output", output]
    alone = [*ALONE, "--port", 0, "--state-dir", run.folder("state")]
    argv = [run.config.bin, "download", made.path, "-v", "--encryption", policy, *where, *alone]
    said = run.output("downpour-download", [*argv, "--timeout", "8s"], code=4)
    if "is verified" in said:
        raise Failure("something was downloaded")
