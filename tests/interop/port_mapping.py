"""Scenarios of port mapping: downpour behind a router has miniupnpd let peers in, who come from outside,
and takes that back at its end; over IPv6 that opens the router's firewall.
"""

import signal
from functools import partial

import payload
import torrent as makers
from clients import DOWNPOUR
from gateway import INSIDE, INSIDE_V6, NEIGHBOUR, OUTSIDE, PCP, WORLD, House
from sandbox import Failure, endpoint, free_port
from trackers import RunningTracker
from transfer import PIECE_LENGTH, Scenario

NEEDS = ("ip", "miniupnpd", "nft", "nsenter", "unshare", "upnpc")


def scenarios():
    """Each protocol, where the router has nothing better; a firewall."""
    for method, control, dropped in [("PCP", True, ""), ("NAT-PMP", True, PCP), ("UPnP", False, "")]:
        show = partial(let_in, method, control, dropped, False)
        yield Scenario(f"port-mapping.{method.lower()}", show, NEEDS, own_network=True)
    yield Scenario("port-mapping.pinholes", open_up, NEEDS, own_network=True)
    yield Scenario("port-mapping.share", share, NEEDS, own_network=True)


def patient():
    """A tracker is told of the mapping, which takes a minute."""
    show = partial(let_in, "PCP", True, "", True)
    yield Scenario("port-mapping.announced", show, NEEDS, seconds=180, own_network=True)


def let_in(method, control, dropped, waits, run):
    """It `waits` until the tracker, which was told before there was a mapping, is told again."""
    house = House(run)
    house.route(control, dropped)
    port = free_port()
    # A neighbour has the number that downpour would like.
    taken = ["upnpc", "-m", INSIDE, "-a", NEIGHBOUR, port, port, "TCP"]
    process = house.start("upnpc", taken, may_exit=True)
    run.until(lambda: process.code is not None, "upnpc to end")
    neighbours = ("tcp", port, NEIGHBOUR, port)
    if house.mappings() != {neighbours}:
        raise Failure(f"the neighbour has {house.mappings()}")

    root = payload.folder(run.folder("content"), run.random)
    made = makers.Mktorrent().make(run, root, PIECE_LENGTH)
    announce, torrent = tracker(run, house, made)
    options = ["--port", port, "--no-lsd", "--no-ipv6", "--dht-bootstrap", "127.0.0.1:1"]
    seed = [run.config.bin, "seed", torrent.path, "--data", root.parent, "--json", *options]
    seed = house.start("downpour-seed", [*seed, "--state-dir", run.folder("state")], may_exit=True)
    event = r'"event":"mapped","address":"%s","port":(\d+),"dht_port":(\d+),"by":"%s"'
    event %= (OUTSIDE, method)
    run.until(lambda: seed.find(event), f"a mapping by {method}")
    outside, dht = (int(seed.find(event)), int(seed.find(event.replace(r"(\d+)", r"\d+", 1))))
    ours = {("tcp", outside, INSIDE, port), ("udp", dht, INSIDE, port)}
    if outside == port or house.mappings() != {neighbours, *ours}:
        raise Failure(f"mapped as {outside} and {dht} are {house.mappings()}")

    output = run.folder("output")
    leech = [run.config.bin, "download", made.path, "--output", output, "--no-trackers"]
    leech += ["--no-dht", "--no-lsd", "--no-upnp", "--peer", endpoint(OUTSIDE, outside)]
    leech = house.start_outside("downpour-download", leech, may_exit=True)
    run.until(lambda: leech.code is not None, "a download from outside")
    DOWNPOUR.compare(made, root, output)
    if waits:
        run.until(lambda: (OUTSIDE, outside) in announce.peers(), "the mapped port to be announced")

    seed.signal(signal.SIGINT)
    run.until(lambda: seed.code is not None, "the seed to end")
    if seed.code != 0:
        raise Failure(f"the seed exited with {seed.code}")
    if house.mappings() != {neighbours}:
        raise Failure(f"left at the router: {house.mappings()}")


