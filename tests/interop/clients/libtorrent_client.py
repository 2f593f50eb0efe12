"""libtorrent (arvidn's), through its Python binding."""

import json
import sys

from clients.client import Client, Peer
from sandbox import free_port
from torrent import DRIVERS


class Libtorrent(Client):
    name = "libtorrent"
    needs = ("python:libtorrent",)

    def seed(self, run, torrent, data, peers=()):
        return self._start(run, torrent, data, peers)

    def leech(self, run, torrent, output, peers=()):
        return self._start(run, torrent, output, peers)

    def _start(self, run, torrent, folder, peers):
        port = free_port()
        dial = [argument for peer in peers for argument in ("--peer", peer)]
        where = ["--listen", f"127.0.0.1:{port}", *dial]
        driver = [sys.executable, DRIVERS / "libtorrent_peer.py"]
        process = run.start("libtorrent", [*driver, torrent.path, folder, *where])
        return Peer(process, port, lambda: '"complete": true' in process.text())

    def stated_hash(self, run, torrent):
        driver = [sys.executable, DRIVERS / "libtorrent_show.py"]
        return json.loads(run.output("libtorrent-show", [*driver, torrent.path]))["info_hash"]
