"""A node and what guards, lifts and a safety officer say of its orders."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.guard import Guard
from enforcer.core.policy import DAY_MS, DecisionKind, Pins
from enforcer.core.table import NO_LOCAL_LAYER, table_digest
from tests.node_world import BAD, World, blocking, in_the_ledger
from tests.people import Land, seal
from tests.waiting import stays, until

NAMES = b"exact login.bank.example.com\nsubtree shop.example.com\n"
BANK = b"exact login.bank.example.com\n"


@pytest.fixture
def world(tmp_path):
    land = Land.founded(pins=Pins(None, sha256(NAMES).hexdigest(), None, None))
    land.register(land.control, land.officer, land.other_officer)
    world = World(tmp_path, land)
    world.bring(NAMES)
    return world


def omitted(world):
    attested = world.attested
    return {} if attested is None else {o.order_index: o.reason for o in attested.omissions}


def is_true(world):
    """Tell whether the last attestation is what an auditor computes, and the gate's."""
    attested = world.attested
    return (
        attested is not None
        and attested.ledger_size == len(world.land.leaves)
        and attested.table_digest == world.expected_digest(attested)
    )


async def test_a_guard_that_the_control_plane_skipped_is_not_skipped_here(world):
    async with world.running():
        await blocking(world)
        ref = await in_the_ledger(world, b"exact a.shop.example.com\n")
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        await until(lambda: is_true(world))
        await stays(lambda: not world.gate.blocks("a.shop.example.com"), looks=5)
        assert world.gate.blocks("bad.example.org")


async def test_what_a_court_overrides_by_name_is_blocked_at_the_protected_name(world):
    land = world.land
    async with world.running():
        await blocking(world)
        world.bring(BANK)
        ref = land.propose(BANK, decision_kind=DecisionKind.COURT_FINAL)
        assert land.hold(ref, Guard.PROTECTED_NAME).is_effective
        line = "exact login.bank.example.com"
        assert land.lift(ref, Guard.PROTECTED_NAME, overrides=(line,)).is_effective
        assert land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("login.bank.example.com"))
        await until(lambda: is_true(world) and omitted(world) == {})
        assert world.attested.gate is GateState.HOLDS_TABLE


async def test_an_order_that_is_held_and_lifted_at_once_gets_its_override(world):
    land = world.land
    async with world.running():
        world.bring(BANK)
        ref = land.in_force_order(BANK, decision_kind=DecisionKind.COURT_FINAL)
        await world.publish()
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        assert land.hold(ref, Guard.PROTECTED_NAME).is_effective
        line = "exact login.bank.example.com"
        assert land.lift(ref, Guard.PROTECTED_NAME, overrides=(line,)).is_effective
        await world.publish()  # both entries at once: the node never sees it held
        await until(lambda: world.gate.blocks("login.bank.example.com"))
        await until(lambda: is_true(world) and omitted(world) == {})


async def test_new_data_takes_an_order_out_before_any_entry_does(world):
    land = world.land
    async with world.running():
        ref = await blocking(world)
        names = land.state.policy.payload.pins.protected_names
        pins = Pins(world.bring(b"subtree bad.example.org\n"), names, None, None)
        land.record(seal(land.policy(pins=pins), *land.roots[:2]))
        await world.publish()
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        assert not world.gate.blocks("bad.example.org")


async def test_a_stop_waits_for_no_scan(world):
    async with world.running() as node:
        ref = await blocking(world)
        world.work.is_away = True
        await in_the_ledger(world, b"exact new.example.org\n")
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("new.example.org")


