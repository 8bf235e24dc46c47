"""A node's story: it blocks what the ledger says, and nothing makes it block more or stop less."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

import pytest
from structlog.testing import capture_logs

from enforcer.backends.memory_feed import StreamEntry
from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.entry import Entry, encode
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.guard import Guard
from enforcer.core.policy import DecisionKind, Pins
from enforcer.core.state import Roots
from enforcer.errors import ConflictError, InputError, IntegrityError, RefusedError
from enforcer.services.stops import StopOutcome
from tests.node_world import (
    BAD,
    WORSE,
    World,
    blocking,
    holds,
    in_the_ledger,
    omitted,
    stays,
    stopped_here,
    until,
)
from tests.people import Land, Person, seal

MINUTE_MS = 60_000
YEAR_MS = 365 * 24 * 60 * MINUTE_MS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def feed_is(world: World, state: str) -> str:
    await until(lambda: world.status.get("feed", {}).get("state") == state)
    return world.status["feed"]["reason"]


# What a node enforces.


async def test_an_approved_order_blocks_and_a_recorded_stop_frees(world):
    async with world.running():
        ref = await blocking(world)
        assert not world.gate.blocks("good.example.org")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_a_proposal_alone_never_blocks(world):
    world.bring(BAD)
    async with world.running():
        world.land.propose(BAD)
        await world.publish()
        await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
        await stays(lambda: not world.gate.blocks("bad.example.org"))


async def test_one_person_in_both_roles_never_blocks(world):
    world.bring(BAD)
    async with world.running():
        ref = world.land.propose(BAD)
        world.land.approve(ref, by=world.land.proposer)
        await world.publish()
        await until(lambda: world.status.get("ledger", {}).get("ineffective"))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: world.attested and world.attested.ineffective)


async def test_what_is_attested_is_what_the_ledger_says(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        attested = world.attested
        assert attested.ledger_size == len(world.land.leaves)
        assert attested.table_digest == world.expected_digest(attested)
        assert attested.root_sha256 == world.book.root.hex()


async def test_an_attestation_is_signed_by_the_nodes_registered_key(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        plain = json.loads(world.control.attestations[-1])
        assert plain["signatures"][0]["keyid"] == world.land.node.key.key_id
        kept = (world.state_dir / "attestation.json").read_bytes()
        await until(lambda: kept in world.control.attestations)


async def test_a_quiet_node_attests_again_after_a_minute(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.control.attestations)
        world.clock.ms += MINUTE_MS
        await until(lambda: len(world.control.attestations) > count)


async def test_a_node_whose_clock_was_years_ahead_attests_each_minute_all_the_same(world):
    async with world.running():
        await world.publish()
        await until(lambda: holds(world))
        now_ms = world.clock.ms
        world.clock.ms += 10 * YEAR_MS
        await until(lambda: world.attested.t_ms == world.clock.ms)
        world.clock.ms = now_ms
        await until(lambda: world.attested.t_ms < now_ms + 3 * MINUTE_MS)


async def test_attestations_wait_for_the_control_plane_and_only_the_newest_comes(world):
    world.control.is_away = True
    async with world.running():
        ref = await blocking(world)
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.control.is_away = False
        await until(lambda: world.attested and world.attested.ledger_size == len(world.land.leaves))
        assert len(world.control.attestations) < 3


# What a node is told to trust.


async def test_a_trust_file_that_refuses_the_first_entry_is_said_once_in_each_life(world):
    world.land.state.roots = Roots(world.land.state.roots.public_keys, 3)  # two have signed
    lives = []
    for _ in range(2):
        with capture_logs() as logs:
            async with world.running():
                if world.book.size == 0:
                    await world.publish()
                await until(lambda: world.status.get("ledger", {}).get("ineffective"))
        lives.append([each for each in logs if "entry 0 is refused" in each["event"]])
    for said in lives:
        assert len(said) == 1
        assert said[0]["log_level"] == "error"
        assert "root_threshold" in said[0]["advice"]


async def test_a_trust_file_that_fits_the_ledger_is_not_warned_of(world):
    with capture_logs() as logs:
        async with world.running():
            await blocking(world)
    assert not [each for each in logs if "entry 0" in each["event"]]


# Time.


async def test_an_order_ends_by_itself_and_its_end_is_attested(world):
    async with world.running():
        soon = world.land.now_ms + MINUTE_MS
        await blocking(world, expires_at_ms=soon, review_due_at_ms=soon)
        await until(lambda: holds(world))
        digest = world.attested.table_digest
        world.feed.is_away = True
        world.control.lists.clear()
        world.clock.ms = soon
        await until(lambda: world.attested.table_digest != digest)
        assert not world.gate.blocks("bad.example.org")
        assert world.attested.table_digest == world.expected_digest(world.attested)


async def test_an_order_that_begins_later_begins_by_itself(world):
    world.bring(BAD)
    begins = world.land.now_ms + 10 * MINUTE_MS
    async with world.running():
        world.land.in_force_order(BAD, not_before_ms=begins)
        await world.publish()
        await until(lambda: world.gate.loads)
        assert not world.gate.blocks("bad.example.org")
        world.feed.is_away = True
        world.clock.ms = begins
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.attested.table_digest == world.expected_digest(world.attested))


async def test_a_clock_that_steps_back_revives_nothing(world):
    soon = world.land.now_ms + MINUTE_MS
    async with world.running():
        await blocking(world, expires_at_ms=soon, review_due_at_ms=soon)
        await until(lambda: holds(world))
        digest = world.attested.table_digest
        world.clock.ms = soon + 1
        await until(lambda: world.attested.table_digest != digest)
        world.clock.ms = soon - 30_000
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
    async with world.running():
        await until(lambda: world.gate.loads)
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        assert world.status["t_ms"] >= soon
        assert world.status["orders_in_force"] == 0


async def test_a_clock_that_was_years_ahead_and_is_set_right_blocks_again(world):
    async with world.running() as node:
        ref = await blocking(world)
        await until(lambda: holds(world))
        now_ms = world.clock.ms
        world.clock.ms += 10 * YEAR_MS
        await until(lambda: world.status["orders_in_force"] == 0)
        # Even a table that is compiled meanwhile takes nothing of that time to the gate.
        policy = world.land.policy(register_url="https://other.example.org/")
        world.land.record(seal(policy, *world.land.roots[:2]))
        await node.offer_stop(world.stop_bytes(ref))
        loads = world.gate.loads
        worse = await in_the_ledger(world, WORSE)
        await until(lambda: world.gate.loads > loads)
        world.clock.ms = now_ms
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        assert world.attested.t_ms <= now_ms + 3 * MINUTE_MS
        assert world.attested.gate is GateState.HOLDS_TABLE
        assert omitted(world) != [worse.entry_index]
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("bad.example.org")


async def test_an_agent_that_lost_its_floor_takes_up_the_gates(world):
    """Else the gate, which never goes back, would take no table with a stop."""
    async with world.running():
        ref = await blocking(world)
        world.clock.advance(24 * 60 * MINUTE_MS)
        await blocking(world, WORSE, "worse.example.org")
    rmtree(world.state_dir)
    async with world.running() as node:
        await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: stopped_here(world) and world.attested.gate is GateState.HOLDS_TABLE)
        assert world.gate.blocks("worse.example.org")


async def test_a_floor_that_cannot_be_read_is_not_gone_on_from(world):
    world.state_dir.mkdir(parents=True)
    (world.state_dir / "floor").write_bytes(b"yesterday\n")
    with pytest.raises(IntegrityError, match="floor"):
        async with world.running():
            pass


async def test_an_entry_from_the_future_waits_but_a_stop_in_it_acts_at_once(world):
    async with world.running():
        ref = await blocking(world)
        taken = len(world.land.leaves)
        now_ms = world.clock.ms
        world.bring(WORSE)
        world.land.now_ms += 10 * MINUTE_MS
        world.land.in_force_order(WORSE)
        world.land.stop(ref)
        await world.publish()
        world.clock.ms = now_ms
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await feed_is(world, "WAITING")
        assert not world.gate.blocks("worse.example.org")
        assert world.status["ledger"]["size"] == taken
        world.clock.ms = world.land.now_ms - 120_000
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: not world.status["unlogged_stops"])


async def test_120_seconds_ahead_are_taken_and_one_millisecond_more_waits(world):
    async with world.running():
        await blocking(world)
        world.land.record(seal(world.land.order(), world.land.proposer.key))
        await world.publish()
        world.clock.ms = world.land.now_ms
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        world.land.record(seal(world.land.order(), world.land.proposer.key), after_ms=120_001)
        now_ms = world.clock.ms
        await world.publish()
        world.clock.ms = now_ms
        await feed_is(world, "WAITING")
        world.clock.ms += 1
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))


# What a node refuses.


async def forge(world: World, *leaves: bytes, is_signed: bool = True) -> None:
    """Put leaves at the end of the feed, under a checkpoint that the log signed or did not."""
    size = world.book.size
    everything = [*world.land.leaves[:size], *leaves]
    note = world.log.note(everything) if is_signed else world.book.checkpoint_note
    for index, leaf in enumerate(leaves, size):
        world.feed.log[index] = StreamEntry(index, leaf, note)
    world.feed.head = note
    world.feed.wake()


async def test_a_forged_entry_in_the_stream_is_refused_and_the_node_goes_on(world):
    async with world.running():
        await blocking(world)
        note = world.book.checkpoint_note
        forger = Person("mallory", world.land.proposer.role, "cert-vn")
        leaf = encode(Entry(world.land.now_ms, seal(world.land.order(WORSE), forger.key)))
        size = world.book.size
        fake = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
        world.feed.log[size] = StreamEntry(size, leaf, fake)
        world.feed.wake()
        assert "signature" in await feed_is(world, "REFUSING")
        assert world.gate.blocks("bad.example.org")
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        with pytest.raises(ConflictError):
            await world.publish()
        await world.mend()
        await until(lambda: world.gate.blocks("worse.example.org"))
        await feed_is(world, "OK")


async def test_a_rolled_back_feed_is_refused_and_blocking_goes_on(world):
    async with world.running():
        await blocking(world)
        old = world.land.leaves[:5]
        world.feed.clear()
        world.feed.head = world.log.note(old)
        assert "rolled back" in await feed_is(world, "REFUSING")
        await stays(lambda: world.gate.blocks("bad.example.org"))


async def test_two_histories_of_one_size_are_refused(world):
    async with world.running():
        await blocking(world)
        world.feed.head = world.log.note([*world.land.leaves[:-1], b"another"])
        assert "two histories" in await feed_is(world, "REFUSING")


async def test_an_unknown_kind_stops_following_but_orders_go_on_ending(world):
    soon = world.land.now_ms + MINUTE_MS
    async with world.running():
        await blocking(world, expires_at_ms=soon, review_due_at_ms=soon)
        size = len(world.land.leaves)
        signature = seal(world.land.order(), world.land.proposer.key).signatures
        later = Envelope("application/vnd.enforcer.later.v1+json", b"{}", signature)
        await forge(world, encode(Entry(world.land.now_ms, later)))
        assert "unknown kind" in await feed_is(world, "REFUSING")
        assert world.gate.blocks("bad.example.org")
        world.clock.ms = soon
        await until(lambda: world.status["orders_in_force"] == 0)
        assert not world.gate.blocks("bad.example.org")
        assert world.status["ledger"]["size"] == size


async def test_a_stop_beside_an_entry_that_cannot_be_understood_is_obeyed(world):
    async with world.running():
        ref = await blocking(world)
        stop = seal(world.land.stopping(ref), world.land.oversight.key)
        later = Envelope("application/vnd.enforcer.later.v1+json", b"{}", stop.signatures)
        now_ms = world.land.now_ms
        await forge(world, encode(Entry(now_ms, later)), encode(Entry(now_ms, stop)))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: world.control.stops == [format_envelope(stop)])


async def test_time_running_backwards_stops_following(world):
    async with world.running():
        await blocking(world)
        act = seal(world.land.order(), world.land.proposer.key)
        await forge(world, encode(Entry(world.land.now_ms - 1, act)))
        assert "before" in await feed_is(world, "REFUSING")


async def test_a_gap_is_told_and_following_goes_on_when_it_is_filled(world):
    async with world.running():
        await blocking(world)
        world.land.propose(WORSE)
        world.land.propose(WORSE)
        first = world.book.size
        note = world.book.append(world.land.leaves[first:], world.log.seal)
        world.feed.log[first + 1] = StreamEntry(first + 1, world.land.leaves[first + 1], note)
        world.feed.head = note
        assert "lacks entries" in await feed_is(world, "STALE")
        await world.mend()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))


async def test_a_wiped_feed_changes_nothing_and_is_followed_again(world):
    async with world.running():
        await blocking(world)
        world.feed.clear()
        assert "no head" in await feed_is(world, "STALE")
        assert world.gate.blocks("bad.example.org")
        await world.mend()
        await feed_is(world, "OK")


# Starting, and what is missing.


async def test_a_node_starts_from_its_own_copy_without_feed_and_control_plane(world):
    async with world.running():
        await blocking(world)
        root = world.book.root.hex()
    world.feed.is_away = world.control.is_away = True
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert world.status["ledger"]["root_sha256"] == root
        await feed_is(world, "STALE")


async def test_an_order_without_its_list_waits_alone_and_is_attested_as_missing(world):
    async with world.running():
        missing = world.land.in_force_order(WORSE)
        await blocking(world)
        await until(lambda: omitted(world) == [missing.entry_index])
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)
        (omission,) = world.attested.omissions
        assert omission.reason is NotEnforced.LIST_MISSING
        assert world.attested.table_digest == world.expected_digest(world.attested)
        assert world.status["missing_lists"] == [sha256(WORSE).hexdigest()]
        world.bring(WORSE)
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: not world.attested.omissions)


async def test_a_list_that_only_the_control_plane_has_is_fetched_there(world):
    world.control.lists[sha256(BAD).hexdigest()] = BAD
    async with world.running():
        world.land.in_force_order(BAD)
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_a_list_with_another_hash_is_not_used_and_the_next_source_is_asked(world):
    digest = sha256(BAD).hexdigest()
    world.feed.lists[digest] = WORSE
    async with world.running():
        world.land.in_force_order(BAD)
        await world.publish()
        await until(lambda: world.status.get("missing_lists") == [digest])
        await stays(lambda: not world.gate.blocks("worse.example.org"))
        world.control.lists[digest] = BAD
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")


async def test_a_list_that_breaks_the_grammar_is_not_enforced_and_others_go_on(world):
    wild = b"exact *.example.org\n"
    world.bring(wild)
    async with world.running():
        ref = world.land.in_force_order(wild)
        await blocking(world)
        await until(lambda: omitted(world) == [ref.entry_index])


async def test_a_list_of_another_length_than_the_order_says_is_not_enforced(world):
    world.bring(WORSE)
    async with world.running():
        ref = world.land.in_force_order(WORSE, target_count=2)
        await blocking(world)
        await until(lambda: omitted(world) == [ref.entry_index])
        assert not world.gate.blocks("worse.example.org")


async def test_a_list_that_was_altered_on_disk_is_fetched_again(world):
    async with world.running():
        await blocking(world)
    path = world.state_dir / "ledger" / "lists" / sha256(BAD).hexdigest()
    path.write_bytes(WORSE)
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")
        assert path.read_bytes() == BAD


async def test_a_list_that_is_altered_on_disk_while_the_node_runs_is_fetched_again(world):
    async with world.running():
        await blocking(world)
        path = world.state_dir / "ledger" / "lists" / sha256(BAD).hexdigest()
        path.write_bytes(b"exact good.example.org\n")
        await blocking(world, WORSE, "worse.example.org")
        await until(lambda: holds(world))
        assert path.read_bytes() == BAD
        assert world.gate.blocks("bad.example.org")
        assert not world.gate.blocks("good.example.org")


async def test_a_list_is_fetched_when_its_order_is_only_proposed(world):
    digest = world.bring(BAD)
    async with world.running():
        world.land.propose(BAD)
        await world.publish()
        await until((world.state_dir / "ledger" / "lists" / digest).exists)


@pytest.fixture
def protected(tmp_path: Path) -> World:
    """A world whose policy pins names that win over orders."""
    pins = Pins(None, sha256(b"exact bank.example.org\n").hexdigest(), None, None)
    return World(tmp_path, Land.founded(pins=pins))


async def test_protected_names_are_fetched_and_win(protected):
    world, land = protected, protected.land
    world.bring(b"exact bank.example.org\n")
    world.bring(b"subtree example.org\n")
    land.register(land.control)
    async with world.running():
        # A court goes beyond the protected name; as it ordered what lies above, the name passes.
        ref = land.propose(b"subtree example.org\n", decision_kind=DecisionKind.COURT_FINAL)
        land.hold(ref, Guard.PROTECTED_NAME)
        land.lift(ref, Guard.PROTECTED_NAME, overrides=("exact bank.example.org",))
        assert land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("bank.example.org")


async def test_without_the_protected_names_nothing_new_is_blocked(protected):
    world = protected
    world.bring(BAD)
    async with world.running():
        ref = world.land.in_force_order(BAD)
        await world.publish()
        await until(lambda: omitted(world) == [ref.entry_index])
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        world.bring(b"exact bank.example.org\n")
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_without_newly_protected_names_what_is_blocked_stays_and_stops_act(protected):
    world = protected
    world.bring(b"exact bank.example.org\n")
    async with world.running():
        ref = await blocking(world)
        pins = replace(
            world.land.pins, protected_names=sha256(b"exact a.example.org\n").hexdigest()
        )
        world.land.record(seal(world.land.policy(pins=pins), *world.land.roots[:2]))
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        await world.publish()
        await until(lambda: omitted(world))
        assert world.gate.blocks("bad.example.org")
        assert not world.gate.blocks("worse.example.org")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.bring(b"exact a.example.org\n")
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_a_node_that_lost_the_protected_names_leaves_the_gate_as_it_is(protected):
    world = protected
    world.bring(b"exact bank.example.org\n")
    async with world.running():
        ref = await blocking(world)
        await blocking(world, WORSE, "worse.example.org")
    world.feed.lists.clear()
    for path in (world.state_dir / "ledger" / "lists").iterdir():
        path.unlink()
    loads = world.gate.loads
    async with world.running() as node:
        await feed_is(world, "OK")
        await stays(lambda: world.gate.blocks("bad.example.org"))
        assert world.gate.loads == loads
        # A stop acts all the same. What else is blocked cannot be compiled without the protected
        # names, and ends with it.
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")
        world.bring(b"exact bank.example.org\n")
        world.bring(WORSE)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("bad.example.org")


# The gate.


async def test_a_gate_that_was_restarted_gets_its_table_again(world):
    async with world.running():
        await blocking(world)
        world.gate.is_away = True
        world.clock.ms += MINUTE_MS
        await until(lambda: world.attested and world.attested.gate is GateState.UNREACHABLE)
        await until(lambda: world.status["gate"]["state"] == "UNREACHABLE")
        world.gate.restart()
        world.gate.is_away = False
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)


async def test_a_gate_that_holds_a_newer_table_keeps_it_and_that_is_attested(world):
    async with world.running():
        await blocking(world)
    older = World(world.directory / "older", world.land)
    older.gate, older.clock = world.gate, world.clock
    older.bring(BAD)
    older.land = Land.founded()
    older.log.origin = older.land.origin
    async with older.running():
        for leaves in (older.land.leaves[:7],):
            note = older.book.append(leaves, older.log.seal)
            await older.publisher.publish(0, leaves, note)
        await until(lambda: "refused" in older.status.get("gate", {}).get("problem", ""))
        await until(lambda: older.attested and older.attested.gate is GateState.DIFFERS)


async def test_a_worker_that_died_is_no_end(world):
    async with world.running():
        await blocking(world)
        world.work.is_away = True
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        await world.publish()
        await until(lambda: omitted(world))
        assert world.gate.blocks("bad.example.org")
        world.work.is_away = False
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_orders_that_end_by_themselves_need_nothing_to_be_handed_over(world):
    async with world.running():
        await blocking(world)
        soon = world.land.now_ms + 10 * MINUTE_MS
        for number in range(12):
            name = b"n%d.example.org" % number
            world.bring(b"exact %s\n" % name)
            end = soon if number < 9 else soon + MINUTE_MS
            world.land.in_force_order(b"exact %s\n" % name, expires_at_ms=end, review_due_at_ms=end)
        await world.publish()
        await until(lambda: world.status["orders_in_force"] == 13)
        await until(lambda: world.gate.blocks("n11.example.org"))
        await until(lambda: holds(world))
        loads = world.gate.loads
        world.clock.ms = soon
        await until(lambda: world.status["orders_in_force"] == 4)
        world.clock.ms = soon + MINUTE_MS
        await until(lambda: world.status["orders_in_force"] == 1)
        await until(lambda: holds(world) and world.attested.t_ms == world.clock.ms)
        assert world.gate.loads == loads
        await blocking(world, WORSE, "worse.example.org")
        assert len(world.work.overlays[-1].rows) == 2  # what ended leaves with the next change


# Stops that are not in the ledger.


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
        assert omission.stop_payload_sha256 == world.status["unlogged_stops"][0]["stop"]
        assert world.attested.table_digest == world.expected_digest(world.attested)
        await until(lambda: world.control.stops == [stop])


async def test_a_stop_in_the_feed_is_obeyed(world):
    async with world.running():
        ref = await blocking(world)
        await world.publisher.push_stop(world.stop_bytes(ref, by=world.land.approver))
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
        assert world.status["unlogged_stops"]
        world.land.record(envelope)
        await world.publish()
        await until(lambda: not world.status["unlogged_stops"])
        assert not list((world.state_dir / "kept-stops").iterdir())
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
        for number in range(30):
            later = replace(ref, entry_index=ref.entry_index + number)
            assert await node.offer_stop(world.stop_bytes(later)) is StopOutcome.KEPT
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
        assert not world.status["unlogged_stops"]


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
        await until(lambda: stop in world.control.stops)
        assert len(world.control.stops) == 2


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
