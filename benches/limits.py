#!/usr/bin/env python3
"""How exactly rates are limited: downpour with itself on loopback, under a cap of 10 MB/s.

    python3 benches/limits.py [--bin FILE] [--seconds N]

One line for each case: what came in a second over the time it was looked at, as a share of the cap, and how
evenly torrents shared it. It fails if a case is further from the cap than 3 %, or torrents are further from one
another than 5 %. Every program it starts is ended.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CAP = 10_000_000
MOST_OFF = 0.03
LEAST_EVEN = 0.95
ALONE = ["--no-dht", "--no-lsd", "--no-upnp", "--no-pex"]


class Running:
    """A downpour that tells what it does; what each torrent has received or sent, and when that was said."""

    def __init__(self, argv):
        self.process = subprocess.Popen(
            [str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.figures, self.port = {}, None
        self.told = threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if said["event"] == "listening":
                self.port = said["port"]
                self.told.set()
            if said["event"] == "progress":
                self.figures[said["id"]] = (time.monotonic(), said["downloaded"], said["uploaded"])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def rates(running, seconds, which, torrents):
    """What each torrent of these received (1) or sent (2) in a second, once all of them do."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        moving = [figure[which] > 0 for r in running for figure in r.figures.values()]
        if len(moving) == torrents and all(moving):
            break
        time.sleep(0.1)
    else:
        sys.exit("they do not begin")
    time.sleep(3)
    before = [dict(r.figures) for r in running]
    time.sleep(seconds)
    result = []
    for r, old in zip(running, before):
        for name, now in r.figures.items():
            if name in old and now[0] > old[name][0]:
                result.append((now[which] - old[name][which]) / (now[0] - old[name][0]))
    return result


@contextlib.contextmanager
def swarm(bin, torrents, fetched, up=None, down=None, seeds=1):
    """Some torrents, each of so many seeds, and a peer for each of `fetched`: the torrents that it fetches."""
    with tempfile.TemporaryDirectory(prefix="limits-") as folder, contextlib.ExitStack() as stack:
        folder = Path(folder)
        made = []
        for i in range(torrents):
            content = folder / f"content-{i}.bin"
            content.write_bytes(random.Random(i).randbytes(1 << 20) * (300 // torrents + 40))
            made.append(folder / f"{i}.torrent")
            subprocess.run([bin, "create", content, "-o", made[-1]], check=True, capture_output=True)

        def start(*argv):
            running = Running([bin, *argv, *ALONE, "--json", "--port", 0,
                               "--state-dir", tempfile.mkdtemp(dir=folder)])
            stack.callback(running.stop)
            return running

        limit = ["--max-up", up] if up else []
        seeding, peers = [], []
        for i in range(seeds):
            # Each has its own folder: nobody serves what another one does.
            data = folder / f"data-{i}"
            data.mkdir()
            for content in folder.glob("content-*.bin"):
                os.link(content, data / content.name)
            seeding.append(start("seed", *made, "--data", data, "--skip-check", *limit,
                                 "--max-peers", 200, "--upload-slots", 50))
        for seed in seeding:
            if not seed.told.wait(20):
                sys.exit("a seed does not listen")
            peers += ["--peer", f"127.0.0.1:{seed.port}"]
        leeches = []
        for i, numbers in enumerate(fetched):
            mine = [made[number] for number in numbers]
            limit = ["--max-down", down] if down else []
            leeches.append(start("download", *mine, *peers, "-o", folder / f"out-{i}", *limit))
        yield seeding, leeches


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin", default="target/release/downpour")
    parser.add_argument("--seconds", type=float, default=12)
    args = parser.parse_args()
    worst, uneven = 0, []
    for name, torrents, fetched, limited, seeds in [
        ("upload, 1 torrent", 1, [[0]], "up", 1),
        ("upload, 5 torrents", 5, [[0], [1], [2], [3], [4]], "up", 1),
        ("upload, 2 torrents, of 1 peer and of 9", 2, [[0]] + 9 * [[1]], "up", 1),
        ("upload, 50 peers", 1, 50 * [[0]], "up", 1),
        ("download, 1 torrent", 1, [[0]], "down", 1),
        ("download, 5 torrents of one program", 5, [[0, 1, 2, 3, 4]], "down", 1),
        ("download, 2 torrents of one program", 2, [[0, 1]], "down", 1),
        ("download, 50 peers", 1, [[0]], "down", 50),
    ]:
        with swarm(args.bin, torrents, fetched, seeds=seeds, **{limited: CAP}) as (seeding, leeches):
            if limited == "up":
                got = rates(seeding, args.seconds, 2, torrents)
            else:
                got = rates(leeches, args.seconds, 1, torrents)
        share = sum(got) / CAP
        even = min(got) / max(got)
        told = f", each {even:.2f} to 1" if len(got) > 1 else ""
        print(f"{name}: {100 * share:.1f} % of the cap{told}", flush=True)
        worst = max(worst, abs(share - 1))
        uneven += [name] if even < LEAST_EVEN else []
    print(f"at most {100 * worst:.1f} % from the cap")
    if uneven:
        print(f"not evenly shared: {', '.join(uneven)}")
    return 1 if uneven or worst > MOST_OFF else 0


if __name__ == "__main__":
    sys.exit(main())
