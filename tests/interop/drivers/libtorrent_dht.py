"""libtorrent's node of the DHT, for one question: stores a text and says under which hash or key, or
reads one. It enters by the node it is given.
"""

import argparse
import sys
import time

import libtorrent as lt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("entrance", metavar="HOST:PORT")
parser.add_argument("listen", metavar="HOST:PORT")
parser.add_argument("do", choices=["put", "put-signed", "get", "get-signed"])
parser.add_argument("what", help="the text, the hash or the key")
args = parser.parse_args()

# The pair of BEP 44, *Test Vectors*: the binding makes none.
PUBLIC = bytes.fromhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
PRIVATE = bytes.fromhex("e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d"
                        "b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d")
SALT, what = b"salt", args.what.encode()
session = lt.session({
    "listen_interfaces": args.listen,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": args.entrance,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "alert_mask": lt.alert.category_t.dht_notification,
})


def wait_for(kind, fits=lambda alert: True):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, kind) and fits(alert):
                return alert
    sys.exit(f"no {kind.__name__} in time")


wait_for(lt.dht_bootstrap_alert)
# It has asked its entrance; that one asks back before it names it.
time.sleep(1)
if args.do == "put":
    print(session.dht_put_immutable_item(what))
    wait_for(lt.dht_put_alert)
elif args.do == "put-signed":
    session.dht_put_mutable_item(PRIVATE, PUBLIC, what, SALT)
    wait_for(lt.dht_put_alert)
    print(PUBLIC.hex())
elif args.do == "get":
    session.dht_get_immutable_item(lt.sha1_hash(bytes.fromhex(args.what)))
    print(wait_for(lt.dht_immutable_item_alert).item)
else:
    session.dht_get_mutable_item(bytes.fromhex(args.what), SALT)
    print(wait_for(lt.dht_mutable_item_alert).item)
