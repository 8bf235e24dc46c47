"""When orders took effect at a node: by what gate and firewall held, never by what was planned."""

from __future__ import annotations

from dataclasses import replace

from enforcer.backends.memory_firewall import FirewallMemory
from enforcer.core.attestation import EFFECT_AGE_MS_MAX, EFFECTS_MAX, EffectTime, GateState
from enforcer.core.table import Binding, DnsMeasure, IpMeasure, OrderRow
from enforcer.ports import GateMode, GateReport
from enforcer.services.effect_times import EffectTimes, enforced_by
from tests.node_world import BAD, MINUTE_MS, WORSE, blocking, holds, in_the_ledger
from tests.people import T0_MS
from tests.services.firewall_node import order
from tests.waiting import stays, until

END_MS = T0_MS + 30 * 86_400_000
HOUR_MS = 3_600_000


def row(index: int, until_ms: int = END_MS, ip: IpMeasure = IpMeasure.NONE) -> OrderRow:
    return OrderRow(
        index=index,
        order_id=f"VN-2027-{index:06d}",
        version=1,
        target_list_sha256="0" * 64,
        target_count=1,
        dns_measure=DnsMeasure.NEGATIVE,
        ip_measure=ip,
        binding=Binding.BINDING,
        from_ms=T0_MS,
        until_ms=until_ms,
    )


def rows(*indices: int) -> dict[int, OrderRow]:
    return {index: row(index) for index in indices}


def report(*held: OrderRow, mode: GateMode = GateMode.ENFORCE) -> GateReport:
    return GateReport("", "", 0, 0, held, {}, {}, mode=mode)


def seen(*looks: tuple[int, dict[int, OrderRow]]) -> EffectTimes:
    times = EffectTimes()
    times.look(T0_MS, {})
    for after_ms, held in looks:
        times.look(T0_MS + after_ms, held)
    return times


def newest(times: EffectTimes, t_ms: int) -> tuple[EffectTime, ...]:
    return times.newest(t_ms, t_ms)


def test_what_came_by_entries_that_a_word_does_not_cover_is_left_to_the_next():
    times = EffectTimes()
    times.look(T0_MS, {}, (), 10)
    times.look(T0_MS + 5, rows(7), (), 11)
    times.look(T0_MS + 9, rows(7, 8), (), 12)
    now = T0_MS + 9, T0_MS + 4
    assert [each.order_index for each in times.newest(*now, 11)] == [7]
    assert [each.order_index for each in times.newest(*now, 12)] == [7, 8]


def test_what_comes_and_goes_has_the_time_of_the_look_that_showed_it():
    times = seen((5, rows(7)), (9, rows(7, 8)), (12, rows(8)))
    assert newest(times, T0_MS + 20) == (
        EffectTime(7, T0_MS + 5, T0_MS + 12),
        EffectTime(8, T0_MS + 9, None),
    )


def test_what_was_held_at_the_first_look_has_no_time_and_its_end_has():
    times = EffectTimes()
    times.look(T0_MS, rows(7))
    assert newest(times, T0_MS) == ()
    times.look(T0_MS + 3, {})
    assert newest(times, T0_MS + 3) == (EffectTime(7, None, T0_MS + 3),)


def test_what_comes_back_is_in_force_since_then():
    times = seen((1, rows(7)), (2, {}), (3, rows(7)))
    assert newest(times, T0_MS + 3) == (EffectTime(7, T0_MS + 3, None),)


def test_what_expired_was_gone_when_it_expired_and_not_when_somebody_looked():
    times = seen((1, {7: row(7, until_ms=T0_MS + 10)}), (5_000, {}))
    assert newest(times, T0_MS + 5_000) == (EffectTime(7, T0_MS + 1, T0_MS + 10),)


def test_the_newest_are_told_for_an_hour_and_no_more_than_fit():
    times = seen((1, rows(7)), (MINUTE_MS, rows(7, *range(100, 100 + EFFECTS_MAX))))
    told = newest(times, T0_MS + MINUTE_MS)
    assert [each.order_index for each in told] == list(range(100, 100 + EFFECTS_MAX))
    assert newest(times, T0_MS + MINUTE_MS + EFFECT_AGE_MS_MAX) == ()


