"""A local network: hosts with a network and an address of their own, on one bridge. What the scenario starts
without a host is on the bridge as well, and reached by the addresses that it always has.
"""

from dataclasses import dataclass

from network import another, call, ip, within

NEEDS = ("ip", "nsenter", "unshare")
BRIDGE, HOSTS = "10.78.0.1", "10.78.0.{}"
# Behind a router.
ROUTER, HIDDEN = "192.168.78.1", "192.168.78.2"
MASQUERADE = """table ip nat {
    chain postrouting { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
}"""


@dataclass(frozen=True)
class Host:
    """A process that keeps the network, and the address at which others see it."""

    pid: int
    address: str

    @property
    def within(self):
        """The command that runs another there."""
        return within(self.pid, [])


class Lan:
    """The network of the scenario becomes that of the bridge."""

    def __init__(self, run):
        self.run, self.hosts = run, 0
        ip("link", "add", "lan", "type", "bridge")
        ip("link", "set", "lan", "up")
        ip("address", "add", f"{BRIDGE}/24", "dev", "lan")

    def host(self):
        """One more host."""
        self.hosts += 1
        address, link = HOSTS.format(self.hosts + 1), f"lan{self.hosts}"
        pid = another(self.run, f"host-{self.hosts}")
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid)
        ip("link", "set", link, "master", "lan", "up")
        settle(pid, "eth0", address, BRIDGE)
        return Host(pid, address)

    def hidden_host(self):
        """A host behind a router that lets nobody in, whose address the others see. Wants `nft`."""
        router, pid = self.host(), another(self.run, f"host-behind-{self.hosts}")
        ip("link", "add", "inside", "type", "veth", "peer", "name", "eth0", "netns", pid, of=router.pid)
        ip("link", "set", "inside", "up", of=router.pid)
        ip("address", "add", f"{ROUTER}/24", "dev", "inside", of=router.pid)
        settle(pid, "eth0", HIDDEN, ROUTER)
        call(*within(router.pid, ["nft", MASQUERADE]))
        forward = "echo 1 >/proc/sys/net/ipv4/ip_forward"
        call(*within(router.pid, ["sh", "-c", forward]))
        return Host(pid, router.address)


def settle(pid, interface, address, gateway):
    """Gives a network an address, and a way to all others."""
    for link in ("lo", interface):
        ip("link", "set", link, "up", of=pid)
    ip("address", "add", f"{address}/24", "dev", interface, of=pid)
    ip("route", "add", "default", "via", gateway, of=pid)
