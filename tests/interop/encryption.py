"""Scenarios of encrypted connections: one side wants nothing else, and both meet, or do not."""

import json
import sys
from functools import partial

import payload
import torrent as makers
from clients import DOWNPOUR
from clients.aria2 import Aria2
from clients.downpour import ALONE, Downpour
from clients.libtorrent_client import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.transmission import Transmission
from network import EVERYWHERE
from sandbox import Failure, endpoint, free_port
from torrent import DRIVERS
from trackers import Embedded
from transfer import FOLDER, PIECE_LENGTH, Scenario, meet

# Each client as it is, as it wants everything encrypted, and where it can as it wants nothing so.
CLIENTS = [
    (Transmission(), Transmission({"encryption": 2}), None),
    (Libtorrent(), Libtorrent(["--encryption=forced"]), Libtorrent(["--encryption=disabled"])),
    (Qbittorrent(), Qbittorrent("Session\\Encryption=1\n"), Qbittorrent("Session\\Encryption=2\n")),
    (Aria2(), Aria2(["--bt-force-encryption=true"]), None),
]
# It connects plainly, over TCP at once, and takes what is encrypted.
PLAIN_FIRST = Transmission({"encryption": 0, "utp-enabled": False})
# What fits where the one does not.
OPPOSITE = {"disabled": "required", "required": "disabled"}
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
    for client, strict in [(PLAIN_FIRST, False), *((plain, True) for _, _, plain in CLIENTS if plain)]:
        show, needs = partial(clash_of_a_leecher, client, strict), ("ip", *client.needs)
        yield Scenario(f"encryption.clash.of-{client.name}", show, needs, own_network=True), False


def transfer(seeder, leecher, strictly, run):
    root = FOLDER.tree(run.folder("content"), run.random)
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    meet(run, seeder, leecher, Embedded("http"), made, root)
    ours = [p for p in run.processes if p.name in ("downpour-seed", "downpour-download")]
    if strictly and not any(p.find(ENCRYPTED) for p in ours):
        raise Failure("no connection of downpour's was encrypted")


def clash(client, policy, run):
    """`client` serves, and what it wants downpour does not: nothing is downloaded, and downpour knows why. By
    the other policy everything is, from the same one."""
    root = payload.single(run.folder("content"), run.random)
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    seed = client.seed(run, made, client.lay_out(run, made, root))
    host = seed.host or run.own_host()
    run.listening(seed.process, seed.port, host)
    # While it checks what it has it turns peers away.
    run.until(seed.is_done, f"{client.name} to have checked everything")

    def download(policy, *options, code=0):
        state, output = run.folder("state"), run.folder("output")
        argv = [run.config.bin, "download", made.path, "-v", "--encryption", policy, *options]
        argv += ["--peer", endpoint(host, seed.port), "--output", output, "--port", 0]
        run.output("downpour-download", [*argv, *ALONE, "--state-dir", state], code=code)
        return output, state

    # First, so that nothing else than the policy keeps them apart then.
    output, _ = download(OPPOSITE[policy])
    DOWNPOUR.compare(made, root, output)
    _, state = download(policy, "--timeout", "8s", code=4)
    why = [run.config.bin, "why", made.path, "--json", "--state-dir", state]
    found = json.loads(run.output("downpour-why", why).splitlines()[0])
    if found["done"]:
        raise Failure(f"{found['done']} bytes were downloaded")
    causes = [cause["cause"] for cause in found["causes"]]
    if causes[:1] != ["encryption"]:
        raise Failure(f"downpour takes other causes for the first one: {causes}")


def clash_of_a_leecher(client, strict, run):
    """`client` connects plainly to a seed that wants everything encrypted, and is not answered; if it is `strict` a
    seed that connects to it gets nowhere either. One that wants nothing encrypted gives it everything."""
    run.host = EVERYWHERE
    root = payload.single(run.folder("content"), run.random)
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    log = run.dir / "dials.log"

    def seed(policy, *peers):
        options = ["--encryption", policy, "--log", log, "--log-level", "debug"]
        data = DOWNPOUR.lay_out(run, made, root)
        running = DOWNPOUR.seed(run, made, data, peers, options)
        run.until(lambda: running.process.find("(seeding)"), "a seed to have checked everything")
        return running

    # They meet at a relay, which sees what they say.
    port, tracker = free_port(), Embedded("http").start(run, made.info_hash)
    argv = [sys.executable, DRIVERS / "relay.py", port, seed("required").port]
    relay = run.start("relay", argv)
    run.listening(relay, port)
    tracker.list_seed(port)
    torrent = made.announced_at(tracker.url, run.dir / "announced.torrent")
    output = run.folder(f"{client.name}-output")
    leech = client.leech(run, torrent, output)
    run.until(lambda: relay.find('("plain": true)'), f"{client.name} to connect plainly")
    there = endpoint(leech.host, leech.port)
    if strict:
        seed("required", there)
        declined = f"dial_failed addr={there} reason=encryption_declined"
        run.until(lambda: declined in log.read_text(), f"{client.name} to decline")
    if relay.find('"answered": ([1-9])') or leech.is_done():
        raise Failure(f"{client.name} was answered")
    seed("disabled", there)
    run.until(leech.is_done, f"{client.name} to have everything")
    leech.process.stop()
    client.compare(torrent, root, output)
