"""Scenarios of a host with two ways out: what is bound to one, or goes by a proxy, never leaves by another."""

import time
from functools import partial
from urllib.parse import quote

import payload
import torrent as makers
from clients import DOWNPOUR
from sandbox import Failure, endpoint, free_port
from servers import TlsFront
from transfer import PIECE_LENGTH, Scenario
from two_ways import ALLOWED, OTHER, OURS, PROXY, WORLD, WORLD_V6, Capture, Host, destination, ip
from web_seeds import length

NEEDS = ("ip", "nsenter", "unshare", "mount")
NEEDS_TLS = (*NEEDS, *TlsFront.needs)
# The interface is away for so long, seconds: some dials, announces and queries come due.
AWAY = 6


def scenarios():
    yield Scenario("leaks.none-by-another-interface", bound, NEEDS, own_network=True)
    yield Scenario("leaks.none-while-it-is-away", away, NEEDS, own_network=True)
    yield Scenario("leaks.interface-made-anew", made_anew, NEEDS, own_network=True)
    yield Scenario("leaks.none-by-link", by_link, NEEDS_TLS, own_network=True)
    for scheme in ("socks5", "http"):
        show = partial(proxied, scheme)
        yield Scenario(f"leaks.none-around-{scheme}", show, NEEDS, own_network=True)
    yield Scenario("leaks.none-around-socks5-by-link", proxied_by_link, NEEDS_TLS, own_network=True)


class Swarm:
    """Behind the allowed way: a tracker for HTTP and UDP, a seed that is a node of the DHT, a name server."""

    def __init__(self, run, *seeding):
        self.run, self.host = run, Host(run)
        self.host.start_driver("names", WORLD, WORLD, WORLD_V6)
        self.root = payload.folder(run.folder("content"), run.random)
        self.made = makers.Mktorrent().make(run, self.root, PIECE_LENGTH)
        port, dht = free_port(), free_port()
        argv = [run.config.bin, "tracker", "--listen", endpoint("::", port), "--json"]
        tracker = self.host.start_there("tracker", argv)
        run.until(lambda: tracker.find('("listening")'), "the tracker")
        self.port = port
        self.trackers = [f"{scheme}://tracker.test:{port}/announce" for scheme in ("http", "udp")]
        self.node = f"node.test:{dht}"
        seed = [run.config.bin, "seed", self.made.path, "--data", self.root.parent, "--json"]
        seed += ["--port", dht, "--dht-bootstrap", "127.0.0.1:1", "--no-lsd", "--no-upnp"]
        seed += ["--tracker", f"http://{WORLD}:{port}/announce", *seeding]
        seed = self.host.start_there("downpour-seed", [*seed, "--state-dir", run.folder("state")])
        run.until(lambda: seed.find('("seeding")'), "the seed")

    def download(self, *options):
        """Starts a download of everything by everything that finds peers."""
        trackers = [word for url in self.trackers for word in ("--tracker", url)]
        return self.fetch(self.made.path, *options, *trackers)

    def fetch(self, what, *options):
        output = self.run.folder("output")
        argv = [self.run.config.bin, "download", what, "--output", output, "--json", "-v"]
        argv += ["--port", free_port(), "--dht-bootstrap", self.node, *options]
        argv += ["--state-dir", self.run.folder("state")]
        return self.host.start("downpour-download", argv), output

    def complete(self, process, output):
        self.run.until(lambda: process.code is not None, "the download")
        if process.code != 0:
            raise Failure(f"the download exited with {process.code}")
        DOWNPOUR.compare(self.made, self.root, output)


def bound(run):
    swarm = Swarm(run)
    # Left to itself it goes the other way, and that is seen.
    other = Capture(OTHER)
    process, _ = swarm.download()
    run.until(lambda: any("port 53" in packet for packet in other.seen), "a packet that leaks")
    run.until(lambda: len(other.seen) > 3, "more packets that leak")
    process.stop()
    other, allowed = Capture(OTHER), Capture(ALLOWED)
    swarm.complete(*swarm.download("--bind-interface", ALLOWED))
    other.expect_nothing()
    if not any("port 53" in packet for packet in allowed.seen):
        raise Failure("no name was looked up")
    run.note(f"{len(allowed.seen)} packets by {ALLOWED}, none by {OTHER}")


