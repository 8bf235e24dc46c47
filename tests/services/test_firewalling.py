"""A node's firewall holds what the ledger says, for as long, and mended when others alter it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest

from enforcer.api.health import health
from enforcer.app.audit import audit_directory
from enforcer.backends.memory_firewall import FirewallMemory, MemoryFirewall
from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallState, pack_pieces, pieces_digest
from enforcer.core.order import Measure
from enforcer.core.policy import Pins
from enforcer.core.table import DnsMeasure, IpMeasure, LocalLayer
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import FirewallCount, GateMode
from enforcer.services import firewall_cutting, firewalling
from enforcer.services.findings import Code
from enforcer.services.firewall_pace import LEASE_GRACE_SECONDS, FirewallPace
from tests.node_world import World, cannot, stopped_here, trust_of
from tests.people import seal
from tests.waiting import stays, until

REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
DROP = Measure(DnsMeasure.NONE, IpMeasure.DROP)
BOTH = Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
TARGETS = b"ip 192.0.2.7\nnet 2001:db8:7::/48\n"
INNER = b"ip 198.51.100.9\n"
OUTER = b"net 198.51.100.0/24\n"
NOTHING = FirewallCount(0, 0)
UNWELL = (
    b"ok: the gate holds what the ledger says\nthe firewall does not answer: the firewall is away\n"
)
SLOW = FirewallPace(3_600.0, count_seconds=3_600.0)
"""Nothing is looked at but what is told to have changed."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.firewall = FirewallMemory()
    return world


def order(world: World, targets: bytes = TARGETS, measure: Measure = REJECT, **changes):
    world.bring(targets)
    return world.land.in_force_order(targets, measure=measure, **changes)


def attests(world: World, state: FirewallState = FirewallState.HOLDS, *omits: int) -> bool:
    """Tell whether the last attestation is of the ledger's end, true, and says just that."""
    said = world.attested
    return (
        said is not None
        and said.firewall is state
        and (said.pieces_digest is not None) is (state is FirewallState.HOLDS)
        and said.gate is GateState.HOLDS_TABLE
        and [each.order_index for each in said.omissions] == list(omits)
        and said.ledger_size == len(world.land.leaves)
        and said.table_digest == world.expected_digest(said)
    )


async def test_an_order_blocks_its_addresses_and_no_neighbour(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7") and world.blocks("2001:db8:7::1"))
        assert not any(map(world.blocks, ("192.0.2.6", "192.0.2.8", "2001:db8:8::1")))
        await until(lambda: attests(world))


async def test_a_stop_lets_packets_pass_again(world):
    world.firewall_pace = SLOW
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world))


async def test_a_stop_from_any_path_is_obeyed_ahead_of_the_ledger(world):
    world.firewall_pace = SLOW
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        await until(lambda: attests(world, FirewallState.HOLDS, ref.entry_index))


