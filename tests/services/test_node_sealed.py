"""A node and lists that are not public: opened in memory with its key, and left out without."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from enforcer.backends import sealing
from enforcer.backends.memory_firewall import FirewallMemory
from enforcer.core.attestation import NotEnforced
from enforcer.core.guard import Guard
from enforcer.core.name import Name
from enforcer.core.order import Measure, OrderRef, PublicationMode
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.table import DnsMeasure, IpMeasure
from tests.node_world import World, all_shown, holds
from tests.people import Person, seal
from tests.waiting import WAIT_SECONDS, stays, until

MARKER = "marker-7f3a.example.org"
LIST = f"exact {MARKER}\n".encode()
HIDDEN = [PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def traces() -> tuple[bytes, ...]:
    """What would tell somebody who has a guess that it is right."""
    return (
        b"marker-7f3a",
        Name.from_text(MARKER).wire,
        sha256(LIST).digest(),
        sha256(LIST).hexdigest().encode(),
    )


def nothing_is_left(world: World, logs: list) -> bool:
    """Look through all that the node wrote, sent or logged."""
    files = {path: path.read_bytes() for path in world.directory.rglob("*") if path.is_file()}
    said = [*files.values(), *world.control.attestations, repr(logs).encode()]
    return bool(files) and not any(trace in each for trace in traces() for each in said)


async def is_left_out(world: World, ref: OrderRef, reason: NotEnforced) -> None:
    def reasons():
        omissions = world.attested.omissions if world.attested is not None else ()
        return {each.order_index: each.reason for each in omissions}

    await until(lambda: reasons() == {ref.entry_index: reason})


async def is_missing(world: World, order_id: str) -> None:
    await until(lambda: world.status.get("missing_sealed_lists") == [order_id])


@pytest.mark.parametrize("mode", HIDDEN)
async def test_a_node_opens_a_sealed_list_with_its_key_and_writes_it_nowhere(world, mode):
    with capture_logs() as logs:
        async with world.running():
            made = world.seal(LIST, mode)
            ref = made.in_force(world.land)
            await world.publish()
            await until(lambda: holds(world))
            await until(lambda: world.gate.blocks(MARKER))
            assert not world.gate.blocks("other.example.org")
            world.land.stop(ref)
            await world.publish()
            await until(lambda: not world.gate.blocks(MARKER))
    assert nothing_is_left(world, logs)


async def test_a_proposal_that_nobody_approved_asks_for_no_sealed_list(world):
    async with world.running():
        made = world.seal(LIST)
        ref = made.propose(world.land)
        await world.publish()
        shown = await all_shown(world)
        assert shown["missing_sealed_lists"] == []
        assert world.land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))


async def test_a_proposal_whose_list_was_published_asks_for_it_once_it_is_approved(world):
    async with world.running():
        made = world.seal(LIST, PublicationMode.DELAYED)
        ref = made.propose(world.land)
        assert world.land.publish(ref, secret=made.secret).is_effective
        await world.publish()
        shown = await all_shown(world)
        assert shown["missing_sealed_lists"] == []
        assert not (world.state_dir / "ledger" / "lists" / made.sealed_sha256).exists()
        assert world.land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))


async def test_a_base_table_takes_sealed_lists_as_well(world):
    async with world.running():
        names = [f"exact n{number:05d}.{MARKER}\n" for number in range(20_000)]
        world.seal("".join(names).encode()).in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(f"n00007.{MARKER}"))
        assert world.work.bases


async def test_the_firewall_takes_sealed_addresses_and_writes_them_nowhere(world):
    world.firewall = FirewallMemory()
    made = world.seal(b"ip 192.0.2.77\n" + LIST.replace(b"exact", b"subtree"))
    with capture_logs() as logs:
        for _ in range(2):  # anew, and after a restart
            async with world.running():
                if not world.land.state.orders:
                    made.in_force(world.land, measure=Measure(DnsMeasure.NEGATIVE, IpMeasure.DROP))
                    await world.publish()
                await until(lambda: world.blocks("192.0.2.77") and world.gate.blocks(MARKER))
                assert not world.blocks("192.0.2.78")
            world.firewall = FirewallMemory()
    assert nothing_is_left(world, logs)
    files = [path.read_bytes() for path in world.directory.rglob("*") if path.is_file()]
    packed = bytes([192, 0, 2, 77])
    said = [*files, *world.control.attestations, repr(logs).encode()]
    assert not any(b"192.0.2.77" in each or packed in each for each in said)


async def test_after_a_restart_the_kept_octets_and_wrap_are_enough(world):
    made = world.seal(LIST)
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
    world.feed.clear()
    world.control.is_away = True
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks(MARKER))


async def test_a_node_starts_without_waiting_for_anybody_who_has_wraps(world, monkeypatch):
    made = world.seal(LIST)
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
    (path,) = (world.state_dir / "ledger" / "wraps" / made.sealed_sha256).iterdir()
    path.unlink()
    world.feed.wraps.clear()

    async def hangs(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(world.control, "wrap", hangs)
    async with asyncio.timeout(WAIT_SECONDS), world.running():  # it starts
        await until(lambda: world.status["missing_sealed_lists"])


@pytest.mark.parametrize("source", ["feed", "control plane"])
async def test_wrap_and_octets_come_from_wherever_they_are(world, source):
    made = world.seal(LIST)
    if source == "control plane":
        world.control.lists, world.feed.lists = world.feed.lists, {}
        world.control.wraps, world.feed.wraps = world.feed.wraps, {}
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))


def bad_wraps(world: World, made) -> dict[str, bytes | None]:
    other = Person("node-2", world.land.node.role)
    good = made.wrap(world.land.node)
    return {
        "none": None,
        "for another node": made.wrap(other),
        "of another list": sealing.wrap(sealing.new_identity()[0], world.land.node.encryption_key),
        "cut": good[:-1],
        "altered": good[:-1] + bytes([good[-1] ^ 1]),
        "no age file": b"wrap",
        "the list itself": made.octets,
        "empty": b"",
    }


@pytest.mark.parametrize(
    "which",
    [
        "none",
        "for another node",
        "of another list",
        "cut",
        "altered",
        "no age file",
        "the list itself",
        "empty",
    ],
)
async def test_a_bad_wrap_leaves_its_order_out_and_a_good_one_brings_it(world, which):
    made = world.seal(LIST)
    place = made.sealed_sha256, world.land.node.key.key_id
    good = world.feed.wraps.pop(place)
    wrong = bad_wraps(world, made)[which]
    if wrong is not None:
        world.feed.wraps[place] = wrong
    with capture_logs() as logs:
        async with world.running():
            world.bring(b"exact bad.example.org\n")
            world.land.in_force_order()
            ref = made.in_force(world.land)
            await world.publish()
            await is_left_out(world, ref, NotEnforced.LIST_MISSING)
            await until(lambda: world.gate.blocks("bad.example.org"))
            await is_missing(world, world.land.order_record(ref).payload.order_id)
            assert not world.gate.blocks(MARKER)
            if wrong:
                await until(lambda: world.status["feed"]["faults"].get("a wrap is wrong"))
            world.feed.wraps[place] = good
            await until(lambda: world.gate.blocks(MARKER))
            await until(lambda: world.status["missing_sealed_lists"] == [])
    assert nothing_is_left(world, logs)


async def test_a_bad_wrap_in_the_feed_does_not_hide_the_control_planes(world):
    made = world.seal(LIST)
    place = made.sealed_sha256, world.land.node.key.key_id
    world.control.wraps[place] = world.feed.wraps[place]
    world.feed.wraps[place] = b"wrap"
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))


@pytest.mark.parametrize("fault", ["another hash", "another count", "no list", "no salt"])
async def test_a_list_that_is_not_what_its_order_says_is_left_out(world, fault):
    text = b"exact Marker-7f3a.example.org\n" if fault == "no list" else LIST
    made = world.seal(text)
    changes = {
        "another hash": {"target_list_sha256": "0" * 64},
        "another count": {"target_count": 2},
        "no list": {},
        "no salt": {"target_list_sha256": sha256(text).hexdigest()},
    }[fault]
    with capture_logs() as logs:
        async with world.running():
            ref = made.in_force(world.land, **changes)
            await world.publish()
            await is_left_out(world, ref, NotEnforced.LIST_MISSING)
            await stays(lambda: not world.gate.blocks(MARKER))
    if fault != "no salt":  # there the test's own order says the hash
        assert nothing_is_left(world, logs)


async def test_sealed_octets_that_were_altered_on_the_disk_are_fetched_again(world):
    made = world.seal(LIST)
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
    path = world.state_dir / "ledger" / "lists" / made.sealed_sha256
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks(MARKER))
    assert sha256(path.read_bytes()).hexdigest() == made.sealed_sha256


async def test_a_wrap_that_was_altered_on_the_disk_is_fetched_again(world):
    made = world.seal(LIST)
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
    (path,) = (world.state_dir / "ledger" / "wraps" / made.sealed_sha256).iterdir()
    path.write_bytes(b"wrap")
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks(MARKER))
    assert path.read_bytes() != b"wrap"


@pytest.mark.parametrize("has_key", [True, False])
async def test_a_published_list_is_opened_by_everybody(world, has_key):
    made = world.seal(LIST, PublicationMode.DELAYED)
    world.feed.wraps.clear()
    if not has_key:
        world.receiver = None
    async with world.running():
        ref = made.in_force(world.land)
        await world.publish()
        await is_left_out(world, ref, NotEnforced.LIST_MISSING)
        assert world.land.publish(ref, secret=made.secret).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))


async def test_a_node_finds_by_itself_that_targets_are_hidden_once_more(world):
    land = world.land
    land.register(land.control)
    first = world.seal(LIST, PublicationMode.DELAYED)
    async with world.running():
        first.in_force(land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
        world.clock.advance(20 * DAY_MS)
        await until(lambda: not world.gate.blocks(MARKER))
        land.now_ms += 20 * DAY_MS
        ref = world.seal(LIST, PublicationMode.DELAYED).in_force(land)
        await world.publish()
        await is_left_out(world, ref, NotEnforced.GUARD)
        land.hold(ref, Guard.HIDDEN_BEFORE)
        assert land.lift(ref, Guard.HIDDEN_BEFORE, by=land.oversight).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))


async def test_a_delayed_order_that_is_not_published_ends(world):
    made = world.seal(LIST, PublicationMode.DELAYED)
    async with world.running():
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
        world.clock.advance(20 * DAY_MS)
        await until(lambda: not world.gate.blocks(MARKER))


async def test_guards_look_at_sealed_lists_too_and_name_nothing_of_them(world):
    protected = world.bring(LIST)
    world.land.pins = Pins(None, protected, None, None)
    world.land.record(seal(world.land.policy(), *world.land.roots[:2]))
    made = world.seal(LIST)
    with capture_logs() as logs:
        async with world.running():
            ref = made.in_force(world.land)
            await world.publish()
            await is_left_out(world, ref, NotEnforced.GUARD)
            await stays(lambda: not world.gate.blocks(MARKER))
    said = repr(logs)
    assert "PROTECTED_NAME" in said
    assert "marker-7f3a" not in said


async def test_what_was_opened_is_closed_when_its_order_has_ended(world):
    made = world.seal(LIST)
    async with world.running() as node:
        ref = made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
        assert node._lists.path(made.sha256).parts[1] == "proc"
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not node._lists.has(made.sha256))
        assert not node._lists._opened


async def test_two_orders_for_one_sealed_list_need_one_opening(world):
    made = world.seal(LIST)
    async with world.running():
        first = made.in_force(world.land)
        made.in_force(world.land)
        await world.publish()
        await until(lambda: world.gate.blocks(MARKER))
        world.land.stop(first)
        await world.publish()
        await until(lambda: holds(world))
        assert world.gate.blocks(MARKER)
