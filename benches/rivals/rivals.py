"""The clients, each with the settings that make it fast and the comparison fair: plain TCP, no
encryption, no uTP, DHT, LSD, PEX or UPnP, no limits, as many upload slots as there are peers. All
adapters but rqbit's are those of the interoperability tests.
"""

import json
import re
import subprocess
import sys
from functools import partial

from clients.aria2 import Aria2
from clients.client import Client, Peer
from clients.downpour import Downpour
from clients.libtorrent_client import Libtorrent
from clients.qbittorrent import Qbittorrent, Web
from clients.rtorrent import Rtorrent
from clients.transmission import Transmission
from sandbox import Failure, direct, free_port

ALL_JOBS = frozenset({"leech", "seed", "pair", "check", "latency", "swarm", "idle", "control"})


class Rival:
    """An adapter, and what the jobs want to know of it."""

    # How often it may be asked whether it is done: asking some of them costs them something.
    step = 0.004
    jobs = ALL_JOBS
    settings = ""

    def __init__(self, name, client):
        self.name, self.client = name, client
        self.needs = client.needs
        # Whether it connects to peers that the tracker names, on this machine.
        self.dials = client.dials_loopback

    def version(self, config):
        return ""

    def leech(self, run, torrent, output):
        return self.client.leech(run, torrent, output)

    def stay(self, run, torrent, output):
        """A download that serves others when it is done."""
        return self.leech(run, torrent, output)

    def seed(self, run, torrent, data):
        return self.client.seed(run, torrent, data)

    def check(self, run, torrent, data):
        """Hashes what is there; done when it says that all is right."""
        return self.seed(run, torrent, data)

    def seed_many(self, run, torrents, data):
        """Serves several torrents in one process. They lie in one folder without others."""
        raise NotImplementedError


class OfDownpour(Rival):
    settings = "200 upload slots; check is `verify`"
    SLOTS = ("--upload-slots", "200")

    def __init__(self):
        super().__init__("downpour", Downpour())
        self.staying = Downpour(stays=True)

    def version(self, config):
        return first_line(config.bin, "--version").split()[-1]

    def seed(self, run, torrent, data):
        return self.client.seed(run, torrent, data, options=self.SLOTS)

    def stay(self, run, torrent, output):
        return self.staying.leech(run, torrent, output)

    def check(self, run, torrent, data):
        argv = [run.config.bin, "verify", torrent.path, "--data", data]
        process = run.start("downpour-verify", argv, may_exit=True)
        return Peer(process, 0, partial(ended_well, process))


    def seed_many(self, run, torrents, data):
        return self.client.seed(run, torrents[0], data, options=[t.path for t in torrents[1:]])


class OfLibtorrent(Rival):
    settings = ("Python driver, high_performance_seed(), 4 aio and 2 hashing threads, request "
                "queue 2000, send watermark 4 MiB")

    def __init__(self):
        super().__init__("libtorrent", Libtorrent(["--fast"]))

    def version(self, config):
        import libtorrent

        return libtorrent.__version__

    def seed_many(self, run, torrents, data):
        if len(torrents) == 1:
            return self.seed(run, torrents[0], data)
        also = ["--fast", "--also", folder_of(run, torrents[1:])]
        return Libtorrent(also).seed(run, torrents[0], data)


class OfAria2(Rival):
    settings = "file-allocation none, any number of peers, no DHT"
    OPTIONS = ["--enable-dht=false", "--bt-max-peers=0", "--bt-request-peer-speed-limit=1024M"]

    def __init__(self):
        super().__init__("aria2", Aria2(self.OPTIONS))

    def version(self, config):
        return first_line("aria2c", "--version").split()[-1]

    def seed_many(self, run, torrents, data):
        paths = [torrent.path for torrent in torrents[1:]]
        at_once = f"--max-concurrent-downloads={len(torrents)}"
        return Aria2([*self.OPTIONS, at_once, *paths]).seed(run, torrents[0], data)


class OfTransmission(Rival):
    settings = "200 upload slots, plain connections; dialled, because it refuses loopback peers"
    step = 0.05

    SETTINGS = {
        "encryption": 0,
        "peer-limit-global": 1000,
        "peer-limit-per-torrent": 500,
        "preallocation": 0,
        "queue-stalled-enabled": False,
        "upload-slots-per-torrent": 200,
        "utp-enabled": False,
    }

    def __init__(self):
        super().__init__("transmission", Transmission(self.SETTINGS))

    def version(self, config):
        return first_line("transmission-daemon", "--version").split()[1]

    def seed_many(self, run, torrents, data):
        watch = {"watch-dir": str(folder_of(run, torrents[1:])), "watch-dir-enabled": True}
        return Transmission({**self.SETTINGS, **watch}).seed(run, torrents[0], data)


class OfQbittorrent(Rival):
    settings = "any number of upload slots and connections, 50 checks at a time"
    step = 0.05
    LINES = """\
Session\\Encryption=2
Session\\MaxActiveCheckingTorrents=50
Session\\MaxConnections=-1
Session\\MaxConnectionsPerTorrent=-1
Session\\MaxUploads=-1
Session\\MaxUploadsPerTorrent=-1
Session\\QueueingSystemEnabled=false
"""

    def __init__(self):
        super().__init__("qbittorrent", Qbittorrent(self.LINES))

    def version(self, config):
        return first_line("qbittorrent-nox", "--version").split()[-1].lstrip("v")

    def seed_many(self, run, torrents, data):
        peer = self.seed(run, torrents[0], data)
        for torrent in torrents[1:]:
            Web.of(peer.process).add(torrent.path, data)
        return peer


