"""Says how libtorrent reads a torrent file, as one JSON object."""

import json
import sys

import libtorrent as lt

info = lt.torrent_info(sys.argv[1])
print(json.dumps({"info_hash": str(info.info_hash())}))
