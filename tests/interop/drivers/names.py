"""A name server that knows one host by every name.

    names.py ADDRESS IPV4 IPV6
"""

import socket
import sys

A, AAAA = 1, 28


def answer(question, addresses):
    """The answer to a question of one name, with its address of the family that is asked for."""
    end = question.index(b"\0", 12) + 5
    kind = int.from_bytes(question[end - 4 : end - 2], "big")
    data = addresses.get(kind, b"")
    record = b"\xc0\x0c" + question[end - 4 : end] + (60).to_bytes(4, "big")
    record += len(data).to_bytes(2, "big") + data
    count = bytes([0, 1 if data else 0])
    head = question[:2] + b"\x81\x80\0\x01" + count + b"\0\0\0\0"
    return head + question[12:end] + (record if data else b"")


def main():
    host, v4, v6 = sys.argv[1:]
    addresses = {A: socket.inet_pton(socket.AF_INET, v4), AAAA: socket.inet_pton(socket.AF_INET6, v6)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, 53))
        print("ready", flush=True)
        while True:
            question, whence = server.recvfrom(512)
            server.sendto(answer(question, addresses), whence)


if __name__ == "__main__":
    main()
