"""Networks that no order can name, whatever a policy pins: they are not one offender's anywhere.

A block of them hits everybody's own machines (private, loopback, multicast), somebody else than
meant (tunnels that carry IPv4 addresses), or the network's own workings. From the IANA IPv4 and
IPv6 Special-Purpose Address Registries and the IPv6 address space registry.

Prefixes for documentation (RFC 5737, 3849, 9637) are not among them: nobody has them and nobody
routes them, so an order for one harms nobody, and the whole way of an order can be tried and
shown with real guards and no stranger's address, as it can with example.org.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from enforcer.core.network import Network


@dataclass(frozen=True, slots=True)
class SpecialNetwork:
    """One prefix that is set apart; ``line`` is what a hit gives as evidence."""

    network: Network
    line: str


_TABLE: Final = (
    ("0.0.0.0/8", "this network, RFC 791"),
    ("10.0.0.0/8", "private use, RFC 1918"),
    ("100.64.0.0/10", "shared by carriers' NAT, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("169.254.0.0/16", "link-local, RFC 3927"),
    ("172.16.0.0/12", "private use, RFC 1918"),
    ("192.0.0.0/24", "protocol assignments, RFC 6890"),
    ("192.31.196.0/24", "AS112, RFC 7535"),
    ("192.52.193.0/24", "AMT, RFC 7450"),
    ("192.88.99.0/24", "6to4 relays, RFC 7526"),
    ("192.168.0.0/16", "private use, RFC 1918"),
    ("192.175.48.0/24", "AS112, RFC 7534"),
    ("198.18.0.0/15", "benchmarking, RFC 2544"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved, RFC 1112"),
    ("255.255.255.255/32", "broadcast, RFC 919"),
    ("::/3", "outside global unicast, RFC 4291"),
    ("64:ff9b::/96", "carries IPv4 addresses (NAT64): order those, RFC 6052"),
    ("64:ff9b:1::/48", "carries IPv4 addresses (NAT64): order those, RFC 8215"),
    ("100::/64", "discard, RFC 6666"),
    ("2001::/23", "protocol assignments, RFC 2928"),
    ("2001::/32", "carries IPv4 addresses (Teredo): order those, RFC 4380"),
    ("2001:2::/48", "benchmarking, RFC 5180"),
    ("2001:20::/28", "ORCHIDv2, RFC 7343"),
    ("2002::/16", "carries IPv4 addresses (6to4): order those, RFC 3056"),
    ("2620:4f:8000::/48", "AS112, RFC 7534"),
    ("4000::/2", "outside global unicast, RFC 4291"),
    ("5f00::/16", "segment routing, RFC 9602"),
    ("8000::/1", "outside global unicast, RFC 4291"),
    ("fc00::/7", "unique local, RFC 4193"),
    ("fe80::/10", "link-local, RFC 4291"),
    ("ff00::/8", "multicast, RFC 4291"),
)

SPECIAL_NETWORKS: Final = tuple(
    SpecialNetwork(ip_network(prefix), f"special {prefix} {words}") for prefix, words in _TABLE
)
