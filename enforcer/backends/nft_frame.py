"""Our table without its pieces: chains, rules, sets, as messages, and compared with what is there.

One table ``enforcer`` of family inet, with chains before the filters of others (priority -10)
whose policy is accept. A packet's destination is looked up (forward, output), then its source
(forward, input), each in one of 16 shards: by measure, host or net, in a map from addresses to
the order's counter. One that is found passes all the same if its address is protected, if it is
loopback's, or if the lease has run out: asked last, this costs other packets nothing. An address
is in one piece at most, so the order of the rules decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from enforcer._native.nft_elements import SHARD_COUNT
from enforcer.backends.nft_wire import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Verb,
    attr,
    attrs,
    message,
    nest,
    text,
    u32,
    u64,
)
from enforcer.core.firewall import ADDRESS_OCTETS, FirewallRow
from enforcer.core.network import Network
from enforcer.core.table import IpMeasure

TABLE: Final = "enforcer"
PRIORITY: Final = -10
MEASURES: Final = (IpMeasure.REJECT, IpMeasure.DROP)
KINDS: Final = ("hosts", "nets")
LEASE: Final = "lease"
INTERVAL_END: Final = 1

_NEW: Final = NLM_F_CREATE | NLM_F_EXCL
_INTERVAL, _MAP, _TIMEOUT, _OBJECT = 0x4, 0x8, 0x10, 0x40
_TYPE_NFPROTO, _TYPE_ADDRESS, _TYPE_VERDICT = 2, {4: 7, 6: 8}, 0xFFFFFF00
_OBJECT_COUNTER: Final = 1
_REGISTER, _OTHER_REGISTER, _VERDICT_REGISTER = 1, 2, 0
_EQUAL, _NOT_EQUAL = 0, 1
_META_NFPROTO: Final = 15
_META_TYPES: Final = {"to": 9, "from": 8}
"""What the other side is reached by: the type of the interface out, or in."""
_NFPROTO: Final = {4: 2, 6: 10}
_ARPHRD_LOOPBACK: Final = 772
_NF_DROP, _NF_ACCEPT, _JUMP, _GOTO = 0, 1, -3, -4
_ICMPX_UNREACH, _ICMPX_ADMIN_PROHIBITED = 2, 3
_SIDES: Final = ("to", "from")
_OFFSETS: Final = {("to", 4): 16, ("from", 4): 12, ("to", 6): 24, ("from", 6): 8}
_SHARD_MASKS: Final = {4: b"\0\x0f\0\0", 6: b"\0\0\0\x0f" + bytes(12)}


class Base(NamedTuple):
    """A chain that hangs at a hook."""

    hook: int
    sides: tuple[str, ...]


BASES: Final = {
    "input": Base(1, ("from",)),
    "forward": Base(2, ("to", "from")),
    "output": Base(3, ("to",)),
}


def set_name(measure: IpMeasure, kind: str, version: int, shard: int) -> str:
    """Return the name of the set for some of the pieces."""
    return f"{measure.name.lower()}{version}_{kind}_{shard}"


def buckets(version: int) -> list[str]:
    """Return the 64 sets of one family, as `nft_elements` numbers them."""
    return [
        set_name(measure, kind, version, shard)
        for measure in MEASURES
        for kind in KINDS
        for shard in range(SHARD_COUNT)
    ]


def counter_name(measure: IpMeasure, index: int) -> str:
    """Return the name of an order's counter."""
    return f"{measure.name.lower()}{index}"


def in_table(*parts: bytes) -> bytes:
    """Return attributes with the table's name before them; it is attribute 1 everywhere."""
    return text(1, TABLE) + b"".join(parts)


def protected_set(version: int) -> str:
    """Return the name of the set of what is protected."""
    return f"protected{version}"


def shard_map(side: str, version: int) -> str:
    """Return the name of the map from a shard's number to its chain."""
    return f"{side}{version}_shards"


