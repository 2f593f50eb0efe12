"""What is transferred: payloads, their torrents and digests, each made once and kept until the end;
and the program `floor`, which makes them and plays the other side.
"""

import contextlib
import hashlib
import json
import random
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import bencode
import payload
from sandbox import Failure, direct, free_port
from torrent import Torrent

ROOT = Path(__file__).resolve().parents[2]
# Memory that a client may want besides the room for its files.
SPARE = 256 << 20
# How much is left free while the rest is held: so many times the payload, and this much besides.
LEFT_TIMES, LEFT = 3, 2 << 30


def build_floor():
    """Builds `floor`; the path of the program."""
    # Of the profile that downpour itself is built with, so that most is there already.
    argv = ["cargo", "bench", "--profile", "release", "--bench", "floor", "--no-run",
            "--message-format=json"]
    built = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    for line in built.stdout.splitlines():
        made = json.loads(line)
        if made.get("executable") and made["target"]["name"] == "floor":
            return Path(made["executable"])
    raise SystemExit("cargo built no floor")


@dataclass(frozen=True)
class Content:
    root: Path
    torrent: Torrent
    length: int
    digests: dict

    def warm(self):
        """Reads everything, so that no client waits for the disk."""
        files = [self.root] if self.root.is_file() else sorted(self.root.rglob("*"))
        for path in files:
            if path.is_file():
                with open(path, "rb", buffering=0) as file:
                    while file.read(1 << 20):
                        pass

    def compare(self, output):
        """Fails unless `output` holds all of it, and nothing besides."""
        top = output / self.root.name
        if not top.exists():
            raise Failure(f"{self.root.name} was not written")
        wrong = list(payload.differences(self.digests, payload.digests(top)))
        if wrong:
            raise Failure(f"{len(wrong)} files of {len(self.digests)} are wrong: {wrong[0]}")


@dataclass(frozen=True)
class Crowd:
    """Many small files, and a torrent of each."""

    root: Path
    torrents: list
    length: int

    @property
    def files(self):
        return len(self.torrents)


class Contents:
    """All of them, below one folder."""

    def __init__(self, config, folder):
        self.config, self.folder = config, folder
        self._made, self._roots = {}, {}

    def get(self, length, piece_length, files=None):
        key = (length, piece_length, files)
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def crowd(self, number, length):
        """So many torrents of one file of `length` each, which is one piece."""
        root, torrents = self.folder / "crowd", []
        root.mkdir()
        generator = random.Random(number)
        for index in range(number):
            content = generator.randbytes(length)
            path = root / f"file-{index:05}"
            path.write_bytes(content)
            info = {
                b"length": length,
                b"name": path.name,
                b"piece length": length,
                b"pieces": hashlib.sha1(content).digest(),
            }
            torrent = self.folder / f"{path.name}.torrent"
            torrent.write_bytes(bencode.encode({b"info": info}))
            torrents.append(Torrent.read(torrent))
        return Crowd(root, torrents, number * length)

    def _make(self, length, piece_length, files):
        if (length, files) not in self._roots:
            folder = self.folder / f"{length}-{files or 1}"
            folder.mkdir()
            root = folder / ("many" if files else "payload.bin")
            many = ["--files", files] if files else []
            call(self.config.floor, "payload", root, "--bytes", length, *many)
            self._roots[length, files] = root, payload.digests(root)
        root, digests = self._roots[length, files]
        path = self.folder / f"{length}-{piece_length}-{files or 1}.torrent"
        size = ["--piece-length", piece_length, "--no-date"]
        call(self.config.bin, "create", root, "--output", path, *size)
        return Content(root, Torrent.read(path), length, digests)


def call(program, *arguments):
    argv = [program, *map(str, arguments)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{Path(program).name} {arguments[0]}: {done.stdout}")


def preheat(config, length):
    """Memory that a virtual machine gave back to its host is dear to the first who touches it. While
    most is held, all that is left is warmed: nobody can come by any other."""
    if config.preheat:
        all_of_it = config.hold and length
        room = free_memory() - SPARE if all_of_it else length + SPARE
        call(config.floor, "preheat", "--bytes", max(room, 0))


@contextlib.contextmanager
def held(config, longest):
    """Keeps all memory but a few times the longest payload from everybody."""
    if not config.hold:
        yield
        return
    leave = LEFT_TIMES * longest + LEFT
    argv = [config.floor, "hold", "--leave", str(leave)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        # It holds until its standard input ends, with this program at the latest.
        holder.stdout.readline()
        yield


def free_memory():
    with open("/proc/meminfo") as lines:
        kib = next(line.split()[1] for line in lines if line.startswith("MemFree:"))
    return int(kib) << 10


class Floor:
    """A part of `floor` that runs; it says what it does in lines of JSON."""

    def __init__(self, run, *arguments):
        self.run = run
        name = f"floor-{arguments[0]}"
        self.process = run.start(name, [run.config.floor, *arguments])
        run.until(lambda: self.said() is not None, f"{name} to listen")

    def said(self):
        """The last whole line, read."""
        lines = self.process.text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("}\n") and line.startswith("{")]
        return json.loads(whole[-1]) if whole else None


class Source(Floor):
    """Everything, for everyone who asks."""

    def __init__(self, run, content, *options, dial=()):
        self.port = free_port()
        dials = [argument for peer in dial for argument in ("--dial", peer)]
        listen = ["--listen", f"127.0.0.1:{self.port}"]
        super().__init__(run, "source", content.torrent.path, *listen, *dials, *options)

    def final(self, least):
        """What it sent, once it says that it sent so much."""
        self.run.until(lambda: self.said().get("sent", 0) >= least, "the source to count", 5)
        return self.said()


def announce_seed(tracker, torrent, port):
    """Tells the tracker of a peer on this machine that has everything."""
    query = {
        "info_hash": bytes.fromhex(torrent.info_hash),
        "peer_id": b"-FL0001-" + random.randbytes(6).hex().encode(),
        "port": port,
        "uploaded": 0,
        "downloaded": 0,
        "left": 0,
        "compact": 1,
        "event": "started",
    }
    text = urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    with direct.open(f"http://{tracker.where}/announce?{text}", timeout=5) as answer:
        if b"failure reason" in bencode.decode(answer.read()):
            raise Failure("the tracker refuses the source")
