"""Scenarios of peer exchange: downpour hears of a peer from another client, and another client from
downpour.
"""

import re
from functools import partial

import torrent as makers
from clients.downpour import Downpour
from clients.libtorrent_client import Libtorrent
from clients.transmission import Transmission
from lan import NEEDS, Lan
from network import EVERYWHERE
from sandbox import endpoint
from transfer import PIECE_LENGTH, Scenario

# Nobody is done before everybody has been told, which takes a minute or two.
LENGTH, UPLINK = 10_000_000, "20K"


def scenarios():
    libtorrent, transmission = Libtorrent(), Transmission({"pex-enabled": True})
    for name, show, client in [
        ("from", learnt, libtorrent),
        ("from", learnt_apart, transmission),
        ("by", taught, libtorrent),
        ("by", taught, transmission),
    ]:
        show, needs = partial(show, client), (*NEEDS, *client.needs)
        yield Scenario(f"exchange.{name}-{client.name}", show, needs, 240, own_network=True)


def learnt(client, run, home=(), away=()):
    """A downpour that knows only `client` hears from it of another one; they run within these commands."""
    made, root = share(run)
    other = client.leech(run, made, run.folder("other"))
    run.listening(other.process, other.port, other.host)
    address = endpoint(other.host, other.port)
    # It hears of nobody, so that it is the other one who dials.
    options = ["--max-up", UPLINK, "--no-pex"]
    seed = slow(home).seed(run, made, root.parent, [address], options)
    leecher = slow(away).leech(run, made, run.folder("output"), [address])
    # Whoever dials an address of this host seems to come from that same address.
    meets(run, leecher, rf"[0-9.]+:{seed.port}")


def learnt_apart(client, run):
    """The same, with an address for each: transmission takes one connection of an address."""
    lan = Lan(run)
    learnt(client, run, lan.host().within, lan.host().within)


def taught(client, run):
    """`client` knows only one downpour, and hears from it of another, to which it connects."""
    made, root = share(run)
    other = client.leech(run, made, run.folder("other"))
    run.listening(other.process, other.port, other.host)
    address = endpoint(other.host, other.port)
    seed = slow().seed(run, made, root.parent, [address], ["--max-up", UPLINK])
    entrance = endpoint(EVERYWHERE, seed.port)
    # Nobody tells it of anybody: everyone else has to come to it.
    leecher = slow().leech(run, made, run.folder("output"), [entrance], ["--no-pex"])
    meets(run, leecher, rf"(?!{re.escape(entrance)})[0-9.]+:[0-9]+")


def share(run):
    root = run.folder("content") / "payload.bin"
    root.write_bytes(run.random.randbytes(LENGTH))
    return makers.DownpourCreate().make(run, root, PIECE_LENGTH), root


def slow(within=()):
    """A downpour that says whom it meets, run `within` another command."""
    return Downpour(within, stays=True, verbose=True)


def meets(run, peer, address):
    """Waits until `peer` has told of a connection with an address that matches."""
    found = partial(peer.process.find, rf'"addr":"({address})","connected":true')
    run.until(found, f"a connection with {address}")
