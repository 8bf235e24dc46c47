"""Small changes reach the gate at once, over its base; large ones wait and hold up none."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.attestation import GateState, parse_attestation
from enforcer.core.envelope import parse_envelope
from enforcer.core.guard import GuardScan
from enforcer.core.policy import Pins
from enforcer.errors import IntegrityError, RefusedError, UnavailableError
from enforcer.services import bases, layers
from tests.descriptors import open_files
from tests.node_world import WORSE, World, blocking, cannot, holds, in_the_ledger, stopped_here
from tests.people import seal
from tests.waiting import WAIT_SECONDS, stays, until

NEW = b"exact new.example.org\n"
LARGE = b"".join(sorted(b"exact n%d.large.example.org\n" % number for number in range(20)))
BANK = b"exact bank.example.org\n"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an overlay hold ten targets."""
    monkeypatch.setattr(layers, "OVERLAY_TARGETS_MAX", 10)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a base compiled after each change."""
    monkeypatch.setattr(layers, "REBASE_TARGETS", 0)


async def based(world: World, orders: int) -> None:
    """Wait until the gate has so many orders in its base."""
    await until(lambda: len(world.work.bases[-1].orders) == orders)
    await until(lambda: world.gate.bases == len(world.work.bases))


async def test_a_small_change_compiles_no_base(world):
    async with world.running() as node:
        ref = await blocking(world)
        await until(lambda: holds(world))
        count = len(world.work.bases)
        await blocking(world, WORSE, "worse.example.org")
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        assert world.attested.gate is GateState.HOLDS_TABLE
        assert len(world.work.bases) == count


async def test_only_what_the_base_lacks_is_compiled_again(world, eager, monkeypatch):
    async with world.running():
        base = await blocking(world)
        await based(world, 1)
        monkeypatch.setattr(layers, "REBASE_TARGETS", 10)
        new = await blocking(world, WORSE, "worse.example.org")
        job = world.work.overlays[-1]
        assert [row.index for row, _ in job.orders] == [new.entry_index]
        assert [row.index for row in job.rows] == [base.entry_index, new.entry_index]
        assert world.gate.blocks("bad.example.org")


async def test_a_large_order_waits_for_a_base_and_small_ones_and_stops_do_not(world, small):
    async with world.running() as node:
        ref = await blocking(world)
        await until(lambda: holds(world))
        world.work.may_compile.clear()
        await in_the_ledger(world, LARGE)
        await until(lambda: "base table" in world.status["gate"]["problem"])
        await blocking(world, WORSE, "worse.example.org")
        await node.offer_stop(world.stop_bytes(ref))
        assert not world.gate.blocks("bad.example.org")
        assert not world.gate.blocks("n1.large.example.org")
        world.work.may_compile.set()
        await until(lambda: world.gate.blocks("n1.large.example.org"))
        assert world.gate.blocks("worse.example.org")
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: stopped_here(world) and world.attested.gate is GateState.HOLDS_TABLE)


async def test_what_was_stopped_while_its_base_was_compiled_is_never_blocked_again(world, small):
    world.bring(LARGE)
    seen = []
    async with world.running() as node:
        ref = await blocking(world)
        await until(lambda: holds(world))
        world.work.may_compile.clear()
        large = await in_the_ledger(world, LARGE)
        await until(lambda: len(world.work.bases[-1].orders) == 2)
        await node.offer_stop(world.stop_bytes(ref))
        await node.offer_stop(world.stop_bytes(large))
        take = world.gate._take

        def watched(table):
            take(table)
            seen.append((world.gate.blocks("bad.example.org"), world.gate.bases))
            seen.append((world.gate.blocks("n1.large.example.org"), world.gate.bases))

        world.gate._take = watched
        loaded = world.gate.bases
        world.work.may_compile.set()
        await until(lambda: world.gate.bases > loaded)
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)
    assert seen
    assert not any(is_blocked for is_blocked, _ in seen)


async def test_while_a_base_is_compiled_for_what_waits_no_difference_is_attested(world, small):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.control.attestations)
        world.work.may_compile.clear()
        await in_the_ledger(world, LARGE)
        await until(lambda: "base table" in world.status["gate"]["problem"])
        await stays(lambda: world.attested.gate is GateState.HOLDS_TABLE, looks=10)
        world.work.may_compile.set()
        await until(lambda: holds(world))
        said = [parse_attestation(parse_envelope(each)) for each in world.control.attestations]
        assert all(each.gate is GateState.HOLDS_TABLE for each in said[count:])
        assert world.attested.table_digest == world.expected_digest(world.attested)


async def test_a_base_that_is_ready_while_the_gate_is_asked_is_no_difference_either(world, small):
    """It is handed over in the next round: the one that asks has not seen it."""
    async with world.running() as node:
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.control.attestations)
        status, load, bases = world.gate.status, world.gate.load, node._enforcer._bases

        async def asked_meanwhile(*, verify=False):
            world.work.may_compile.set()
            await until(lambda: not bases.is_compiling)
            return await status(verify=verify)

        async def slowly(*tables):
            await asyncio.sleep(0.05)  # in which a difference could be told
            return await load(*tables)

        world.work.may_compile.clear()
        await in_the_ledger(world, LARGE)
        await until(lambda: "base table" in world.status["gate"]["problem"])
        world.gate.status, world.gate.load = asked_meanwhile, slowly
        await until(lambda: world.gate.blocks("n1.large.example.org") and holds(world))
        said = [parse_attestation(parse_envelope(each)) for each in world.control.attestations]
        assert all(each.gate is GateState.HOLDS_TABLE for each in said[count:])


async def test_a_base_that_is_ready_and_cannot_be_laid_is_a_difference_at_once(world, small):
    """What has changed since cannot be compiled, and the gate answers."""
    async with world.running():
        ref, compile_overlay = await blocking(world), world.work.compile_overlay

        async def without_memory(_job):
            raise UnavailableError("no memory is left", advice="Call again.")

        await until(lambda: holds(world))
        world.work.may_compile.clear()
        await in_the_ledger(world, LARGE)
        await until(lambda: len(world.work.bases[-1].orders) == 2)
        world.land.stop(ref)  # so the base does not do without an overlay
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await stays(lambda: world.attested.gate is GateState.HOLDS_TABLE, looks=10)
        world.work.compile_overlay = without_memory
        world.work.may_compile.set()
        await until(lambda: world.attested.gate is GateState.DIFFERS)  # and no minute is over
        gone = {each.order_index: each.out_at_ms for each in world.attested.effects}
        assert gone[ref.entry_index] is not None
        world.work.compile_overlay = compile_overlay
        await until(lambda: world.gate.blocks("n1.large.example.org") and holds(world))
        assert not world.gate.blocks("bad.example.org")


async def test_an_overlay_that_has_grown_is_folded_into_a_new_base(world, eager):
    async with world.running():
        await blocking(world)
        await blocking(world, WORSE, "worse.example.org")
        await based(world, 2)
        await until(lambda: holds(world))
        report = await world.gate.status()
        assert len(report.rows) == 2
        assert report.overlay_sha256 == ""


async def test_a_base_of_which_much_has_ended_is_compiled_anew(world, eager, monkeypatch):
    monkeypatch.setattr(layers, "GONE_TARGETS_MIN", 3)
    async with world.running():
        ref = await blocking(world, LARGE, "n1.large.example.org")
        await blocking(world, WORSE, "worse.example.org")
        await based(world, 2)
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("n1.large.example.org"))
        await based(world, 1)
        assert world.gate.blocks("worse.example.org")


async def test_new_protections_come_with_a_base_and_stops_do_not_wait_for_it(tmp_path):
    names = sha256(BANK).hexdigest()
    world = World(tmp_path)
    async with world.running() as node:
        ref = await blocking(world, b"subtree example.org\n", "bank.example.org")
        await blocking(world, b"subtree example.net\n", "a.example.net")
        await until(lambda: holds(world))
        world.work.may_compile.clear()
        world.bring(BANK)
        policy = world.land.policy(pins=Pins(None, names, None, None))
        world.land.record(seal(policy, *world.land.roots[:2]))
        await world.publish()
        await until(lambda: world.work.bases[-1].protected_names is not None)
        await in_the_ledger(world, NEW)
        await node.offer_stop(world.stop_bytes(ref))
        assert not world.gate.blocks("bank.example.org")
        assert world.gate.blocks("a.example.net")
        assert not world.gate.blocks("new.example.org")
        world.work.may_compile.set()
        await until(lambda: world.gate.blocks("new.example.org"))
        await until(lambda: stopped_here(world) and world.attested.gate is GateState.HOLDS_TABLE)
        await blocking(world, b"exact other.example.com\n", "other.example.com")
        assert world.work.overlays[-1].protected_names[0] == names


async def test_another_register_goes_out_without_a_new_base(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.work.bases)
        policy = world.land.policy(register_url="https://other.example.org/")
        world.land.record(seal(policy, *world.land.roots[:2]))
        await world.publish()
        await until(lambda: world.work.overlays[-1].register_url == "https://other.example.org/")
        await until(lambda: holds(world))
        assert len(world.work.bases) == count


# Restarts.


async def test_a_restarted_node_knows_what_is_in_the_base_of_its_gate(world, eager, monkeypatch):
    async with world.running():
        await blocking(world)
        await based(world, 1)
        kept = world.state_dir / "base.json"  # of the base before it, it may be there already
        await until(lambda: kept.exists() and json.loads(kept.read_bytes())["orders"])
    monkeypatch.setattr(layers, "REBASE_TARGETS", 10)
    count = len(world.work.bases)
    async with world.running() as node:
        await blocking(world, WORSE, "worse.example.org")
        (ref,) = (each for each in node.state.orders.values() if each.index < world.book.size - 2)
        assert world.gate.blocks("bad.example.org")
        assert len(world.work.bases) == count
        assert ref.index not in {row.index for row, _ in world.work.overlays[-1].orders}
        await until(lambda: holds(world))


@pytest.mark.parametrize("damage", ["lost", "garbage"])
async def test_a_node_that_does_not_know_the_gates_base_ends_orders_and_calls_nothing_enforced(
    world, damage
):
    async with world.running():
        ref = await blocking(world)
        await blocking(world, WORSE, "worse.example.org")
        await until((world.state_dir / "base.json").exists)
    base = world.state_dir / "base.json"
    base.unlink()
    if damage == "garbage":
        base.write_bytes(b'{"orders": 7}')
    world.work.may_compile.clear()
    world.control.attestations.clear()
    async with world.running() as node:
        await until(lambda: world.work.bases[-1].ledger_size == len(world.land.leaves))
        await node.offer_stop(world.stop_bytes(ref))
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: stopped_here(world) == [ref.entry_index])
        assert world.attested.gate is GateState.DIFFERS
        world.work.may_compile.set()
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)
        assert world.gate.blocks("worse.example.org")


async def test_a_node_that_starts_does_not_say_that_its_gate_differs_while_it_compiles(world):
    world.work.may_compile.clear()
    async with world.running():
        await world.publish()
        await until(lambda: world.work.bases)
        await stays(lambda: world.attested is None)
        world.work.may_compile.set()
        await until(lambda: world.attested)
        said = [parse_attestation(parse_envelope(each)) for each in world.control.attestations]
        assert {each.gate for each in said} == {GateState.HOLDS_TABLE}


async def test_a_gate_that_lost_its_disk_gets_base_and_overlay_from_memory(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.work.bases)
        world.gate.restart()
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: holds(world))
        assert len(world.work.bases) == count


async def test_a_gate_that_was_restarted_unnoticed_gets_its_base_with_the_next_change(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.work.bases)
        overlay, restarts = world.gate.overlay, iter([world.gate.restart])

        async def overlay_after_restart(table):
            next(restarts, lambda: None)()
            return await overlay(table)

        world.gate.overlay = overlay_after_restart
        await blocking(world, WORSE, "worse.example.org")
        assert world.gate.blocks("bad.example.org")
        assert len(world.work.bases) == count


async def test_a_base_that_overlays_have_overtaken_comes_with_one(world, eager):
    async with world.running():
        await blocking(world)
        await based(world, 1)
        world.work.may_compile.clear()
        await blocking(world, WORSE, "worse.example.org")
        await until(lambda: len(world.work.bases[-1].orders) == 2)
        ref = await blocking(world, NEW, "new.example.org")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("new.example.org"))
        loaded = world.gate.bases
        world.work.may_compile.set()
        await until(lambda: world.gate.bases > loaded)
        await until(lambda: holds(world))
        report = await world.gate.status()
        assert (len(report.rows), bool(report.overlay_sha256)) == (2, True)


# What goes wrong.


async def test_an_overlay_that_memory_has_not_kept_is_handed_over_again(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        status, loads = world.gate.status, world.gate.loads

        async def altered(*, verify=False):
            report = await status(verify=verify)
            is_old = world.gate.loads == loads
            return replace(report, overlay_sha256="ab" * 32) if is_old else report

        world.gate.status = altered
        await until(lambda: world.gate.loads > loads)
        await until(lambda: holds(world))


async def test_a_full_disk_keeps_nothing_from_the_gate_and_is_tried_again(world, monkeypatch):
    monkeypatch.setattr(bases, "KEEP_RETRY_SECONDS", 0.02)
    tried = []

    def full(files, base):
        tried.append(base.sha256)
        raise UnavailableError("no space left", advice="Free some.")

    async with world.running() as node:
        keep = bases.base_table.keep
        monkeypatch.setattr(bases.base_table, "keep", full)
        ref = await blocking(world)
        await node.offer_stop(world.stop_bytes(ref))
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: len(tried) > 2)
        assert not (world.state_dir / "base.json").exists()
        monkeypatch.setattr(bases.base_table, "keep", keep)
        await until((world.state_dir / "base.json").exists)


async def test_a_gate_that_refuses_an_overlay_gets_a_new_base(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        loaded = world.gate.bases

        async def refuse(overlay):
            raise IntegrityError("it is another base's", advice="Compile it again.")

        world.gate.overlay = refuse
        await blocking(world, WORSE, "worse.example.org")
        assert world.gate.bases > loaded
        await until(lambda: holds(world))


async def test_an_order_that_the_gate_blames_for_its_refusal_is_left_out_and_attested(world):
    async with world.running():
        await blocking(world)
        overlay = world.gate.overlay

        async def refuse_bad(table):
            if any(row.target_list_sha256 == sha256(WORSE).hexdigest() for row in rows()):
                raise RefusedError(
                    "it blocks a golden name", advice="Look.", order_index=rows()[-1].index
                )
            return await overlay(table)

        def rows():
            return world.work.overlays[-1].rows

        world.gate.overlay = refuse_bad
        bad = await in_the_ledger(world, WORSE)
        await until(lambda: cannot(world) == [bad.entry_index])
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)
        await blocking(world, NEW, "new.example.org")
        assert not world.gate.blocks("worse.example.org")


async def test_a_base_that_cannot_be_compiled_keeps_no_small_change_back(world, small):
    async with world.running() as node:
        ref = await blocking(world)
        await until(lambda: holds(world))
        world.work.is_away = True
        world.bring(LARGE)
        lists = node._lists
        lists._counts[sha256(LARGE).hexdigest()] = 20
        lists._counts[sha256(WORSE).hexdigest()] = 1
        pins = world.land.state.policy.payload.pins
        node._planner.scans._scans[sha256(LARGE).hexdigest(), pins] = GuardScan()
        world.land.in_force_order(LARGE)
        await world.publish()
        await until(lambda: "died" in world.status["gate"]["problem"])
        await node.offer_stop(world.stop_bytes(ref))
        assert not world.gate.blocks("bad.example.org")


async def test_descriptors_do_not_grow_with_updates(world):
    before = open_files()

    def open_count() -> int:
        return len(open_files() - before)

    async with world.running() as node:
        await blocking(world)
        counts = []
        for at in range(12):  # of other names each: a guard stands against what was stopped
            ref = await blocking(world, b"exact w%d.example.org\n" % at, f"w{at}.example.org")
            await node.offer_stop(world.stop_bytes(ref))
            world.land.stop(ref)
            if at < 4:
                counts.append(open_count())
        # A file may be open just now in a thread; each look is a collection, and takes its time.
        async with asyncio.timeout(WAIT_SECONDS):
            await until(lambda: open_count() <= max(counts))
