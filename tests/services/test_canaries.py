"""New blocks wait for canaries: for their word, for a bounded time, and for nothing else."""

from __future__ import annotations

import asyncio
import time

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.envelope import format_envelope
from enforcer.core.key import Role
from enforcer.errors import RefusedError, UnavailableError
from enforcer.ports import GateMode, TrialVerdict
from enforcer.services import canaries
from enforcer.services.canaries import Canaries
from enforcer.services.canary_blame import BlameFile
from tests.node_world import BAD, WORSE, blocking, holds, in_the_ledger, omitted
from tests.people import Person, seal
from tests.waiting import WAIT_SECONDS, stays, until

MINUTE_MS = 60_000


class Canary:
    """A canary that says what it is told to say."""

    def __init__(self) -> None:
        self.verdicts: dict[int, TrialVerdict] = {}
        self.is_away = False
        self.asked: list[list[int]] = []

    async def await_trial(self, order_indices, wait_seconds):
        self.asked.append(list(order_indices))
        if self.is_away:
            raise UnavailableError("the canary is away", advice="Start it.")
        for _ in range(int(wait_seconds / 0.005)):
            if said := {at: self.verdicts[at] for at in order_indices if at in self.verdicts}:
                return said
            await asyncio.sleep(0.005)
        return {}


