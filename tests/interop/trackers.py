"""Trackers at which the peers of a scenario meet. Each is a small adapter: how it is started."""

import os
import socket
import urllib.parse

import bencode
from sandbox import Failure, direct, endpoint, free_port


class Tracker:
    """A kind of tracker and the protocol by which peers reach it."""

    needs = ()

    def __init__(self, scheme="http"):
        self.scheme = scheme
        self.name = f"{self.kind}-{scheme}"

    def start(self, run, info_hash):
        """Starts it for the torrent with this info hash."""
        port = free_port()
        process = self.launch(run, port, info_hash)
        run.listening(process, port)
        running = RunningTracker(run, self.scheme, port, info_hash)
        run.until(running.takes_announces, f"{self.kind} to take announces", seconds=20)
        return running


class RunningTracker:
    def __init__(self, run, scheme, port, info_hash, host=None):
        self.run, self.info_hash = run, info_hash
        self.where = endpoint(host or run.host, port)
        self.url = f"{scheme}://{self.where}/announce"

    def takes_announces(self):
        """Whether it takes a peer in. opentracker refuses until it has read its whitelist."""
        return b"failure reason" not in self._announce("started") and bool(self.counts())

    def counts(self):
        """Seeds and leechers that the tracker knows. The question is a `stopped` announce, which
        trackers answer with their counts and without a place in the swarm."""
        reply = self._announce("stopped")
        if b"failure reason" in reply:
            raise Failure(f"the tracker refuses: {reply[b'failure reason'].decode()}")
        return reply.get(b"complete", 0), reply.get(b"incomplete", 0)

    def peers(self):
        """Addresses of IPv4 that it gives, with their ports. Whoever asks is listed until he is gone."""
        compact = self._announce("started").get(b"peers", b"")
        self._announce("stopped")
        peers = (compact[i : i + 6] for i in range(0, len(compact), 6))
        return [(socket.inet_ntoa(p[:4]), int.from_bytes(p[4:], "big")) for p in peers]

    def list_seed(self, port):
        """Has it name the harness's own host as a seed, at this port."""
        self._announce("started", port, left=0)

    def _announce(self, event, port=1, left=1):
        """The reply to the harness's own announce; nobody listens on port 1."""
        query = {
            "info_hash": bytes.fromhex(self.info_hash),
            "peer_id": b"-XX0000-interopcount",
            "port": port,
            "uploaded": 0,
            "downloaded": 0,
            "left": left,
            "compact": 1,
            "event": event,
        }
        # A space in the hash is `%20`; `+` is no escape here.
        text = urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        url = f"http://{self.where}/announce?{text}"
        try:
            with direct.open(url, timeout=5) as answer:
                return bencode.decode(answer.read())
        except (OSError, ValueError) as error:
            raise Failure(f"the tracker does not answer: {error}") from None

    def until_known(self, seeds=0, leechers=0):
        """Waits until that many have announced themselves."""
        self.run.until(
            lambda: all(map(int.__ge__, self.counts(), (seeds, leechers))),
            f"{seeds} seeds and {leechers} leechers at the tracker",
            seconds=40,
        )


class Opentracker(Tracker):
    """The packaged build answers only for info hashes in its whitelist, and over IPv4; it will not
    run as root."""

    kind = "opentracker"
    needs = ("opentracker",)

    def launch(self, run, port, info_hash):
        home = run.folder("opentracker")
        whitelist = home / "whitelist"
        whitelist.write_text(info_hash + "\n")
        where = ["-i", run.host, "-p", port, "-P", port]
        argv = ["opentracker", *where, "-w", whitelist, "-d", home]
        if os.geteuid() == 0:
            # Given up here, because it forgets the bond with the harness when it does so itself.
            run.dir.chmod(0o711)
            nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            argv = ["setpriv", *nobody, "--pdeathsig=KILL", "--", *argv]
        return run.start("opentracker", argv, home)


class Embedded(Tracker):
    """downpour's own."""

    kind = "embedded"

    def launch(self, run, port, info_hash):
        listen = ["--listen", endpoint(run.host, port)]
        return run.start("tracker", [run.config.bin, "tracker", *listen])