def test_of_a_firewall_that_does_not_answer_nothing_is_known_to_have_changed():
    both = row(7, ip=IpMeasure.REJECT)
    times = seen((1, {7: both}))
    assert enforced_by(report(both), T0_MS, None) == ({}, frozenset({7}))
    times.look(T0_MS + 2, *enforced_by(report(both), T0_MS, None))
    assert newest(times, T0_MS + 2) == (EffectTime(7, T0_MS + 1, None),)
    times.look(T0_MS + 3, *enforced_by(report(both), T0_MS, frozenset()))
    assert newest(times, T0_MS + 3) == (EffectTime(7, T0_MS + 1, T0_MS + 3),)


def test_what_a_firewall_that_did_not_answer_held_all_along_has_no_time_and_what_came_has_one():
    early, late = row(7, ip=IpMeasure.REJECT), row(8, ip=IpMeasure.REJECT)
    times = EffectTimes()
    times.look(T0_MS, *enforced_by(report(early), T0_MS, None))
    times.look(T0_MS + 1, *enforced_by(report(early, late), T0_MS, None))
    times.look(T0_MS + 2, *enforced_by(report(early, late), T0_MS, {7}))
    times.look(T0_MS + 3, *enforced_by(report(early, late), T0_MS, {7, 8}))
    assert newest(times, T0_MS + 3) == (EffectTime(8, T0_MS + 3, None),)
    times.look(T0_MS + 4, *enforced_by(report(early, late), T0_MS, {8}))
    times.look(T0_MS + 5, *enforced_by(report(early, late), T0_MS, {7, 8}))
    assert newest(times, T0_MS + 5)[0] == EffectTime(7, T0_MS + 5, None)


def test_an_order_is_in_force_when_gate_and_firewall_both_hold_it_and_the_gate_enforces():
    names, both = row(7), row(8, ip=IpMeasure.DROP)
    later = replace(row(9), from_ms=T0_MS + 1)
    held = report(names, both, later)
    assert list(enforced_by(held, T0_MS, frozenset())[0]) == [7]
    assert list(enforced_by(held, T0_MS, frozenset({8}))[0]) == [7, 8]
    for mode in (GateMode.BYPASS, GateMode.SHADOW, GateMode.UNSPECIFIED):
        assert enforced_by(report(names, mode=mode), T0_MS, frozenset()) == ({}, frozenset())


def effects(world) -> dict[int, EffectTime]:
    said = world.attested
    return {each.order_index: each for each in said.effects} if said is not None else {}


async def test_a_node_attests_when_an_order_came_into_force_and_when_it_was_stopped(world):
    async with world.running():
        ref = await blocking(world)
        await until(lambda: holds(world) and ref.entry_index in effects(world))
        came = effects(world)[ref.entry_index]
        assert came.in_force_at_ms == world.clock.ms
        assert came.out_at_ms is None
        world.clock.ms += 5_000
        world.land.stop(ref)
        await world.publish()
        await until(lambda: effects(world)[ref.entry_index].out_at_ms is not None)
        gone = effects(world)[ref.entry_index]
        assert gone.in_force_at_ms == came.in_force_at_ms
        assert gone.out_at_ms >= came.in_force_at_ms + 5_000


async def test_a_bypass_takes_an_order_out_and_its_end_brings_it_back(world):
    async with world.running():
        ref = await blocking(world)
        await until(lambda: ref.entry_index in effects(world))
        first = effects(world)[ref.entry_index]
        world.clock.ms += 1_000
        world.gate.mode = GateMode.BYPASS
        await until(lambda: effects(world)[ref.entry_index].out_at_ms is not None)
        world.clock.ms += 1_000
        world.gate.mode = GateMode.ENFORCE
        await until(lambda: effects(world)[ref.entry_index].out_at_ms is None)
        assert effects(world)[ref.entry_index].in_force_at_ms >= first.in_force_at_ms + 2_000


