"""A host with two ways out, as networks of their own, and who sees each packet that leaves by one of them."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

from network import another, ip, within
from sandbox import Failure

DRIVERS = Path(__file__).parent / "drivers"
# The way that is allowed, and the one that the system would take.
ALLOWED, OTHER = "tun0", "eth0"
# The host of all services, which both ways lead to, and a proxy beside it.
WORLD, WORLD_V6, PROXY = "10.88.0.1", "fd88::1", "10.88.0.9"
OURS = {ALLOWED: ("10.88.0.2", "fd88::2"), OTHER: ("10.88.0.3", "fd88::3")}

ETH_P_ALL, PACKET_OUTGOING = 3, 4
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
HOP_BY_HOP, ICMP, IGMP, TCP, ICMPV6 = 0, 1, 2, 6, 58
# What the kernel says by itself: that nobody is there, who is on the link (RFC 4861), which groups are wanted
# (RFC 3810), and some seconds after a program has ended that its groups are not (RFC 3376, section 4.2.12).
UNREACHABLE = 3
OF_THE_KERNEL = {1, *range(130, 138), 143}
REPORT, NO_MORE = 0x22, 3
RESET = 4


class Host:
    """The network of the scenario becomes that of a host with both ways; each leads to a world of its own,
    which look the same."""

    def __init__(self, run):
        self.run = run
        self.world, self.elsewhere = (another(run, f"world-of-{name}") for name in OURS)
        for name, pid in self.worlds():
            ip("link", "set", "lo", "up", of=pid)
            self.connect(name, pid)
        names = self.run.folder("names") / "resolv.conf"
        names.write_text(f"nameserver {WORLD}\n")
        self.names = names

    def worlds(self):
        return [(ALLOWED, self.world), (OTHER, self.elsewhere)]

    def connect(self, name, pid):
        """Makes an interface, and what it leads to."""
        ip("link", "add", name, "type", "veth", "peer", "name", "world", "netns", pid)
        ip("link", "set", "world", "up", of=pid)
        for address in (f"{WORLD}/24", f"{PROXY}/24"):
            ip("address", "add", address, "dev", "world", of=pid)
        ip("address", "add", f"{WORLD_V6}/64", "dev", "world", "nodad", of=pid)
        ip("address", "add", f"{OURS[name][0]}/24", "dev", name, "noprefixroute")
        ip("link", "set", name, "up")
        self.settle(name)

    def settle(self, name):
        """Gives an interface that has come up what it lost when it went down. All the world is behind each of
        them; the kernel takes the one of the lower metric."""
        metric = {ALLOWED: 200, OTHER: 100}[name]
        ip("address", "replace", f"{OURS[name][1]}/64", "dev", name, "nodad", "noprefixroute")
        for net, gateway, to in [("10.88.0.0/24", WORLD, "default"), ("fd88::/64", WORLD_V6, "default")]:
            ip("route", "add", net, "dev", name, "metric", str(metric))
            ip("route", "add", to, "via", gateway, "dev", name, "metric", str(metric))

    def start_there(self, name, argv, may_exit=False):
        """Starts a program in the world to which the allowed way leads."""
        return self.run.start(name, within(self.world, argv), may_exit=may_exit)

    def is_reached(self, port):
        """Whether the host takes connections from the world by the allowed way."""
        probe = ["bash", "-c", f"exec 3<>/dev/tcp/{OURS[ALLOWED][0]}/{port}"]
        argv = ["timeout", "1", *map(str, within(self.world, probe))]
        return subprocess.run(argv, capture_output=True).returncode == 0

    def start_driver(self, name, *argv):
        process = self.start_there(name, [sys.executable, DRIVERS / f"{name}.py", *argv])
        self.run.until(lambda: process.find("(ready)"), f"{name} to be ready")

    def start(self, name, argv):
        """Starts a program on the host, whose names are looked up in the world."""
        script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        shell = ["unshare", "--mount", "sh", "-c", script, "sh", self.names]
        return self.run.start(name, [*shell, *argv], may_exit=True)


class Capture:
    """Every packet that leaves by an interface of this thread's network, but for what the kernel says by
    itself."""

    def __init__(self, interface, allowed=lambda packet: False):
        self.allowed = allowed
        self.seen, self.passed = [], 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.bind((interface, ETH_P_ALL))
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while True:
            try:
                packet, (_, protocol, kind, *_) = self.socket.recvfrom(65536)
            except OSError as error:
                # While it is down nothing leaves by it, which is no end.
                if self.socket.fileno() < 0:
                    return
                if error.errno is None:
                    raise
                continue
            if kind != PACKET_OUTGOING or protocol == ARP or is_of_the_kernel(protocol, packet):
                continue
            if self.allowed(packet):
                self.passed += 1
            else:
                self.seen.append(describe(protocol, packet))

    def expect_nothing(self):
        if self.seen:
            raise Failure(f"{len(self.seen)} packets went astray: {'; '.join(self.seen[:5])}")


def is_of_the_kernel(protocol, packet):
    """Whether no program has sent it. Whoever speaks to a program that has ended is told so by the kernel,
    which has no socket to ask by which way."""
    if protocol == IPV4:
        header, rest = packet[9], packet[(packet[0] & 15) * 4 :]
    elif protocol == IPV6:
        header, rest = packet[6], packet[40:]
        if header == HOP_BY_HOP:
            header, rest = rest[0], rest[8 + rest[1] * 8 :]
    else:
        return False
    if header == TCP:
        return bool(rest[13] & RESET)
    told = (header == ICMP and rest[0] == UNREACHABLE)
    # That one is wanted from now on would be a program's doing.
    left = header == IGMP and rest[0] == REPORT and rest[8] == NO_MORE
    return told or left or (header == ICMPV6 and rest[0] in OF_THE_KERNEL)


def destination(packet):
    """Where a packet of IPv4 goes."""
    return socket.inet_ntoa(packet[16:20]) if packet[0] >> 4 == 4 else None


def describe(protocol, packet):
    if protocol == IPV4:
        head = (packet[0] & 15) * 4
        port = int.from_bytes(packet[head + 2 : head + 4], "big")
        return f"{destination(packet)} port {port}, protocol {packet[9]}"
    if protocol == IPV6:
        return f"{socket.inet_ntop(socket.AF_INET6, packet[24:40])}, protocol {packet[6]}"
    return f"protocol {protocol:#06x}"
