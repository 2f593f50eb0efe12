"""libtorrent (arvidn's), through its Python binding."""

import sys
from functools import partial

from clients.client import Client, Peer
from sandbox import endpoint, free_port
from torrent import DRIVERS


class Libtorrent(Client):
    name = "libtorrent"
    needs = ("python:libtorrent",)

    def __init__(self, options=()):
        """`options` are further ones of the driver."""
        self.options = options

    def start(self, run, torrent, folder):
        host, port = run.own_host(), free_port()
        driver = [sys.executable, DRIVERS / "libtorrent_peer.py"]
        dht = ["--dht", self.entrance] if self.entrance else []
        argv = [*driver, *dht, *self.options, self.given(torrent), folder, endpoint(host, port)]
        process = run.start("libtorrent", argv)
        is_done = partial(process.find, '"complete": (true)')
        return Peer(process, port, is_done, partial(process.find, '"hash": "([0-9a-f]+)"'), host)
