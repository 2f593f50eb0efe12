"""A house with a router, as networks of their own: downpour behind it, the world before it."""

import ipaddress
import re
from pathlib import Path

from network import another, call, ip, within

INSIDE, NEIGHBOUR, ROUTER = "192.168.77.2", "192.168.77.3", "192.168.77.1"
# Addresses that could be anybody's: the router does not believe in others.
OUTSIDE, WORLD = "11.77.0.1", "11.77.0.2"

# The same of IPv6, where nothing is translated; the router is known by its address on the link.
INSIDE_V6, ROUTER_V6, ON_LINK = "2a00:77:1::2", "2a00:77:1::1", "fe80::77"
OUTSIDE_V6, WORLD_V6 = "2a00:77:2::1", "2a00:77:2::2"

# What the house does not ask for stays outside, but for what miniupnpd lets in.
RULES = """
table inet filter {
    chain forward {
        type filter hook forward priority 0; policy drop;
        iifname "lan" accept
        ct state established,related accept
        jump miniupnpd
    }
    chain input {
        type filter hook input priority 0; policy accept;
        {dropped}
    }
    chain prerouting {
        type nat hook prerouting priority -100;
        jump prerouting_miniupnpd
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        jump postrouting_miniupnpd
        oifname "wan" masquerade
    }
    chain miniupnpd {}
    chain prerouting_miniupnpd {}
    chain postrouting_miniupnpd {}
}
"""
# Numbers of protocols, as `nft` shows what miniupnpd has made.
PROTOCOLS = {"0x6": "tcp", "0x11": "udp"}
# Requests of PCP, by their first byte.
PCP = "udp dport 5351 @th,64,8 2 drop"

SETTINGS = """
ext_ifname=wan
listening_ip=lan
ipv6_disable={no_ipv6}
enable_natpmp={control}
enable_upnp=yes
secure_mode=no
uuid=9c96d53a-cb58-4402-a915-ac1cb4bf99c0
allow 1024-65535 192.168.77.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class House:
    """The network of the scenario becomes the router's; two more are made."""

    def __init__(self, run):
        self.run = run
        self.inside, self.world = another(run, "house"), another(run, "world")
        for name, pid in [("lan", self.inside), ("wan", self.world)]:
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", pid)
            ip("link", "set", name, "up")
        ip("address", "add", f"{ROUTER}/24", "dev", "lan")
        ip("address", "add", f"{OUTSIDE}/24", "dev", "wan")
        self._settle(self.inside, [INSIDE, NEIGHBOUR])
        self._settle(self.world, [WORLD])
        ip("route", "add", "default", "via", ROUTER, of=self.inside)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _settle(self, pid, addresses):
        ip("link", "set", "lo", "up", of=pid)
        ip("link", "set", "eth0", "up", of=pid)
        for address in addresses:
            ip("address", "add", f"{address}/24", "dev", "eth0", of=pid)

    def add_ipv6(self):
        """Makes addresses of IPv6 on both sides."""
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        for address, link in [(ROUTER_V6, "lan"), (ON_LINK, "lan"), (OUTSIDE_V6, "wan")]:
            ip("address", "add", f"{address}/64", "dev", link, "nodad")
        for pid, address, gateway in [
            (self.inside, INSIDE_V6, ON_LINK),
            (self.world, WORLD_V6, OUTSIDE_V6),
        ]:
            ip("address", "add", f"{address}/64", "dev", "eth0", "nodad", of=pid)
            ip("route", "add", "default", "via", gateway, "dev", "eth0", of=pid)

    def route(self, control, dropped="", ipv6=False):
        """Starts the router: with PCP and NAT-PMP if `control`, and a rule for what it drops."""
        home = self.run.folder("router")
        (home / "rules").write_text(RULES.replace("{dropped}", dropped))
        call("nft", "-f", str(home / "rules"))
        settings = home / "settings"
        word = {True: "yes", False: "no"}
        settings.write_text(SETTINGS.format(control=word[control], no_ipv6=word[not ipv6]))
        argv = ["miniupnpd", "-d", "-f", settings, "-P", home / "pid"]
        process = self.run.start("miniupnpd", argv)
        self.run.until(lambda: process.find(r"(HTTP listening)"), "miniupnpd to listen")

    def start(self, name, argv, may_exit=False):
        """Starts a program in the house."""
        return self.run.start(name, within(self.inside, argv), may_exit=may_exit)

    def start_outside(self, name, argv, may_exit=False):
        """Starts a program in the world."""
        return self.run.start(name, within(self.world, argv), may_exit=may_exit)

    def mappings(self):
        """What the router lets in: protocol, port outside, address and port inside."""
        rules = call("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
        pattern = r"@nh,72,8 (0x6|0x11) th dport (\d+) dnat ip to ([0-9.]+):(\d+)"
        found = re.findall(pattern, rules)
        return {(PROTOCOLS[p], int(o), host, int(i)) for p, o, host, i in found}

    def pinholes(self):
        """What the router lets in over IPv6: protocol and port, at the address inside."""
        rules = call("nft", "list", "chain", "inet", "filter", "miniupnpd")
        address = ipaddress.ip_address(INSIDE_V6).packed.hex()
        found = re.findall(rf"th dport (\d+) @nh,192,128 0x{address} @nh,48,8 (0x6|0x11) accept", rules)
        return {(PROTOCOLS[p], int(port)) for port, p in found}
