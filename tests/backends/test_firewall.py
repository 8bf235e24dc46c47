"""What every firewall does: the same cases on the twin in memory and on the kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from enforcer.backends.dry_firewall import DryFirewall
from enforcer.backends.memory_firewall import FirewallMemory, Hook, MemoryFirewall
from enforcer.core.firewall import FirewallRow, FirewallState, Pieces, pack_pieces
from enforcer.core.table import IpMeasure
from enforcer.errors import ConflictError, InputError, UnavailableError
from enforcer.ports import FirewallChange, FirewallContent, FirewallCount
from tests.backends.firewall_kernel import KernelWorld, Network, why_not
from tests.backends.firewall_world import MemoryWorld, SteppedClock, nets

REJECT, DROP, PASS = IpMeasure.REJECT, IpMeasure.DROP, IpMeasure.NONE
FIVE, SIX = FirewallRow(5, REJECT), FirewallRow(6, DROP)
NOTHING = Pieces()
HOUR_SECONDS = 3_600

CONTENT = FirewallContent(
    (FIVE, SIX),
    nets(
        ("192.0.2.7/32", 5),
        ("192.0.2.8/31", 6),
        ("198.51.100.0/24", 5),
        ("2001:db8::7/128", 5),
        ("2001:db8:1::/48", 6),
    ),
)


@pytest.fixture(scope="module")
def network():
    made = Network()
    yield made
    made.close()


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.root)])
async def world(request):
    if request.param == "memory":
        made = MemoryWorld()
    else:
        refuse = why_not()
        if refuse:
            pytest.skip(refuse)
        made = KernelWorld(request.getfixturevalue("network"))
    async with made as each:
        yield each


def change(rows, removed=NOTHING, added=NOTHING, protected=()):
    return FirewallChange(rows, removed, added, protected)


async def test_one_that_is_not_there_begins_empty(world):
    holding = await world.firewall.claim(HOUR_SECONDS)
    assert (holding.state, holding.reason) == (FirewallState.HOLDS, "")
    assert holding.content == FirewallContent()


async def test_what_is_read_is_what_was_put_in(world):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    holding = await world.firewall.read()
    assert (holding.state, holding.reason, holding.content) == (FirewallState.HOLDS, "", CONTENT)


async def test_a_packet_is_judged_by_either_address_and_neighbours_pass(world):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    for address, measure in [
        ("192.0.2.6", PASS),
        ("192.0.2.7", REJECT),
        ("192.0.2.8", DROP),
        ("192.0.2.9", DROP),
        ("192.0.2.10", PASS),
        ("198.51.99.255", PASS),
        ("198.51.100.0", REJECT),
        ("198.51.100.255", REJECT),
        ("198.51.101.0", PASS),
        ("2001:db8::6", PASS),
        ("2001:db8::7", REJECT),
        ("2001:db8::8", PASS),
        ("2001:db8:0:ffff::", PASS),
        ("2001:db8:1:ffff::1", DROP),
        ("2001:db8:2::", PASS),
    ]:
        assert await world.sent_to(address) is measure, address
        assert await world.sent_from(address) is (PASS if measure is PASS else DROP), address


async def test_local_packets_are_judged_by_the_other_side_alone():
    firewall = MemoryFirewall(FirewallMemory(), SteppedClock())
    await firewall.claim(HOUR_SECONDS)
    await firewall.replace(CONTENT, HOUR_SECONDS)
    here, there = ip_address("203.0.113.1"), ip_address("192.0.2.7")
    assert firewall.judge(there, here, Hook.INPUT) is DROP
    assert firewall.judge(here, there, Hook.INPUT) is PASS
    assert firewall.judge(here, there, Hook.OUTPUT) is REJECT
    assert firewall.judge(there, here, Hook.OUTPUT) is PASS


async def test_what_is_protected_passes_whatever_a_piece_says(world):
    await world.firewall.claim(HOUR_SECONDS)
    protected = (ip_network("198.51.100.64/26"), ip_network("2001:db8:1:1::/64"))
    await world.firewall.replace(replace(CONTENT, protected=protected), HOUR_SECONDS)
    assert await world.sent_to("198.51.100.63") is REJECT
    assert await world.sent_to("198.51.100.64") is PASS
    assert await world.sent_from("198.51.100.127") is PASS
    assert await world.sent_to("198.51.100.128") is REJECT
    assert await world.sent_from("2001:db8:1:1::5") is PASS
    assert (await world.firewall.read()).content.protected == protected
    await world.firewall.apply(change(CONTENT.rows), HOUR_SECONDS)
    assert await world.sent_to("198.51.100.64") is REJECT
    assert (await world.firewall.read()).content == CONTENT


async def test_a_change_takes_out_and_brings_at_once(world):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    seven = FirewallRow(7, REJECT)
    split = nets(("198.51.100.0/25", 5), ("198.51.100.128/25", 7))
    await world.firewall.apply(
        change((FIVE, SIX, seven), nets(("198.51.100.0/24", 5)), split), HOUR_SECONDS
    )
    assert await world.sent_to("198.51.100.1") is REJECT
    assert await world.sent_to("198.51.100.200") is REJECT
    assert await world.sent_to("198.51.101.1") is PASS
    counts = await world.firewall.counts()
    assert [(index, count.packets) for index, count in counts.items()] == [(5, 1), (6, 0), (7, 1)]
    without = pack_pieces([(ip_network("198.51.100.128/25"), 7)])
    await world.firewall.apply(change((FIVE, SIX), without), HOUR_SECONDS)
    assert await world.sent_to("198.51.100.200") is PASS
    assert [*await world.firewall.counts()] == [5, 6]


async def test_pieces_that_touch_stay_two(world):
    await world.firewall.claim(HOUR_SECONDS)
    touching = nets(
        ("192.0.2.0/25", 5), ("192.0.2.128/25", 5), ("255.255.0.0/16", 5), ("0.0.0.0/16", 5)
    )
    await world.firewall.replace(FirewallContent((FIVE,), touching), HOUR_SECONDS)
    assert (await world.firewall.read()).content.pieces == touching
    one = nets(("192.0.2.128/25", 5))
    await world.firewall.apply(change((FIVE,), one), HOUR_SECONDS)
    assert await world.sent_to("192.0.2.127") is REJECT
    assert await world.sent_to("192.0.2.128") is PASS


@pytest.mark.parametrize(
    ("removed", "added"),
    [
        (nets(("192.0.2.6/32", 5)), nets(("192.0.2.77/32", 5))),
        (nets(("192.0.2.0/24", 5)), nets(("192.0.2.77/32", 5))),
        (NOTHING, nets(("192.0.2.7/32", 5), ("192.0.2.77/32", 5))),
        (NOTHING, nets(("192.0.2.77/32", 5), ("198.51.100.0/24", 5))),
        (NOTHING, nets(("192.0.2.77/32", 5), ("198.51.100.4/30", 5))),
    ],
)
async def test_a_change_that_does_not_fit_what_is_held_changes_nothing(world, removed, added):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    with pytest.raises(ConflictError):
        await world.firewall.apply(change(CONTENT.rows, removed, added), HOUR_SECONDS)
    assert (await world.firewall.read()).content == CONTENT
    assert await world.sent_to("192.0.2.77") is PASS


@pytest.mark.parametrize(
    ("rows", "added"),
    [
        ((FIVE,), nets(("192.0.2.77/32", 9))),
        ((FIVE,), Pieces(nets(("192.0.2.77/32", 5)).ipv4[:-1])),
        ((FIVE,), Pieces(nets(("192.0.2.9/32", 5)).ipv4 + nets(("192.0.2.7/32", 5)).ipv4)),
        ((FIVE,), Pieces(b"", nets(("192.0.2.9/32", 5)).ipv4)),
        ((FIVE,), nets(("192.0.0.0/15", 5))),
        ((FIVE,), nets(("2001:db8::/31", 5))),
        ((SIX, FIVE), NOTHING),
        ((FirewallRow(0, DROP),), NOTHING),
        ((FirewallRow(5, PASS),), NOTHING),
        ((FirewallRow(2**32, DROP),), NOTHING),
    ],
)
async def test_pieces_and_rows_that_are_wrong_change_nothing(world, rows, added):
    await world.firewall.claim(HOUR_SECONDS)
    before = await world.firewall.read()
    with pytest.raises(InputError) as error:
        await world.firewall.apply(change(rows, NOTHING, added), HOUR_SECONDS)
    assert "index" in error.value.data
    with pytest.raises(InputError):
        await world.firewall.replace(FirewallContent(rows, added), HOUR_SECONDS)
    assert (await world.firewall.read()).content == before.content


async def test_the_next_process_takes_over_what_the_last_one_left(world):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    with pytest.raises(ConflictError):
        await world.another().claim(HOUR_SECONDS)
    await world.firewall.close()
    assert await world.sent_to("192.0.2.7") is REJECT
    heir = world.another()
    assert (await heir.claim(HOUR_SECONDS)).content == CONTENT
    await heir.apply(
        change((SIX,), nets(("192.0.2.7/32", 5), ("198.51.100.0/24", 5), ("2001:db8::7/128", 5))),
        HOUR_SECONDS,
    )
    assert await world.sent_to("192.0.2.7") is PASS
    await heir.close()


async def test_the_generation_changes_with_the_content_alone(world):
    first = await world.firewall.claim(HOUR_SECONDS)
    assert await world.firewall.generation() == first.generation
    await world.firewall.counts()
    await world.firewall.read()
    assert await world.firewall.generation() == first.generation
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    assert await world.firewall.generation() != first.generation


async def test_when_the_lease_has_run_out_everything_passes(world):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, 1)
    await world.pass_seconds(1.5)
    assert await world.sent_to("192.0.2.7") is PASS
    await world.firewall.renew(HOUR_SECONDS)
    assert await world.sent_to("192.0.2.7") is REJECT


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
async def test_a_lease_has_bounds(world, seconds):
    await world.firewall.claim(HOUR_SECONDS)
    with pytest.raises(InputError):
        await world.firewall.renew(seconds)


async def test_counts_are_those_of_orders(world):
    await world.firewall.claim(HOUR_SECONDS)
    await world.firewall.replace(CONTENT, HOUR_SECONDS)
    for address in ("192.0.2.7", "198.51.100.9", "2001:db8::7", "192.0.2.9"):
        await world.sent_to(address)
    counts = await world.firewall.counts()
    assert {index: count.packets for index, count in counts.items()} == {5: 3, 6: 1}
    assert all(count.octets > 0 for count in counts.values())


async def test_a_change_behind_its_back_shows():
    memory = FirewallMemory()
    firewall = MemoryFirewall(memory, SteppedClock())
    await firewall.claim(HOUR_SECONDS)
    await firewall.replace(CONTENT, HOUR_SECONDS)
    memory.edit(nets(("192.0.2.7/32", 5)))
    assert (await firewall.read()).content.pieces == nets(("192.0.2.7/32", 5))
    memory.flush()
    holding = await firewall.read()
    assert (holding.state, holding.reason) == (FirewallState.DIFFERS, "the table is gone")
    with pytest.raises(ConflictError):
        await firewall.apply(change((FIVE,)), HOUR_SECONDS)
    await firewall.replace(CONTENT, HOUR_SECONDS)
    assert (await firewall.read()).content == CONTENT


async def test_one_that_is_away_says_so():
    firewall = MemoryFirewall(FirewallMemory(), SteppedClock())
    firewall.memory.is_away = True
    with pytest.raises(UnavailableError):
        await firewall.claim(HOUR_SECONDS)


async def test_a_dry_run_says_what_it_would_do_and_blocks_nothing():
    said = []
    firewall = DryFirewall(SteppedClock(), said.append)
    assert (await firewall.claim(HOUR_SECONDS)).state is FirewallState.NONE
    await firewall.replace(CONTENT, HOUR_SECONDS)
    await firewall.apply(
        change((FIVE, SIX), nets(("192.0.2.7/32", 5)), nets(("192.0.2.99/32", 6))), HOUR_SECONDS
    )
    await firewall.cut(nets(("192.0.2.99/32", 6)))
    assert said == [
        "would hold 5 pieces of 2 orders, with 0 protections",
        "would take out 1 pieces and bring 1, for 2 orders, with 0 protections",
        "would end the connections to and from 1 pieces",
    ]
    there = ip_address("198.51.100.9")
    assert firewall.judge(ip_address("203.0.113.1"), there) is PASS
    assert await firewall.counts() == {5: FirewallCount(0, 0), 6: FirewallCount(0, 0)}
    assert (await firewall.read()).content.pieces.ipv4.endswith(nets(("198.51.100.0/24", 5)).ipv4)