async def test_an_order_begins_and_ends_by_the_nodes_time_with_everything_else_away(world):
    world.clock.ms = world.land.now_ms
    async with world.running():
        begins_ms, ends_ms = world.land.now_ms + 60_000, world.land.now_ms + 120_000
        order(world, not_before_ms=begins_ms, expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
        await world.publish()
        await until(lambda: attests(world))
        world.feed.is_away = world.control.is_away = world.gate.is_away = True
        assert not world.blocks("192.0.2.7")
        world.clock.advance(begins_ms - world.clock.ms)
        await until(lambda: world.blocks("192.0.2.7"))
        world.clock.advance(ends_ms - world.clock.ms - 1)
        await stays(lambda: world.blocks("192.0.2.7"), looks=5)
        world.clock.advance(1)
        await until(lambda: not world.firewall.content.rows)


async def test_what_a_node_that_is_gone_leaves_ends_with_the_order(world):
    async with world.running():
        ends_ms = world.land.now_ms + 600_000
        order(world, expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
        await world.publish()
        await until(lambda: attests(world))
    world.clock.advance(ends_ms - world.clock.ms - 1_000)
    assert world.blocks("192.0.2.7")
    world.clock.advance(1_000 + LEASE_GRACE_SECONDS * 1_000)
    assert not world.blocks("192.0.2.7")


async def test_a_restart_changes_nothing_that_is_right(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
    before = world.firewall.content
    generation = world.firewall.generation
    world.control.attestations.clear()
    async with world.running():
        await until(lambda: attests(world))
    assert (world.firewall.content, world.firewall.generation) == (before, generation)


async def test_a_restart_beside_a_gate_that_lost_its_table_keeps_what_the_kernel_has(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
    world.gate.restart()
    scan, may_scan = world.work.scan_guards, asyncio.Event()

    async def late(job):
        await may_scan.wait()
        return await scan(job)

    world.work.scan_guards = late
    async with world.running():
        await until(lambda: world.gate.loads)
        await stays(lambda: world.blocks("192.0.2.7"))
        may_scan.set()
        await until(lambda: attests(world))
        assert world.blocks("192.0.2.7")


async def test_a_restart_takes_out_what_ended_meanwhile(world):
    async with world.running():
        ends_ms = world.land.now_ms + 600_000
        order(world, expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
        order(world, INNER)
        await world.publish()
        await until(lambda: attests(world))
    world.clock.ms = ends_ms
    async with world.running():
        await until(lambda: not world.blocks("192.0.2.7") and world.blocks("198.51.100.9"))


async def test_a_longer_orders_end_lets_the_shorter_one_count(world):
    async with world.running():
        inner = order(world, INNER, DROP)
        order(world, OUTER)
        await world.publish()
        await until(lambda: world.blocks("198.51.100.9") and world.blocks("198.51.100.8"))
        world.land.stop(inner)
        await world.publish()
        await until(lambda: attests(world))
        assert world.blocks("198.51.100.9")
        assert [row.measure for row in world.firewall.content.rows] == [IpMeasure.REJECT]


async def test_of_two_orders_for_one_address_the_earlier_decides_and_the_other_takes_over(world):
    def deciding():
        return [int.from_bytes(world.firewall.content.pieces.ipv4[8:12], "little")]

    async with world.running():
        first, second = order(world, INNER, DROP), order(world, INNER)
        await world.publish()
        await until(lambda: attests(world) and world.blocks("198.51.100.9"))
        assert deciding() == [first.entry_index]
        world.land.stop(first)
        await world.publish()
        await until(lambda: attests(world))
        assert world.blocks("198.51.100.9")
        assert deciding() == [second.entry_index]
        world.land.stop(second)
        await world.publish()
        await until(lambda: attests(world) and not world.blocks("198.51.100.9"))


async def test_an_order_for_names_and_addresses_is_enforced_as_a_whole(world):
    targets = b"exact bad.example.org\nip 192.0.2.7\n"
    async with world.running():
        order(world, targets, BOTH)
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org") and world.blocks("192.0.2.7"))
        await until(lambda: attests(world))


async def test_without_a_firewall_an_order_against_addresses_is_attested_as_not_enforced(world):
    world.firewall = None
    targets = b"exact bad.example.org\nip 192.0.2.7\n"
    async with world.running():
        ref = order(world, targets, BOTH)
        await world.publish()
        await until(lambda: cannot(world) == [ref.entry_index])
        assert world.attested.firewall is FirewallState.NONE
        assert not world.gate.blocks("bad.example.org")


async def test_a_dry_run_says_what_it_would_do_and_enforces_nothing(world):
    world.is_dry_run = True
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: cannot(world) == [ref.entry_index])
        await until(lambda: world.status.get("firewall", {}).get("pieces") == 2)
        await until(lambda: attests(world, FirewallState.NONE, ref.entry_index))
        await until(lambda: world.status["firewall"]["is_real"] is False)


# Truth.


async def test_what_another_tool_flushes_is_put_back_counted_and_attested(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.flush()
        await until(lambda: world.blocks("192.0.2.7"))
        await until(lambda: attests(world) and world.attested.repairs == 1)
        await until(lambda: world.status["firewall"]["repairs"] == 1)


async def test_what_another_tool_adds_is_taken_out_again(world):
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.edit(pack_pieces([(ip_network("203.0.113.0/24"), ref.entry_index)]))
        assert world.blocks("203.0.113.1")
        await until(lambda: not world.blocks("203.0.113.1") and world.blocks("192.0.2.7"))
        await until(lambda: attests(world) and world.attested.repairs == 1)


async def test_what_is_broken_around_the_rules_is_put_in_anew(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.flaw = "a chain has another policy"
        world.firewall.generation += 1
        await until(lambda: not world.firewall.flaw and world.blocks("192.0.2.7"))
        await until(lambda: attests(world) and world.attested.repairs == 1)


async def test_a_firewall_that_is_away_keeps_what_it_had_and_is_attested_as_away(world):
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.is_away = True
        await until(lambda: attests(world, FirewallState.UNAVAILABLE))
        assert world.blocks("192.0.2.7")
        await until(lambda: world.status["firewall"]["problem"] == "the firewall is away")
        assert health(node.view()) == (503, UNWELL)
        world.land.stop(ref)
        await world.publish()
        world.firewall.is_away = False
        await until(lambda: attests(world) and not world.blocks("192.0.2.7"))
        assert health(node.view())[0] == 200


async def test_a_node_that_finds_no_firewall_at_its_start_enforces_names_all_the_same(world):
    world.firewall.is_away = True
    async with world.running():
        order(world, b"exact bad.example.org\n", Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE))
        order(world)
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: attests(world, FirewallState.UNAVAILABLE))


async def test_counts_are_by_order(world):
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        await until(lambda: node.view().firewall.counts.get(ref.entry_index, NOTHING).packets)
        view = node.view()
        assert view.order_ids[ref.entry_index] == ref.order_id
        await until(lambda: world.status["firewall"]["order_counters"])


async def test_an_auditor_computes_from_the_lists_what_the_node_read_from_its_firewall(world):
    node = world.land.node
    made = world.seal(b"ip 203.0.113.77\n")
    async with world.running():
        order(world, INNER, DROP)
        order(world, OUTER)
        made.in_force(world.land, measure=REJECT)
        await world.publish()
        await until(lambda: attests(world))
    held = world.firewall.content
    tried = pieces_digest(held.pieces, held.rows)
    assert world.attested.pieces_digest != tried, "who guesses the hidden address could see it"
    path = world.directory / "book" / "attestations" / "node-1"
    path.mkdir(parents=True)
    said = world.attested
    kept = path / f"{said.t_ms}-{said.ledger_size}.json"
    kept.write_bytes(world.control.attestations[-1])
    for text in (INNER, OUTER, made.octets):
        world.book.lists.put(text)
    world.book.wraps.put(made.sealed_sha256, node.key.key_id, made.wrap(node))

    def audited(**options):
        trust = trust_of(world.land, world.log)
        summary, findings = audit_directory(
            world.directory / "book", trust, as_of_ms=world.land.now_ms + 1_000, **options
        )
        return [each.code for each in findings], summary.firewalls

    assert audited(identity=node.encryption_secret) == ([], 1)
    assert audited() == ([], 0), "without the key there is nothing to compute it with"
    claim = replace(said, pieces_digest=sha256(b"other pieces").hexdigest())
    kept.write_bytes(format_envelope(seal(claim, node.key)))
    assert audited(identity=node.encryption_secret) == ([Code.ATTESTED_OTHER_PIECES], 1)


# What is never cut off.


async def test_the_operators_own_addresses_pass_and_the_rest_of_the_order_does_not(world):
    world.host.own = ("192.0.2.7/32", "203.0.113.0/24")
    async with world.running():
        ref = order(world, b"ip 203.0.113.53\nnet 192.0.2.0/29\n")
        other = order(world, INNER)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.6") and world.blocks("198.51.100.9"))
        assert not world.blocks("192.0.2.7")
        assert not world.blocks("203.0.113.53")
        await until(lambda: attests(world) and world.attested.curtailed == (ref.entry_index,))
        local = LocalLayer(protected=b"ip 192.0.2.7\nnet 203.0.113.0/24\n")
        assert world.attested.local_digest == local.digest
        await until(lambda: world.status["firewall"]["curtailed"] == [ref.entry_index])
        assert world.status["firewall"]["protected"] == ["192.0.2.7/32", "203.0.113.0/24"]
        assert ref != other


async def test_no_rule_comes_before_the_operators_own_addresses_are_known(world):
    world.host.is_away = True
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world, FirewallState.UNAVAILABLE))
        assert not world.firewall.content.rows
        world.host.is_away = False
        await until(lambda: world.blocks("192.0.2.7"))


async def test_new_addresses_of_the_host_are_protected_while_it_runs(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        world.host.own = ("192.0.2.7/32",)
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world))


async def test_what_a_gate_asks_is_protected_when_it_comes_and_not_a_minute_later(world):
    world.firewall_pace = SLOW
    world.gate.is_away = True
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        world.host.own = ("192.0.2.7/32",)
        await stays(lambda: world.blocks("192.0.2.7"), looks=5)
        world.gate.is_away = False
        await until(lambda: not world.blocks("192.0.2.7"))


async def test_an_order_that_new_protections_object_to_is_taken_out(world):
    async with world.running():
        ref = order(world, OUTER)
        order(world)
        await world.publish()
        await until(lambda: world.blocks("198.51.100.9") and world.blocks("192.0.2.7"))
        pins = Pins(None, world.bring(INNER), None, None)
        world.land.record(seal(world.land.policy(pins=pins), *world.land.roots[:2]))
        await world.publish()
        await until(lambda: not world.blocks("198.51.100.8"))
        await until(lambda: attests(world, FirewallState.HOLDS, ref.entry_index))
        assert world.blocks("192.0.2.7")


# Beside the gate.


async def test_what_the_operator_switches_off_at_the_gate_is_off_in_the_firewall(world):
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.gate.mode = GateMode.BYPASS
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world, FirewallState.HOLDS, ref.entry_index))
        assert world.attested.omissions[0].reason is NotEnforced.BYPASSED
        world.gate.mode = GateMode.ENFORCE
        await until(lambda: world.blocks("192.0.2.7") and attests(world))