class Seconds:
    """A clock that goes on by itself, and that a test sets ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def canary():
    return Canary()


@pytest.fixture
def seconds():
    return Seconds()


def following(world, *links, wait_seconds=30.0, **changes):
    """Have the world's node follow canaries.

    What is to be seen before a bound has a bound that nobody waits out: the clock is set ahead.
    """
    quick = {"blame_seconds": 0.05, "retry_seconds": 0.02} | changes
    world.canaries = lambda: Canaries(
        links, wait_seconds=wait_seconds, blame=BlameFile(KeptFiles(world.state_dir)), **quick
    )
    return world


def is_attested(world):
    """Tell whether the last word is about the whole ledger, and the gate holds what it says."""
    said = world.attested
    is_whole = said is not None and said.ledger_size == len(world.land.leaves)
    return is_whole and said.gate is GateState.HOLDS_TABLE


def reasons(world):
    return [each.reason for each in world.attested.omissions] if world.attested else []


async def test_a_new_block_waits_until_the_canary_passes_it_and_says_so(world, canary):
    following(world, canary)
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        await until(lambda: reasons(world) == [NotEnforced.CANARY_AWAITED])
        assert world.attested.table_digest == world.expected_digest(world.attested)
        await until(lambda: world.status["canary"]["waiting"] == [ref.entry_index])
        await stays(lambda: not world.gate.blocks("bad.example.org"), looks=10)
        canary.verdicts[ref.entry_index] = TrialVerdict.PASSED
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: holds(world))
        await until(lambda: world.status["canary"]["untried"] == 0)


async def test_what_the_canary_blames_is_left_out_alone_and_comes_when_it_blames_it_no_more(
    world, canary
):
    following(world, canary)
    async with world.running():
        bad = await in_the_ledger(world, BAD)
        worse = await in_the_ledger(world, WORSE)
        canary.verdicts[bad.entry_index] = TrialVerdict.BLAMED
        canary.verdicts[worse.entry_index] = TrialVerdict.PASSED
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: reasons(world) == [NotEnforced.CANARY_BLAMED])
        assert omitted(world) == [bad.entry_index]
        assert not world.gate.blocks("bad.example.org")
        canary.verdicts[bad.entry_index] = TrialVerdict.PASSED
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_a_canary_that_dies_after_its_blame_keeps_nothing_out(world, canary, seconds):
    following(world, canary, seconds=seconds)
    async with world.running():
        world.bring(BAD)
        ref = world.land.in_force_order(BAD)
        canary.verdicts[ref.entry_index] = TrialVerdict.BLAMED
        await world.publish()
        await until(lambda: reasons(world) == [NotEnforced.CANARY_BLAMED])
        await until(lambda: world.status["canary"]["answering"] == 1)
        canary.is_away = True
        await until(lambda: world.status["canary"]["answering"] == 0)  # no blame is on its way
        seconds.ahead += 31.0
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_a_canary_that_blames_without_end_is_heeded_for_a_bounded_time(
    world, canary, seconds
):
    following(world, canary, wait_seconds=600.0, blame_ms_max=MINUTE_MS, seconds=seconds)
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        canary.verdicts[ref.entry_index] = TrialVerdict.BLAMED
        await until(lambda: reasons(world) == [NotEnforced.CANARY_BLAMED])
        seconds.ahead += 61.0
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: holds(world))
        await until(lambda: world.status["canary"]["untried"] == 1)


async def test_what_was_blamed_for_too_long_is_tried_at_the_own_gate(world, canary, seconds):
    world.gate.golden = frozenset({"bad.example.org"})
    following(world, canary, wait_seconds=600.0, blame_ms_max=MINUTE_MS, seconds=seconds)
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        canary.verdicts[ref.entry_index] = TrialVerdict.BLAMED
        await until(lambda: reasons(world) == [NotEnforced.CANARY_BLAMED])
        seconds.ahead += 61.0
        await until(lambda: reasons(world) == [NotEnforced.CANNOT_ENFORCE])
        assert not world.gate.blocks("bad.example.org")


@pytest.mark.parametrize("is_away", [True, False], ids=["away", "silent"])
async def test_without_an_answer_nothing_waits_beyond_the_bound(world, canary, is_away):
    canary.is_away = is_away
    following(world, canary, wait_seconds=0.3)
    async with world.running():
        await in_the_ledger(world, BAD)
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: holds(world))
        await until(lambda: world.status["canary"]["untried"] == 1)


async def test_one_canary_of_two_is_enough(world, canary):
    dead = Canary()
    dead.is_away = True
    following(world, dead, canary)
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        canary.verdicts[ref.entry_index] = TrialVerdict.PASSED
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.status["canary"]["answering"] == 1)


async def test_stops_ends_and_suspensions_wait_for_no_canary(world, canary):
    land = world.land
    land.register(land.officer)
    following(world, canary)
    async with world.running() as node:
        refs = []
        for number in range(3):
            text = f"exact n{number}.example.org\n".encode()
            end_ms = land.now_ms + 60_000 if number == 2 else land.now_ms + 600_000
            canary.verdicts[land.state.size] = TrialVerdict.PASSED
            ends = {"expires_at_ms": end_ms, "review_due_at_ms": end_ms}
            refs.append(await blocking(world, text, f"n{number}.example.org", **ends))
        canary.is_away = True
        await in_the_ledger(world, BAD)
        await node.offer_stop(world.stop_bytes(refs[0]))
        assert not world.gate.blocks("n0.example.org")
        act = seal(land.suspending(refs[1]), land.officer.key)
        await node.offer_suspension(format_envelope(act))
        assert not world.gate.blocks("n1.example.org")
        world.clock.advance(60_000)
        await until(lambda: not world.gate.blocks("n2.example.org"))
        assert not world.gate.blocks("bad.example.org")


async def test_a_restart_beside_a_dead_canary_thaws_nothing(world, canary):
    following(world, canary)
    async with world.running():
        canary.verdicts[world.land.state.size] = TrialVerdict.PASSED
        await blocking(world)
    canary.is_away = True
    async with world.running():
        await stays(lambda: world.gate.blocks("bad.example.org"), looks=20)


async def blamed_and_restarted(world, canary):
    """Have an order blamed, and end the node when that is on disk, for a minute."""
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        canary.verdicts[ref.entry_index] = TrialVerdict.BLAMED
        await until(lambda: ref.entry_index in BlameFile(KeptFiles(world.state_dir)).read())
    world.clock.advance(MINUTE_MS + 1)
    return ref


async def test_blame_outlives_a_restart_and_ends_when_the_canary_ends_it(world, canary):
    following(world, canary)
    ref = await blamed_and_restarted(world, canary)
    async with world.running():
        await until(lambda: world.status["canary"]["blamed"] == [ref.entry_index])
        await stays(lambda: not world.gate.blocks("bad.example.org"), looks=20)
        await until(lambda: reasons(world) == [NotEnforced.CANARY_BLAMED])
        canary.verdicts[ref.entry_index] = TrialVerdict.PASSED
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: not BlameFile(KeptFiles(world.state_dir)).read())


async def test_blame_that_a_restart_outlived_keeps_nothing_out_beside_a_dead_canary(world, canary):
    following(world, canary)
    await blamed_and_restarted(world, canary)
    following(world, canary, wait_seconds=0.3)
    canary.is_away = True
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_restarts_make_no_blame_last_longer(world, canary):
    following(world, canary, blame_ms_max=MINUTE_MS)
    await blamed_and_restarted(world, canary)
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))


async def missed(world, ms):
    """Have an order come into force while the node is off, so long before it starts again."""
    async with world.running():
        await in_the_ledger(world, WORSE)
    world.bring(BAD)
    ref = world.land.in_force_order(BAD)
    await world.publish()
    world.clock.advance(ms)
    return ref


async def test_what_came_while_a_node_was_off_waits_there_as_elsewhere(world, canary):
    following(world, canary, wait_seconds=300.0)
    ref = await missed(world, 120_000)
    async with world.running():
        await until(lambda: ref.entry_index in world.status.get("canary", {}).get("waiting", ()))
        await stays(lambda: not world.gate.blocks("bad.example.org"), looks=20)
        assert NotEnforced.CANARY_AWAITED in reasons(world)
        canary.verdicts[ref.entry_index] = TrialVerdict.PASSED
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_its_bound_counts_from_the_orders_beginning(world, canary):
    following(world, canary, wait_seconds=300.0)
    canaries_of = world.canaries
    ref = await missed(world, 120_000)
    made = world.canaries = canaries_of()
    world.canaries = lambda: made
    canary.is_away = True
    async with world.running():
        await until(lambda: ref.entry_index in made._awaited)
        left_seconds = made._awaited[ref.entry_index].until_seconds - made._seconds()
        assert 170 < left_seconds <= 180


async def test_what_had_its_time_while_a_node_was_off_waits_for_one_answer_and_no_longer(
    world, canary, monkeypatch
):
    monkeypatch.setattr(canaries, "ASK_SECONDS", 30.0)
    following(world, canary)
    ref = await missed(world, 600_000)
    canary.verdicts[ref.entry_index] = TrialVerdict.BLAMED
    async with world.running():
        await until(lambda: world.status.get("canary", {}).get("blamed") == [ref.entry_index])
        await stays(lambda: not world.gate.blocks("bad.example.org"), looks=20)
    (world.state_dir / "canary-blame").unlink()
    monkeypatch.setattr(canaries, "ASK_SECONDS", 0.3)
    canary.is_away = True
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_a_file_of_blame_that_is_garbage_blames_nothing(world, canary, monkeypatch):
    monkeypatch.setattr(canaries, "ASK_SECONDS", 0.2)
    following(world, canary)
    await blamed_and_restarted(world, canary)
    canary.is_away = True
    for text in (b"1 yesterday\n", b"1\n", b"\xff"):
        (world.state_dir / "canary-blame").write_bytes(text)
        assert BlameFile(KeptFiles(world.state_dir)).read() == {}
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_a_gate_that_forgot_all_gets_what_is_old_without_a_canary(world, canary):
    following(world, canary)
    async with world.running():
        canary.verdicts[world.land.state.size] = TrialVerdict.PASSED
        await blocking(world)
        canary.is_away = True
        world.gate.restart()
        await until(lambda: world.gate.blocks("bad.example.org"))
    world.clock.advance(canaries.BLAME_MS_MAX + 1)
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_an_order_that_is_stopped_while_it_waits_is_asked_for_no_more(world, canary):
    following(world, canary)
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        await until(lambda: canary.asked)
        world.land.stop(ref)
        await world.publish()
        await until(lambda: world.status["canary"]["waiting"] == [])


# A canary itself.


async def test_a_canary_passes_what_its_gate_holds(world):
    world.canaries = lambda: Canaries(is_canary=True)
    async with world.running() as node:
        ref = await blocking(world)
        said = await node.await_trial("node-1", [ref.entry_index, 999], WAIT_SECONDS)
        assert said == {ref.entry_index: TrialVerdict.PASSED}
        assert await node.await_trial("node-1", [999], 0.01) == {}


async def test_a_canary_blames_what_its_gate_refuses_and_nothing_else(world):
    world.canaries = lambda: Canaries(is_canary=True)
    world.gate.golden = frozenset({"bad.example.org"})
    async with world.running() as node:
        bad = await in_the_ledger(world, BAD)
        worse = await blocking(world, WORSE, "worse.example.org")
        both = [bad.entry_index, worse.entry_index]
        await until(lambda: is_attested(world) and omitted(world) == [bad.entry_index])
        assert await node.await_trial("node-1", both, WAIT_SECONDS) == {
            bad.entry_index: TrialVerdict.BLAMED,
            worse.entry_index: TrialVerdict.PASSED,
        }


async def test_a_canary_whose_gate_blocks_nothing_says_nothing(world):
    world.canaries = lambda: Canaries(is_canary=True)
    async with world.running() as node:
        ref = await blocking(world)
        world.gate.mode = GateMode.SHADOW
        await until(lambda: world.status["gate"]["mode"] == "SHADOW")
        assert await node.await_trial("node-1", [ref.entry_index], 0.01) == {}


async def test_a_canary_answers_nodes_of_its_own_network_alone(world):
    world.land.register(Person("node-9", Role.NODE, operator="isp-2"))
    world.canaries = lambda: Canaries(is_canary=True)
    async with world.running() as node:
        ref = await blocking(world)
        for stranger in ("node-9", "node-10"):
            with pytest.raises(RefusedError, match="no node of this network"):
                await node.await_trial(stranger, [ref.entry_index], WAIT_SECONDS)


async def test_a_node_that_is_no_canary_says_so(world):
    async with world.running() as node:
        with pytest.raises(RefusedError, match="no canary"):
            await node.await_trial("node-1", [1], WAIT_SECONDS)
