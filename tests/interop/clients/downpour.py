"""downpour itself."""

import json

from clients.client import Client, Peer
from sandbox import Failure, free_port

# Peers come from the torrent's tracker or from `--peer` alone.
ALONE = ["--no-dht", "--no-lsd", "--no-upnp"]


class Downpour(Client):
    name = "downpour"

    def __init__(self, within=(), stays=False, verbose=False, options=()):
        """`within` is a command that runs another, such as `nice`. A download that `stays` serves
        others when it is done, until it is stopped. One that is `verbose` says whom it meets.
        `options` are further ones of the command line."""
        self.within, self.stays, self.verbose = within, stays, verbose
        self.options = options

    def seed(self, run, torrent, data, peers=(), options=()):
        return self._start(run, "seed", torrent, ["--data", data, *options], peers)

    def leech(self, run, torrent, output, peers=(), options=()):
        stay = ["--seed", "--json"] * self.stays
        return self._start(run, "download", torrent, ["--output", output, *stay, *options], peers)

    def _start(self, run, command, torrent, options, peers):
        port = free_port()
        alone = ALONE
        if self.entrance:
            alone = [*ALONE[1:], "--no-trackers", "--dht-bootstrap", self.entrance]
        dial = [argument for peer in peers for argument in ("--peer", peer)]
        if "--state-dir" not in options:
            options = [*options, "--state-dir", run.folder("state")]
        argv = [run.config.bin, command, self.given(torrent), "--port", port, *alone, *dial]
        options = [*options, *["-v"] * self.verbose, *self.options]
        ends = command == "download" and not self.stays
        line = [*self.within, *argv, *options]
        process = run.start(f"downpour-{command}", line, may_exit=ends)

        def is_done():
            if process.code not in (None, 0):
                raise Failure(f"downpour {command} exited with {process.code}")
            return process.find('"event":"(done)"') if self.stays else process.code == 0

        return Peer(process, port, is_done)

    def show(self, run, torrent):
        """What `show --json` says, a dictionary."""
        text = run.output("downpour-show", [run.config.bin, "show", "--json", torrent.path])
        return json.loads(text)

    def stated_hash(self, run, torrent):
        return self.show(run, torrent)["info_hash"]