async def test_what_the_gate_cannot_take_is_not_half_enforced(world):
    async with world.running():
        targets = b"exact bad.example.org\nip 192.0.2.7\n"
        index = world.land.state.size

        async def refuse(job):
            if any(row.index == index for row, _ in job.orders):
                raise InputError("it does not fit", advice="Order something else.")
            return await compile_(job)

        compile_, world.work.compile = world.work.compile, refuse
        world.work.compile_overlay = refuse
        order(world, targets, BOTH)
        await world.publish()
        await until(lambda: cannot(world) == [index])
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world, FirewallState.HOLDS, index))


async def test_a_gate_that_hangs_keeps_no_stop_from_the_firewall(world):
    world.firewall_pace = SLOW
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))

        async def hang(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        world.gate.status = world.gate.overlay = world.gate.load = hang
        stopping = asyncio.create_task(node.offer_stop(world.stop_bytes(ref)))
        await until(lambda: not world.blocks("192.0.2.7"))
        assert not stopping.done()
        stopping.cancel()


async def test_orders_by_the_thousand_are_flattened_while_a_stop_goes_through(world, monkeypatch):
    async with world.running() as node:
        small = order(world)
        await world.publish()
        await until(lambda: attests(world))
        flatten, started = world.pieces.flatten, []

        async def slow(job):
            started.append(job)
            await until(lambda: not world.blocks("192.0.2.7"))
            return await flatten(job)

        monkeypatch.setattr(world.pieces, "flatten", slow)
        big = b"".join(sorted(b"ip 198.51.%d.%d\n" % (n >> 8, n & 255) for n in range(2_000)))
        order(world, big)
        await world.publish()
        await until(lambda: started)
        await node.offer_stop(world.stop_bytes(small))
        await until(lambda: world.blocks("198.51.7.207") and not world.blocks("192.0.2.7"))
        await until(lambda: attests(world, FirewallState.HOLDS, small.entry_index))


async def test_a_stop_does_not_wait_until_much_is_read_back(world, monkeypatch):
    monkeypatch.setattr(firewalling, "PROVEN_AT_ONCE_MAX", 0)
    read, started, may_end = MemoryFirewall.read, [], asyncio.Event()
    world.firewall_pace = FirewallPace(0.1, settle_seconds=0.02)

    async def slow(self):
        found = await read(self)
        if found.content.rows:
            started.append(self)
            await may_end.wait()
        return found

    async with world.running():
        monkeypatch.setattr(MemoryFirewall, "read", slow)
        ref = order(world)
        order(world, INNER)
        await world.publish()
        await until(lambda: started and world.blocks("198.51.100.9"))
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("192.0.2.7"))
        may_end.set()
        await until(lambda: attests(world))
        assert world.attested.repairs == 0


