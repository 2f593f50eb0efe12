"""A libtorrent client for one torrent: checks what is there, then downloads or seeds until it is
ended. Writes a JSON line for each change of state, complete only once everything has left its
disk cache; every other setting is libtorrent's default, except that only the torrent's trackers and
`--peer` find peers.
"""

import argparse
import json
import sys
import time

import libtorrent as lt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("torrent")
parser.add_argument("save")
parser.add_argument("--listen", required=True, metavar="HOST:PORT")
parser.add_argument("--peer", action="append", default=[], metavar="HOST:PORT")
args = parser.parse_args()


def say(**fields):
    print(json.dumps(fields), flush=True)


categories = lt.alert.category_t
session = lt.session({
    "listen_interfaces": args.listen,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": categories.error_notification
    | categories.status_notification
    | categories.tracker_notification
    | categories.connect_notification
    | categories.storage_notification,
})
params = lt.load_torrent_file(args.torrent)
params.save_path = args.save
params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
handle = session.add_torrent(params)
for peer in args.peer:
    host, _, port = peer.rpartition(":")
    handle.connect_peer((host, int(port)))

before = None
asked = flushed = False
while True:
    for alert in session.pop_alerts():
        flushed |= isinstance(alert, lt.cache_flushed_alert)
        print(alert.message(), file=sys.stderr, flush=True)
    status = handle.status()
    if status.errc.value():
        say(event="error", message=status.errc.message())
        sys.exit(1)
    if status.is_seeding and not asked:
        asked, flushed = True, False
        handle.flush_cache()
    state = (str(status.state), status.is_seeding and flushed)
    if state != before:
        before = state
        say(event="state", state=state[0], complete=state[1], hash=str(handle.info_hash()))
    time.sleep(0.05)
