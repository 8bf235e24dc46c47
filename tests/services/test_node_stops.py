"""Stops that are not in the ledger: obeyed, attested, kept and brought there."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from enforcer.core.attestation import NotEnforced
from enforcer.core.envelope import format_envelope, parse_envelope
from enforcer.errors import ConflictError, InputError, RefusedError, UnavailableError
from enforcer.services.stops import StopOutcome
from tests.node_world import BAD, WORSE, all_shown, blocking, holds, omitted, stopped_here
from tests.people import Person, Role, seal
from tests.waiting import stays, until

HOUR_SECONDS = 3_600.0


async def test_a_stop_is_obeyed_before_it_is_logged_and_attested_as_such(world):
    async with world.running() as node:
        ref = await blocking(world)
        stop = world.stop_bytes(ref)
        assert await node.offer_stop(stop) is StopOutcome.OBEYED
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: world.attested and world.attested.ledger_size == len(world.land.leaves))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        (omission,) = world.attested.omissions
        assert omission.reason is NotEnforced.STOPPED_UNLOGGED
        await until(lambda: world.status["unlogged_stops"])  # told a moment after it is attested
        assert omission.act_payload_sha256 == world.status["unlogged_stops"][0]["stop"]
        assert world.attested.table_digest == world.expected_digest(world.attested)
        await until(lambda: world.control.stops == [stop])


async def test_a_stop_in_the_feed_is_obeyed(world):
    async with world.running():
        ref = await blocking(world)
        await world.publisher.push_stop(world.stop_bytes(ref, by=world.land.approver))
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_a_stop_that_came_before_its_signers_key_is_obeyed_when_the_key_comes(world):
    newcomer = Person("an.older.clerk", Role.OVERSIGHT)
    async with world.running():
        ref = await blocking(world)
        with capture_logs() as logs:
            await world.publisher.push_stop(world.stop_bytes(ref, by=newcomer))
            await until(lambda: any(each["event"] == "did not obey a stop" for each in logs))
        assert world.gate.blocks("bad.example.org")
        world.land.register(newcomer)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_a_stop_put_into_the_folder_is_obeyed_and_removed(world):
    async with world.running():
        ref = await blocking(world)
        folder = world.state_dir / "stops"
        folder.mkdir(exist_ok=True)
        (folder / "a-stop.json").write_bytes(world.stop_bytes(ref) + b"\n")
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: not (folder / "a-stop.json").exists())


async def test_a_file_that_is_no_stop_stays_in_the_folder(world):
    async with world.running():
        ref = await blocking(world)
        folder = world.state_dir / "stops"
        folder.mkdir(exist_ok=True)
        (folder / "garbage.json").write_bytes(b"{}")
        (folder / "huge.json").write_bytes(b"x" * (5 << 20))
        (folder / "other.json").write_bytes(world.stop_bytes(ref, by=world.land.stranger))
        (folder / "z-good.json").write_bytes(world.stop_bytes(ref))
        await until(lambda: not (folder / "z-good.json").exists())
        assert {path.name for path in folder.iterdir()} == {
            "garbage.json",
            "huge.json",
            "other.json",
        }


async def test_a_stop_stays_obeyed_over_a_restart_and_until_it_is_logged(world):
    async with world.running() as node:
        ref = await blocking(world)
        envelope = seal(world.land.stopping(ref), world.land.oversight.key)
        await node.offer_stop(format_envelope(envelope))
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.loads > 1)
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: world.status["unlogged_stops"])
        world.land.record(envelope)
        await world.publish()
        await until(lambda: not world.status["unlogged_stops"])
        await until(lambda: not list((world.state_dir / "kept-stops").iterdir()))
        await until(lambda: world.attested and not world.attested.omissions)
        assert not world.gate.blocks("bad.example.org")


async def test_a_stop_for_an_order_to_come_is_kept_and_acts_when_it_comes(world):
    world.bring(BAD)
    async with world.running() as node:
        await world.publish()
        await until(lambda: world.status.get("ledger", {}).get("size") == 7)
        ref = world.land.in_force_order(BAD)
        assert await node.offer_stop(world.stop_bytes(ref)) is StopOutcome.KEPT
        await world.publish()
        await until(lambda: omitted(world))
        assert not world.gate.blocks("bad.example.org")


async def test_stops_for_orders_to_come_are_bounded(world):
    async with world.running() as node:
        await world.publish()
        await until(lambda: world.status.get("ledger", {}).get("size") == 7)
        ref = world.land.propose(BAD)
        for number in range(16):
            later = replace(ref, entry_index=ref.entry_index + number)
            assert await node.offer_stop(world.stop_bytes(later)) is StopOutcome.KEPT
        with pytest.raises(UnavailableError, match="16 stops of"):
            await node.offer_stop(world.stop_bytes(replace(ref, entry_index=1_000)))
        assert len(list((world.state_dir / "waiting-stops").iterdir())) == 16


async def test_a_stop_that_the_rules_refuse_is_refused_and_nothing_changes(world):
    async with world.running() as node:
        ref = await blocking(world)
        stranger = Person("mallory", world.land.oversight.role)
        for by in (stranger, world.land.stranger, world.land.node):
            with pytest.raises(RefusedError):
                await node.offer_stop(world.stop_bytes(ref, by=by))
        with pytest.raises(RefusedError, match="not VN-2027-999999"):
            await node.offer_stop(world.stop_bytes(replace(ref, order_id="VN-2027-999999")))
        with pytest.raises(InputError):
            await node.offer_stop(b"garbage")
        approval = seal(world.land.approval(ref), world.land.approver.key)
        with pytest.raises(RefusedError, match="only a stop"):
            await node.offer_stop(format_envelope(approval))
        other = seal(
            world.land.stopping(ref, ledger_origin="example.org/other"), world.land.oversight.key
        )
        with pytest.raises(RefusedError, match="meant for"):
            await node.offer_stop(format_envelope(other))
        await stays(lambda: world.gate.blocks("bad.example.org"))
        assert not (await all_shown(world))["unlogged_stops"]


async def test_a_stop_by_a_key_that_is_revoked_before_it_is_logged_is_obeyed_all_the_same(world):
    async with world.running() as node:
        ref = await blocking(world)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        revocation = world.land.revocation(world.land.oversight)
        world.land.record(seal(revocation, *world.land.roots[:2]))
        await world.publish()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
    world.gate.restart()
    async with world.running():
        await until(lambda: stopped_here(world) == [ref.entry_index])
        await stays(lambda: not world.gate.blocks("bad.example.org"))


async def test_a_stop_silences_the_next_version_of_its_order_until_it_is_logged(world):
    async with world.running() as node:
        first = await blocking(world)
        second = world.land.propose(BAD, order_id=first.order_id, version=2, supersedes=first)
        stop = world.stop_bytes(first)
        await node.offer_stop(stop)
        world.land.approve(second)
        await world.publish()
        await until(lambda: stopped_here(world) == [second.entry_index])
        assert not world.gate.blocks("bad.example.org")
        assert world.attested.table_digest == world.expected_digest(world.attested)
        world.land.record(parse_envelope(stop))
        await world.publish()
        await until(lambda: holds(world))
        assert not world.gate.blocks("bad.example.org")


async def test_a_logged_stop_that_comes_again_is_known_as_recorded(world):
    async with world.running() as node:
        ref = await blocking(world)
        envelope = seal(world.land.stopping(ref), world.land.oversight.key)
        world.land.record(envelope)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))
        assert await node.offer_stop(format_envelope(envelope)) is StopOutcome.RECORDED
        with pytest.raises(ConflictError):
            await node.offer_stop(world.stop_bytes(ref))


async def test_a_stop_is_relayed_when_the_control_plane_is_back(world):
    world.control.is_away = True
    async with world.running() as node:
        ref = await blocking(world)
        stop = world.stop_bytes(ref)
        await node.offer_stop(stop)
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.control.is_away = False
        await node.offer_stop(world.stop_bytes(await blocking(world, WORSE, "worse.example.org")))
        await until(lambda: len(world.control.stops) == 2)
        assert stop in world.control.stops


async def test_a_stop_that_the_ledger_has_a_moment_later_is_not_relayed(world, monkeypatch):
    """A control plane shows its stops to all nodes: it must not get each of them back from all."""
    world.pace = replace(world.pace, relay_after_seconds=HOUR_SECONDS)
    is_over, sleep = asyncio.Event(), asyncio.sleep

    async def moment(seconds):
        """Sleep; the moment before a stop is relayed ends when the test says so."""
        if seconds < HOUR_SECONDS:
            await sleep(seconds)
        else:
            await is_over.wait()
            await sleep(0)  # others come to run, also when it was over before

    monkeypatch.setattr(asyncio, "sleep", moment)
    async with world.running() as node:
        ref = await blocking(world)
        stop = world.stop_bytes(ref)
        await node.offer_stop(stop)
        await until(lambda: stopped_here(world) == [ref.entry_index])
        world.land.record(parse_envelope(stop))
        await world.publish()
        await until(lambda: not world.status["unlogged_stops"])
        is_over.set()
        other = await blocking(world, WORSE, "worse.example.org")
        late = world.stop_bytes(other)
        await node.offer_stop(late)
        await until(lambda: late in world.control.stops)
    assert world.control.stops == [late]


async def test_a_stop_that_the_control_plane_refuses_is_obeyed_and_not_sent_again(world):
    world.control.refuses_stops = True
    async with world.running() as node:
        ref = await blocking(world)
        await node.offer_stop(world.stop_bytes(ref))
        await until(
            lambda: any(stop["is_relayed"] for stop in world.status.get("unlogged_stops", ()))
        )
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_stops_act_while_a_list_is_being_checked(world):
    """Work on whole lists never stands before a stop."""
    async with world.running() as node:
        ref = await blocking(world)
        may_end = asyncio.Event()
        check = world.work.check_list

        async def slow(path):
            await may_end.wait()
            return await check(path)

        world.work.check_list = slow
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        await world.publish()
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        may_end.set()
        await until(lambda: world.gate.blocks("worse.example.org"))
