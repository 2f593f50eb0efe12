"""Contents to transfer: trees of files made from a seed, and the comparison of what arrived."""

import hashlib
import shutil
from pathlib import Path

MIB = 1 << 20


def single(parent, rng):
    """One file whose last piece and last block are short."""
    return _write(parent, "single.bin", {"": 5 * MIB + 12_345}, rng)


def folder(parent, rng):
    """Nested folders; empty files; names in many scripts, composed and decomposed; lengths on
    and beside the borders of pieces and blocks of 64 and 16 KiB, no two of them equally far from
    the end of a piece: rtorrent takes no two padding files of one length."""
    return _write(
        parent,
        "Ordner – папка 资料 📁",
        {
            "0-empty": 0,
            "C.bin": 100_000,
            "a/leer": 0,
            "b/Größe.bin": 65_536,
            "b-x": 2,
            "b.bin": 65_537,
            "deep/er/and/deeper/x": 5,
            "e\u0301 decomposed": 16_383,
            "é composed": 16_385,
            "ünï 'quoted' & (so on) #1.txt": 1_234,
            "日本語/ファイル.dat": 3 * MIB + 3,
        },
        rng,
    )


def plain(parent, rng):
    """A folder of lower-case ASCII names without empty files: what every torrent maker here sees
    alike."""
    files = {"a.bin": 70_000, "b/c.bin": 200_000, "d/e/f.txt": 3, "g": 65_536}
    return _write(parent, "plain", files, rng)


def many(parent, rng):
    """Two thousand small files in folders in folders, every twentieth empty, with names in several
    scripts."""
    scripts = ["plain", "Größe", "файл", "ファイル", "قائمة", "e\u0301tude", "📄"]
    files = {}
    for n in range(2_000):
        path = f"{n // 250} часть/{n // 25:02} 部/{scripts[n % len(scripts)]} {n:04}.txt"
        files[path] = n * 37 % 5_000 if n % 20 else 0
    return _write(parent, "Zweitausend – 二千", files, rng)


def _write(parent, name, files, rng):
    for path, length in files.items():
        file = parent / name / path if path else parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(rng.randbytes(length))
    return parent / name


def copy(root, parent):
    """Copies the file or folder `root` into `parent`."""
    target = parent / root.name
    if root.is_dir():
        return Path(shutil.copytree(root, target))
    return Path(shutil.copy(root, target))


def digests(root):
    """SHA-256 of every file at or below `root`, by path relative to it."""
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    found = {}
    for file in files:
        with open(file, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        found[file.relative_to(root).as_posix()] = digest
    return found


def differences(wanted, found):
    """What is wrong with `found`, a sentence for each file."""
    for path in sorted(wanted.keys() - found.keys()):
        yield f"{path} is missing"
    for path in sorted(found.keys() - wanted.keys()):
        yield f"{path} should not be there"
    for path in sorted(wanted.keys() & found.keys()):
        if wanted[path] != found[path]:
            yield f"{path} differs"
