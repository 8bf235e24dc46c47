"""What this host itself must reach or be reached at: :class:`enforcer.ports.OwnNetworks`.

The operator's configuration, the addresses of this host, the machines that it depends on (named
hosts, resolvers), and the next hops on the way there. Refuses to guess: a host whose name cannot
be found keeps the addresses it had, and one that never had any is said.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path
from typing import Final

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from enforcer.core.network import Address, Network
from enforcer.errors import UnavailableError

RESOLV_CONF: Final = Path("/etc/resolv.conf")
RESOLV_BYTES_MAX: Final = 65_536
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
FAR: Final = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
"""Addresses that only a default route leads to (RFC 5737, RFC 3849)."""

_log: Final = structlog.get_logger(__name__)


class HostNetworks:
    """The addresses that one node protects; use it from one event loop."""

    def __init__(
        self,
        *,
        protect: Iterable[str],
        hosts: Collection[str],
        told: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        """Take the operator's prefixes, and hosts by name or address.

        `told` tells more of them each time, such as the resolvers behind the gate.
        """
        self._protect = [ip_network(each) for each in protect]
        self._hosts = frozenset(hosts)
        self._told = told
        self._found: dict[str, frozenset[Address]] = {}

    async def networks(self) -> tuple[Network, ...]:
        """Return the operator's own addresses and prefixes, sorted, none inside another.

        Raises:
            UnavailableError: the kernel does not tell this host's addresses.
        """
        return await asyncio.to_thread(self._look, self._hosts.union(await self._told()))

    def _look(self, hosts: Collection[str]) -> tuple[Network, ...]:
        far = _nameservers()
        for host in hosts:
            far |= self._addresses_of(host)
        try:
            with IPRoute() as kernel:
                near = _own_addresses(kernel)
                for address in (*far, *FAR.values()):
                    near |= _next_hops(kernel, address)
        except (OSError, NetlinkError) as error:
            raise UnavailableError(
                f"the kernel does not tell this host's addresses: {error}",
                advice="Let the node's service use AF_NETLINK sockets.",
            ) from error
        found = {*self._protect, *map(ip_network, filter(_is_global, far | near))}
        return (
            *collapse_addresses(each for each in found if isinstance(each, IPv4Network)),
            *collapse_addresses(each for each in found if isinstance(each, IPv6Network)),
        )

    def _addresses_of(self, host: str) -> frozenset[Address]:
        """Return a host's addresses, those that it had where its name is not found now."""
        try:
            found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
            self._found[host] = frozenset(ip_address(str(each[4][0])) for each in found)
        except (OSError, ValueError) as error:
            if host not in self._found:
                _log.warning("cannot protect a host whose address is not found", problem=str(error))
        return self._found.get(host, frozenset())


def _own_addresses(kernel: IPRoute) -> set[Address]:
    return {
        ip_address(address)
        for message in kernel.get_addr()
        for name in ("IFA_LOCAL", "IFA_ADDRESS")
        if (address := message.get_attr(name)) is not None
        and not (name == "IFA_ADDRESS" and message.get_attr("IFA_LOCAL") is not None)
    }


def _next_hops(kernel: IPRoute, address: Address) -> set[Address]:
    """Return the gateways through which an address is reached; none where it is on the link."""
    try:
        routes = list(kernel.route("get", dst=str(address), family=FAMILIES[address.version]))
    except NetlinkError:
        return set()  # there is no way to it
    hops = {route.get_attr("RTA_GATEWAY") for route in routes}
    return {ip_address(hop) for hop in hops if hop is not None}


def _nameservers() -> set[Address]:
    """Return the resolvers that this host itself asks; what cannot be read is none."""
    try:
        with RESOLV_CONF.open("rb") as file:
            lines = file.read(RESOLV_BYTES_MAX).decode("utf-8", "replace").splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        word, _, value = line.strip().partition(" ")
        if word == "nameserver":
            try:
                found.add(ip_address(value.strip().partition("%")[0]))
            except ValueError:
                continue
    return found


def _is_global(address: Address) -> bool:
    """Tell whether an order could ever name it: loopback and link-local addresses it cannot."""
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
