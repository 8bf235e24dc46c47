"""Orders' addresses laid flat: what decide_flow says of an address is what a piece says of it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer._native.networks import Networks, flatten
from enforcer._native.packed import NO_PIECE, diff, find_rows
from enforcer.core.firewall import (
    NO_PIECES,
    FirewallRow,
    Pieces,
    check_pieces,
    pack_pieces,
    unpack_pieces,
)
from enforcer.core.network import Address, Network
from enforcer.core.table import IpMeasure
from enforcer.core.target import Target, TargetKind
from enforcer.core.verdict import CUTTING, Rules, decide_flow
from enforcer.errors import InputError
from tests.native.worlds import World, around, placed, worlds
from tests.tables import target_list

NOW_MS = 1500


def cutting(world: World, t_ms: int) -> list[tuple[int, IpMeasure, bytes]]:
    """Return what a node flattens at `t_ms`: rows count from 1, as in a ledger."""
    return [
        (row.index + 1, row.ip_measure, text)
        for row, text in world.orders
        if row.ip_measure in CUTTING and row.is_in_force(t_ms)
    ]


def row_of(pieces: Pieces, address: Address) -> int | None:
    """Return the row of the piece that an address is in."""
    found = array("I", find_rows(pieces, address.packed, address.max_prefixlen // 8))[0]
    return None if found == NO_PIECE else found


def assert_agree(rules: Rules, pieces: Pieces, addresses: Iterable[Address], t_ms: int) -> None:
    for address in addresses:
        order = decide_flow(rules, address, t_ms).order
        assert row_of(pieces, address) == (order and order.index + 1), (address, t_ms)


@settings(max_examples=300, deadline=None)
@given(worlds(), st.data())
def test_pieces_and_function_agree_on_random_worlds(world: World, data: st.DataObject):
    _, networks = placed([*(text for _, text in world.orders), world.core, world.protected])
    wide = [ip_network("192.0.0.0/8", strict=False), ip_network("2001:db8::1"), *networks]
    local = data.draw(st.lists(st.sampled_from(wide), max_size=2))
    t_ms = data.draw(st.sampled_from([999, 1000, 1999, 2000]))
    rules = Rules(
        world.orders,
        core=world.core,
        protected=world.protected,
        local=local,
        overrides=world.overrides,
    )
    rows = cutting(world, t_ms)
    pieces = flatten(
        rows,
        core=world.core,
        protected=world.protected,
        local=local,
        overrides={(index + 1, target) for index, target in world.overrides},
    )
    check_pieces(pieces, [FirewallRow(row, measure) for row, measure, _ in rows])
    assert_agree(rules, pieces, [one for network in networks for one in around(network)], t_ms)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_an_order_that_is_taken_out_leaves_what_was_never_in(world: World, data: st.DataObject):
    rows = [(row, measure, text) for row, measure, text in cutting(world, NOW_MS)]
    kept = {"core": world.core, "protected": world.protected}
    networks = Networks(**kept)
    for row, measure, text in rows:
        overrides = [target for index, target in world.overrides if index + 1 == row]
        networks.add(row, measure, text, overrides=overrides)
    for row, _, _ in data.draw(st.permutations(rows)):
        assert networks.remove(row)
        rest = [each for each in rows if each[0] in networks.rows]
        overrides = {(index + 1, target) for index, target in world.overrides}
        assert networks.pieces() == flatten(rest, **kept, overrides=overrides)
    assert networks.pieces() == NO_PIECES


def row(index: int, *lines: str, measure: IpMeasure = IpMeasure.REJECT) -> tuple:
    return index, measure, target_list(*lines)


def texts(pieces: Pieces) -> list[str]:
    """Return the pieces in words."""
    short = [
        f"{IPv4Address(first)}-{IPv4Address(last)} {row}"
        for first, last, row in unpack_pieces(pieces.ipv4, 4)
    ]
    return short + [
        f"{IPv6Address(first)}-{IPv6Address(last)} {row}"
        for first, last, row in unpack_pieces(pieces.ipv6, 6)
    ]


def test_an_order_inside_another_cuts_it_into_pieces_that_are_not_merged():
    pieces = flatten(
        [row(5, "net 192.0.2.0/24"), row(9, "ip 192.0.2.7"), row(7, "net 2001:db8::/32")]
    )
    assert texts(pieces) == [
        "192.0.2.0-192.0.2.6 5",
        "192.0.2.7-192.0.2.7 9",
        "192.0.2.8-192.0.2.255 5",
        "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 7",
    ]


def test_targets_of_one_order_that_touch_stay_two_pieces():
    pieces = flatten([row(5, "ip 192.0.2.6", "ip 192.0.2.7", "net 192.0.2.8/31")])
    assert texts(pieces) == [
        "192.0.2.6-192.0.2.6 5",
        "192.0.2.7-192.0.2.7 5",
        "192.0.2.8-192.0.2.9 5",
    ]


def test_the_edges_of_both_address_spaces_are_pieces_like_others():
    lines = ["ip 0.0.0.0", "ip 255.255.255.255", "net 255.255.0.0/16"]
    last6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    lines += ["ip ::", f"ip {last6}", "net ffff:ffff::/32", "net ffff:ffff:ffff::/48"]
    assert texts(flatten([row(5, *lines)])) == [
        "0.0.0.0-0.0.0.0 5",
        "255.255.0.0-255.255.255.254 5",
        "255.255.255.255-255.255.255.255 5",
        "::-:: 5",
        "ffff:ffff::-ffff:ffff:fffe:ffff:ffff:ffff:ffff:ffff 5",
        f"ffff:ffff:ffff::-{last6[:-1]}e 5",
        f"{last6}-{last6} 5",
    ]


def test_every_length_nested_in_every_other_is_laid_flat():
    lists = [row(length, f"net 192.0.0.0/{length}") for length in range(16, 32)]
    lists += [row(length + 100, f"net 2001:db8::/{length}") for length in range(32, 128)]
    lists += [row(32, "ip 192.0.0.0"), row(228, "ip 2001:db8::")]
    pieces = flatten(reversed(lists))
    assert len(pieces) == 17 + 97
    assert [found for _, _, found in unpack_pieces(pieces.ipv4, 4)] == [*range(32, 15, -1)]
    assert [found for _, _, found in unpack_pieces(pieces.ipv6, 6)] == [*range(228, 131, -1)]


def test_ipv4_mapped_addresses_are_in_no_piece_of_an_ipv6_prefix():
    pieces = flatten([row(5, "net ::/64"), row(6, "ip 192.0.2.7")])
    assert row_of(pieces, ip_address("::fffe:192.0.2.7")) == 5
    assert row_of(pieces, ip_address("::1:0:192.0.2.7")) == 5
    assert row_of(pieces, ip_address("::ffff:192.0.2.7")) == 6
    assert row_of(pieces, ip_address("::ffff:192.0.2.8")) is None
    assert texts(pieces)[1:] == [
        "::-::fffe:ffff:ffff 5",
        "::1:0:0:0-::ffff:ffff:ffff:ffff 5",
    ]


@pytest.mark.parametrize("own", ["0.0.0.0/0", "192.0.0.0/8", "192.0.2.0/24", "192.0.2.7/32"])
def test_what_is_the_operators_own_is_in_no_piece(own: str):
    network = ip_network(own, strict=False)
    pieces = flatten([row(5, "net 192.0.2.0/24")], local=[network])
    assert row_of(pieces, ip_address("192.0.2.7")) is None
    outside = row_of(pieces, ip_address("192.0.2.8"))
    assert outside == (5 if network.prefixlen == 32 else None)


def test_an_override_holds_for_its_row_and_target_alone():
    lines = ["ip 192.0.2.9", "net 192.0.2.0/24"]
    kept = {"protected": target_list(*lines)}
    overrides = {(7, Target(TargetKind.NET, "192.0.2.0/24"))}
    pieces = flatten([row(5, *lines), row(7, *lines)], **kept, overrides=overrides)
    assert [row_of(pieces, ip_address(f"192.0.2.{last}")) for last in (8, 9)] == [7, None]


def test_an_order_that_overrides_is_taken_out_as_others_are():
    networks = Networks(protected=target_list("ip 192.0.2.9"))
    networks.add(*row(5, "ip 192.0.2.9"), overrides=[Target(TargetKind.IP, "192.0.2.9")])
    assert len(networks.pieces()) == 1
    networks.remove(5)
    assert networks.pieces() == NO_PIECES


def test_names_are_in_no_piece():
    assert flatten([row(5, "exact a.example.org", "subtree example.org")]) == NO_PIECES


@settings(max_examples=200, deadline=None)
@given(*[st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3)), max_size=12)] * 2)
def test_a_difference_leads_from_one_to_the_other(old: list, new: list):
    before, after = pieces_at(old), pieces_at(new)
    removed, added = diff(before, after)
    for version, size in ((4, 12), (6, 36)):
        records = [records_of(each.packed(version), size) for each in (before, removed, added)]
        assert records[0] >= records[1]
        assert records[0].isdisjoint(records[2])
        made = b"".join(sorted((records[0] - records[1]) | records[2]))
        assert made == after.packed(version)


def pieces_at(places: list[tuple[int, int]]) -> Pieces:
    """Return pieces of single addresses of both families at these places, by row."""
    networks: list[tuple[Network, int]] = []
    for place, row in dict(places).items():
        networks.append((ip_network(0xC0000200 + place), row))
        networks.append((ip_network(0x20010DB8 << 96 | place), row))
    return pack_pieces(networks)


def records_of(packed: bytes, size: int) -> set[bytes]:
    return {packed[at : at + size] for at in range(0, len(packed), size)}


def test_a_change_of_rows_alone_is_a_difference():
    removed, added = diff(flatten([row(5, "ip 192.0.2.7")]), flatten([row(6, "ip 192.0.2.7")]))
    assert texts(removed) == ["192.0.2.7-192.0.2.7 5"]
    assert texts(added) == ["192.0.2.7-192.0.2.7 6"]


@pytest.mark.parametrize(
    ("index", "measure"),
    [(0, IpMeasure.REJECT), (2**32 - 1, IpMeasure.DROP), (6, IpMeasure.NONE), (5, IpMeasure.DROP)],
)
def test_a_row_that_cannot_be_is_refused_and_changes_nothing(index: int, measure: IpMeasure):
    networks = Networks()
    networks.add(*row(5, "ip 192.0.2.7"))
    before = networks.pieces()
    with pytest.raises(InputError):
        networks.add(index, measure, b"ip 192.0.2.8\n")
    assert (networks.pieces(), networks.rows) == (before, {5: IpMeasure.REJECT})


@pytest.mark.parametrize(
    "text",
    [
        b"ip 192.0.2.7",
        b"ip 192.0.2.8\nip 192.0.2.7\n",
        b"ip 192.0.2.7\nip 192.0.2.7\n",
        b"net 192.0.2.1/24\n",
        b"net 0.0.0.0/0\n",
        b"net 192.0.0.0/15\n",
        b"net 192.0.2.7/32\n",
        b"ip ::ffff:192.0.2.7\n",
        b"ip fe80::1%eth0\n",
    ],
)
def test_a_list_that_is_not_canonical_is_refused_and_changes_nothing(text: bytes):
    networks = Networks()
    networks.add(*row(5, "ip 192.0.2.9"))
    with pytest.raises(InputError):
        networks.add(6, IpMeasure.DROP, text)
    assert networks.rows == {5: IpMeasure.REJECT}
    assert len(networks.pieces()) == 1
    for kept in ("core", "protected"):
        with pytest.raises(InputError):
            Networks(**{kept: text})


def test_a_row_that_is_not_there_is_not_taken_out():
    assert not Networks().remove(5)


@pytest.mark.parametrize(("octets", "size"), [(4, 5), (16, 20), (8, 8), (0, 4)])
def test_addresses_that_are_not_whole_are_refused(octets: int, size: int):
    with pytest.raises(InputError):
        find_rows(NO_PIECES, bytes(size), octets)


def test_many_targets_are_sorted_and_disjoint_whatever_their_order_as_text():
    numbers = [0x01000000 + 257 * number for number in range(20_000)]
    text = target_list(*(f"ip {IPv4Address(number)}" for number in numbers))
    firsts = [first for first, _, _ in unpack_pieces(flatten([(5, IpMeasure.DROP, text)]).ipv4, 4)]
    assert firsts == numbers
    assert all(one < other for one, other in pairwise(firsts))