class OfRtorrent(Rival):
    settings = "daemon, 200 upload slots, 4 GiB of mapped memory, no second check on completion"
    LINES = """\
protocol.encryption.set = none
pieces.memory.max.set = 4096M
throttle.max_uploads.set = 200
throttle.max_uploads.global.set = 1000
throttle.max_peers.normal.set = 500
throttle.max_peers.seed.set = 500
throttle.min_peers.normal.set = 100
method.set_key = event.download.hash_done, checked, \
"execute.nothrow=touch,(cat,{home}/checked.,(d.complete))"
"""

    def __init__(self):
        super().__init__("rtorrent", Rtorrent(self.LINES))

    def version(self, config):
        text = subprocess.run(["rtorrent", "-h"], capture_output=True, text=True).stdout
        return re.search(r"version ([0-9.]+[0-9])", text)[1]

    def check(self, run, torrent, data):
        peer = self.seed(run, torrent, data)
        said = run.dir / "rtorrent" / "checked.1"
        return Peer(peer.process, peer.port, said.exists)

    def seed_many(self, run, torrents, data):
        also = folder_of(run, torrents[1:])
        load = f'schedule2 = also, 0, 0, "load.start={also}/*.torrent"\n'
        return Rtorrent(self.LINES + load).seed(run, torrents[0], data)


class RqbitClient(Client):
    """rqbit. Bound to one loopback address it announces another port than its own."""

    name = "rqbit"
    needs = ("rqbit",)

    def start(self, run, torrent, folder, exits=False, also=()):
        port, api = free_port(), free_port()
        argv = [
            "rqbit", "--listen-port", port, "--announce-port", port, "--listen-ip", "0.0.0.0",
            "--disable-upnp-port-forward", "--disable-dht", "--disable-lsd",
            "--http-api-listen-addr", f"127.0.0.1:{api}",
            "download", "--overwrite", *["-e"] * exits, "-o", folder, torrent.path, *also,
        ]
        home = {"HOME": str(run.folder("rqbit-home"))}
        process = run.start("rqbit", argv, env=home, may_exit=exits)
        if exits:
            return Peer(process, port, partial(ended_well, process))

        def is_done():
            try:
                with direct.open(f"http://127.0.0.1:{api}/torrents/0/stats/v1", timeout=5) as page:
                    return json.load(page)["finished"]
            except OSError:
                return False

        return Peer(process, port, is_done)


class OfRqbit(Rival):
    settings = "defaults"
    step = 0.02

    def __init__(self):
        super().__init__("rqbit", RqbitClient())

    def version(self, config):
        return first_line("rqbit", "--version").split()[-1]

    def leech(self, run, torrent, output):
        return self.client.start(run, torrent, output, exits=True)

    def stay(self, run, torrent, output):
        return self.client.start(run, torrent, output)

    def check(self, run, torrent, data):
        return self.leech(run, torrent, data)

    def seed_many(self, run, torrents, data):
        also = [torrent.path for torrent in torrents[1:]]
        return self.client.start(run, torrents[0], data, also=also)


class LimitClient(Client):
    """The least that a client has to do: `floor limit`. It is told of peers, it asks nobody."""

    name = "limit"

    def seed(self, run, torrent, data):
        port = free_port()
        argv = [run.config.floor, "limit", "seed", torrent.path, data]
        process = run.start("limit-seed", [*argv, "--listen", f"127.0.0.1:{port}"])
        run.listening(process, port)
        return Peer(process, port, lambda: True)

    def leech(self, run, torrent, output, peer):
        argv = [run.config.floor, "limit", "leech", torrent.path, output, "--peer", peer]
        process = run.start("limit-leech", argv, may_exit=True)
        return Peer(process, 0, partial(ended_well, process))

    def check(self, run, torrent, data, threads):
        argv = [run.config.floor, "limit", "check", torrent.path, data, "--threads", threads]
        process = run.start("limit-check", argv, may_exit=True)
        return Peer(process, 0, partial(ended_well, process))


class OfLimit(Rival):
    settings = "no client: one thread, one piece after the other, the sha1 crate; check has two threads"
    jobs = frozenset({"leech", "seed", "pair", "check", "latency", "control"})

    def __init__(self):
        super().__init__("limit", LimitClient())

    def check(self, run, torrent, data):
        return self.client.check(run, torrent, data, 2)


class OfLimitInOneThread(Rival):
    jobs = frozenset({"check"})

    def __init__(self):
        super().__init__("limit1", LimitClient())

    def check(self, run, torrent, data):
        return self.client.check(run, torrent, data, 1)


def ended_well(process):
    """Whether it is done, for a program that ends then."""
    if process.code not in (None, 0):
        raise Failure(f"{process.name} exited with {process.code}")
    return process.code == 0


def folder_of(run, torrents):
    """A folder with these torrents and nothing else."""
    folder = run.folder("torrents")
    for torrent in torrents:
        (folder / torrent.path.name).symlink_to(torrent.path)
    return folder


def first_line(program, *arguments):
    out = subprocess.run([program, *arguments], capture_output=True, text=True)
    return (out.stdout + out.stderr).splitlines()[0]


RIVALS = [
    OfDownpour, OfLibtorrent, OfRqbit, OfAria2, OfTransmission, OfQbittorrent, OfRtorrent, OfLimit,
    OfLimitInOneThread,
]
