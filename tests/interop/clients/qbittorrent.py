"""qBittorrent without its window, steered by its web interface."""

import json
import urllib.error
import urllib.request

from clients.client import Client, Peer
from sandbox import Failure, direct, free_port

SETTINGS = """\
[LegalNotice]
Accepted=true

[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\CSRFProtection=false
WebUI\\HostHeaderValidation=false
WebUI\\LocalHostAuth=false

[Network]
PortForwardingEnabled=false

[BitTorrent]
Session\\BTProtocol=TCP
Session\\DHTEnabled=false
Session\\InterfaceAddress={host}
Session\\LSDEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\PeXEnabled=false
Session\\Port={port}
"""


class Qbittorrent(Client):
    name = "qbittorrent"
    needs = ("qbittorrent-nox",)

    def __init__(self, settings=""):
        """`settings` are further lines of the section `BitTorrent`."""
        self.settings = settings

    def start(self, run, torrent, folder):
        home, port, web_port = run.folder("qbittorrent"), free_port(), free_port()
        host = run.own_host()
        settings = home / "qBittorrent" / "config" / "qBittorrent.conf"
        settings.parent.mkdir(parents=True)
        text = SETTINGS + self.settings
        settings.write_text(text.format(host=host, port=port))
        argv = ["qbittorrent-nox", f"--profile={home}", f"--webui-port={web_port}"]
        process = run.start("qbittorrent", argv)
        web = Web(web_port)
        run.until(web.answers, "qbittorrent's web interface", seconds=30)
        web.add(self.given(torrent), folder)
        run.until(lambda: web.torrent() is not None, "qbittorrent to take the torrent", seconds=20)

        def is_done():
            state = web.torrent()
            if state["state"] in ("error", "missingFiles"):
                raise Failure(f"qbittorrent: {state['state']}")
            return state["progress"] == 1

        return Peer(process, port, is_done, lambda: web.torrent()["hash"], host)


class Web:
    """One instance's web interface."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/api/v2/"

    @staticmethod
    def of(process):
        """The one of an instance that runs."""
        return Web(next(a for a in process.popen.args if "--webui-port=" in a).partition("=")[2])

    def answers(self):
        try:
            return bool(self._open(urllib.request.Request(self.url + "app/version")))
        except Failure:
            return False

    def torrent(self):
        """Its only torrent, if it has one."""
        found = json.loads(self._open(urllib.request.Request(self.url + "torrents/info")))
        return found[0] if found else None

    def add(self, torrent, folder):
        """Adds a torrent file, or a link."""
        border = "-----------------------interop"
        parts = [("savepath", None, str(folder).encode()), ("autoTMM", None, b"false")]
        if isinstance(torrent, str):
            parts.append(("urls", None, torrent.encode()))
        else:
            parts.append(("torrents", torrent.name, torrent.read_bytes()))
        body = b""
        for name, file, value in parts:
            where = f'; filename="{file}"' if file else ""
            head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"{where}\r\n'
            kind = "Content-Type: application/x-bittorrent\r\n" if file else ""
            body += f"{head}{kind}\r\n".encode() + value + b"\r\n"
        body += f"--{border}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
        self._open(urllib.request.Request(self.url + "torrents/add", body, headers))

    def _open(self, request):
        try:
            with direct.open(request, timeout=10) as reply:
                return reply.read()
        except (OSError, urllib.error.HTTPError) as error:
            raise Failure(f"qbittorrent's web interface says {error}") from None