async def test_a_node_that_starts_again_remembers_what_it_attested_and_invents_nothing(world):
    async with world.running():
        ref = await blocking(world)
        await until(lambda: ref.entry_index in effects(world))
        came = effects(world)[ref.entry_index]
    world.clock.ms += MINUTE_MS
    said = len(world.control.attestations)
    async with world.running():
        await until(lambda: len(world.control.attestations) > said and holds(world))
        assert effects(world)[ref.entry_index] == came
        other = await blocking(world, WORSE, "worse.example.org")
        await until(lambda: other.entry_index in effects(world))
        assert effects(world)[ref.entry_index] == came


async def test_a_node_that_lost_its_memory_gives_no_time_to_what_its_gate_held(world):
    async with world.running():
        ref = await blocking(world)
        await until(lambda: ref.entry_index in effects(world))
    (world.state_dir / "attestation.json").unlink()
    said = len(world.control.attestations)
    async with world.running():
        await until(lambda: len(world.control.attestations) > said and holds(world))
        assert effects(world) == {}


async def test_recording_attestations_brings_no_new_ones(world):
    world.land.register(world.land.control)
    async with world.running():
        ref = await blocking(world, BAD)
        await until(lambda: holds(world) and ref.entry_index in effects(world))
        kept = world.state_dir / "attestation.json"
        await until(lambda: kept.read_bytes() == world.control.attestations[-1])
        said = len(world.control.attestations)
        for _ in range(3):
            assert world.land.record_attested().is_effective
            await world.publish()
            size = len(world.land.leaves)
            await until(lambda size=size: world.status["ledger"]["size"] == size)
        await stays(lambda: len(world.control.attestations) == said, looks=20)
        world.clock.ms += MINUTE_MS  # only its minute brings one, and it is of the whole ledger
        await until(lambda: len(world.control.attestations) == said + 1)
        assert world.attested.ledger_size == len(world.land.leaves)


async def test_what_a_node_had_read_and_its_gate_not_taken_is_in_force_when_that_takes_it(world):
    async with world.running():
        first = await blocking(world)
        await until(lambda: holds(world))
        world.gate.is_away = True
        ref = await in_the_ledger(world, WORSE)
    (world.state_dir / "attestation.json").unlink()
    world.gate.is_away = False
    async with world.running():
        await until(lambda: ref.entry_index in effects(world))
        assert first.entry_index not in effects(world)


async def with_an_address(world) -> int:
    """Have an order against an address enforced and attested; return its index."""
    world.firewall = FirewallMemory()
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7") and ref.entry_index in effects(world))
    world.clock.ms += MINUTE_MS
    world.control.attestations.clear()
    world.gate.is_away = True
    return ref.entry_index


async def test_what_its_firewall_has_before_its_gate_answers_is_in_force_once_both_have_it(world):
    """After a reboot the kernel is empty, and a gate comes with its last table, but later."""
    index = await with_an_address(world)
    world.firewall = FirewallMemory()
    async with world.running():
        await until(lambda: world.blocks("192.0.2.7"))
        await until(lambda: world.status["gate"]["state"] == "UNREACHABLE")
        world.gate.is_away = False
        await until(lambda: effects(world) == {index: EffectTime(index, world.clock.ms, None)})


async def test_what_its_firewall_had_kept_has_no_time_though_its_gate_answers_later(world):
    await with_an_address(world)
    (world.state_dir / "attestation.json").unlink()
    async with world.running():
        await until(lambda: world.attested.gate is GateState.UNREACHABLE)
        world.gate.is_away = False
        ref = await blocking(world, WORSE, "worse.example.org")
        await until(lambda: holds(world) and effects(world).keys() == {ref.entry_index})


def test_a_clock_that_was_hours_ahead_leaves_no_times_to_come():
    times = seen((HOUR_MS, rows(7)), (HOUR_MS + 1, rows(7, 8)))
    assert len(newest(times, T0_MS + HOUR_MS)) == 2
    assert newest(times, T0_MS) == ()


def test_an_attestation_says_nothing_of_what_came_long_after_its_time():
    """A clock was set ahead between the plan that is attested and the look at the gate."""
    times = seen((HOUR_MS, rows(7)))
    assert times.newest(T0_MS + HOUR_MS, T0_MS) == ()
    assert len(times.newest(T0_MS + HOUR_MS, T0_MS + HOUR_MS)) == 1
