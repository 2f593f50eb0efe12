"""rtorrent as a daemon, told everything by its settings. It knows one peer of each address, itself
too, so it has an address of its own.
"""

import shutil

from clients.client import Client, Peer
from sandbox import free_port

SETTINGS = """\
system.daemon.set = true
network.port_range.set = {port}-{port}
network.port_random.set = no
network.bind_address.set = 127.0.0.2
network.local_address.set = 127.0.0.2
directory.default.set = "{folder}"
session.path.set = "{session}"
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = yes
pieces.hash.on_completion.set = no
method.set_key = event.download.finished, told, "execute.nothrow=touch,{done}"
schedule2 = load, 0, 0, ((load.start, "{torrent}"))
"""


class Rtorrent(Client):
    name = "rtorrent"
    needs = ("rtorrent",)
    # Two padding files of one length are a duplicate name to it.
    takes_padding = False
    # Only in a log, which it may lose when it ends.
    states_hash = False

    def seed(self, run, torrent, data, peers=()):
        return self._start(run, torrent, data)

    def leech(self, run, torrent, output, peers=()):
        return self._start(run, torrent, output)

    def _start(self, run, torrent, folder):
        home, port = run.folder("rtorrent"), free_port()
        session, done = home / "session", home / "done"
        session.mkdir()
        settings = home / "rtorrent.rc"
        # Its settings take no name in every script.
        copy = shutil.copy(torrent.path, home / "it.torrent")
        values = {"folder": folder, "session": session, "done": done, "torrent": copy}
        settings.write_text(SETTINGS.format(port=port, **values))
        process = run.start("rtorrent", ["rtorrent", "-n", "-o", f"import={settings}"], home)
        return Peer(process, port, done.exists)
