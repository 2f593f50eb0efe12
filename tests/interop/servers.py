"""Servers of files over HTTP: what web seeds are."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sandbox import Process, endpoint, free_port

CONFIGURATION = """
daemon off;
{user}
pid {home}/nginx.pid;
events {{}}
http {{
    log_format short '$status $body_bytes_sent $request_uri';
    access_log {home}/access.log short;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    default_type application/octet-stream;
    server {{
        listen {address};
        root {root};
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """nginx with a configuration of its own, as whoever runs it."""

    process: Process
    url: str
    log: Path

    needs = ("nginx",)

    @staticmethod
    def start(run, root):
        """Serves the folder `root`; the URL ends in `/`."""
        home, address = run.folder("nginx"), endpoint(run.host, free_port())
        # Else its workers are of a user who may not look into our folder.
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIGURATION.format(home=home, address=address, root=root, user=user)
        (home / "nginx.conf").write_text(text)
        argv = ["nginx", "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]
        process = run.start("nginx", argv)
        run.listening(process, int(address.rpartition(":")[2]))
        return Nginx(process, f"http://{address}/", home / "access.log")

    def served(self):
        """Each answer: its status, the bytes of its body, and the path."""
        answers = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        return [(int(status), int(sent), unquote(path)) for status, sent, path in answers]
