"""Scenarios without a tracker: whoever has a torrent is found in the DHT, by whoever knows its hash and
one node, or by its neighbours.
"""

import shutil
import sys
import time
from functools import partial

import lan
import payload
import torrent as makers
from clients import DOWNPOUR
from clients.aria2 import Aria2
from clients.downpour import Downpour
from clients.libtorrent_client import Libtorrent
from clients.transmission import Transmission
from network import EVERYWHERE, another, answer_from_one_address, call, ip, within
from sandbox import Failure, endpoint, free_port
from torrent import DRIVERS
from transfer import PIECE_LENGTH, Scenario

# What a swarm shares, and how many bytes a second its seed may send: one copy takes 30 seconds.
LENGTH, UPLINK = 6_000_000, 200_000


def patient():
    """transmission wants twenty nodes, and two minutes to get to know enough of them. A swarm without the
    node by which all of it came."""
    yield found(Transmission(), DOWNPOUR, DOWNPOUR, 20)
    yield found(DOWNPOUR, Transmission(), DOWNPOUR, 20)
    needs = (*lan.NEEDS, "nft")
    yield Scenario("dht.swarm-goes-on", outlive, needs, seconds=240, own_network=True)


def scenarios():
    """downpour finds each one's announce, and each one downpour's, at a node that is downpour's too, or
    in one case libtorrent's; what one stores the other reads."""
    for client in (Libtorrent(), Aria2()):
        yield found(client, DOWNPOUR, DOWNPOUR, 1)
        yield found(DOWNPOUR, client, DOWNPOUR, 1)
    yield found(DOWNPOUR, DOWNPOUR, Libtorrent(), 1)
    needs = ("ip", "nsenter", "unshare")
    yield Scenario("lsd.by-addresses-of-the-link", neighbours, needs, own_network=True)
    for name in ("fixed", "signed"):
        for writer, reader in [(ours, libtorrents), (libtorrents, ours)]:
            show = partial(stored, writer, reader, name == "signed")
            needs = ("ip", *Libtorrent.needs)
            way = f"{writer.__name__}-to-{reader.__name__}"
            yield Scenario(f"dht-item.{name}.{way}", show, needs, own_network=True)


def neighbours(run):
    """Two hosts with no addresses but those of IPv6 that a link has by itself find one another."""
    pid = another(run, "neighbour")
    ip("link", "add", "near", "type", "veth", "peer", "name", "eth0", "netns", pid)
    for link, of in [("near", None), ("lo", pid), ("eth0", pid)]:
        ip("link", "set", link, "up", of=of)
    for link, of in [("near", None), ("eth0", pid)]:
        # An address is not used before nobody else is known to have it.
        state = ["ip", "-6", "-oneline", "address", "show", "dev", link, "-tentative"]
        state = within(of, state) if of else state
        run.until(lambda: call(*state).strip(), f"the address of {link}")
    root = payload.folder(run.folder("content"), run.random)
    made = makers.Mktorrent().make(run, root, PIECE_LENGTH)
    options = ["--port", free_port(), "--no-trackers", "--no-dht", "--no-upnp"]
    seed = [run.config.bin, "seed", made.path, "--data", root.parent, *options]
    run.start("downpour-seed", [*seed, "--state-dir", run.folder("state")])
    output = run.folder("output")
    leech = [run.config.bin, "download", made.path, "--output", output, *options]
    leech = run.start("downpour-download", within(pid, leech), may_exit=True)
    run.until(lambda: leech.code is not None, "the neighbour to have everything")
    DOWNPOUR.compare(made, root, output)


def found(seeder, leecher, hub, nodes):
    """`leecher` knows the hash of a torrent and one of some nodes of `hub`, and downloads from
    `seeder`."""
    name = f"dht.{seeder.name}-to-{leecher.name}.by-{hub.name}"
    needs = ("ip", *seeder.needs, *leecher.needs, *hub.needs)
    show = partial(find, seeder, leecher, hub, nodes)
    return Scenario(name, show, needs, seconds=300, own_network=True)


def find(seeder, leecher, hub, nodes, run):
    entrance = enter(run, hub, nodes)
    root = payload.folder(run.folder("content"), run.random)
    made = makers.Mktorrent().make(run, root, PIECE_LENGTH)
    data, output = seeder.lay_out(run, made, root), run.folder(f"{leecher.name}-output")
    seeder.in_dht(entrance).seed(run, made, data)
    # Whoever comes too early looks again in a minute, or in fifteen.
    until_announced(run, entrance, made.info_hash)
    peer = leecher.linked().in_dht(entrance).leech(run, made, output)
    run.until(peer.is_done, f"{leecher.name} to have everything")
    peer.process.stop()
    leecher.compare(made, root, output)


