"""transmission-daemon, steered by its RPC. It takes loopback addresses that trackers give it for
martians, so the other side has to connect; it acts in pulses of up to ten seconds.
"""

import base64
import json
import urllib.error
import urllib.request

from clients.client import Client, Peer
from sandbox import Failure, direct, free_port


class Transmission(Client):
    name = "transmission"
    needs = ("transmission-daemon",)
    dials_loopback = False
    asks_udp_by_ipv6 = False
    knows_padding = False
    makes_empty_files = False

    def __init__(self, settings=None):
        """`settings` are further ones of its `settings.json`."""
        self.settings = settings or {}

    def start(self, run, torrent, folder):
        home, port, rpc_port = run.folder("transmission"), free_port(), free_port()
        host = run.own_host()
        settings = {
            f"bind-address-ipv{6 if run.ipv6 else 4}": host,
            "dht-enabled": self.entrance is not None,
            "download-dir": str(folder),
            "lpd-enabled": False,
            "peer-port": port,
            "pex-enabled": False,
            "port-forwarding-enabled": False,
            "rpc-bind-address": "127.0.0.1",
            "rpc-port": rpc_port,
            "umask": 18,
            # It dials by uTP first, and is slow to give that up.
            "utp-enabled": self.entrance is None,
            **self.settings,
        }
        if self.entrance:
            (home / "dht.bootstrap").write_text(self.entrance.replace(":", " ") + "\n")
        (home / "settings.json").write_text(json.dumps(settings))
        argv = ["transmission-daemon", "-f", "-g", home, "--log-info"]
        process = run.start("transmission", argv)
        run.listening(process, rpc_port, "127.0.0.1")
        rpc = Rpc(rpc_port)
        if self.by_link:
            given = {"filename": self.given(torrent)}
        else:
            given = {"metainfo": base64.b64encode(torrent.path.read_bytes()).decode()}
        added = rpc.call("torrent-add", paused=False, **given)["torrent-added"]

        def is_done():
            fields = ["percentDone", "errorString"]
            answer = rpc.call("torrent-get", ids=[added["id"]], fields=fields)["torrents"][0]
            if answer["errorString"]:
                raise Failure(f"transmission: {answer['errorString']}")
            return answer["percentDone"] == 1

        return Peer(process, port, is_done, lambda: added["hashString"], host)


class Rpc:
    """One daemon's RPC. A session id, given by the first refusal, goes with each call."""

    def __init__(self, port):
        self.url, self.session = f"http://127.0.0.1:{port}/transmission/rpc", ""

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            headers = {"X-Transmission-Session-Id": self.session}
            request = urllib.request.Request(self.url, body, headers)
            try:
                with direct.open(request, timeout=10) as reply:
                    answer = json.load(reply)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise Failure(f"transmission's RPC says {error}") from None
                self.session = error.headers["X-Transmission-Session-Id"]
                continue
            if answer["result"] != "success":
                raise Failure(f"transmission refuses {method}: {answer['result']}")
            return answer["arguments"]
        raise Failure("transmission's RPC refuses its own session id")
