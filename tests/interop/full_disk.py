"""A disk that is full, and then has room again: a file system of a few MiB, which only the superuser can mount.
Where that is not allowed the scenario fails, as it does without a program that it needs.
"""

import contextlib
import subprocess

from clients import DOWNPOUR
from endurance import MIB, content
from sandbox import Failure
from transfer import Scenario

# The file system, what fills it at first, and the payload.
DISK, BALLAST, PAYLOAD = 12 * MIB, 8 * MIB, 8 * MIB


def scenarios():
    yield Scenario("full-disk", full_disk, needs=("mount", "umount"))


@contextlib.contextmanager
def small_disk(run):
    """A folder with a file system of its own."""
    folder = run.folder("small-disk")
    argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "downpour-test", str(folder)]
    mounted = subprocess.run(argv, capture_output=True, text=True)
    if mounted.returncode != 0:
        said = mounted.stderr.partition("\n")[0]
        raise Failure(f"no file system can be mounted, which takes the rights of root: {said}")
    try:
        yield folder
    finally:
        for process in run.processes:
            process.stop()
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(run):
    """A download into a full disk ends with 6 and says why; with room the same command completes."""
    with small_disk(run) as disk:
        root, torrent, folder = content(run, PAYLOAD, 256 * 1024)
        seed = DOWNPOUR.seed(run, torrent, folder)
        peers = [f"127.0.0.1:{seed.port}"]
        run.listening(seed.process, seed.port)
        ballast, output = disk / "ballast", disk / "output"
        ballast.write_bytes(bytes(BALLAST))
        output.mkdir()
        options = ["--state-dir", disk / "state"]
        full = DOWNPOUR.leech(run, torrent, output, peers, options)
        run.until(lambda: full.process.code is not None, "the download to end", 30)
        said = full.process.text()
        if full.process.code != 6 or "No space left" not in said or root.name not in said:
            raise Failure(f"exit code {full.process.code}, and it said {said!r}")
        if seed.process.code is not None:
            raise Failure("the seed ended, too")
        ballast.unlink()
        again = DOWNPOUR.leech(run, torrent, output, peers, options)
        run.until(again.is_done, "the download to finish now that there is room", 60)
        DOWNPOUR.compare(torrent, root, output)
