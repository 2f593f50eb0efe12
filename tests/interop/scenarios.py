"""Which scenarios there are, by set."""

import itertools

import encryption
import endurance
import exchange
import full_disk
import info_hashes
import leaks
import port_mapping
import samples
import soak
import swarm
import trackerless
import web_seeds
from clients import DOWNPOUR, FOREIGN
from trackers import Embedded, Opentracker
from transfer import FOLDER, MANY, OURS, PADDED, SINGLE, can_meet, transfer

EVERYONE = [DOWNPOUR, *FOREIGN]
OPENTRACKER = [Opentracker("http"), Opentracker("udp")]
EMBEDDED = [Embedded("http"), Embedded("udp")]
LAYOUTS = [SINGLE, FOLDER, PADDED]


def both_ways(client, tracker, layout, ipv6=False):
    """downpour downloads from `client`, and `client` from downpour."""
    yield transfer(client, DOWNPOUR, tracker, layout, ipv6)
    yield transfer(DOWNPOUR, client, tracker, layout, ipv6)


def by_link(tracker, without=()):
    """downpour downloads by a magnet link from everyone who serves metadata, and everyone who takes
    links from downpour, but for those named."""
    for client in EVERYONE:
        yield transfer(client, DOWNPOUR.linked(), tracker, FOLDER)
        if client.takes_links and client is not DOWNPOUR and client.name not in without:
            yield transfer(DOWNPOUR, client.linked(), tracker, FOLDER)


def core():
    """Each client once in each direction, by each tracker, in both families of addresses, and by
    magnet links; port mapping; web seeds; leaks; all of them at once; the sample torrents; info
    hashes."""
    for client in FOREIGN:
        for over_http, over_udp in (OPENTRACKER, EMBEDDED):
            for layout in LAYOUTS:
                yield from both_ways(client, over_http, layout)
            yield from both_ways(client, over_udp, SINGLE)
        yield from both_ways(client, EMBEDDED[0], SINGLE, ipv6=True)
    yield from by_link(EMBEDDED[0])
    yield from trackerless.scenarios()
    yield from exchange.scenarios()
    yield from encryption.scenarios()
    yield from port_mapping.scenarios()
    yield from web_seeds.scenarios()
    yield from leaks.scenarios()
    yield next(swarm.scenarios())
    yield from info_hashes.scenarios(EVERYONE)
    yield from samples.scenarios()


def matrix():
    """downpour with everyone, by every tracker, in every layout; the others among themselves, who
    meet at downpour's tracker, as far as it takes to see that it serves them all; a mapping that is
    announced; everyone at once.
    """
    for client in EVERYONE:
        for tracker in (*OPENTRACKER, *EMBEDDED):
            for layout in (*LAYOUTS, OURS, MANY):
                yield from both_ways(client, tracker, layout)
        yield from both_ways(client, EMBEDDED[0], FOLDER, ipv6=True)
        if client.asks_udp_by_ipv6:
            yield from both_ways(client, EMBEDDED[1], FOLDER, ipv6=True)
    for seeder, leecher in itertools.product(FOREIGN, FOREIGN):
        if can_meet(seeder, leecher):
            for tracker, layout in zip(EMBEDDED, (OURS, SINGLE)):
                yield transfer(seeder, leecher, tracker, layout)
    for tracker in (*OPENTRACKER, *EMBEDDED):
        # What webtorrent says is left while it knows only the hash, nothing, opentracker refuses over HTTP.
        yield from by_link(tracker, without=("webtorrent",) if tracker is OPENTRACKER[0] else ())
    yield from trackerless.scenarios()
    yield from trackerless.patient()
    yield from exchange.scenarios()
    yield from encryption.scenarios()
    yield from encryption.more()
    yield from port_mapping.patient()
    yield from web_seeds.scenarios()
    yield from web_seeds.more()
    yield from swarm.scenarios()
    yield from info_hashes.scenarios(EVERYONE)
    yield from samples.scenarios()


def foreign():
    """The others among themselves, without downpour: what fails here is the harness, or somebody
    else's."""
    for seeder, leecher in itertools.product(FOREIGN, FOREIGN):
        if can_meet(seeder, leecher):
            for layout in LAYOUTS:
                yield transfer(seeder, leecher, OPENTRACKER[0], layout)
    yield from info_hashes.scenarios(FOREIGN)


SETS = {
    "core": core,
    "matrix": matrix,
    "endurance": lambda: itertools.chain(
        endurance.scenarios(), soak.scenarios(), full_disk.scenarios()
    ),
    "foreign": foreign,
}