def enter(run, hub, nodes):
    """Starts a client with another torrent so many times, and gives the address of the first node."""
    answer_from_one_address()
    root = run.folder("hub-content") / "something-else.bin"
    root.write_bytes(run.random.randbytes(100_000))
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    # Nobody is there: it is the first.
    running = hub.in_dht("127.0.0.1:1").seed(run, made, root.parent)
    run.listening(running.process, running.port, running.host or EVERYWHERE)
    entrance = endpoint(running.host or EVERYWHERE, running.port)
    for _ in range(nodes - 1):
        # Of its own: two runs of downpour do not share their data.
        copy = run.folder("hub-content")
        shutil.copy(root, copy)
        hub.in_dht(entrance).seed(run, made, copy)
    return entrance


def outlive(run):
    """Hosts that know a link and one node of the DHT find one another, also from behind a router that lets
    nobody in; that node goes when they have, and all get everything, also one that comes later by another.
    """
    root = run.folder("content") / "payload.bin"
    root.write_bytes(run.random.randbytes(LENGTH))
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    network = lan.Lan(run)
    first, home = network.host(), network.host()
    node = run.folder("hub-content") / "something-else.bin"
    node.write_bytes(run.random.randbytes(100_000))
    other = makers.DownpourCreate().make(run, node, PIECE_LENGTH)
    # Nobody is there: it is the first.
    hub = Downpour(first.within).in_dht("127.0.0.1:1").seed(run, other, node.parent)
    run.listening(hub.process, hub.port, first.address)
    entrance = endpoint(first.address, hub.port)
    seed = Downpour(home.within).in_dht(entrance)
    seed = seed.seed(run, made, root.parent, options=["--max-up", UPLINK])
    until_announced(run, entrance, made.info_hash)

    members = []

    def join(host, entrance):
        client, output = Downpour(host.within, stays=True), run.folder("output")
        peer = client.linked().in_dht(entrance).leech(run, made, output)
        members.append((client, peer, output))

    for host in [network.host(), network.host(), network.hidden_host()]:
        join(host, entrance)
    for _, peer, _ in members:
        run.until(partial(peer.process.find, '"event":"(metadata)"'), "a peer to be found")
    hub.process.stop()
    if any(peer.is_done() for _, peer, _ in members):
        raise Failure("somebody had everything before the first node was gone")
    join(network.host(), endpoint(home.address, seed.port))
    run.until(lambda: all(peer.is_done() for _, peer, _ in members), "everyone to have everything")
    for client, peer, output in members:
        peer.process.stop()
        client.compare(made, root, output)


def stored(writer, reader, signed, run):
    """What one stores in the DHT, in which there are some nodes, the other reads."""
    entrance = enter(run, DOWNPOUR, 3)
    text = f"a text of {run.name}"
    where = writer(run, entrance, "put", text, signed).split()[0]
    read = reader(run, entrance, "get", where, signed)
    if text not in read:
        raise Failure(f"read {read!r} in place of {text!r}")


def ours(run, entrance, do, what, signed):
    """Has downpour store or read something; what it says."""
    way = ["--dht-bootstrap", entrance, "--no-ipv6"]
    if signed and do == "put":
        way += ["--key", run.folder("keys") / "key"]
    if signed:
        way += ["--salt", "salt"]
    return run.output("downpour-dht", [run.config.bin, "dht", do, what, *way])


def libtorrents(run, entrance, do, what, signed):
    """Has libtorrent do the same."""
    listen = endpoint(run.own_host(), free_port())
    do += "-signed" * signed
    driver = [sys.executable, DRIVERS / "libtorrent_dht.py"]
    return run.output("libtorrent-dht", [*driver, entrance, listen, do, what])


def until_announced(run, entrance, info_hash):
    """Waits until somebody has announced the torrent."""
    argv = [run.config.bin, "dht", "find", info_hash, "--dht-bootstrap", entrance]

    def is_found():
        process = run.start("dht-find", [*argv, "--no-ipv6", "--timeout", "5s"], may_exit=True)
        run.until(lambda: process.code is not None, "dht find to end")
        if process.code not in (0, 4):
            raise Failure(f"dht find exited with {process.code}")
        if process.code == 4:
            # Asked again and again; what it said is of no interest.
            run.processes.remove(process)
            time.sleep(1)
        return process.code == 0

    run.until(is_found, "an announce")
