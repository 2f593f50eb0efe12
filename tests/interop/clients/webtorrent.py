"""webtorrent (feross's) in Node, through a driver of a few lines."""

import re

from clients.client import Client, Peer
from sandbox import free_port
from torrent import DRIVERS


class Webtorrent(Client):
    name = "webtorrent"
    needs = ("node",)
    knows_padding = False
    makes_empty_files = False

    def seed(self, run, torrent, data, peers=()):
        return self._start(run, torrent, data)

    def leech(self, run, torrent, output, peers=()):
        return self._start(run, torrent, output)

    def stated_hash(self, run, torrent):
        text = run.output("webtorrent-show", self._driver(run, torrent, "-", 0))
        return re.search(r'"hash":"([0-9a-f]{40})"', text)[1]

    def _start(self, run, torrent, folder):
        port = free_port()
        process = run.start("webtorrent", self._driver(run, torrent, folder, port))
        return Peer(process, port, lambda: '"done":true' in process.text())

    def _driver(self, run, torrent, folder, port):
        modules = run.config.npm / "node_modules"
        return ["node", DRIVERS / "webtorrent_peer.js", modules, torrent.path, folder, port]
