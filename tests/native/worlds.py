"""Worlds of orders and protections for tests that hold the tables against the verdict function."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from itertools import product

from hypothesis import strategies as st

from enforcer._native.probe import NO_MATCH, Table
from enforcer.core.name import Name
from enforcer.core.network import Address, Network
from enforcer.core.table import DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import NAME_KINDS, Target, TargetKind, iterate
from enforcer.core.verdict import Rules, decide, decide_address, decide_flow
from tests.tables import compile_bytes, order_row, target_list

QTYPES = [1, 2, 6, 15, 28, 43, 48, 65, 255, 0, 65535]
TIMES_MS = [0, 999, 1000, 1001, 1999, 2000, 2001, 3000, 2**62]


@dataclass(frozen=True)
class World:
    """Everything that can decide, as both implementations take it."""

    orders: list[tuple[OrderRow, bytes]]
    core: bytes = b""
    protected: bytes = b""
    overrides: frozenset[tuple[int, Target]] = frozenset()

    def rules(self) -> Rules:
        return Rules(
            self.orders, core=self.core, protected=self.protected, overrides=self.overrides
        )

    def table(self) -> Table:
        return Table(
            compile_bytes(
                self.orders, core=self.core, protected=self.protected, overrides=self.overrides
            )
        )


# Few labels, so that names share suffixes and meet; long ones, so that limits are met too.
labels = st.sampled_from(["a", "b", "c1", "_x", "x" * 63, "y" * 62, "0"])
tops = st.sampled_from(["org", "com", "z" * 63])
short_names = st.builds(
    lambda inner, top: ".".join([*inner, top]), st.lists(labels, min_size=1, max_size=3), tops
).filter(lambda text: len(text) <= 253)
long_names = st.sampled_from(
    [
        "a." * 126 + "a",  # 127 labels
        "a." * 125 + "a",
        ".".join(["x" * 63] * 3 + ["y" * 61]),  # 255 octets
        ".".join(["x" * 63] * 3 + ["y" * 59, "a"]),
    ]
)
names = st.one_of(short_names, short_names, short_names, long_names)
name_targets = st.builds(Target, st.sampled_from([TargetKind.EXACT, TargetKind.SUBTREE]), names)
# Few prefixes, so that they meet and lie in one another, of the shortest and longest lengths.
addresses = st.sampled_from(
    ["192.0.2.0", "192.0.2.1", "192.0.2.129", "2001:db8::", "2001:db8::1", "::102:304"]
)
networks = st.sampled_from(
    [
        *("192.0.0.0/16", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.128/25", "192.0.2.0/31"),
        *("2001:db8::/32", "2001:db8::/33", "2001:db8::/63", "2001:db8::/64", "2001:db8::/65"),
        *("2001:db8::/127", "::/64"),
    ]
)
address_targets = st.one_of(
    st.builds(Target, st.just(TargetKind.IP), addresses),
    st.builds(Target, st.just(TargetKind.NET), networks),
)
targets = st.one_of(name_targets, name_targets, address_targets)
lists = st.lists(targets, max_size=6).map(
    lambda chosen: target_list(*(target.line.decode().rstrip("\n") for target in chosen))
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    indices = draw(st.lists(st.integers(0, 99), unique=True, max_size=4))
    orders = []
    for index in indices:
        text = draw(lists)
        from_ms = draw(st.sampled_from([0, 1000, 2000]))
        row = order_row(
            index,
            text,
            from_ms=from_ms,
            until_ms=from_ms + draw(st.sampled_from([0, 1, 1000])),
            dns_measure=draw(st.sampled_from(list(DnsMeasure)[1:])),
            ip_measure=draw(st.sampled_from(list(IpMeasure)[1:])),
        )
        orders.append((row, text))
    protected_targets = draw(st.lists(targets, max_size=3))
    protected = target_list(*(target.line.decode().rstrip("\n") for target in protected_targets))
    overrides = frozenset(
        (index, target) for index in indices for target in protected_targets if draw(st.booleans())
    )
    core = draw(st.just(b"") | lists)
    return World(orders, core, protected, overrides)


def wire_or_none(labels: list[bytes]) -> Name | None:
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return Name.from_wire(wire) if len(wire) <= 255 and len(labels) <= 127 else None


def near(name: Name, octets: bytes) -> list[Name]:
    """Return the name, its parents, a child, a sibling and near misses, where they fit."""
    parts = list(name.labels)
    relatives = [
        [octets, *parts],
        [b"a", *parts],
        [octets, *parts[1:]],
        [b"\0", *parts],
        [*parts, b"a"],
        [parts[0] + octets[:1], *parts[1:]] if len(parts[0]) < 63 else parts,
    ]
    found = [wire_or_none(relative) for relative in relatives]
    return [*name.ancestors(), *(relative for relative in found if relative is not None)]


def placed(texts: list[bytes]) -> tuple[list[str], list[Network]]:
    """Return the names and the networks that stand in these lists."""
    found = {target for text in texts for target in iterate(text)}
    names = {target.value for target in found if target.kind in NAME_KINDS}
    networks = {ip_network(target.value) for target in found if target.kind not in NAME_KINDS}
    return sorted(names), sorted(networks, key=str)


def around(network: Network) -> list[Address]:
    """Return the addresses at the network's edges, inside and outside, and what is like them."""
    first, last = int(network[0]), int(network[-1])
    bits = network.max_prefixlen
    numbers = {max(first - 1, 0), first, last, min(last + 1, 2**bits - 1)}
    found: list[Address] = [type(network[0])(number) for number in numbers]
    if bits == 32:
        found += [IPv6Address(f"{prefix}{network[0]}") for prefix in ("::ffff:", "::", "64:ff9b::")]
    return found


def assert_names_agree(
    rules: Rules, table: Table, qnames: Iterable[Name], qtypes: Iterable[int]
) -> None:
    for qname, qtype, t_ms in product(qnames, qtypes, TIMES_MS):
        expected = decide(rules, qname, qtype, t_ms)
        assert table.decide(qname.wire, qtype, t_ms) == expected, (qname, qtype, t_ms)


def assert_addresses_agree(
    rules: Rules,
    table: Table,
    addresses: Iterable[Address],
    times_ms: Iterable[int] = (999, 1000, 1999, 2000),
) -> None:
    asked = list(addresses)
    for t_ms in times_ms:
        orders = {}
        for address in asked:
            answer = decide_address(rules, address, t_ms)
            assert table.decide_address(address, t_ms) == answer, (address, t_ms)
            flow = decide_flow(rules, address, t_ms)
            assert table.decide_flow(address, t_ms) == flow, (address, t_ms)
            orders[address] = flow.order
        assert_matches_are(orders, table, t_ms)


def assert_matches_are(orders: dict[Address, OrderRow | None], table: Table, t_ms: int) -> None:
    """Check the order of each address in batches of more than wait for memory together."""
    rows: list[OrderRow | None] = [*table.orders(), None]
    for octets in (4, 16):
        chosen = [one for one in orders if one.max_prefixlen == 8 * octets]
        packed = b"".join(one.packed for one in chosen)
        found = array("I", table.match_many(packed * 9, octets, t_ms))
        assert [rows[min(row, len(rows) - 1)] for row in found] == 9 * list(
            map(orders.__getitem__, chosen)
        )
        assert [table.match(one.packed, t_ms) for one in chosen] == [
            None if row == NO_MATCH else row for row in found[: len(chosen)]
        ]