def away(run):
    swarm = Swarm(run)
    other = Capture(OTHER)
    process, output = swarm.download("--bind-interface", ALLOWED, "--max-down", "300K")
    run.until(lambda: process.find('"event":"(piece)"'), "a piece")
    ip("link", "set", ALLOWED, "down")
    before = time.monotonic()
    run.until(lambda: time.monotonic() - before > AWAY, "some time without the interface")
    if process.code is not None:
        raise Failure(f"the download exited with {process.code} while the interface was away")
    other.expect_nothing()
    # It is there again, and so is all that goes by it.
    ip("link", "set", ALLOWED, "up")
    swarm.host.settle(ALLOWED)
    swarm.complete(process, output)
    other.expect_nothing()


def made_anew(run):
    swarm, port = Swarm(run), free_port()
    host = swarm.host
    seed = [run.config.bin, "seed", swarm.made.path, "--data", swarm.root.parent, "--json"]
    seed += ["--port", port, "--no-trackers", "--dht-bootstrap", swarm.node]
    seed += ["--bind-interface", ALLOWED, "--state-dir", run.folder("state")]
    process = host.start("downpour-seed-bound", seed)
    run.until(lambda: process.find('("seeding")'), "the seed that is bound")
    other = Capture(OTHER)
    ip("link", "delete", ALLOWED)
    # One of this name is another one to the kernel, and what was bound before is of no use.
    host.connect(ALLOWED, host.world)
    run.until(lambda: host.is_reached(port), "the seed to listen again", seconds=20)
    where = f"{OURS[ALLOWED][0]}:{port}"
    ping = [run.config.bin, "dht", "ping", where, "--state-dir", run.folder("state")]
    answered = host.start_there("dht-ping", ping, may_exit=True)
    run.until(lambda: answered.code is not None, "the DHT to answer")
    if answered.code != 0:
        raise Failure("the node of the DHT does not answer")
    output = run.folder("output")
    argv = [run.config.bin, "download", swarm.made.path, "--output", output, "--peer", where]
    argv += ["--no-trackers", "--no-dht", "--no-lsd", "--no-upnp"]
    argv += ["--state-dir", run.folder("state")]
    swarm.complete(host.start_there("downpour-download", argv, may_exit=True), output)
    other.expect_nothing()


def proxied(scheme, run):
    around_none(scheme, Swarm(run))


def around_none(scheme, swarm):
    """Everything goes by a proxy of that scheme."""
    run, port = swarm.run, free_port()
    swarm.host.start_driver("proxy", PROXY, port, WORLD)
    ip("link", "set", OTHER, "down")
    capture = Capture(ALLOWED, lambda packet: destination(packet) == PROXY)
    swarm.complete(*swarm.download("--proxy", f"{scheme}://{PROXY}:{port}"))
    capture.expect_nothing()
    run.note(f"{capture.passed} packets to the proxy, none to anybody else")


class Link(Swarm):
    """A slow seed, and a link that names a tracker and a web seed, both behind TLS."""

    def __init__(self, run):
        super().__init__(run, "--max-up", "20K")
        tracker = f"http://{WORLD}:{self.port}"
        self.front = TlsFront.start(run, self.host, WORLD, "tracker.test", tracker, self.root.parent)
        self.trackers = [f"https://tracker.test:{self.front.port}/announce"]

    def download(self, *options):
        web_seed = f"https://{WORLD}:{self.front.port}/"
        named = [("tr", self.trackers[0]), ("ws", web_seed)]
        words = [f"&{name}={quote(url, safe='')}" for name, url in named]
        link = f"magnet:?xt=urn:btih:{self.made.info_hash}{''.join(words)}"
        return self.fetch(link, "--ca-file", self.front.certificate, *options)

    def expect_both(self):
        """The tracker was asked, and the web seed has sent most of it."""
        served = self.front.served()
        if not any(path.startswith("/announce") and status == 200 for status, _, path in served):
            raise Failure(f"the tracker was not asked: {served}")
        sent = sum(sent for status, sent, _ in served if status in (200, 206))
        if sent * 2 < length(self.root):
            raise Failure(f"the web seed has sent {sent} bytes: {served}")
        self.run.note(f"{len(served)} answers over TLS")


def by_link(run):
    swarm = Link(run)
    other = Capture(OTHER)
    swarm.complete(*swarm.download("--bind-interface", ALLOWED))
    other.expect_nothing()
    swarm.expect_both()


def proxied_by_link(run):
    swarm = Link(run)
    around_none("socks5", swarm)
    swarm.expect_both()
