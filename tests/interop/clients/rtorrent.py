"""rtorrent as a daemon, told everything by its settings. It knows one peer of each address, itself
too, so it has an address of its own.
"""

import re
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
method.set_key = event.download.inserted, took, "execute.nothrow=touch,{took}"
log.open_file = "told", "/dev/stderr"
log.add_output = "torrent_debug", "told"
schedule2 = load, 0, 0, ((load.start, "{torrent}"))
"""


class Rtorrent(Client):
    name = "rtorrent"
    needs = ("rtorrent",)
    # Two padding files of one length are a duplicate name to it.
    takes_padding = False

    def seed(self, run, torrent, data, peers=()):
        return self._start(run, torrent, data)

    def leech(self, run, torrent, output, peers=()):
        return self._start(run, torrent, output)

    def stated_hash(self, run, torrent):
        # It takes no torrent without a tracker.
        torrent = torrent.announced_at("http://127.0.0.1:9/announce", run.dir / "with-tracker.torrent")
        peer = self._start(run, torrent, run.folder("nothing"))
        process = peer.process
        run.until((process.log.parent / "took").exists, "rtorrent to take it", seconds=20)
        # What it says is written when it ends.
        process.may_exit = True
        process.stop()
        return re.search(r"([0-9A-F]{40})->download_list: Inserting", process.text())[1].lower()

    def _start(self, run, torrent, folder):
        home, port = run.folder("rtorrent"), free_port()
        session, done = home / "session", home / "done"
        session.mkdir()
        settings = home / "rtorrent.rc"
        # Its settings take no name in every script.
        copy = shutil.copy(torrent.path, home / "it.torrent")
        values = {"folder": folder, "session": session, "done": done, "torrent": copy}
        values["took"] = run.dir / "took"
        settings.write_text(SETTINGS.format(port=port, **values))
        process = run.start("rtorrent", ["rtorrent", "-n", "-o", f"import={settings}"], home)
        return Peer(process, port, done.exists)
