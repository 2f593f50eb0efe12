"""Which scenarios there are, by set."""

import itertools

import endurance
import info_hashes
import samples
from clients import DOWNPOUR, FOREIGN
from trackers import Embedded, Opentracker
from transfer import FOLDER, MANY, OURS, PADDED, SINGLE, can_meet, transfer

EVERYONE = [DOWNPOUR, *FOREIGN]
OPENTRACKER, EMBEDDED = Opentracker("http"), Embedded("http")
OVER_UDP = (Opentracker("udp"), Embedded("udp"))


def layouts(clients, *more):
    """The layouts that all of these clients take."""
    takes_padding = all(client.takes_padding for client in clients)
    return [SINGLE, FOLDER, *([PADDED] if takes_padding else []), *more]


def core():
    """Each client once in each direction and by each tracker; the sample torrents; info hashes."""
    for client, tracker in itertools.product(FOREIGN, (OPENTRACKER, EMBEDDED)):
        for layout in layouts([client]):
            yield transfer(client, DOWNPOUR, tracker, layout)
            yield transfer(DOWNPOUR, client, tracker, layout)
    for client, tracker in itertools.product(FOREIGN, OVER_UDP):
        yield transfer(client, DOWNPOUR, tracker, SINGLE)
        yield transfer(DOWNPOUR, client, tracker, SINGLE)
    yield from info_hashes.scenarios(EVERYONE)
    yield from samples.scenarios()


def matrix():
    """Everyone with everyone, by every tracker, in every layout."""
    for seeder, leecher in itertools.product(EVERYONE, EVERYONE):
        if can_meet(seeder, leecher):
            for tracker in (OPENTRACKER, EMBEDDED):
                for layout in layouts([seeder, leecher], OURS, MANY):
                    yield transfer(seeder, leecher, tracker, layout)
            for tracker in OVER_UDP:
                yield transfer(seeder, leecher, tracker, SINGLE)
    yield from info_hashes.scenarios(EVERYONE)
    yield from samples.scenarios()


def foreign():
    """The same without downpour: what fails here is the harness, or somebody else's."""
    for seeder, leecher in itertools.product(FOREIGN, FOREIGN):
        if can_meet(seeder, leecher):
            for layout in layouts([seeder, leecher]):
                yield transfer(seeder, leecher, OPENTRACKER, layout)
    yield from info_hashes.scenarios(FOREIGN)


SETS = {
    "core": core,
    "matrix": matrix,
    "endurance": endurance.scenarios,
    "foreign": foreign,
}