def sets() -> dict[str, list[bytes]]:
    """Return all sets by name, each with its attributes but for names and id."""
    found: dict[str, list[bytes]] = {
        LEASE: [u32(3, _TIMEOUT), u32(4, _TYPE_NFPROTO), u32(5, 1)],
    }
    for version, octets in ADDRESS_OCTETS.items():
        key = [u32(4, _TYPE_ADDRESS[version]), u32(5, octets)]
        found[protected_set(version)] = [u32(3, _INTERVAL), *key]
        for side in _SIDES:
            data = [u32(6, _TYPE_VERDICT), u32(7, 16)]
            found[shard_map(side, version)] = [u32(3, _MAP), *key, *data]
        for name in buckets(version):
            flags = _OBJECT | (_INTERVAL if "_nets_" in name else 0)
            found[name] = [u32(3, flags), *key, u32(15, _OBJECT_COUNTER)]
    return found


def shard_elements(side: str, version: int) -> list[bytes]:
    """Return the elements of a shard map."""
    at, wide = (1, 4) if version == 4 else (3, 16)
    return [
        nest(
            1,
            nest(1, attr(1, bytes(at) + bytes([shard]) + bytes(wide - at - 1))),
            nest(2, _verdict(_GOTO, f"{side}{version}_{shard}")),
        )
        for shard in range(SHARD_COUNT)
    ]


def chains() -> dict[str, list[bytes]]:
    """Return all chains by name, each with its rules' expressions."""
    found: dict[str, list[bytes]] = {}
    for version in ADDRESS_OCTETS:
        for side in _SIDES:
            for shard in range(SHARD_COUNT):
                found[f"{side}{version}_{shard}"] = list(_shard_rules(side, version, shard))
            found[f"{side}{version}"] = [
                _address(side, version)
                + _expression(
                    "bitwise",
                    u32(1, _REGISTER),
                    u32(2, _REGISTER),
                    u32(3, ADDRESS_OCTETS[version]),
                    nest(4, attr(1, _SHARD_MASKS[version])),
                    nest(5, attr(1, bytes(ADDRESS_OCTETS[version]))),
                )
                + _lookup(shard_map(side, version), to=_VERDICT_REGISTER)
            ]
    for name, base in BASES.items():
        found[name] = [
            _meta(_META_NFPROTO)
            + _compare(_EQUAL, bytes([proto]))
            + _end(_JUMP, f"{side}{version}")
            for side in base.sides
            for version, proto in _NFPROTO.items()
        ]
    return found


def base_attrs(base: Base) -> list[bytes]:
    """Return what makes a chain hang at a hook."""
    hook = nest(4, u32(1, base.hook), u32(2, PRIORITY))
    return [hook, u32(5, _NF_ACCEPT), text(7, "filter")]


def frame(number: int) -> Iterator[bytes]:
    """Yield the messages that make everything in the table but counters, pieces and the lease."""
    for at, (name, attributes) in enumerate(sets().items(), 1):
        yield message(Verb.NEW_SET, _NEW, number, in_table(text(2, name), *attributes, u32(10, at)))
    made = chains()
    for name in made:
        attributes = base_attrs(BASES[name]) if name in BASES else []
        yield message(Verb.NEW_CHAIN, _NEW, number, in_table(text(3, name), *attributes))
    for version in ADDRESS_OCTETS:
        for side in _SIDES:
            elements = nest(3, *shard_elements(side, version))
            content = in_table(text(2, shard_map(side, version)), elements)
            yield message(Verb.NEW_ELEMENTS, _NEW, number, content)
    for name, rules in made.items():
        for rule in rules:
            content = in_table(text(2, name), nest(4, rule))
            yield message(Verb.NEW_RULE, NLM_F_CREATE | 0x800, number, content)  # appended


def lease(number: int, seconds: int) -> Iterator[bytes]:
    """Yield the messages that renew the lease: for each family an element that times out."""
    yield message(Verb.DELETE_ELEMENTS, 0, number, in_table(text(2, LEASE)))
    timed = nest(3, *(nest(1, key, u64(4, seconds * 1_000)) for key in _lease_keys()))
    yield message(Verb.NEW_ELEMENTS, NLM_F_CREATE, number, in_table(text(2, LEASE), timed))


def protection(number: int, protected: Iterable[Network]) -> Iterator[bytes]:
    """Yield the messages that put `protected`, which touch nowhere, in the place of what was."""
    chosen: dict[int, list[bytes]] = {4: [], 6: []}
    for network in protected:
        chosen[network.version] += _interval(network)
    for version, elements in chosen.items():
        name = text(2, protected_set(version))
        yield message(Verb.DELETE_ELEMENTS, 0, number, in_table(name))
        if elements:
            content = in_table(name, nest(3, *elements))
            yield message(Verb.NEW_ELEMENTS, _NEW, number, content)