def open_up(run):
    """Over IPv6 the router lets nobody in, until downpour has it do so; at the end again."""
    house = House(run)
    house.add_ipv6()
    house.route(True, ipv6=True)
    root = payload.folder(run.folder("content"), run.random)
    made = makers.Mktorrent().make(run, root, PIECE_LENGTH)
    port = free_port()

    def seed(*options):
        argv = [run.config.bin, "seed", made.path, "--data", root.parent, "--json", "--port", port]
        argv += ["--no-trackers", "--no-lsd", "--dht-bootstrap", "127.0.0.1:1", *options]
        argv += ["--state-dir", run.folder("state")]
        process = house.start("downpour-seed", argv, may_exit=True)
        run.until(lambda: process.find('"event":"(listening)"'), "a seed")
        return process

    def download(*options):
        argv = [run.config.bin, "download", made.path, "--output", run.folder("output"), *options]
        argv += ["--no-trackers", "--no-dht", "--no-lsd", "--no-upnp"]
        argv += ["--peer", endpoint(INSIDE_V6, port)]
        process = house.start_outside("downpour-download", argv, may_exit=True)
        run.until(lambda: process.code is not None, "a download from outside")
        return process.code

    def end(process):
        process.signal(signal.SIGINT)
        run.until(lambda: process.code is not None, "the seed to end")
        if process.code != 0:
            raise Failure(f"the seed exited with {process.code}")

    shut = seed("--no-upnp")
    if download("--timeout", "3s") != 4:
        raise Failure("the firewall lets peers in by itself")
    end(shut)
    opened = seed()
    event = rf'"event":"opened","address":"{INSIDE_V6}","port":{port},"dht_port":(\d+)}}'
    run.until(lambda: opened.find(event), "pinholes")
    ours = {("tcp", port), ("udp", int(opened.find(event)))}
    if house.pinholes() != ours:
        raise Failure(f"opened as {ours} are {house.pinholes()}")
    if download() != 0:
        raise Failure("nobody came in")
    end(opened)
    if house.pinholes():
        raise Failure(f"left open: {house.pinholes()}")


def share(run):
    """The link of what is shared leads from outside to the mapped port."""
    house = House(run)
    house.route(True)
    root = payload.folder(run.folder("content"), run.random)
    argv = [run.config.bin, "share", root, "--json", "--port", free_port(), "--no-lsd", "--no-ipv6"]
    argv += ["--dht-bootstrap", "127.0.0.1:1", "--state-dir", run.folder("state")]
    sharing = house.start("downpour-share", argv, may_exit=True)
    event = r'"event":"shared".*?"magnet":"([^"]+)"'
    run.until(lambda: sharing.find(event), "a link")
    link = sharing.find(event)
    if OUTSIDE not in link:
        raise Failure(f"the link does not lead here from outside: {link}")
    output = run.folder("output")
    argv = [run.config.bin, "download", link, "--output", output, "--encryption", "required"]
    argv += ["--no-trackers", "--no-dht", "--no-lsd", "--no-upnp", "--timeout", "20s"]
    leech = house.start_outside("downpour-download", argv, may_exit=True)
    run.until(lambda: leech.code is not None, "a download from outside")
    if leech.code != 0:
        raise Failure(f"the download exited with {leech.code}")
    found = payload.digests(output / root.name)
    wrong = list(payload.differences(payload.digests(root), found))
    if wrong:
        raise Failure(f"what came differs: {wrong}")
    sharing.signal(signal.SIGINT)
    run.until(lambda: sharing.code is not None, "the end of sharing")
    if sharing.code != 0 or house.mappings():
        raise Failure(f"it exited with {sharing.code} and left {house.mappings()}")


def tracker(run, house, made):
    """A tracker in the world that lets peers come back after a minute, and the torrent that names it."""
    port = free_port()
    where = ["--listen", endpoint(WORLD, port), "--interval", "60s"]
    process = house.start_outside("tracker", [run.config.bin, "tracker", *where])
    run.listening(process, port, WORLD)
    running = RunningTracker(run, "http", port, made.info_hash, WORLD)
    return running, made.announced_at(running.url, run.dir / "announced.torrent")
