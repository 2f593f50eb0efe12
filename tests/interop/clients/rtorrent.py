"""rtorrent as a daemon, told everything by its settings. It knows one peer of each address, itself
too.
"""

import shutil

from clients.client import Client, Peer
from sandbox import free_port

SETTINGS = """\
system.daemon.set = true
network.port_range.set = {port}-{port}
network.port_random.set = no
directory.default.set = "{folder}"
session.path.set = "{home}/session"
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = yes
pieces.hash.on_completion.set = no
method.set_key = event.download.inserted, told, "execute.nothrow=touch,(cat,{home}/hash.,(d.hash))"
method.set_key = event.download.finished, told, "execute.nothrow=touch,{home}/done"
schedule2 = load, 0, 0, ((load.start, "{home}/it.torrent"))
"""
# Those of IPv4 only; else it listens at every address of both families.
ADDRESS = """\
network.bind_address.set = {host}
network.local_address.set = {host}
"""


class Rtorrent(Client):
    name = "rtorrent"
    needs = ("rtorrent",)
    takes_late_bitfield = False
    # It announces itself, but takes the reply for addresses of IPv4.
    asks_udp_by_ipv6 = False
    knows_padding = False
    # It needs a session of its own with its DHT for that.
    takes_links = False

    def __init__(self, settings=""):
        """`settings` are further lines of its settings, with the same fields to fill in."""
        self.settings = settings

    def start(self, run, torrent, folder):
        home, port = run.folder("rtorrent"), free_port()
        (home / "session").mkdir()
        # Its settings take no name in every script.
        shutil.copy(torrent.path, home / "it.torrent")
        settings = home / "rtorrent.rc"
        where = {"host": run.own_host(), "port": port, "folder": folder, "home": home}
        text = SETTINGS + self.settings + ("" if run.ipv6 else ADDRESS)
        settings.write_text(text.format(**where))
        process = run.start("rtorrent", ["rtorrent", "-n", "-o", f"import={settings}"], home)

        def stated_hash():
            return next((file.suffix[1:] for file in home.glob("hash.*")), None)

        return Peer(process, port, (home / "done").exists, stated_hash)
