"""A client, a box that forwards, and a server that has every address: in network namespaces."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Self, TypeVar

from enforcer.backends.nft_firewall import NftFirewall
from enforcer.backends.nft_socket import NftSocket
from enforcer.core.table import IpMeasure

T = TypeVar("T")
PROBED_PORT, MARKED_PORT = 4001, 4002
CLIENT = {4: "203.0.113.1", 6: "2001:db8:ffff::1"}
FREE = {4: "203.0.114.9", 6: "2001:db8:eeee::9"}
"""Addresses of the server that no test blocks."""
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

BOX = """
link set lo up
link add c0 type veth peer name c1
link add s0 type veth peer name s1
link set c1 netns {client}
link set s1 netns {server}
addr add 203.0.113.254/24 dev c0
addr add 2001:db8:ffff::fe/64 dev c0 nodad
addr add 203.0.112.1/24 dev s0
addr add 2001:db8:fffe::1/64 dev s0 nodad
link set c0 up
link set s0 up
route add default via 203.0.112.2
route add default via 2001:db8:fffe::2
"""
CLIENT_SIDE = """
link set lo up
addr add 203.0.113.1/24 dev c1
addr add 2001:db8:ffff::1/64 dev c1 nodad
link set c1 up
route add default via 203.0.113.254
route add default via 2001:db8:ffff::fe
"""
SERVER_SIDE = """
link set lo up
addr add 203.0.112.2/24 dev s1
addr add 2001:db8:fffe::2/64 dev s1 nodad
link set s1 up
route add local 192.0.2.0/24 dev lo
route add local 198.51.0.0/16 dev lo
route add local 203.0.114.0/24 dev lo
route add local 2001:db8::/47 dev lo
route add local 2001:db8:2::/48 dev lo
route add local 2001:db8:eeee::/48 dev lo
route add default via 203.0.112.1
route add default via 2001:db8:fffe::1
"""
SETTINGS = """
net.ipv4.ip_forward=1
net.ipv6.conf.all.forwarding=1
net.ipv4.icmp_ratelimit=0
net.ipv6.icmp.ratelimit=0
"""


def why_not() -> str:
    """Return why there can be no network namespaces here; empty: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if subprocess.run(["unshare", "-n", "nft", "list", "tables"], check=False).returncode:
        return "needs network namespaces, nf_tables and nft(8)"
    return ""


class Namespace:
    """A network namespace, kept by a process that sleeps in it."""

    def __init__(self) -> None:
        # It says a word when it is there, and ends with its standard input.
        self._keeper = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo here; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        self._keeper.stdout.readline()
        self.pid = self._keeper.pid
        self._fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def run(self, *command: str, text: str = "") -> str:
        """Run a command in it and return what it printed."""
        where = ["nsenter", f"--net=/proc/{self.pid}/ns/net"]
        done = subprocess.run(
            [*where, *command], input=text, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tries(self, *command: str) -> str:
        """Run a command that must fail and return what it complained of."""
        where = ["nsenter", f"--net=/proc/{self.pid}/ns/net"]
        done = subprocess.run(
            [*where, *command], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode != 0
        return done.stderr

    def call(self, work: Callable[[], T]) -> T:
        """Call `work` in it, in this thread: sockets belong to where they were made."""
        with inside(self):
            return work()

    def close(self) -> None:
        os.close(self._fd)
        self._keeper.communicate(timeout=10)

    @property
    def fd(self) -> int:
        """What names it to the kernel."""
        return self._fd


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """Have this thread, and all that it starts, in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(namespace.fd, 0):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        assert libc.setns(own, 0) == 0
        os.close(own)


class Network:
    """The three namespaces."""

    def __init__(self) -> None:
        self.client, self.box, self.server = Namespace(), Namespace(), Namespace()
        pids = {"client": self.client.pid, "server": self.server.pid}
        self.box.run("sysctl", "-q", *SETTINGS.split())
        self.box.run("ip", "-batch", "-", text=BOX.format(**pids))
        self.client.run("ip", "-batch", "-", text=CLIENT_SIDE)
        self.server.run("ip", "-batch", "-", text=SERVER_SIDE)

    def close(self) -> None:
        for each in (self.client, self.box, self.server):
            each.close()


class KernelWorld:
    """The firewall of a box, and packets that it forwards."""

    def __init__(self, network: Network, *, with_owner: bool = True) -> None:
        self.network = network
        self.box = network.box
        self.with_owner = with_owner
        self._made: list[NftFirewall] = []
        self.firewall = self.another()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self._made:
            await each.close()
        self.box.run("nft", "flush", "ruleset")

    def another(self) -> NftFirewall:
        """Return another process's way to the same firewall."""
        made = NftFirewall(with_owner=self.with_owner, opened=lambda: self.box.call(NftSocket))
        self._made.append(made)
        return made

    async def sent_to(self, address: str) -> IpMeasure:
        """Send a datagram from the client and return what happened to it."""
        version = ip_address(address).version
        return await asyncio.to_thread(
            self._send, self.network.client, self.network.server, CLIENT[version], address
        )

    async def sent_from(self, address: str) -> IpMeasure:
        """Send a datagram to the client and return what happened to it."""
        version = ip_address(address).version
        return await asyncio.to_thread(
            self._send, self.network.server, self.network.client, address, CLIENT[version]
        )

    async def pass_seconds(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _send(
        self, sender: Namespace, receiver: Namespace, source: str, destination: str
    ) -> IpMeasure:
        """Send a probe, and behind it a datagram that nothing stops: when that is here, and the
        probe is not, the probe will not come any more; nor will a refusal of it."""
        version = ip_address(destination).version
        free_source, free_destination = (
            (source, FREE[version]) if source == CLIENT[version] else (FREE[version], destination)
        )
        with (
            one_processor(),
            receiver.call(lambda: bound(version, destination, PROBED_PORT)) as probed,
            receiver.call(lambda: bound(version, free_destination, MARKED_PORT)) as marked,
            sender.call(lambda: bound(version, source, 0)) as probe,
            sender.call(lambda: bound(version, free_source, 0)) as mark,
        ):
            probe.connect((destination, PROBED_PORT))
            probe.send(b"probe")
            mark.sendto(b"mark", (free_destination, MARKED_PORT))
            readable, _, _ = select.select([marked], [], [], 10)
            assert readable, "the network does not forward"
            if select.select([probed], [], [], 0)[0]:
                return IpMeasure.NONE
            error = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return IpMeasure.REJECT if error else IpMeasure.DROP


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep this thread on one: each has a queue of its own for what its threads send."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def bound(version: int, address: str, port: int) -> socket.socket:
    made = socket.socket(FAMILY[version], socket.SOCK_DGRAM)
    if version == 6:
        made.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND: local by its route alone
    made.bind((address, port))
    return made
