"""A libtorrent client for one torrent: checks what is there, then downloads or seeds until it is
ended, when it writes what its disk cache holds. Says a JSON line for each change of state; every
other setting is libtorrent's default, except that only the torrent's trackers find peers.
"""

import argparse
import json
import signal
import sys
import threading

import libtorrent as lt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("torrent")
parser.add_argument("save")
parser.add_argument("listen", metavar="HOST:PORT")
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

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
before = None
while not ended.wait(0.05):
    for alert in session.pop_alerts():
        print(alert.message(), file=sys.stderr, flush=True)
    status = handle.status()
    if status.errc.value():
        say(event="error", message=status.errc.message())
        sys.exit(1)
    state = (str(status.state), status.is_seeding)
    if state != before:
        before = state
        say(event="state", state=state[0], complete=state[1], hash=str(handle.info_hash()))
