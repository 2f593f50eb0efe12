"""Servers of files over HTTP: what web seeds are."""

import os
import subprocess
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
        {more}
    }}
}}
"""
TLS = """
        ssl_certificate {certificate};
        ssl_certificate_key {home}/key.pem;
        location /announce {{ proxy_pass {tracker}; }}
"""
# Whose certificate it is, and that it signs no others.
OPENSSL = """
[req]
distinguished_name = whom
x509_extensions = what
[whom]
[what]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:{name}, IP:{address}
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
        process = run.start("nginx", configured(home, address=address, root=root, more=""))
        run.listening(process, int(address.rpartition(":")[2]))
        return Nginx(process, f"http://{address}/", home / "access.log")

    def served(self):
        """Each answer: its status, the bytes of its body, and the path."""
        return answers_in(self.log)


@dataclass(frozen=True)
class TlsFront:
    """nginx in the world of a `Host`, behind TLS: hands announces on to a tracker, and is a web seed."""

    port: int
    certificate: Path
    log: Path

    needs = ("nginx", "openssl")

    @staticmethod
    def start(run, host, address, name, tracker, root):
        """At `address`, also called `name`; `tracker` is where announces go."""
        home, port = run.folder("nginx"), free_port()
        certificate = home / "certificate.pem"
        argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        argv += ["-keyout", home / "key.pem", "-out", certificate, "-subj", f"/CN={name}"]
        (home / "openssl.conf").write_text(OPENSSL.format(name=name, address=address))
        argv += ["-config", home / "openssl.conf"]
        subprocess.run(list(map(str, argv)), check=True, capture_output=True)
        more = TLS.format(certificate=certificate, home=home, tracker=tracker)
        listens = f"{endpoint(address, port)} ssl"
        process = host.start_there("nginx", configured(home, address=listens, root=root, more=more))
        run.until(lambda: process.code is None and (home / "nginx.pid").exists(), "nginx")
        return TlsFront(port, certificate, home / "access.log")

    def served(self):
        return answers_in(self.log)


def configured(home, **settings):
    """The command of an nginx with these settings."""
    # Else its workers are of a user who may not look into our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(CONFIGURATION.format(home=home, user=user, **settings))
    return ["nginx", "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]


def answers_in(log):
    answers = [line.split(" ", 2) for line in log.read_text().splitlines()]
    return [(int(status), int(sent), unquote(path)) for status, sent, path in answers]
