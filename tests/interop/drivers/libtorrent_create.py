"""Makes a v1 torrent with libtorrent, files in the order of their paths."""

import argparse
from pathlib import Path

import libtorrent as lt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--padding", action="store_true", help="align files with padding files")
parser.add_argument("--private", action="store_true")
parser.add_argument("root", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("piece_length", type=int)
args = parser.parse_args()

flags = lt.create_torrent.v1_only
if args.padding:
    flags |= lt.create_torrent.canonical_files
files = sorted(lt.list_files(str(args.root)), key=lambda file: file.filename.encode())
torrent = lt.create_torrent(files, args.piece_length, flags)
torrent.set_priv(args.private)
lt.set_piece_hashes(torrent, str(args.root.parent))
args.output.write_bytes(lt.bencode(torrent.generate()))
