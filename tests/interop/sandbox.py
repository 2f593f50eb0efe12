"""One scenario's world: a temporary folder, a deadline, free ports, and processes that are ended
by their process id whatever happens. Nothing here knows BitTorrent.
"""

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

# Requests that never leave the machine, whatever the environment says.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Lines of each log that a failure shows.
LOG_TAIL = 60
# Time between a request to end and the end, seconds: a `stopped` announce may take 5.
GRACE = 8

# Set when the harness is asked to end: every scenario fails at its next wait.
stopping = threading.Event()

_ports_lock = threading.Lock()
_ports_given = set()


class Failure(Exception):
    """The scenario did not show what it should. The text is one sentence."""


def free_port():
    """A port free for TCP and UDP, given out once, below the range of outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_000)
        with _ports_lock:
            if port in _ports_given:
                continue
            _ports_given.add(port)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                # Whoever listens at any address of IPv4, or at all of IPv6, is in the way.
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("0.0.0.0", port))
        except OSError:
            continue
        return port


def endpoint(host, port):
    """Both in one word, as URLs and options have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Process:
    """A running program; its output goes to one log file."""

    def __init__(self, name, argv, log, cwd, env, may_exit):
        self.name, self.log, self.may_exit = name, log, may_exit
        with open(log, "wb") as out:
            # The kernel ends it when the harness dies, and its group is ours to end.
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )

    @property
    def pid(self):
        return self.popen.pid

    @property
    def code(self):
        """The exit code, or None while it runs."""
        return self.popen.poll()

    def text(self):
        return self.log.read_text(errors="replace")

    def find(self, pattern):
        """The first group of the first match in its output, or None."""
        match = re.search(pattern, self.text())
        return match and match[1]

    def signal(self, number):
        if self.code is None:
            self.popen.send_signal(number)

    def stop(self):
        """Asks it to end, then makes it and its children end."""
        self.may_exit = True
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()


class Sandbox:
    """`with Sandbox(...) as run:` one scenario; everything in it ends with the block."""

    # What a started program becomes, and how long one wait is, seconds.
    process_type = Process
    step = 0.05

    def __init__(self, name, config, seconds, ipv6=False, hosts=None):
        """`hosts` are addresses for programs that are to have one alone, in place of loopback."""
        self.name, self.config, self.ipv6 = name, config, ipv6
        # Where everything listens that has no address of its own.
        self.host = "::1" if ipv6 else "127.0.0.1"
        own = hosts or map("127.0.0.{}".format, range(2, 255))
        self._own_hosts = itertools.repeat("::1") if ipv6 else iter(own)
        self.deadline = time.monotonic() + seconds
        self.processes, self.notes = [], []
        self.random = random.Random(name)

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="downpour-interop-"))
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            process.stop()
        if not self.config.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def note(self, text):
        """A figure that belongs into the scenario's line."""
        self.notes.append(text)

    def own_host(self):
        """A loopback address for one program alone, where there are several: IPv6 has one."""
        return next(self._own_hosts)

    def folder(self, name):
        """A new folder, named after `name`."""
        path = self.dir / name
        number = 2
        while path.exists():
            path = self.dir / f"{name}-{number}"
            number += 1
        path.mkdir(parents=True)
        return path

    def start(self, name, argv, cwd=None, env=None, may_exit=False):
        """Starts a program. Unless it `may_exit`, its end is a failure of the scenario."""
        number = len(self.processes) + 1
        log = self.dir / f"{number:02}-{name}.log"
        cwd = cwd or self.dir
        try:
            env = {**os.environ, **(env or {})}
            process = self.process_type(name, argv, log, cwd, env, may_exit)
        except OSError as error:
            raise Failure(f"{name} cannot be started: {error}") from None
        self.processes.append(process)
        return process

    def output(self, name, argv, cwd=None, code=0):
        """Runs a program to its end and returns what it wrote to stdout and stderr."""
        process = self.start(name, argv, cwd, may_exit=True)
        self.until(lambda: process.code is not None, f"{name} to end")
        found = process.code
        if found != code:
            raise Failure(f"{name} exited with {found} instead of {code}")
        return process.text()

    def until(self, true, what, seconds=None):
        """Waits until `true()`, step by step; fails at the deadline or when a program dies."""
        limit = self.deadline
        if seconds is not None:
            limit = min(limit, time.monotonic() + seconds)
        while not true():
            if stopping.is_set():
                raise Failure("stopped")
            for process in self.processes:
                if process.code is not None and not process.may_exit:
                    raise Failure(f"{process.name} exited with {process.code}, waiting for {what}")
            if time.monotonic() > limit:
                raise Failure(f"timed out waiting for {what}")
            time.sleep(self.step)

    def listening(self, process, port, host=None):
        """Waits until something accepts connections there."""

        def accepts():
            with contextlib.suppress(OSError):
                socket.create_connection((host or self.host, port), timeout=1).close()
                return True
            return False

        self.until(accepts, f"{process.name} to listen on port {port}", seconds=20)

    def logs(self):
        """The end of every log, for a person to read."""
        for process in self.processes:
            lines = process.text().replace("\r", "\n").splitlines()
            shown = lines[-LOG_TAIL:]
            yield f"----- {process.name} (pid {process.pid}, exit code {process.code})"
            if len(lines) > len(shown):
                yield f"      … {len(lines) - len(shown)} lines"
            yield from ("      " + line for line in shown)
