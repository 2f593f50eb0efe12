"""Scenarios over the sample torrents of the npm package `webtorrent-fixtures`, which states the
info hash of each and holds the content of some.
"""

import functools
import json
import shutil
import subprocess
from pathlib import Path

from clients import DOWNPOUR, FOREIGN
from sandbox import Failure
from torrent import Torrent
from trackers import Opentracker
from transfer import Scenario, meet

# The package's samples, and the client that those with content come from.
WITH_CONTENT = ["leaves", "alice", "folder", "numbers", "lotsOfNumbers"]
SAMPLES = [*WITH_CONTENT, "bunny", "sintel", "leavesMetadata"]
SOURCES = dict(zip(WITH_CONTENT, FOREIGN + FOREIGN))
# The exit code for input that is not valid.
EXIT_INVALID = 3

# Prints what the package exports, without the contents.
_STATE = """
import samples from 'webtorrent-fixtures'
const stated = {}
for (const [name, { torrentPath, contentPath, parsedTorrent }] of Object.entries(samples)) {
  stated[name] = { torrentPath, contentPath, infoHash: parsedTorrent?.infoHash }
}
console.log(JSON.stringify(stated))
"""


@functools.cache
def stated(npm):
    """What the makers of the package installed below `npm` say about each sample."""
    if not (npm / "node_modules" / "webtorrent-fixtures").is_dir():
        raise Failure(f"webtorrent-fixtures is not installed in {npm}")
    node = ["node", "--input-type=module", "--eval", _STATE]
    done = subprocess.run(node, cwd=npm, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Failure(f"node cannot read webtorrent-fixtures: {done.stderr.strip()}")
    samples = json.loads(done.stdout)
    with_hash = {name for name, sample in samples.items() if "infoHash" in sample}
    if with_hash != set(SAMPLES):
        raise Failure(f"webtorrent-fixtures has other samples than expected: {sorted(with_hash)}")
    return samples


def scenarios():
    for name in SAMPLES:
        yield Scenario(f"sample-hash.{name}", functools.partial(same_hash, name), ("node",))
    yield Scenario("sample-hash.corrupt", corrupt_is_refused, ("node",))
    for name, client in SOURCES.items():
        show = functools.partial(download, name, client)
        yield Scenario(f"sample-content.{name}", show, ("node", "opentracker", *client.needs))


def same_hash(name, run):
    sample = stated(run.config.npm)[name]
    found = DOWNPOUR.stated_hash(run, Torrent.read(Path(sample["torrentPath"])))
    if found != sample["infoHash"]:
        raise Failure(f"downpour says {found}, the makers say {sample['infoHash']}")


def corrupt_is_refused(run):
    path = stated(run.config.npm)["corrupt"]["torrentPath"]
    argv = [run.config.bin, "show", path]
    text = run.output("downpour-show", argv, code=EXIT_INVALID)
    if not text.strip():
        raise Failure("no reason was given")


def download(name, client, run):
    sample = stated(run.config.npm)[name]
    torrent = Torrent.read(Path(sample["torrentPath"]))
    # Under the name in the torrent, which is not always that in the package.
    root = run.folder("content") / torrent.name
    copy = shutil.copytree if Path(sample["contentPath"]).is_dir() else shutil.copy
    copy(sample["contentPath"], root)
    meet(run, client, DOWNPOUR, Opentracker("http"), torrent, root)
