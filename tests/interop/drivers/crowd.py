"""A crowd of peers of one torrent: they connect, trade, and leave after some seconds in one way or another,
and others come in their place, until this is ended.

Every third has everything, the others have half of the pieces. All take blocks, and every fifth gives what it
is asked for. Each comes from a loopback address of its own, some say where they listen, and are dialled there. A JSON line a
second says how many are connected, how many have been, and the bytes of blocks that came and went.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import struct

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("port", type=int, help="where the client listens")
parser.add_argument("info_hash")
parser.add_argument("data", help="the file that is shared")
parser.add_argument("piece_length", type=int)
parser.add_argument("--peers", type=int, default=200, help="connections at a time (%(default)s)")
parser.add_argument("--life", type=float, default=30, help="longest life in seconds (%(default)s)")
parser.add_argument("--listen", type=int, required=True, help="where the crowd is dialled")
args = parser.parse_args()

BLOCK = 16 * 1024
# Blocks that a peer asks for at a time.
DEPTH = 8
# How they leave: in order, by a reset, in the middle of a message, and after they have not read for a while.
CLOSES, RESETS, BREAKS, STALLS = range(4)
ADDRESSES = 400
FAST, EXTENDED = 0x04, 0x10

rng = random.Random(args.info_hash)
file = os.open(args.data, os.O_RDONLY)
length = os.fstat(file).st_size
pieces = -(-length // args.piece_length)
connected, met = set(), 0
traded = {"received": 0, "sent": 0}


def message(number, payload=b""):
    return struct.pack(">IB", len(payload) + 1, number) + payload


class Peer:
    """One connection, from the handshake to the end of its life."""

    def __init__(self, reader, writer):
        global met
        met += 1
        self.reader, self.writer = reader, writer
        self.id = b"-XX0002-%012d" % met
        self.has = set(range(pieces))
        if rng.randrange(3):
            self.has = set(rng.sample(range(pieces), pieces // 2))
        self.there, self.asked, self.chokes = set(), 0, True
        self.gives = rng.randrange(5) == 0
        self.leaves = rng.randrange(4)

    async def live(self):
        connected.add(self)
        try:
            async with asyncio.timeout(args.life * rng.uniform(0.1, 1)):
                await self.greet()
                while True:
                    await self.hear()
        except TimeoutError:
            if self.leaves == STALLS:
                await asyncio.sleep(rng.uniform(1, 5))
        except (OSError, EOFError):
            # It closed, which is its right.
            pass
        finally:
            connected.discard(self)
            self.leave()

    def leave(self):
        if self.leaves == BREAKS:
            # Half of a message that says it has something.
            self.writer.write(message(4, bytes(4))[:7])
        if self.leaves in (RESETS, STALLS):
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        self.writer.close()

    async def greet(self):
        reserved = bytes([0, 0, 0, 0, 0, EXTENDED, 0, FAST])
        hello = b"\x13BitTorrent protocol" + reserved + bytes.fromhex(args.info_hash) + self.id
        self.writer.write(hello)
        await self.reader.readexactly(len(hello))
        if len(self.has) == pieces:
            self.writer.write(message(0x0e))
        else:
            bits = bytearray(-(-pieces // 8))
            for piece in self.has:
                bits[piece // 8] |= 0x80 >> piece % 8
            self.writer.write(message(5, bytes(bits)))
        if rng.randrange(4) == 0:
            self.writer.write(message(20, b"\0d1:md6:ut_pexi1ee1:pi%dee" % args.listen))
        self.writer.write(message(1) * self.gives + message(2))

    async def hear(self):
        (size,) = struct.unpack(">I", await self.reader.readexactly(4))
        body = await self.reader.readexactly(size)
        number, payload = body[:1], body[1:]
        if number == b"\x00":
            self.chokes = True
        elif number == b"\x01":
            self.chokes = False
        elif number == b"\x04":
            self.there.add(struct.unpack(">I", payload)[0])
        elif number == b"\x05":
            self.there.update(p for p in range(pieces) if payload[p // 8] & 0x80 >> p % 8)
        elif number == b"\x0e":
            self.there.update(range(pieces))
        elif number == b"\x06":
            await self.give(*struct.unpack(">III", payload))
        elif number in (b"\x07", b"\x10"):
            traded["received"] += max(len(payload) - 8, 0) if number == b"\x07" else 0
            self.asked = max(self.asked - 1, 0)
        self.take()

    async def give(self, piece, begin, size):
        if self.gives and piece in self.has:
            block = os.pread(file, size, piece * args.piece_length + begin)
            self.writer.write(message(7, struct.pack(">II", piece, begin) + block))
            traded["sent"] += size
            await self.writer.drain()
        else:
            self.writer.write(message(0x10, struct.pack(">III", piece, begin, size)))

    def take(self):
        """Asks for blocks of what is there, of no matter which."""
        while not self.chokes and self.there and self.asked < DEPTH:
            piece = rng.choice(tuple(self.there))
            end = min(args.piece_length, length - piece * args.piece_length)
            begin = rng.randrange(-(-end // BLOCK)) * BLOCK
            size = min(BLOCK, end - begin)
            self.writer.write(message(6, struct.pack(">III", piece, begin, size)))
            self.asked += 1


async def come():
    """One of them connects, and lives."""
    host = rng.randrange(ADDRESSES)
    address = f"127.1.{host // 200}.{1 + host % 200}"
    with contextlib.suppress(OSError):
        streams = await asyncio.open_connection("127.0.0.1", args.port, local_addr=(address, 0))
        await Peer(*streams).live()


async def main():
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    lives = set()

    def begin(life):
        life = asyncio.create_task(life)
        lives.add(life)
        life.add_done_callback(lives.discard)

    def dialled(reader, writer):
        if len(connected) < args.peers:
            begin(Peer(reader, writer).live())
        else:
            writer.close()

    server = await asyncio.start_server(dialled, "0.0.0.0", args.listen)
    ticks = 0
    while not ended.is_set():
        for _ in range(min(args.peers - len(connected), args.peers // 10)):
            begin(come())
        if ticks % 10 == 0:
            print(json.dumps({"connected": len(connected), "met": met, **traded}), flush=True)
        ticks += 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.1)
    server.close()
    for peer in tuple(connected):
        peer.leave()
    for life in tuple(lives):
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


asyncio.run(main())
