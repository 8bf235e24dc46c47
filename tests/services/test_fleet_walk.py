"""All nodes are looked at a few at a time, however many ask."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from enforcer.core.attested import Exceptional
from enforcer.core.key import Role
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.services import fleet_walk
from enforcer.services.fleet import Fleet, Word
from tests.people import Person, seal
from tests.services.test_attested import NODES
from tests.services.test_fleet_orders import OrdersDesk

STRANGERS = 400


@pytest.fixture
async def desk(tmp_path):
    async with OrdersDesk(tmp_path / "ledger") as desk:
        yield desk


class CountedFleet(Fleet):
    """Counts how often it was asked how a node stands."""

    looks = 0

    def standing(self, state, node_id, at_ms):
        self.looks += 1
        return super().standing(state, node_id, at_ms)


def crowd(desk, fleet: Fleet, count: int = STRANGERS) -> None:
    """Have a fleet hear of many nodes."""
    said = desk.said()
    envelope = seal(said, desk.land.node.key)
    for at in range(count):
        word = Word(replace(said, node_id=f"crowd-{at:05d}"), envelope, desk.land.now_ms)
        fleet.take(word)


async def test_totals_are_of_all_nodes_with_the_first_exceptions_by_name(desk):
    await desk.attest(desk.land.node, NODES[0])
    await desk.attest(NODES[1], table_digest="0" * 64)
    with pytest.raises(IntegrityError):
        await desk.attest(NODES[2], root_sha256="0" * 64)
    totals = await desk.walk.totals()
    assert (totals.nodes, totals.live) == (5, 3)
    assert totals.counts == {
        None: 2,
        Exceptional.DIFFERS: 1,
        Exceptional.SPLIT_VIEW: 1,
        Exceptional.SILENT: 1,
    }
    assert totals.named == (
        (Exceptional.SPLIT_VIEW, "node-4"),
        (Exceptional.DIFFERS, "node-3"),
        (Exceptional.SILENT, "node-5"),
    )


async def test_of_many_exceptions_the_gravest_are_named(desk, monkeypatch):
    monkeypatch.setattr(fleet_walk, "NAMED_MAX", 2)
    await desk.attest(NODES[3], table_digest="0" * 64)
    totals = await desk.walk.totals()
    assert totals.named == ((Exceptional.DIFFERS, "node-5"), (Exceptional.SILENT, "node-1"))
    assert totals.counts[Exceptional.SILENT] == 4


async def test_whatever_else_there_is_to_do_goes_between_a_few_nodes(desk):
    ref = await desk.in_force()
    fleet = CountedFleet()
    desk.at_nodes._fleet = desk.walk._fleet = fleet
    crowd(desk, fleet)
    order = desk.ledger.state.orders[ref.entry_index]
    asked = [asyncio.create_task(desk.walk.totals())]
    asked += [asyncio.create_task(desk.at_nodes.order(order)) for _ in range(3)]
    most = 0
    while not all(each.done() for each in asked):
        before = fleet.looks
        await asyncio.sleep(0)
        most = max(most, fleet.looks - before)
    assert 0 < most <= fleet_walk.NODES_AT_ONCE
    assert [each.result() for each in asked[1:]] == [asked[1].result()] * 3
    assert fleet.looks == 2 * (STRANGERS + 5), "one walk for all who ask the same"


async def test_who_asks_while_a_walk_goes_on_gets_what_a_later_one_finds(desk):
    crowd(desk, desk.fleet)
    first = asyncio.create_task(desk.walk.totals())
    for _ in range(100):
        await asyncio.sleep(0)
        if desk.walk._turn.locked():
            break
    desk.fleet.split_views["crowd-00000"] = desk.land.now_ms
    second = await desk.walk.totals()
    assert second.counts[Exceptional.SPLIT_VIEW] == 1
    await first


async def test_one_who_gives_up_ends_nothing_for_the_others(desk):
    impatient = asyncio.create_task(desk.walk.totals())
    patient = asyncio.create_task(desk.walk.totals())
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).nodes == 5


class Questions:
    """Walks that different questions ask for, and which of them have begun and ended."""

    def __init__(self, desk) -> None:
        self.walk = desk.walk
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.is_begun = asyncio.Event()

    async def ask(self, count: int) -> list[asyncio.Task[None]]:
        looks = [partial(self.look, at) for at in range(count)]
        asked = [asyncio.create_task(self.walk.shared(at, look)) for at, look in enumerate(looks)]
        await self.is_begun.wait()
        return asked

    async def look(self, at: int) -> None:
        self.begun.append(at)
        self.is_begun.set()
        async for _ in self.walk.standings():
            pass
        self.ended.append(at)


async def gone(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_nobody_waits_for_any_more_is_not_walked(desk):
    crowd(desk, desk.fleet)
    questions = Questions(desk)
    asked = await questions.ask(100)
    await gone(*asked[:60], *asked[61:])
    await asked[60]
    assert (questions.begun, questions.ended) == ([0, 60], [60]), "the first ended half-way"
    assert (await desk.walk.totals()).nodes == STRANGERS + 5


async def test_totals_and_news_wait_for_no_more_than_the_walk_that_goes_on(desk):
    ref = await desk.in_force()
    crowd(desk, desk.fleet)
    questions = Questions(desk)
    asked = await questions.ask(100)
    await desk.walk.totals()
    assert questions.ended == [0]
    await desk.at_nodes.order(desk.ledger.state.orders[ref.entry_index], is_news=True)
    assert questions.ended == [0, 1], "and who stands in line gets a turn between them"
    await gone(*asked)


async def test_so_many_questions_wait_and_no_more(desk, monkeypatch):
    monkeypatch.setattr(fleet_walk, "WALKS_WAITING_MAX", 10)
    crowd(desk, desk.fleet)
    questions = Questions(desk)
    asked = await questions.ask(10)
    late = asyncio.create_task(questions.walk.shared(10, partial(questions.look, 10)))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="10 questions about all nodes wait"):
        await desk.walk.shared("another", desk.walk._count)
    assert (await desk.walk.totals()).nodes == STRANGERS + 5
    await asyncio.gather(*asked, late)
    assert questions.ended == list(range(11))


async def test_nodes_come_in_order_whether_registered_or_heard(desk, monkeypatch):
    monkeypatch.setattr(fleet_walk, "KEYS_AT_ONCE", 3)
    for name in ("z-last", "a-first"):
        node = Person(name, Role.NODE, operator="isp-1")
        registration = node.registration(desk.land.now_ms)
        await desk.ledger.record(seal(registration, *desk.land.roots[:2]))
        await desk.attest(node)
    crowd(desk, desk.fleet, 2)
    found = [each.node_id async for each in desk.walk.standings()]
    numbered = [f"node-{at}" for at in range(1, 6)]
    assert found == ["a-first", "crowd-00000", "crowd-00001", *numbered, "z-last"]


async def test_the_nodes_heard_are_known_in_order_and_forgotten_with_their_words(desk):
    await desk.attest(NODES[2], NODES[0], NODES[1])
    assert desk.fleet.heard == ["node-2", "node-3", "node-4"]
    desk.fleet.forget({"node-3"})
    assert desk.fleet.heard == list(desk.fleet.words) == ["node-3"]