async def test_nothing_waits_until_connections_are_cut(world, monkeypatch):
    cut, may_cut = MemoryFirewall.cut, asyncio.Event()

    async def slow(self, pieces):
        await may_cut.wait()
        return await cut(self, pieces)

    monkeypatch.setattr(MemoryFirewall, "cut", slow)
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7") and attests(world))
        ref = order(world, INNER)
        await world.publish()
        await until(lambda: world.blocks("198.51.100.9") and attests(world))
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("198.51.100.9") and attests(world))
        assert not world.firewall.cuts
        may_cut.set()
        await until(lambda: world.firewall.cuts)
        networks = map(ip_network, ("192.0.2.7/32", "2001:db8:7::/48"))
        first = world.firewall.content.rows[0].index
        assert world.firewall.cuts == [pack_pieces((each, first) for each in networks)]


async def test_connections_that_cannot_be_cut_are_tried_again(world, monkeypatch):
    monkeypatch.setattr(firewall_cutting, "RETRY_SECONDS", 0.01)
    cut, failures = MemoryFirewall.cut, [UnavailableError("no memory", advice="Wait.")] * 3

    async def failing(self, pieces):
        if failures:
            raise failures.pop()
        return await cut(self, pieces)

    monkeypatch.setattr(MemoryFirewall, "cut", failing)
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world) and world.firewall.cuts)
        assert len(world.firewall.cuts) == 1


