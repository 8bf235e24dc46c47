"""IP addresses and prefixes in their one canonical spelling.

Refuses what can say more than it means: host bits in a prefix, a prefix so short that it is
never one offender, a zone index, IPv4-mapped IPv6 (write the IPv4 address). Canonical text is
RFC 5952 for IPv6 and dotted decimal for IPv4, so equal text means equal address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from enforcer.errors import InputError

PREFIX_LENGTH_MIN: Final = {4: 16, 6: 32}
"""Shortest prefix that one target may be, by IP version."""

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def parse_address(text: str) -> Address:
    """Read one address in canonical spelling.

    Raises:
        InputError: no address, a zone index, IPv4-mapped, or another spelling than canonical.
    """
    try:
        address = ip_address(text)
    except ValueError as error:
        raise _error(f"{text!r} is no IP address") from error
    _check_plain(address, text)
    if str(address) != text:
        raise _error(f"the address {text!r} is written {str(address)!r}")
    return address


def parse_network(text: str) -> Network:
    """Read one prefix, ``ADDRESS/LENGTH``, in canonical spelling.

    Raises:
        InputError: no prefix, host bits set, too short, the length of a single address,
            IPv4-mapped, or another spelling than canonical.
    """
    if "/" not in text:
        raise _error(f"{text!r} has no prefix length")
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise _error(f"{text!r} is no IP prefix") from error
    _check_plain(network.network_address, text)
    shortest = PREFIX_LENGTH_MIN[network.version]
    if network.prefixlen < shortest:
        raise _error(f"the prefix {text!r} is shorter than /{shortest}")
    if network.prefixlen == network.max_prefixlen:
        raise _error(f"the prefix {text!r} is one address: write it as 'ip'")
    if text.partition("/")[0] != str(network.network_address) or str(network) != text:
        raise _error(f"the prefix {text!r} is written {str(network)!r}")
    return network


def plain_address(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped IPv6 address is, or `address` itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def network_around(address: Address, length: int) -> Network:
    """Return the prefix of `length` bits that `address` is in."""
    host_bits = address.max_prefixlen - length
    first = int(address) >> host_bits << host_bits
    if isinstance(address, IPv4Address):
        return IPv4Network((first, length))
    return IPv6Network((first, length))


def embedded_ipv4(address: Address, prefix: IPv6Network) -> IPv4Address | None:
    """Return the IPv4 address that `address` carries behind the DNS64 `prefix` (RFC 6052 §2.2).

    `prefix` is of 32, 40, 48, 56, 64 or 96 bits; None where `address` is not in it. The octet
    of bits 64 to 71 is never part of the IPv4 address.
    """
    if address not in prefix:
        return None
    at = prefix.prefixlen // 8
    carried = address.packed[:8] + address.packed[9:] if at <= 8 else address.packed
    return IPv4Address(carried[at : at + 4])


def _check_plain(address: Address, text: str) -> None:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise _error(f"{text!r} has a zone index")
        if address.ipv4_mapped is not None:
            raise _error(f"{text!r} is an IPv4 address inside IPv6: write {address.ipv4_mapped}")


def _error(what: str) -> InputError:
    return InputError(
        what, advice="Write 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32, spelt like that."
    )