async def test_an_order_suspended_on_the_own_network_passes_there_and_comes_back(world):
    land = world.land
    async with world.running():
        ref = await blocking(world)
        assert land.suspend(ref).is_effective
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.SUSPENDED})
        await until(lambda: is_true(world))
        assert land.resume(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org") and omitted(world) == {})


async def test_a_suspension_on_another_network_changes_nothing_here(world):
    async with world.running():
        ref = await blocking(world)
        assert world.land.suspend(ref, by=world.land.other_officer).is_effective
        await world.publish()
        await until(lambda: is_true(world))
        assert world.gate.blocks("bad.example.org")
        assert omitted(world) == {}


def test_an_override_is_part_of_the_table_digest():
    land = Land.founded()
    land.register(land.control)
    ref = land.propose(decision_kind=DecisionKind.COURT_FINAL)
    land.hold(ref, Guard.PROTECTED_NAME)
    land.lift(ref, Guard.PROTECTED_NAME, overrides=("subtree example.org",))
    assert land.approve(ref).is_effective
    row = land.order_record(ref).row
    assert row.lines[1:] == (f"override {ref.entry_index} subtree example.org",)
    policy = land.state.policy.ref
    digests = {
        table_digest(land.origin, policy, [each], NO_LOCAL_LAYER)
        for each in (row, replace(row, overrides=()))
    }
    assert len(digests) == 2


# Limits that follow a target: what past orders say, whatever the control plane let pass.


EMERGENCY_MS = 2 * DAY_MS


def emergency(land, **changes):
    end_ms = land.now_ms + EMERGENCY_MS
    fields = {
        "decision_kind": DecisionKind.EMERGENCY,
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }
    return fields | changes


async def test_a_second_emergency_for_a_target_does_not_begin_here(world):
    land = world.land
    async with world.running():
        first = await blocking(world, **emergency(land))
        land.stop(first)
        ref = await in_the_ledger(
            world, b"exact a.bad.example.org\nsubtree bad.example.org\n", **emergency(land)
        )
        other = await blocking(
            world, b"exact other.example.org\n", "other.example.org", **emergency(land)
        )
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        await until(lambda: is_true(world))
        assert not world.gate.blocks("bad.example.org")
        assert omitted(world).keys().isdisjoint({other.entry_index})


async def test_what_was_stopped_comes_back_only_by_a_lift(world):
    land = world.land
    court = {"decision_kind": DecisionKind.COURT_FINAL}
    async with world.running():
        land.stop(await blocking(world, **court))
        ref = await in_the_ledger(world, b"subtree bad.example.org\n", **court)
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        land.hold(ref, Guard.STOPPED_BEFORE)
        assert land.lift(ref, Guard.STOPPED_BEFORE, by=land.oversight).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: is_true(world) and omitted(world) == {})


async def test_time_without_a_court_is_added_up_here_as_well(world):
    land = world.land
    land.record(
        seal(
            land.policy(administrative_days_max=40, pins=land.state.policy.payload.pins),
            *land.roots[:2],
        )
    )
    async with world.running():
        await blocking(world)
        land.now_ms += 25 * DAY_MS
        ref = await in_the_ledger(world, b"subtree bad.example.org\n")
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        fresh = await blocking(world, b"exact fresh.example.org\n", "fresh.example.org")
        size = fresh.entry_index + 2  # its approval
        await until(lambda: world.attested.ledger_size == size and is_true(world))
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})


async def test_an_extension_past_the_limit_takes_the_order_out(world):
    land = world.land
    land.record(
        seal(
            land.policy(administrative_days_max=70, pins=land.state.policy.payload.pins),
            *land.roots[:2],
        )
    )
    async with world.running():
        await blocking(world)
        land.now_ms += 29 * DAY_MS
        ref = await blocking(world, b"subtree bad.example.org\n", "www.bad.example.org")
        both = (land.proposer.key, land.approver.key)
        longer = land.extension(ref, land.now_ms + 60 * DAY_MS)
        assert land.record(seal(longer, *both)).is_effective
        await world.publish()
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        assert not world.gate.blocks("www.bad.example.org")


async def test_a_past_list_that_nobody_has_is_left_out_shown_and_read_when_it_comes(world):
    land = world.land
    past = b"exact bad.example.org\nexact gone.example.org\n"
    first = land.in_force_order(past, **emergency(land))
    land.stop(first)
    async with world.running():
        ref = await blocking(world, **emergency(land))
        digest = sha256(past).hexdigest()
        await until(lambda: world.status.get("limits_unread") == [digest])
        assert world.status["missing_lists"] == []
        world.bring(past)
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        await until(lambda: world.status["limits_unread"] == [])


async def test_a_restart_judges_again_and_what_is_at_the_gate_stays_meanwhile(world):
    land = world.land
    async with world.running():
        land.stop(await blocking(world, b"exact old.example.org\n", "old.example.org"))
        await blocking(world, **emergency(land))
        ref = await in_the_ledger(world, **emergency(land), targets=b"exact bad.example.org\n")
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
    world.work.is_away = True
    async with world.running():
        await stays(lambda: world.gate.blocks("bad.example.org"), looks=5)
        world.work.is_away = False
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.GUARD})
        await until(lambda: is_true(world))
        assert world.gate.blocks("bad.example.org")


