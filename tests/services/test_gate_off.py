"""A gate that its operator has switched off enforces nothing, and the node signs just that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enforcer.core.attestation import (
    OMISSIONS_MAX,
    GateState,
    NotEnforced,
    expected_digest,
)
from enforcer.ports import GateMode, ModeOverride
from tests.node_world import WORSE, World, blocking, holds, in_the_ledger, stopped_here
from tests.services.test_enforce import is_true
from tests.waiting import until


def reasons(world: World) -> list[NotEnforced]:
    return [each.reason for each in world.attested.omissions] if world.attested else []


def switch_off(world: World, mode: GateMode = GateMode.BYPASS) -> int:
    since_ms = world.clock.now_ms() - 5_000
    world.gate.mode = mode
    world.gate.override = ModeOverride(mode, "it broke", "an.nguyen", since_ms, since_ms + 60_000)
    return since_ms


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(GateMode.BYPASS, NotEnforced.BYPASSED), (GateMode.SHADOW, NotEnforced.SHADOW)],
)
async def test_every_order_is_omitted_until_it_enforces_again(world, mode, reason):
    async with world.running():
        ref = await blocking(world)
        since_ms = switch_off(world, mode)
        await until(lambda: reasons(world) == [reason])
        (omission,) = world.attested.omissions
        assert (omission.order_index, omission.since_ms) == (ref.entry_index, since_ms)
        assert is_true(world)
        await until(lambda: world.status["gate"]["mode"] == mode.name)
        await until(lambda: world.status["gate"]["override"]["by"] == "an.nguyen")
        await until(lambda: [each["reason"] for each in world.status["omissions"]] == [reason.name])
        world.gate.mode, world.gate.override = GateMode.ENFORCE, None
        await until(lambda: holds(world))


async def test_a_gate_that_does_not_say_what_it_does_is_said_to_differ(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        world.gate.mode = GateMode.UNSPECIFIED
        await until(lambda: world.attested.gate is GateState.DIFFERS)


async def test_shadow_by_configuration_is_said_once_and_not_each_round(world):
    async with world.running():
        await blocking(world)
        world.gate.mode = GateMode.SHADOW
        await until(lambda: reasons(world) == [NotEnforced.SHADOW])
        said = world.attested
        await in_the_ledger(world, WORSE)
        await until(lambda: reasons(world) == [NotEnforced.SHADOW] * 2)
        assert {each.since_ms for each in world.attested.omissions} == {said.omissions[0].since_ms}


async def test_a_stop_that_is_obeyed_is_named_although_nothing_is_enforced(world):
    async with world.running() as node:
        ref = await blocking(world)
        await in_the_ledger(world, WORSE)
        switch_off(world)
        await until(lambda: reasons(world) == [NotEnforced.BYPASSED] * 2)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        assert reasons(world) == [NotEnforced.STOPPED_UNLOGGED, NotEnforced.BYPASSED]
        assert is_true(world)


async def test_one_name_for_all_is_enough_to_compute_the_table(world):
    """Over a hundred orders can be in force, and an attestation names a hundred."""
    async with world.running():
        await blocking(world)
        switch_off(world)
        await until(lambda: reasons(world) == [NotEnforced.BYPASSED])
        said, state = world.attested, world.land.state
        assert expected_digest(state, replace(said, omission_count=OMISSIONS_MAX + 1)) is None
        listed = replace(said.omissions[0], order_index=99)  # whichever it names
        assert expected_digest(state, replace(said, omissions=(listed,))) == said.table_digest