def counters(number: int, rows: Iterable[FirewallRow], *, is_new: bool) -> Iterator[bytes]:
    """Yield the messages that make, or delete, orders' counters."""
    verb, flags = (Verb.NEW_COUNTER, _NEW) if is_new else (Verb.DELETE_COUNTER, 0)
    for row in rows:
        name = text(2, counter_name(row.measure, row.index))
        yield message(verb, flags, number, in_table(name, u32(3, _OBJECT_COUNTER), nest(4)))


def holds(expected: bytes, found: bytes) -> bool:
    """Tell whether every attribute that we wrote is in what the kernel tells back.

    A kernel may tell more than was written, and a newer one more than an older.
    """
    if expected == found:
        return True
    wanted, there = list(attrs(expected)), list(attrs(found))
    if not wanted or not there or _octets(wanted) != len(expected):
        return False
    for kind, data in wanted:
        for at, (other, content) in enumerate(there):
            if other == kind and holds(data, content):
                del there[at]
                break
        else:
            return False
    return True


def _lease_keys() -> list[bytes]:
    return [nest(1, attr(1, bytes([proto]))) for proto in _NFPROTO.values()]


def _interval(network: Network) -> list[bytes]:
    start = nest(1, nest(1, attr(1, network.network_address.packed)))
    behind = int(network.broadcast_address) + 1
    if behind >> network.max_prefixlen:
        return [start]
    end = behind.to_bytes(network.max_prefixlen // 8, "big")
    return [start, nest(1, nest(1, attr(1, end)), u32(3, INTERVAL_END))]


def _octets(parts: Iterable[tuple[int, bytes]]) -> int:
    return sum(4 + len(data) + -len(data) % 4 for _, data in parts)


def _shard_rules(side: str, version: int, shard: int) -> Iterator[bytes]:
    # What is said to a sender at a blocked address could not reach it.
    refused = _reject() if side == "to" else _end(_NF_DROP)
    counts = (
        _lookup(protected_set(version), is_inverted=True)
        + _meta(_META_TYPES[side], _OTHER_REGISTER)
        + _compare(_NOT_EQUAL, struct.pack("=H", _ARPHRD_LOOPBACK), _OTHER_REGISTER)
        + _meta(_META_NFPROTO, _OTHER_REGISTER)
        + _lookup(LEASE, _OTHER_REGISTER)
    )
    for measure, ending in ((IpMeasure.DROP, _end(_NF_DROP)), (IpMeasure.REJECT, refused)):
        for kind in KINDS:
            name = set_name(measure, kind, version, shard)
            counted = _expression("objref", u32(3, _REGISTER), text(4, name))
            yield _address(side, version) + _lookup(name) + counts + counted + ending


def _address(side: str, version: int) -> bytes:
    return _expression(
        "payload",
        u32(1, _REGISTER),
        u32(2, 1),  # the network header
        u32(3, _OFFSETS[side, version]),
        u32(4, ADDRESS_OCTETS[version]),
    )


def _lookup(
    name: str, register: int = _REGISTER, *, to: int | None = None, is_inverted: bool = False
) -> bytes:
    parts = [text(1, name), u32(2, register)]
    if to is not None:
        parts.append(u32(3, to))
    if is_inverted:
        parts.append(u32(5, 1))
    return _expression("lookup", *parts)


def _meta(key: int, register: int = _REGISTER) -> bytes:
    return _expression("meta", u32(1, register), u32(2, key))


def _compare(how: int, value: bytes, register: int = _REGISTER) -> bytes:
    return _expression("cmp", u32(1, register), u32(2, how), nest(3, attr(1, value)))


def _reject() -> bytes:
    return _expression("reject", u32(1, _ICMPX_UNREACH), attr(2, bytes([_ICMPX_ADMIN_PROHIBITED])))


def _end(code: int, chain: str = "") -> bytes:
    return _expression("immediate", u32(1, _VERDICT_REGISTER), nest(2, _verdict(code, chain)))


def _verdict(code: int, chain: str = "") -> bytes:
    return nest(2, u32(1, code), *([text(2, chain)] if chain else []))


def _expression(name: str, *parts: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *parts))
