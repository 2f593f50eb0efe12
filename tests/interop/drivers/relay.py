"""A relay before one that listens on this host. When one of both ends a connection it says in a JSON line whether
the caller began plainly, and how many bytes it was answered.

    relay.py PORT OTHER_PORT
"""

import asyncio
import json
import sys

PLAIN = b"\x13BitTorrent protocol"


class Relay:
    def __init__(self, other_port):
        self.other_port = other_port

    async def serve(self, reader, writer):
        other = await asyncio.open_connection("127.0.0.1", self.other_port)
        said, answered = bytearray(), bytearray()
        ways = [pass_on(reader, other[1], said), pass_on(other[0], writer, answered)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        other[1].close()
        writer.close()
        print(json.dumps({"plain": said.startswith(PLAIN), "answered": len(answered)}), flush=True)


async def pass_on(reader, writer, kept):
    while data := await reader.read(65536):
        kept += data
        writer.write(data)
        await writer.drain()


async def main():
    port, other_port = map(int, sys.argv[1:])
    server = await asyncio.start_server(Relay(other_port).serve, "0.0.0.0", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
