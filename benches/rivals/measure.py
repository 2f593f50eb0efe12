"""One run's world: a sandbox of the interoperability tests that also counts what processes cost.

Processor time is that of a client and its children, user and system, in nanoseconds while it runs
(the kernel's clock of that process) and by `getrusage` for all of its life. Memory is sampled: what
is anonymous, and all that is resident. Nothing here knows which client it is.
"""

import contextlib
import resource
import threading
import time

from sandbox import Process, Sandbox

# How often memory is looked at, seconds.
SAMPLE_EVERY = 0.025


class Measured(Process):
    """A process whose costs are known."""

    def __init__(self, *args):
        # All processor time of its life, once it has ended.
        self.spent = None
        self.began = time.time()
        # Most memory seen, in KiB.
        self.anonymous = self.resident = 0
        super().__init__(*args)

    @property
    def code(self):
        if self.popen.returncode is None:
            before = _children()
            if self.popen.poll() is not None:
                self.spent = _children() - before
        return self.popen.returncode

    def stop(self):
        before = _children()
        super().stop()
        if self.spent is None:
            self.spent = _children() - before

    def processor(self):
        """Seconds of processor time so far, its children included."""
        total = 0
        for pid in _tree(self.pid):
            with contextlib.suppress(OSError):
                # The clock id of another process, as clock_getcpuclockid(3) makes it.
                total += time.clock_gettime_ns(((~pid) << 3) | 2) / 1e9
        return total

    def sample(self):
        if self.popen.returncode is not None:
            return
        anonymous = resident = 0
        for pid in _tree(self.pid):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/status") as status:
                    for line in status:
                        if line.startswith("RssAnon:"):
                            anonymous += int(line.split()[1])
                        elif line.startswith("VmRSS:"):
                            resident += int(line.split()[1])
        self.anonymous = max(self.anonymous, anonymous)
        self.resident = max(self.resident, resident)
        return anonymous, resident


def _children():
    """Processor time of all children that ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tree(pid):
    """A process and what it started."""
    yield pid
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            for child in children.read().split():
                yield from _tree(int(child))


class Run(Sandbox):
    """`with Run(...) as run:` one client does one job once."""

    process_type = Measured
    step = 0.004

    def __enter__(self):
        super().__enter__()
        self._watched, self._ended = [], threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self._sampler.join()
        super().__exit__(*exception)

    def own_host(self):
        self.host_given = super().own_host()
        return self.host_given

    def place(self, start):
        """Calls `start`, which starts a client: its peer, and the address it listens at."""
        self.host_given = "127.0.0.1"
        peer = start()
        return peer, self.host_given

    def watch(self, process):
        """Samples the memory of this process from now on."""
        self._watched.append(process)

    def _sample(self):
        while not self._ended.wait(SAMPLE_EVERY):
            for process in self._watched:
                process.sample()

    def settle(self, process, seconds=5):
        """Waits until a process has next to nothing to do, at most so long."""
        until = time.monotonic() + seconds
        before = process.processor()
        looked = time.monotonic()

        def idle():
            nonlocal before, looked
            if time.monotonic() - looked < 0.15:
                return False
            now = process.processor()
            quiet = now - before < 0.004
            before, looked = now, time.monotonic()
            return quiet or time.monotonic() > until

        self.until(idle, f"{process.name} to settle")
