"""No order that cannot be enforced keeps another from ending, and none passes for enforced."""

from __future__ import annotations

from hashlib import sha256

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.memory import ManualClock, MemoryGate
from enforcer.core.attestation import GateState
from enforcer.core.order import Measure
from enforcer.core.policy import Pins
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import InputError, UnavailableError
from enforcer.services import layers
from enforcer.services.enforce import Enforcer
from enforcer.services.gate_link import VERIFY_SECONDS
from tests.node_world import WORSE, World, blocking, cannot, holds, in_the_ledger, stopped_here
from tests.people import Land
from tests.waiting import stays, until

POISON = b"exact poison.example.org\n"
NEW = b"exact new.example.org\n"


def poison(world: World, *indices: int, error: Exception | None = None) -> list[int]:
    """Have every compilation fail that has one of these orders in it; return how often it did."""
    failed = []

    def most_of(compile_):
        async def compile_most(job):
            if {row.index for row, _ in job.orders} & set(indices):
                failed.append(job.ledger_size)
                raise error or InputError("it does not fit", advice="Order something else.")
            return await compile_(job)

        return compile_most

    world.work.compile = most_of(world.work.compile)
    world.work.compile_overlay = most_of(world.work.compile_overlay)
    return failed


def is_true(world: World) -> bool:
    """Tell whether the last attestation is whole, of the ledger's end, and what it gives."""
    attested = world.attested
    return (
        attested.gate is GateState.HOLDS_TABLE
        and attested.ledger_size == len(world.land.leaves)
        and attested.table_digest == world.expected_digest(attested)
    )


async def poisoned(world: World, error: Exception | None = None) -> tuple:
    """Have one order enforced, and one in the ledger that nobody can compile."""
    ref = await blocking(world)
    bad_index = world.land.state.size
    failed = poison(world, bad_index, error=error)
    bad = await in_the_ledger(world, POISON)
    assert bad.entry_index == bad_index
    await until(lambda: failed)
    return ref, bad, failed


async def test_an_order_that_cannot_be_compiled_is_attested_and_the_others_stay(world):
    async with world.running():
        _, bad, _ = await poisoned(world)
        await until(lambda: cannot(world) == [bad.entry_index])
        await until(lambda: is_true(world))
        assert world.gate.blocks("bad.example.org")
        await until(lambda: "does not fit" in world.status["gate"]["problem"])


async def test_stops_reach_the_gate_though_an_order_cannot_be_compiled(world):
    async with world.running() as node:
        ref, bad, _ = await poisoned(world)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        await until(lambda: cannot(world) == [bad.entry_index] and is_true(world))


async def test_logged_stops_reach_the_gate_though_an_order_cannot_be_compiled(world):
    async with world.running():
        ref, _, _ = await poisoned(world)
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_an_impossible_order_keeps_no_new_one_from_beginning(world):
    async with world.running():
        _, bad, _ = await poisoned(world)
        await blocking(world, NEW, "new.example.org")
        await until(lambda: cannot(world) == [bad.entry_index] and is_true(world))


async def test_many_impossible_orders_are_each_found_and_the_others_begin(world):
    async with world.running():
        await blocking(world)
        bad = poison(world, *range(world.land.state.size, world.land.state.size + 16, 4))
        names = [b"n%d.example.org" % number for number in range(8)]
        for name in names:
            world.bring(b"exact %s\n" % name)
            world.land.in_force_order(b"exact %s\n" % name)
        await world.publish()
        await until(lambda: len(cannot(world)) == 4 and is_true(world))

        def blocked() -> list[bool]:
            return [world.gate.blocks(name.decode()) for name in names]

        await until(lambda: blocked() == [False, True] * 4)
        assert bad


async def test_what_was_impossible_beside_another_order_is_tried_when_that_is_gone(world):
    async with world.running():
        ref, _, failed = await poisoned(world)
        await until(lambda: cannot(world))
        count = len(failed)
        world.land.stop(ref)
        await world.publish()
        await until(lambda: len(failed) > count)


async def test_what_is_impossible_is_not_tried_again_all_the_time(world):
    async with world.running():
        _, _, failed = await poisoned(world)
        await until(lambda: cannot(world))
        count = len(failed)
        await stays(lambda: len(failed) == count)