async def test_an_order_whose_past_nobody_has_looked_at_does_not_begin(world):
    land = world.land
    names = b"exact new.example.org\n"
    world.bring(names)
    near_lists, may_look = world.work.near_lists, asyncio.Event()

    async def late(*args):
        await may_look.wait()
        return await near_lists(*args)

    async with world.running():
        land.stop(await blocking(world))
        world.work.near_lists = late
        ref = land.propose(names)
        await world.publish()
        await until(lambda: len(world.work.scans) == 2)  # by its words it may begin
        assert land.approve(ref).is_effective
        await world.publish()
        await until(lambda: omitted(world) == {ref.entry_index: NotEnforced.LIST_MISSING})
        await stays(lambda: not world.gate.blocks("new.example.org"), looks=10)
        may_look.set()
        await until(lambda: world.gate.blocks("new.example.org"))


async def test_what_was_compared_when_it_was_proposed_is_not_compared_again(world):
    land = world.land
    names = b"exact new.example.org\n"
    async with world.running():
        land.stop(await blocking(world))
        ref = land.propose(names)
        world.bring(names)
        await world.publish()
        pair = tuple(sha256(each).hexdigest() for each in (names, BAD))
        await until(lambda: pair in world.work.compared)
        world.work.compared.clear()
        assert land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("new.example.org"))
        assert pair not in world.work.compared


async def test_an_approval_of_what_was_looked_at_before_costs_the_gate_one_round(world):
    land = world.land
    names = b"exact new.example.org\n"
    was_compared = asyncio.Event()
    rounds: list[tuple[int, list[str]]] = [(0, [])]
    """The entries that each plan knows, and what the gate is told or asked for it."""
    near_lists, status, overlay = world.work.near_lists, world.gate.status, world.gate.overlay

    async def comparing(of, paths, *args):
        found = await near_lists(of, paths, *args)
        own = sha256(names).hexdigest()
        if own in of and own in paths:
            was_compared.set()
        return found

    async def asking(*, verify=False):
        rounds[-1][1].append("status")
        return await status(verify=verify)

    async def laying(octets):
        rounds[-1][1].append("overlay")
        return await overlay(octets)

    world.work.near_lists = comparing
    world.pace = replace(world.pace, gate_poll_seconds=60.0)
    async with world.running() as node:
        bring = node._enforcer.bring

        async def bringing(plan, moment):
            rounds.append((plan.ledger_size, []))
            return await bring(plan, moment)

        land.stop(await blocking(world))
        ref = land.propose(names)
        world.bring(names)
        await world.publish()
        await until(was_compared.is_set)
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: is_true(world))
        world.work.compared.clear()
        node._enforcer.bring = bringing
        world.gate.status, world.gate.overlay = asking, laying
        assert land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("new.example.org"))
        first = next(told for size, told in rounds if size == len(land.leaves))
        assert first[0] == "overlay"
        assert not world.work.compared


async def test_a_new_proposal_is_compared_with_those_that_wait_and_they_not_anew(world):
    land, asked = world.land, []
    near_lists = world.work.near_lists

    async def asking(of, *args):
        asked.append(tuple(of))
        return await near_lists(of, *args)

    world.work.near_lists = asking
    lists = [b"exact a.example.net\n", b"exact b.example.net\n", b"subtree example.net\n"]
    async with world.running():
        land.stop(await blocking(world))  # since then limits look back
        refs = []
        for number, names in enumerate(lists, 1):
            world.bring(names)
            refs.append(land.propose(names, **emergency(land)))
            await world.publish()
            await until(lambda number=number: len(asked) == number)
        assert asked == [(sha256(names).hexdigest(),) for names in lists]
        assert land.approve(refs[2]).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("b.example.net"))
        # Covered by a later proposal, and not asked about again when that came.
        assert land.approve(refs[0]).is_effective
        await world.publish()
        await until(lambda: omitted(world) == {refs[0].entry_index: NotEnforced.GUARD})
        assert len(asked) == len(lists)
