"""webtorrent (feross's) in Node, through a driver of a few lines."""

from functools import partial

from clients.client import Client, Peer
from sandbox import free_port
from torrent import DRIVERS


class Webtorrent(Client):
    name = "webtorrent"
    needs = ("node",)
    dials_when_seeding = False
    asks_udp_by_ipv6 = False
    knows_padding = False
    makes_empty_files = False

    def start(self, run, torrent, folder):
        port, modules = free_port(), run.config.npm / "node_modules"
        driver = ["node", DRIVERS / "webtorrent_peer.js", modules]
        process = run.start("webtorrent", [*driver, self.given(torrent), folder, port])
        is_done = partial(process.find, '"done":(true)')
        return Peer(process, port, is_done, partial(process.find, '"hash":"([0-9a-f]+)"'))
