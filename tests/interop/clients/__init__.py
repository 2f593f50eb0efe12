"""The clients that take part, each an adapter of a few lines in a file of its own.

A new one: a file with a subclass of `client.Client`, and its name in the list below.
"""

from clients.aria2 import Aria2
from clients.downpour import Downpour
from clients.libtorrent_client import Libtorrent
from clients.qbittorrent import Qbittorrent
from clients.rtorrent import Rtorrent
from clients.transmission import Transmission
from clients.webtorrent import Webtorrent

DOWNPOUR = Downpour()
FOREIGN = [Transmission(), Libtorrent(), Aria2(), Qbittorrent(), Rtorrent(), Webtorrent()]
