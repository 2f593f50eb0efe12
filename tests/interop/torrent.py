"""Torrent files as the harness sees them, and the independent programs that make them."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import bencode

DRIVERS = Path(__file__).parent / "drivers"


@dataclass(frozen=True)
class Torrent:
    """A v1 torrent file."""

    path: Path
    info_hash: str
    name: str
    # Path below the torrent's folder and length of each BEP 47 padding file.
    padding: tuple

    @staticmethod
    def read(path):
        info_bytes = bencode.raw_items(path.read_bytes())[b"info"]
        info = bencode.decode(info_bytes)
        padding = tuple(
            ("/".join(part.decode() for part in file[b"path"]), file[b"length"])
            for file in info.get(b"files", [])
            if b"p" in file.get(b"attr", b"")
        )
        info_hash = hashlib.sha1(info_bytes).hexdigest()
        return Torrent(path, info_hash, info[b"name"].decode(), padding)

    def magnet(self):
        """A link to it, with its tracker if it has one."""
        link = f"magnet:?xt=urn:btih:{self.info_hash}"
        announce = bencode.raw_items(self.path.read_bytes()).get(b"announce")
        return link + f"&tr={quote(bencode.decode(announce), safe='')}" if announce else link

    def announced_at(self, url, path):
        """The same torrent with this tracker and no other, written to `path`."""
        items = bencode.raw_items(self.path.read_bytes())
        items.pop(b"announce-list", None)
        items[b"announce"] = bencode.encode(url)
        path.write_bytes(bencode.join_raw(items))
        return Torrent.read(path)


class Maker:
    """A program that makes torrents: a name, the programs it needs, and its arguments."""

    needs = ()

    def make(self, run, root, piece_length, private=False):
        """A torrent of the file or folder `root`, without trackers."""
        path = run.folder(f"made-by-{self.name}") / f"{root.name}.torrent"
        run.output(self.name, self.arguments(run, root, path, piece_length, private))
        return Torrent.read(path)


class Mktorrent(Maker):
    name = "mktorrent"
    needs = ("mktorrent",)

    def arguments(self, run, root, path, piece_length, private):
        exponent = str(piece_length.bit_length() - 1)
        return ["mktorrent", "-l", exponent, *["-p"] * private, "-o", path, root]


class TransmissionCreate(Maker):
    name = "transmission-create"
    needs = ("transmission-create",)

    def arguments(self, run, root, path, piece_length, private):
        size = str(piece_length // 1024)
        # It makes no private torrent without a tracker.
        flags = ["-p", "-t", "http://127.0.0.1:1/announce"] if private else []
        return ["transmission-create", "-s", size, *flags, "-o", path, root]


class Libtorrent(Maker):
    name = "libtorrent-create"
    needs = ("python:libtorrent",)

    def __init__(self, padding=False):
        self.padding = padding

    def arguments(self, run, root, path, piece_length, private):
        flags = ["--padding"] * self.padding + ["--private"] * private
        return [sys.executable, DRIVERS / "libtorrent_create.py", *flags, root, path, piece_length]


class DownpourCreate(Maker):
    name = "downpour-create"

    def arguments(self, run, root, path, piece_length, private):
        size = ["--piece-length", str(piece_length), *["--private"] * private]
        return [run.config.bin, "create", "--output", path, *size, "--no-date", root]
