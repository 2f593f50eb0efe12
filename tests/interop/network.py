"""Networks that only one scenario has: some clients take loopback addresses for martians."""

import contextlib
import ctypes
import os
import subprocess

from sandbox import Failure

CLONE_NEWNET = 0x4000_0000
# Where a program that listens everywhere is reached, and addresses for one program each.
EVERYWHERE = "10.77.0.1"
ADDRESSES = [f"10.77.0.{n}" for n in range(2, 31)]


@contextlib.contextmanager
def of_its_own():
    """Inside, this thread and what it starts have a network of their own, which leads nowhere and
    has these addresses besides those of loopback. Wants the rights of root, and `ip`."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        check(libc.unshare(CLONE_NEWNET), "make a network namespace")
        try:
            ip("link", "set", "lo", "up")
            for address in (EVERYWHERE, *ADDRESSES):
                ip("address", "add", f"{address}/32", "dev", "lo")
            yield
        finally:
            check(libc.setns(before.fileno(), CLONE_NEWNET), "go back to the first network")


def another(run, name):
    """The id of a process whose network is its own: one more for the scenario."""
    process = run.start(name, ["unshare", "--net", "sleep", "infinity"])
    ours = os.readlink("/proc/thread-self/ns/net")

    def has_its_own():
        return os.readlink(f"/proc/{process.pid}/ns/net") != ours

    run.until(has_its_own, f"the network of the {name}")
    return process.pid


def within(pid, argv):
    """The command that runs another in the network of a process."""
    return ["nsenter", "--target", pid, "--net", "--", *argv]


def answer_from_one_address():
    """Whoever listens everywhere answers from `EVERYWHERE`; else he answers each address from that same
    one, and is not believed to be who was asked. Connections come from there as well."""
    for address in ADDRESSES:
        route = ("local", address, "dev", "lo", "src", EVERYWHERE)
        ip("route", "replace", *route, "table", "local")


def check(result, what):
    if result != 0:
        raise Failure(f"could not {what}: {os.strerror(ctypes.get_errno())}")


def ip(*argv, of=None):
    """Changes the network of this thread, or that `of` a process."""
    call(*(within(of, ["ip", *argv]) if of else ["ip", *argv]))


def call(*argv):
    """Runs a program that does its work at once; what it says."""
    argv = [*map(str, argv)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
