"""aria2. It finds peers through trackers only, and leaves when it has everything."""

import re

from clients.client import Client, Peer
from sandbox import Failure, free_port

OPTIONS = [
    "--no-conf",
    # It speaks to UDP trackers only with its DHT on; without a node to begin with that finds nobody.
    "--enable-dht=true",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--file-allocation=none",
    "--allow-overwrite=true",
    "--check-integrity=true",
    "--seed-ratio=0.0",
    "--summary-interval=0",
    "--console-log-level=notice",
    "--show-console-readout=false",
]


class Aria2(Client):
    name = "aria2"
    needs = ("aria2c",)
    knows_padding = False

    def seed(self, run, torrent, data, peers=()):
        return self._start(run, torrent, data, [])

    def leech(self, run, torrent, output, peers=()):
        return self._start(run, torrent, output, ["--seed-time=0"])

    def _start(self, run, torrent, folder, options):
        port = free_port()
        nodes = run.folder("aria2-dht") / "nodes"
        dht = [f"--dht-listen-port={free_port()}", f"--dht-file-path={nodes}"]
        where = [f"--listen-port={port}", f"--dir={folder}", *dht]
        argv = ["aria2c", *OPTIONS, *options, *where]
        process = run.start("aria2", [*argv, torrent.path], may_exit=bool(options))

        def is_done():
            if process.code not in (None, 0):
                raise Failure(f"aria2 exited with {process.code}")
            return process.code == 0

        return Peer(process, port, is_done)

    def stated_hash(self, run, torrent):
        text = run.output("aria2-show", ["aria2c", "--no-conf", "--show-files", torrent.path])
        return re.search(r"Info Hash: ([0-9a-f]{40})", text)[1]
