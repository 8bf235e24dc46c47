"""A safety officer's acts at a running node: in force at once, attested, kept and passed on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.backends.memory_firewall import FirewallMemory
from enforcer.core.attestation import NotEnforced
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.order import Measure
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, RefusedError
from enforcer.services import gate_rounds
from enforcer.services.suspensions import SuspensionOutcome
from tests.node_world import WORSE, blocking, holds, in_the_ledger, omitted
from tests.people import seal
from tests.waiting import stays, until

REASON = b"s" * 32 + b"It breaks our own mail."


@pytest.fixture(autouse=True)
def officers(world):
    world.land.register(world.land.officer, world.land.other_officer)


def suspension(world, ref, by=None, **changes) -> Envelope:
    return seal(world.land.suspending(ref, **changes), (by or world.land.officer).key)


def resumption(world, ref, of: Envelope) -> Envelope:
    return seal(world.land.resuming(ref, of.payload_sha256), world.land.officer.key)


def reasons(world) -> list[NotEnforced]:
    return [each.reason for each in world.attested.omissions] if world.attested else []


async def record(world, act: Envelope) -> None:
    assert world.land.record(act).is_effective
    await world.publish()


def relayed(world) -> list[bytes]:
    return [envelope for envelope, _ in world.control.suspensions]


async def test_a_suspension_lifts_here_before_it_is_logged_and_is_attested_as_such(world):
    async with world.running() as node:
        ref = await blocking(world)
        name = sha256(REASON).hexdigest()
        act = suspension(world, ref, reason_sha256=name)
        data = format_envelope(act)
        assert await node.offer_suspension(data, [REASON]) is SuspensionOutcome.HEEDED
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: reasons(world) == [NotEnforced.SUSPENDED])
        (omission,) = world.attested.omissions
        assert omission.order_index == ref.entry_index
        assert omission.act_payload_sha256 == act.payload_sha256
        assert world.attested.table_digest == world.expected_digest(world.attested)
        await until(lambda: world.control.suspensions == [(data, (REASON,))])
        await until(lambda: world.status["suspensions"]["held"])
        (shown,) = world.status["suspensions"]["held"]
        assert (shown["person_id"], shown["is_recorded"]) == ("giang.do", False)
        assert (shown["reason_sha256"], shown["order_id"]) == (name, ref.order_id)
        assert b"our own mail" not in (world.state_dir / "status.json").read_bytes()

        await record(world, act)
        await until(lambda: world.status["suspensions"]["held"][0]["is_recorded"])
        await until(lambda: world.status["suspensions"]["unlogged"] == [])
        assert not world.gate.blocks("bad.example.org")


async def test_a_resumption_blocks_again_before_it_is_logged_and_is_attested_as_such(world):
    async with world.running() as node:
        ref = await blocking(world)
        held = suspension(world, ref)
        await record(world, held)
        await until(lambda: not world.gate.blocks("bad.example.org"))
        act = resumption(world, ref, held)
        await node.offer_suspension(format_envelope(act))
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.attested.resumed and holds(world))
        (resumed,) = world.attested.resumed
        assert (resumed.order_index, resumed.act_payload_sha256) == (
            ref.entry_index,
            act.payload_sha256,
        )
        assert world.attested.table_digest == world.expected_digest(world.attested)
        await record(world, act)
        await until(lambda: holds(world) and not world.attested.resumed)
        assert world.gate.blocks("bad.example.org")


async def test_a_suspension_needs_neither_control_plane_nor_feed_and_outlives_a_restart(world):
    async with world.running() as node:
        ref = await blocking(world)
        world.control.is_away = world.feed.is_away = True
        act = format_envelope(suspension(world, ref))
        await node.offer_suspension(act)
        assert not world.gate.blocks("bad.example.org")
    async with world.running():
        await until(lambda: omitted(world) or world.status["suspensions"]["held"])
        assert not world.gate.blocks("bad.example.org")
        world.control.is_away = False
        await until(lambda: relayed(world) == [act])


async def test_what_the_control_plane_refuses_is_brought_again_until_the_ledger_has_it(world):
    world.control.refuses_stops = True
    async with world.running() as node:
        ref = await blocking(world)
        act = suspension(world, ref)
        await node.offer_suspension(format_envelope(act))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        world.control.refuses_stops = False
        await until(lambda: relayed(world) == [format_envelope(act)])


async def test_a_suspension_put_into_the_folder_with_its_reason_is_heeded_and_removed(world):
    async with world.running():
        ref = await blocking(world)
        folder = world.state_dir / "stops"
        folder.mkdir(exist_ok=True)
        name = sha256(REASON).hexdigest()
        (folder / name).write_bytes(REASON)
        act = format_envelope(suspension(world, ref, reason_sha256=name))
        (folder / "suspend.json").write_bytes(act + b"\n")
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: not list(folder.iterdir()))
        await until(lambda: world.control.suspensions == [(act, (REASON,))])


async def test_another_networks_officer_changes_nothing_here(world):
    async with world.running() as node:
        ref = await blocking(world)
        act = suspension(world, ref, by=world.land.other_officer)
        with pytest.raises(RefusedError, match="network of isp-2"):
            await node.offer_suspension(format_envelope(act))
        await stays(lambda: world.gate.blocks("bad.example.org"), looks=10)
        with pytest.raises(ConflictError):  # nothing is suspended that could be resumed
            await node.offer_suspension(format_envelope(resumption(world, ref, act)))


async def test_a_suspension_ends_by_itself_and_the_block_is_back(world):
    async with world.running() as node:
        ref = await blocking(world)
        end_ms = world.clock.ms + 60_000
        await node.offer_suspension(format_envelope(suspension(world, ref, until_ms=end_ms)))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.clock.advance(60_000)
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_the_block_is_back_when_the_ledger_can_no_longer_take_the_suspension(world):
    async with world.running() as node:
        ref = await blocking(world)
        await node.offer_suspension(format_envelope(suspension(world, ref)))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        land = world.land
        await record(world, seal(land.revocation(land.officer), *land.roots[:2]))
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.status["suspensions"]["dropped"])
        assert "revoked" in world.status["suspensions"]["dropped"][0]["why"]


async def test_a_suspension_lifts_at_the_firewall_as_well(world):
    world.firewall = FirewallMemory()
    measure = Measure(DnsMeasure.NONE, IpMeasure.DROP)
    async with world.running() as node:
        ref = await in_the_ledger(world, b"net 203.0.113.0/24\n", measure=measure)
        await until(lambda: world.blocks("203.0.113.9"))
        act = suspension(world, ref)
        await node.offer_suspension(format_envelope(act))
        await until(lambda: not world.blocks("203.0.113.9"))
        await node.offer_suspension(format_envelope(resumption(world, ref, act)))
        await until(lambda: world.blocks("203.0.113.9"))


async def test_a_node_shows_an_officer_the_order_and_the_suspension_that_holds_here(world):
    async with world.running() as node:
        ref = await blocking(world)
        act = suspension(world, ref)
        await node.offer_suspension(format_envelope(act))
        here = await node.read_order(ref.order_id, None)
        (held,) = here.view.record.suspensions
        assert held.payload_sha256 == act.payload_sha256
        assert sha256(here.payload).hexdigest() == ref.payload_sha256


async def test_whoever_brings_an_act_is_answered_as_soon_as_the_gate_has_it(world, monkeypatch):
    world.pace = replace(world.pace, gate_poll_seconds=3_600.0)
    monkeypatch.setattr(gate_rounds, "GATE_SECONDS_MAX", 3_600.0)
    async with world.running() as node, asyncio.timeout(60):
        ref = await blocking(world)
        await node.offer_suspension(format_envelope(suspension(world, ref)))
        assert not world.gate.blocks("bad.example.org")
        other = await blocking(world, WORSE, "worse.example.org")
        await node.offer_stop(world.stop_bytes(other))
        assert not world.gate.blocks("worse.example.org")
