"""One scenario's world: a temporary folder, a deadline, free ports, and processes that are ended
by their process id whatever happens. Nothing here knows BitTorrent.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

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


def free_port(host="127.0.0.1"):
    """A port free for TCP and UDP, given out once, below the range of outgoing connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randrange(10_000, 32_000)
        with _ports_lock:
            if port in _ports_given:
                continue
            _ports_given.add(port)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port


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

    def signal(self, number):
        if self.code is None:
            self.popen.send_signal(number)

    def stop(self):
        """Asks it to end, then makes it and its children end."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()


class Sandbox:
    """`with Sandbox(...) as run:` one scenario; everything in it ends with the block."""

    def __init__(self, name, config, seconds):
        self.name, self.config = name, config
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
            process = Process(name, argv, log, cwd, {**os.environ, **(env or {})}, may_exit)
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
        """Waits until `true()`, in steps of 50 ms; fails at the deadline or when a program dies."""
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
            time.sleep(0.05)

    def listening(self, process, port, host="127.0.0.1"):
        """Waits until something accepts connections there."""

        def accepts():
            with contextlib.suppress(OSError):
                socket.create_connection((host, port), timeout=1).close()
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
