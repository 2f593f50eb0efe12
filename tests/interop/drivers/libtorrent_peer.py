"""A libtorrent client for one torrent: checks what is there, then downloads or seeds until it is
ended, when it writes what its disk cache holds. Says a JSON line for each change of state; every
other setting is libtorrent's default, except that only the torrent's trackers find peers, and
with `--fast`, which is what is known to make it fast.
"""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

import libtorrent as lt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--fast", action="store_true", help="settings for speed, no log")
parser.add_argument("--also", type=Path, default=None, metavar="FOLDER",
                    help="add all torrents in this folder too")
parser.add_argument("--dht", default=None, metavar="HOST:PORT",
                    help="find peers in the DHT too, entered by this node")
parser.add_argument("--encryption", choices=["enabled", "forced", "disabled"], default="enabled",
                    help="whether connections are encrypted, and when forced what follows too")
parser.add_argument("torrent", help="a file or a magnet link")
parser.add_argument("save")
parser.add_argument("listen", metavar="HOST:PORT")
args = parser.parse_args()


def say(**fields):
    print(json.dumps(fields), flush=True)


categories = lt.alert.category_t
settings = {
    "listen_interfaces": args.listen,
    "enable_dht": args.dht is not None,
    "dht_bootstrap_nodes": args.dht or "",
    # All nodes of a test share an address, or a network.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": categories.error_notification
    | categories.status_notification
    | categories.tracker_notification
    | categories.dht_notification
    | categories.connect_notification
    | categories.storage_notification,
}
if args.encryption != "enabled":
    policy = int(getattr(lt.enc_policy, f"pe_{args.encryption}"))
    settings["in_enc_policy"] = settings["out_enc_policy"] = policy
    if args.encryption == "forced":
        settings["allowed_enc_level"] = int(lt.enc_level.pe_rc4)
if args.fast:
    settings = {
        **lt.high_performance_seed(),
        **settings,
        "aio_threads": 4,
        "hashing_threads": 2,
        "max_out_request_queue": 2000,
        "send_buffer_watermark": 4 << 20,
        "unchoke_slots_limit": -1,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": int(lt.enc_policy.pe_disabled),
        "out_enc_policy": int(lt.enc_policy.pe_disabled),
        "alert_mask": categories.error_notification | categories.status_notification,
    }
session = lt.session(settings)


def add(path):
    is_link = str(path).startswith("magnet:")
    params = lt.parse_magnet_uri(path) if is_link else lt.load_torrent_file(str(path))
    params.save_path = args.save
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    return session.add_torrent(params)


handle = add(args.torrent)
also = [add(path) for path in sorted(args.also.glob("*.torrent"))] if args.also else []

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
before = None
while not ended.is_set():
    session.wait_for_alert(50)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.dht_bootstrap_alert):
            # A torrent that came before the DHT waits for a quarter of an hour else.
            handle.force_dht_announce()
        if not args.fast:
            print(alert.message(), file=sys.stderr, flush=True)
    status = handle.status()
    if status.errc.value():
        say(event="error", message=status.errc.message())
        sys.exit(1)
    state = (str(status.state), status.is_seeding)
    if state != before:
        before = state
        say(event="state", state=state[0], complete=state[1], hash=str(handle.info_hash()))
    if args.fast and status.is_seeding:
        # There is nothing more to say, and looking costs something.
        ended.wait(1)
