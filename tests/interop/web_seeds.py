"""Scenarios of web seeds (BEP 19): nginx has the files, and downpour or another client fetches them."""

from functools import partial

import bencode
import payload
import torrent as makers
from clients.aria2 import Aria2
from clients.downpour import Downpour
from clients.libtorrent_client import Libtorrent
from clients.transmission import Transmission
from sandbox import Failure, endpoint
from servers import Nginx
from transfer import FOLDER, MANY, PADDED, PIECE_LENGTH, SINGLE, Scenario

# Those that fetch from the web seed which `create` has put into a torrent.
OTHERS = [Libtorrent(), Aria2(), Transmission()]


def scenarios():
    """downpour from nginx alone, in each layout; beside a peer; other clients by torrents of ours."""
    for layout in (SINGLE, FOLDER, PADDED):
        show = partial(alone, layout)
        needs = (*Nginx.needs, *layout.maker.needs)
        yield Scenario(f"web-seed.alone.{layout.name}", show, needs, layout.seconds)
    peer = Libtorrent()
    show = partial(beside, peer)
    yield Scenario(f"web-seed.beside.{peer.name}", show, (*Nginx.needs, *peer.needs))
    for client in OTHERS:
        show = partial(created, client)
        yield Scenario(f"web-seed.created.{client.name}", show, (*Nginx.needs, *client.needs))


def more():
    """Very many small files: a request for each."""
    needs = (*Nginx.needs, *MANY.maker.needs)
    yield Scenario("web-seed.alone.many", partial(alone, MANY), needs, MANY.seconds)


def seeded_at(made, url, path):
    """The same torrent with this web seed, written to `path`."""
    items = bencode.raw_items(made.path.read_bytes())
    items[b"url-list"] = bencode.encode(url)
    path.write_bytes(bencode.join_raw(items))
    return makers.Torrent.read(path)


def length(root):
    files = [root] if root.is_file() else root.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def alone(layout, run):
    """No tracker and no peer: everything comes from nginx, each byte once."""
    root = layout.tree(run.folder("content"), run.random)
    made = layout.maker.make(run, root, PIECE_LENGTH)
    server = Nginx.start(run, root.parent)
    torrent = seeded_at(made, server.url, run.dir / "seeded.torrent")
    ours, output = Downpour(), run.folder("output")
    peer = ours.leech(run, torrent, output)
    run.until(peer.is_done, "downpour to have everything")
    ours.compare(torrent, root, output)
    server.process.stop()
    served = server.served()
    if any(status not in (200, 206) for status, _, _ in served):
        raise Failure(f"nginx had to refuse something: {served}")
    sent, wanted = sum(sent for _, sent, _ in served), length(root)
    if sent != wanted:
        raise Failure(f"nginx sent {sent} bytes of {wanted}")
    run.note(f"{len(served)} requests")


def beside(peer, run):
    """A web seed and a peer: each gives a part."""
    root = payload.single(run.folder("content"), run.random)
    made = makers.DownpourCreate().make(run, root, PIECE_LENGTH)
    server = Nginx.start(run, root.parent)
    torrent = seeded_at(made, server.url, run.dir / "seeded.torrent")
    seed = peer.seed(run, made, peer.lay_out(run, made, root))
    host = seed.host or run.own_host()
    run.listening(seed.process, seed.port, host)
    # While it checks what it has it turns peers away.
    run.until(seed.is_done, f"{peer.name} to have checked everything")
    # So that neither has given everything before the other begins.
    ours, output = Downpour(verbose=True, options=["--max-down", "1M"]), run.folder("output")
    leech = ours.leech(run, torrent, output, peers=[endpoint(host, seed.port)])
    run.until(leech.is_done, "downpour to have everything")
    ours.compare(torrent, root, output)
    for pattern in (r"(connected to)", r"(fetching from web seed)"):
        if not leech.process.find(pattern):
            raise Failure(f"downpour did not say {pattern!r}")
    server.process.stop()
    sent, wanted = sum(sent for _, sent, _ in server.served()), length(root)
    if not 0 < sent < wanted:
        raise Failure(f"nginx sent {sent} bytes of {wanted}, and the peer the others")
    run.note(f"{sent * 100 // wanted} % from nginx")


def created(client, run):
    """Another client fetches from the web seed that `create --webseed` has put into a torrent."""
    root = payload.folder(run.folder("content"), run.random)
    server = Nginx.start(run, root.parent)
    path = run.dir / "created.torrent"
    options = ["--piece-length", str(PIECE_LENGTH), "--webseed", server.url, "--no-date"]
    run.output("downpour-create", [run.config.bin, "create", "--output", path, *options, root])
    torrent, output = makers.Torrent.read(path), run.folder("output")
    peer = client.leech(run, torrent, output)
    run.until(peer.is_done, f"{client.name} to have everything")
    peer.process.stop()
    client.compare(torrent, root, output)
    if not server.served():
        raise Failure("nginx was not asked")
