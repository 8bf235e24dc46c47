"""Reads our table back from the kernel, completely or not at all, and says what is not ours in it.

Everything is compared: flags, chains and their hooks, each rule, each set's kind, the maps to the
shards; and the pieces, of which the kernel must have as many as were read. What differs around the
pieces is a reason in words without an address; the pieces themselves are for the reader to compare.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import Final

from enforcer._native.nft_elements import SetReader
from enforcer.backends.nft_frame import (
    BASES,
    INTERVAL_END,
    LEASE,
    MEASURES,
    TABLE,
    base_attrs,
    buckets,
    chains,
    counter_name,
    holds,
    in_table,
    protected_set,
    sets,
    shard_elements,
    shard_map,
)
from enforcer.backends.nft_socket import DUMP_TRIES_MAX, NftSocket, interrupted
from enforcer.backends.nft_wire import Message, Verb, attrs, fields, number_of, text, text_of, u32
from enforcer.core.firewall import ADDRESS_OCTETS, FirewallRow, Pieces, plain_networks
from enforcer.core.network import Network
from enforcer.ports import FirewallContent, FirewallCount

DORMANT, OWNER, PERSIST = 0x1, 0x2, 0x4
_COUNTER: Final = u32(3, 1)
_SET_COUNT: Final = 20


@dataclass(frozen=True, slots=True)
class TableFlags:
    """Whose the table is."""

    flags: int
    owner: int
    """The port of the socket that it belongs to; 0: nobody's."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was read; `flaw` is empty where everything around the pieces is ours."""

    content: FirewallContent
    flaw: str


def read_table(kernel: NftSocket) -> TableFlags | None:
    """Return whose the table is; None: there is none."""
    try:
        answers = kernel.ask(Verb.GET_TABLE, in_table())
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    told = fields(answers[0].body) if answers else {}
    return TableFlags(number_of(told.get(2)), number_of(told.get(7)))


def read_counters(kernel: NftSocket) -> dict[FirewallRow, FirewallCount]:
    """Return the orders' counters; one whose name is not ours has the index 0."""
    found = {}
    for _, told in _told(kernel.dump(Verb.GET_COUNTER, in_table(_COUNTER))):
        counted = fields(told.get(4, b""))
        count = FirewallCount(number_of(counted.get(2)), number_of(counted.get(1)))
        found[_row(text_of(told.get(2)))] = count
    return found


def read_all(kernel: NftSocket) -> Found:
    """Read the whole table.

    Raises:
        OSError: the kernel's error; ENOENT where something vanished meanwhile.
        ConflictError: nf_tables was changed again and again meanwhile.
    """
    there = {
        text_of(told.get(2)): each for each, told in _told(kernel.dump(Verb.GET_SET, in_table()))
    }
    flaws = [*_chain_flaws(kernel), *_set_flaws(there)]
    if flaws:  # what the sets mean is not known any more
        return Found(FirewallContent(), flaws[0])
    counters = read_counters(kernel)
    rows = tuple(sorted(counters, key=lambda row: row.index))
    protected: list[Network] = []
    packed = {}
    for version in ADDRESS_OCTETS:
        for side in ("to", "from"):
            found = _elements(kernel, shard_map(side, version))
            if not _are_same(shard_elements(side, version), found):
                flaws.append("the map to a shard differs")
        protected += _protected(_elements(kernel, protected_set(version)))
        reader = SetReader(version)
        for bucket, name in enumerate(buckets(version)):
            count = _read_set(kernel, reader, bucket, name)
            told = fields(there[name]).get(_SET_COUNT)  # Linux 6.16 or newer
            if told is not None and number_of(told) != count and not reader.strange:
                flaws.append("the kernel did not tell all elements of a set")
        packed[version] = reader.pieces()
        if reader.strange:
            flaws.append("there are elements that no order has")
    if len(_elements(kernel, LEASE)) != len(ADDRESS_OCTETS):
        flaws.append("the lease has run out")
    if any(not row.index for row in rows) or len({row.index for row in rows}) < len(rows):
        flaws.append("there is a counter that no order has")
        rows = ()
    pieces = Pieces(packed[4], packed[6])
    content = FirewallContent(rows, pieces, plain_networks(protected))
    return Found(content, flaws[0] if flaws else "")


