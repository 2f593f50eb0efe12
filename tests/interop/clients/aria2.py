"""aria2. It finds peers through trackers only."""

import re

from clients.client import Client, Peer
from sandbox import free_port

OPTIONS = [
    "--no-conf",
    # It speaks to UDP trackers only with its DHT on, which finds nobody without a first node.
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
    sends_late_bitfield = True
    asks_udp_by_ipv6 = False
    knows_padding = False

    def __init__(self, options=()):
        self.options = options

    def start(self, run, torrent, folder):
        home, port, host = run.folder("aria2"), free_port(), run.own_host()
        done, tell = home / "done", home / "tell"
        tell.write_text(f"#!/bin/sh\n: >'{done}'\n")
        tell.chmod(0o755)
        where = [f"--interface={host}", f"--listen-port={port}", f"--dir={folder}"]
        dht = [f"--dht-listen-port={free_port()}", f"--dht-file-path={home / 'nodes'}"]
        if self.entrance:
            dht.append(f"--dht-entry-point={self.entrance}")
        told = [f"--on-bt-download-complete={tell}", *self.options]
        process = run.start("aria2", ["aria2c", *OPTIONS, *where, *dht, *told, self.given(torrent)])
        return Peer(process, port, done.exists, host=host)

    def stated_hash(self, run, torrent):
        text = run.output("aria2-show", ["aria2c", "--no-conf", "--show-files", torrent.path])
        return re.search(r"Info Hash: ([0-9a-f]{40})", text)[1]
