"""A proxy that speaks SOCKS5, with UDP ASSOCIATE, and HTTP. It knows one host by every name.

    proxy.py ADDRESS PORT IPV4
"""

import asyncio
import socket
import sys


class Proxy:
    def __init__(self, host, named):
        self.host, self.named = host, named

    def place(self, host):
        """Names lead to one host, addresses to themselves."""
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, host)
                return host
            except OSError:
                pass
        return self.named

    async def serve(self, reader, writer):
        try:
            first = await reader.readexactly(1)
            await (self.socks if first == b"\x05" else self.http)(reader, writer, first)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def socks(self, reader, writer, _):
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\0")
        _, command, _, kind = await reader.readexactly(4)
        host = await address(reader, kind)
        port = int.from_bytes(await reader.readexactly(2), "big")
        if command == 3:
            await self.relay(reader, writer)
            return
        try:
            other = await asyncio.open_connection(self.place(host), port)
        except OSError:
            writer.write(b"\x05\x05\0\x01" + bytes(6))
            return
        writer.write(b"\x05\0\0\x01" + bytes(6))
        await between((reader, writer), other)

    async def relay(self, reader, writer):
        """Carries datagrams until the connection ends."""
        loop = asyncio.get_running_loop()
        ends = Ends(self)
        inside, _ = await loop.create_datagram_endpoint(lambda: Inside(ends), (self.host, 0))
        outside, _ = await loop.create_datagram_endpoint(lambda: Outside(ends), (self.host, 0))
        ends.inside, ends.outside = inside, outside
        port = inside.get_extra_info("sockname")[1]
        writer.write(b"\x05\0\0\x01" + socket.inet_aton(self.host) + port.to_bytes(2, "big"))
        try:
            await reader.read(1)
        finally:
            inside.close()
            outside.close()

    async def http(self, reader, writer, first):
        head = first + await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        authority, _, path = target.removeprefix(b"http://").partition(b"/")
        host, port = authority.decode().rsplit(":", 1)
        try:
            other = await asyncio.open_connection(self.place(host.strip("[]")), int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            other[1].write(head.replace(target, b"/" + path, 1))
        await between((reader, writer), other)


class Ends:
    """Both ends of a relay, and whose it is."""

    def __init__(self, proxy):
        self.proxy, self.guest = proxy, None


class Inside(asyncio.DatagramProtocol):
    def __init__(self, ends):
        self.ends = ends

    def datagram_received(self, data, whence):
        self.ends.guest = whence
        if data[3] == 1:
            host, rest = socket.inet_ntoa(data[4:8]), data[8:]
        elif data[3] == 3:
            length = data[4]
            host, rest = data[5 : 5 + length].decode(), data[5 + length :]
        else:
            return
        port = int.from_bytes(rest[:2], "big")
        self.ends.outside.sendto(rest[2:], (self.ends.proxy.place(host), port))


class Outside(asyncio.DatagramProtocol):
    def __init__(self, ends):
        self.ends = ends

    def datagram_received(self, data, whence):
        head = b"\0\0\0\x01" + socket.inet_aton(whence[0]) + whence[1].to_bytes(2, "big")
        self.ends.inside.sendto(head + data, self.ends.guest)


async def address(reader, kind):
    if kind == 1:
        return socket.inet_ntoa(await reader.readexactly(4))
    if kind == 4:
        return socket.inet_ntop(socket.AF_INET6, await reader.readexactly(16))
    return (await reader.readexactly((await reader.readexactly(1))[0])).decode()


async def between(one, other):
    """Passes on what each side says until one of them ends."""

    async def pass_on(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    ways = [pass_on(one[0], other[1]), pass_on(other[0], one[1])]
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        other[1].close()


async def main():
    host, port, named = sys.argv[1:]
    server = await asyncio.start_server(Proxy(host, named).serve, host, int(port))
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