def _chain_flaws(kernel: NftSocket) -> list[str]:
    expected, found = chains(), set()
    flaws = []
    for body, told in _told(kernel.dump(Verb.GET_CHAIN)):
        name = text_of(told.get(3))
        if text_of(told.get(1)) != TABLE:
            continue
        found.add(name)
        if name in BASES and not all(holds(part, body) for part in base_attrs(BASES[name])):
            flaws.append(f"the chain {name} hangs elsewhere")
        if name not in BASES and 4 in told:
            flaws.append("a chain hangs where none of ours does")
    if found != set(expected):
        flaws.append("chains are missing, or there are others")
    rules: dict[str, list[bytes]] = defaultdict(list)
    for _, told in _told(kernel.dump(Verb.GET_RULE, in_table())):
        rules[text_of(told.get(2))].append(told.get(4, b""))
    for name, wanted in expected.items():
        there = rules.get(name, [])
        if len(there) != len(wanted) or not all(map(_is_rule, wanted, there)):
            flaws.append(f"the rules of the chain {name} differ")
    return flaws


def _set_flaws(found: dict[str, bytes]) -> list[str]:
    expected = sets()
    if set(found) != set(expected):
        return ["sets are missing, or there are others"]
    return [
        f"the set {name} is of another kind"
        for name, wanted in expected.items()
        if not all(holds(part, found[name]) for part in wanted)
    ]


def _told(found: list[Message]) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    return ((each.body, fields(each.body)) for each in found)


def _is_rule(wanted: bytes, there: bytes) -> bool:
    """Compare expressions one by one: none may be missing, added, or elsewhere."""
    ours, theirs = list(attrs(wanted)), list(attrs(there))
    return len(ours) == len(theirs) and all(
        holds(one, other) for (_, one), (_, other) in zip(ours, theirs, strict=True)
    )


def _are_same(wanted: list[bytes], there: list[bytes]) -> bool:
    contents = [data for part in wanted for _, data in attrs(part)]
    left = list(there)
    for content in contents:
        match = next((each for each in left if holds(content, each)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _elements(kernel: NftSocket, name: str) -> list[bytes]:
    """Return the elements of a set that is never large."""
    found = []
    for _, told in _told(kernel.dump(Verb.GET_ELEMENTS, in_table(text(2, name)))):
        found += [data for _, data in attrs(told.get(3, b""))]
    return found


def _protected(elements: list[bytes]) -> list[Network]:
    """Pair the marks of an interval set that is never large."""
    marks = []
    for each in elements:
        told = fields(each)
        is_end = bool(number_of(told.get(3)) & INTERVAL_END)
        marks.append((fields(told.get(1, b"")).get(1, b""), not is_end))
    marks.sort()
    found: list[Network] = []
    for at, (key, is_start) in enumerate(marks):
        if not is_start:
            continue
        behind = 2 ** (8 * len(key))  # without an end it goes on to the last address
        if at + 1 < len(marks) and not marks[at + 1][1]:
            behind = int.from_bytes(marks[at + 1][0], "big")
        last = (behind - 1).to_bytes(len(key), "big")
        if len(key) == ADDRESS_OCTETS[4]:
            found += summarize_address_range(IPv4Address(key), IPv4Address(last))
        else:
            found += summarize_address_range(IPv6Address(key), IPv6Address(last))
    return found


def _read_set(kernel: NftSocket, reader: SetReader, bucket: int, name: str) -> int:
    for _ in range(DUMP_TRIES_MAX):
        reader.begin(bucket)
        is_whole: bool | None = False
        for datagram in kernel.datagrams(Verb.GET_ELEMENTS, in_table(text(2, name))):
            is_whole = reader.feed(datagram)
        if is_whole:
            return reader.end()
    raise interrupted()


def _row(name: str) -> FirewallRow:
    for measure in MEASURES:
        index = name.removeprefix(measure.name.lower())
        if index.isascii() and index.isdigit() and name == counter_name(measure, int(index)):
            return FirewallRow(int(index), measure)
    return FirewallRow(0, MEASURES[0])
