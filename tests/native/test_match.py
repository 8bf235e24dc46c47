"""Longest-prefix match in tables of many prefixes, at the edges of buckets and of families."""

from __future__ import annotations

import random
from array import array
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from enforcer._native.probe import NO_MATCH, Table
from enforcer.core.network import Network
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.core.verdict import Rules, decide_flow
from enforcer.errors import InputError
from tests.native.worlds import World, around, assert_addresses_agree
from tests.tables import compile_bytes, compile_overlay_bytes, order_row, target_list

NOW_MS = 1500


def line_of(network: Network) -> str:
    if network.prefixlen == network.max_prefixlen:
        return f"ip {network.network_address}"
    return f"net {network}"


def random_networks(seed: int, count: int) -> list[Network]:
    """Return nested and scattered prefixes of both families, of every length."""
    dice = random.Random(seed)
    centres4 = [dice.getrandbits(32) for _ in range(max(count // 50, 1))]
    centres6 = [dice.getrandbits(128) for _ in range(max(count // 50, 1))]
    found: set[Network] = set()
    while len(found) < count:
        if dice.random() < 0.5:
            address = IPv4Address(dice.choice(centres4) ^ dice.getrandbits(dice.randint(1, 32)))
            found.add(ip_network((address, dice.choice([32, dice.randint(16, 32)])), strict=False))
        else:
            number = dice.choice(centres6) ^ dice.getrandbits(dice.randint(1, 128))
            length = dice.choice([128, 64, dice.randint(32, 128)])
            address6 = IPv6Address(number)
            if address6.ipv4_mapped is None:
                found.add(ip_network((address6, length), strict=False))
    return sorted(found, key=str)


@pytest.mark.parametrize(("seed", "count"), [(1, 1), (2, 2), (3, 3), (4, 60), (5, 1500)])
def test_every_edge_of_many_prefixes_is_decided_as_the_function_decides(seed: int, count: int):
    dice = random.Random(seed)
    networks = random_networks(seed, count)
    lists = [target_list(*(line_of(each) for each in networks[part::3])) for part in range(3)]
    orders = [
        (order_row(index, text, until_ms=2000 + 1000 * (index % 2)), text)
        for index, text in enumerate(lists, start=1)
        if text
    ]
    world = World(orders, protected=target_list(*map(line_of, networks[:: max(count // 20, 1)])))
    asked = [one for each in dice.sample(networks, min(count, 150)) for one in around(each)]
    asked += [ip_address(text) for text in ("0.0.0.0", "255.255.255.255", "::", "::ffff:1.2.3.4")]
    asked.append(IPv6Address(2**128 - 1))
    assert_addresses_agree(world.rules(), world.table(), asked, times_ms=[NOW_MS, 2500])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9])
def test_few_keys_as_far_apart_as_can_be_are_found(count: int):
    edges4 = [0, 2**32 - 1, 2**31, 2**31 - 1, 1, 2**32 - 2, 2**30, 3 * 2**30, 2**24]
    edges6 = [0, 2**128 - 1, 2**127, 2**64, 2**64 - 1, 2**127 - 1, 1, 2**128 - 2, 2**126]
    lines = [f"ip {IPv4Address(number)}" for number in edges4[:count]]
    lines += [f"ip {IPv6Address(number)}" for number in edges6[:count]]
    text = target_list(*lines)
    world = World([(order_row(1, text), text)])
    near4 = {(edge + step) % 2**32 for edge in edges4 for step in (-1, 0, 1)}
    near6 = {(edge + step) % 2**128 for edge in edges6 for step in (-1, 0, 1)}
    asked = [*map(IPv4Address, near4), *map(IPv6Address, near6)]
    assert_addresses_agree(world.rules(), world.table(), asked, times_ms=[NOW_MS])


def test_an_overlay_decides_with_its_base_at_every_edge():
    networks = random_networks(9, 300)
    old = target_list(*map(line_of, networks[::2]))
    new = target_list(*map(line_of, networks[1::2]), *map(line_of, networks[::7]))
    rows = [order_row(3, old), order_row(5, new)]
    base = Table(compile_bytes([(rows[0], old)]))
    overlay = compile_overlay_bytes(base.header.body_sha256, rows, [(rows[1], new)])
    asked = [one for each in networks[::3] for one in around(each)]
    laid = base.with_overlay(overlay)
    both = Rules([(rows[0], old), (rows[1], new)])
    assert_addresses_agree(both, laid, asked, times_ms=[NOW_MS])
    ended = base.with_overlay(
        compile_overlay_bytes(base.header.body_sha256, rows[1:], [(rows[1], new)])
    )
    assert_addresses_agree(Rules([(rows[1], new)]), ended, asked, times_ms=[NOW_MS])


def test_an_order_for_packets_alone_does_not_touch_answers():
    text = target_list("ip 192.0.2.7", "net 192.0.2.0/24")
    packets = order_row(1, text, dns_measure=DnsMeasure.NONE, ip_measure=IpMeasure.DROP)
    wide = target_list("net 192.0.0.0/16")
    world = World([(packets, text), (order_row(2, wide), wide)])
    assert_addresses_agree(world.rules(), world.table(), around(ip_network("192.0.2.0/24")))
    address = ip_address("192.0.2.7")
    assert decide_flow(world.rules(), address, NOW_MS).order == packets
    found = world.table().decide_address(address, NOW_MS)
    assert (found.order, found.network) == (order_row(2, wide), ip_network("192.0.0.0/16"))


def test_few_prefixes_take_few_octets_and_many_take_less_than_32_each():
    empty = len(compile_bytes())
    small = target_list("ip 192.0.2.7")
    assert len(compile_bytes([(order_row(1, small), small)])) - empty < 256
    networks = random_networks(7, 20_000)
    text = target_list(*map(line_of, networks))
    assert len(compile_bytes([(order_row(1, text), text)])) - empty < 32 * len(networks)


def test_an_empty_table_matches_nothing():
    table = Table(compile_bytes())
    assert table.match(bytes(4), NOW_MS) is None
    assert array("I", table.match_many(bytes(16 * 20), 16, NOW_MS)) == array("I", [NO_MATCH] * 20)
    assert table.match_many(b"", 4, NOW_MS) == b""


@pytest.mark.parametrize(("octets", "size"), [(4, 5), (16, 20), (8, 8), (0, 4)])
def test_addresses_that_are_not_whole_are_refused(octets: int, size: int):
    table = Table(compile_bytes())
    with pytest.raises(InputError):
        table.match_many(bytes(size), octets, NOW_MS)
    with pytest.raises(InputError):
        table.match(bytes(size + 1), NOW_MS)