@pytest.mark.parametrize("error", [UnavailableError, InputError])
async def test_an_order_that_the_kernel_does_not_take_keeps_no_other_from_ending(
    world, monkeypatch, error
):
    def limited(call):
        async def within_memory(self, change, lease_seconds):
            if len(getattr(change, "added", getattr(change, "pieces", ()))) > 100:
                raise error("it does not fit", advice="Order less.")
            await call(self, change, lease_seconds)

        return within_memory

    monkeypatch.setattr(MemoryFirewall, "apply", limited(MemoryFirewall.apply))
    monkeypatch.setattr(MemoryFirewall, "replace", limited(MemoryFirewall.replace))
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        order(world, b"".join(sorted(b"ip 198.51.100.%d\n" % last for last in range(200))))
        await world.publish()
        await until(lambda: world.status["firewall"]["problem"] == "it does not fit")
        assert world.blocks("192.0.2.7")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("192.0.2.7"))
        assert not world.blocks("198.51.100.7")


async def test_a_list_that_was_altered_on_the_disk_keeps_nothing_from_ending(world):
    async with world.running() as node:
        small = order(world, INNER)
        order(world)
        await world.publish()
        await until(lambda: attests(world))
    altered = world.state_dir / "ledger" / "lists" / sha256(TARGETS).hexdigest()
    altered.write_bytes(b"ip 203.0.113.1\n")
    world.feed.lists.clear()
    async with world.running() as node:
        await until(lambda: world.status)
        await node.offer_stop(world.stop_bytes(small))
        await until(lambda: not world.blocks("198.51.100.9"))
        assert world.blocks("192.0.2.7")
        assert not world.blocks("203.0.113.1")
        world.bring(TARGETS)
        await until(lambda: attests(world, FirewallState.HOLDS, small.entry_index))
        assert world.blocks("192.0.2.7")