async def test_a_restarted_agent_leaves_the_gate_what_it_can_though_an_order_is_impossible(world):
    async with world.running():
        _, bad, _ = await poisoned(world)
        await until(lambda: cannot(world))
    world.control.attestations.clear()
    async with world.running():
        await until(lambda: cannot(world) == [bad.entry_index])
        await until(lambda: is_true(world))
        assert world.gate.blocks("bad.example.org")


async def test_a_worker_that_dies_of_a_new_order_does_not_keep_a_stop_from_acting(world):
    died = UnavailableError("the worker died", advice="Call again.")
    async with world.running() as node:
        ref, _, _ = await poisoned(world, died)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_when_nothing_new_can_be_compiled_a_stop_ends_its_block_all_the_same(world):
    async with world.running() as node:
        ref = await blocking(world)
        kept = await blocking(world, WORSE, "worse.example.org")
        poison(world, kept.entry_index)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        # Its names are in the overlay, which cannot be compiled any more: better one block less.
        assert not world.gate.blocks("worse.example.org")
        await until(lambda: cannot(world) == [kept.entry_index] and is_true(world))


async def test_a_stop_needs_nothing_of_what_is_in_the_base_to_be_compiled(world, monkeypatch):
    monkeypatch.setattr(layers, "REBASE_TARGETS", 0)
    async with world.running() as node:
        ref = await blocking(world)
        kept = await blocking(world, WORSE, "worse.example.org")
        await until(lambda: len(world.work.bases[-1].orders) == 2 and holds(world))
        await until(lambda: world.gate.bases == len(world.work.bases))
        poison(world, kept.entry_index)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        assert world.gate.blocks("worse.example.org")


async def test_a_list_that_was_altered_does_not_delay_a_stop_of_another_order(world):
    async with world.running() as node:
        ref = await blocking(world)
        await blocking(world, WORSE, "worse.example.org")
        whole = await blocking(world, NEW, "new.example.org")
        digest = world.bring(WORSE)
        (world.state_dir / "ledger" / "lists" / digest).write_bytes(b"exact a.example.org\n")
        world.feed.lists.clear()
        before = len(world.work.overlays)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        for job in world.work.overlays[before:]:
            assert whole.entry_index in {row.index for row, _ in job.orders}


@pytest.mark.parametrize("dns", [DnsMeasure.NEGATIVE, DnsMeasure.NONE])
async def test_an_order_with_a_measure_for_addresses_is_left_out_and_attested_as_such(world, dns):
    async with world.running():
        await blocking(world)
        ref = await in_the_ledger(world, WORSE, measure=Measure(dns, IpMeasure.DROP))
        await until(lambda: cannot(world) == [ref.entry_index])
        await until(lambda: is_true(world))
        assert world.gate.blocks("bad.example.org")
        assert not world.gate.blocks("worse.example.org")


async def test_a_stop_is_named_before_what_cannot_be_enforced(world):
    async with world.running() as node:
        ref = await in_the_ledger(
            world, WORSE, measure=Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
        )
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        assert not cannot(world)


async def test_protected_names_that_cannot_be_compiled_keep_no_stop_from_acting(tmp_path):
    names = b"exact bank.example.org\n"
    digest = sha256(names).hexdigest()
    world = World(tmp_path, Land.founded(pins=Pins(None, digest, None, None)))
    world.bring(names)
    async with world.running() as node:
        ref = await blocking(world)
        (world.state_dir / "ledger" / "lists" / digest).write_bytes(b"no list\n")
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))


# How often the gate is asked what, while nothing changes.


def enforcer_of(gate, folder, seconds):
    return Enforcer(
        gate=gate,
        work=None,
        lists=None,
        files=KeptFiles(folder),
        secret=bytes(16),
        seconds=seconds,
    )


async def test_the_table_is_verified_once_a_minute_however_often_the_gate_is_asked(tmp_path):
    gate, now_seconds = MemoryGate(ManualClock(0)), 1_000.0
    enforcer = enforcer_of(gate, tmp_path, lambda: now_seconds)
    verified = []
    for _ in range(4):
        for _ in range(3):
            await enforcer.ask()
        verified.append(gate.verifications)
        now_seconds += VERIFY_SECONDS / 2
    assert verified == [1, 1, 2, 2]


async def test_a_gate_that_did_not_answer_is_verified_when_it_does(tmp_path):
    gate = MemoryGate(ManualClock(0))
    enforcer = enforcer_of(gate, tmp_path, lambda: 1_000.0)
    gate.is_away = True
    await enforcer.ask()
    gate.is_away = False
    await enforcer.ask()
    assert gate.verifications == 1
