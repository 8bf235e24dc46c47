"""How an order stands at the nodes: in force where they signed that it is, and nowhere else."""

from __future__ import annotations

import pytest

from enforcer.core.attestation import (
    EffectTime,
    GateState,
    NotEnforced,
    Omission,
    enforced_rows,
    rows_for,
)
from enforcer.core.attested import CARRIED_MS_MAX, Exceptional
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER, table_digest
from enforcer.services import effect_history
from enforcer.services.effect_history import EffectHistory
from enforcer.services.fleet_orders import AtNode, FleetOrders, Took
from enforcer.services.fleet_walk import FleetWalk
from enforcer.services.fleet_watch import FleetNews, FleetWatch, NewsKind
from tests.people import Person
from tests.services.test_attested import MINUTE_MS, NODES, FleetDesk

HOUR_MS = 3_600_000


class OrdersDesk(FleetDesk):
    """A control plane that shows its orders at the nodes."""

    def start_again(self) -> None:
        super().start_again()
        self.walk = FleetWalk(self.ledger, self.fleet)
        self.at_nodes = FleetOrders(self.ledger, self.fleet, self.walk)
        self.news: list[FleetNews] = []
        FleetWatch(self.ledger, self.fleet, self.at_nodes).on_news = self.news.append

    async def in_force(self):
        ref = await self.propose()
        await self.approve(ref)
        return ref

    async def attest_without(self, node: Person, ref, reason: NotEnforced, **changes) -> None:
        """Have a node attest that it leaves an order out."""
        state, t_ms = self.ledger.state, self.land.now_ms
        omission = Omission(ref.entry_index, reason, None, t_ms)
        rows = rows_for(changes.get("gate", GateState.HOLDS_TABLE), in_force(state, t_ms))
        rows = enforced_rows(rows, [omission])
        digest = table_digest(self.land.origin, state.policy.ref, rows, NO_LOCAL_LAYER)
        left_out = {"omissions": (omission,), "omission_count": 1, "table_digest": digest}
        await self.attest(node, **{**left_out, **changes})

    async def states(self, ref) -> dict[str, AtNode]:
        return {each.node_id: each.at_node for each in (await self.shown(ref)).nodes}

    async def shown(self, ref):
        return await self.at_nodes.order(self.ledger.state.orders[ref.entry_index])


@pytest.fixture
async def desk(tmp_path):
    async with OrdersDesk(tmp_path / "ledger") as desk:
        yield desk


async def test_every_node_is_in_one_state_by_its_newest_word(desk):
    await desk.attest(desk.land.node)
    ref = await desk.in_force()
    root = desk.files.root_at(desk.files.size - 1).hex()
    await desk.attest(NODES[0])
    await desk.attest_without(NODES[1], ref, NotEnforced.SUSPENDED)
    await desk.attest(NODES[2], gate=GateState.DIFFERS)
    assert (await desk.states(ref)) == {
        "node-1": AtNode.LAGS,
        "node-2": AtNode.IN_FORCE,
        "node-3": AtNode.LEFT_OUT,
        "node-4": AtNode.DIFFERS,
        "node-5": AtNode.SILENT,
    }
    desk.land.now_ms += 1
    await desk.attest(NODES[3], ledger_size=desk.files.size - 1, root_sha256=root)
    assert (await desk.states(ref))["node-5"] is AtNode.LAGS, "it has not read the approval"
    (left_out,) = (
        each for each in (await desk.shown(ref)).nodes if each.at_node is AtNode.LEFT_OUT
    )
    assert left_out.reason is NotEnforced.SUSPENDED
    desk.land.now_ms += 180_001
    assert set((await desk.states(ref)).values()) == {AtNode.LAGS}


async def test_a_word_whose_table_is_not_the_ledger_s_is_in_force_nowhere(desk):
    ref = await desk.in_force()
    await desk.attest(NODES[0], table_digest="0" * 64)
    assert (await desk.states(ref))["node-2"] is AtNode.DIFFERS


async def test_a_node_that_is_off_leaves_out_all_and_one_that_cannot_name_all_says_so(desk):
    ref = await desk.in_force()
    other = await desk.propose(b"exact other.example.org\n")
    await desk.approve(other)
    nothing = table_digest(desk.land.origin, desk.ledger.state.policy.ref, (), NO_LOCAL_LAYER)
    off = Omission(ref.entry_index, NotEnforced.BYPASSED, None, desk.land.now_ms)
    await desk.attest(NODES[0], omissions=(off,), omission_count=2, table_digest=nothing)
    assert (await desk.states(other))["node-2"] is AtNode.LEFT_OUT


async def test_an_order_for_names_is_none_of_a_node_s_that_has_no_gate(desk):
    ref = await desk.in_force()
    nothing = table_digest(desk.land.origin, desk.ledger.state.policy.ref, (), NO_LOCAL_LAYER)
    await desk.attest(NODES[0], gate=GateState.NONE, table_digest=nothing)
    assert (await desk.states(ref))["node-2"] is AtNode.NOT_CONCERNED


async def test_after_a_stop_each_node_that_has_read_it_is_out_and_the_others_lag(desk):
    ref = await desk.in_force()
    await desk.attest()
    assert set((await desk.states(ref)).values()) == {AtNode.IN_FORCE}
    desk.land.now_ms += 1_000
    await desk.ledger.record(desk.stop_of(ref))
    assert set((await desk.states(ref)).values()) == {AtNode.LAGS}
    await desk.attest(NODES[0])
    assert (await desk.states(ref))["node-2"] is AtNode.OUT
    assert (await desk.states(ref))["node-3"] is AtNode.LAGS


async def test_a_word_that_is_carried_counts_for_a_week_from_when_it_was_said(desk):
    node = desk.land.node
    ref = await desk.in_force()
    began_ms = desk.land.now_ms
    effects = (EffectTime(ref.entry_index, began_ms + HOUR_MS, None),)
    desk.land.now_ms += HOUR_MS
    said = {"t_ms": desk.land.now_ms, "effects": effects, "carried": True}
    desk.land.now_ms += CARRIED_MS_MAX - 1
    await desk.attest(node, **said)
    assert (await desk.states(ref))["node-1"] is AtNode.IN_FORCE
    (shown, *_) = (await desk.shown(ref)).nodes
    assert (shown.seen_at_ms, shown.in_force_at_ms) == (said["t_ms"], began_ms + HOUR_MS)
    assert (await desk.shown(ref)).began is None, (
        "how long somebody was on the way is nobody's latency"
    )
    assert not any(desk.at_nodes.began.counts)
    state = desk.ledger.state
    assert desk.fleet.standing(state, "node-1", desk.land.now_ms).exception is None
    desk.land.now_ms += 2
    assert (await desk.states(ref))["node-1"] is AtNode.LAGS
    late = desk.fleet.standing(state, "node-1", desk.land.now_ms)
    assert late.exception is Exceptional.LAGS


async def test_how_long_it_took_is_told_by_the_nodes_own_times(desk):
    ref = await desk.in_force()
    from_ms = desk.ledger.state.orders[ref.entry_index].approved_at_ms
    took_ms = {"node-1": 20, "node-2": 30, "node-3": 40, "node-4": 900}
    desk.land.now_ms += 1_000
    for node in desk.nodes[:4]:
        at_ms = from_ms + took_ms[node.person_id]
        await desk.attest(node, effects=(EffectTime(ref.entry_index, at_ms, None),))
    assert (await desk.shown(ref)).began == Took(4, 30, 900, "node-4")
    assert (await desk.shown(ref)).ended is None
    desk.land.now_ms += 1_000
    await desk.ledger.record(desk.stop_of(ref))
    ended_ms = desk.ledger.state.orders[ref.entry_index].ended_at_ms
    desk.land.now_ms += 1_000
    early = EffectTime(ref.entry_index, from_ms + 20, ended_ms - 5)
    await desk.attest(desk.land.node, effects=(early,))
    late = EffectTime(ref.entry_index, from_ms + 30, ended_ms + 70)
    await desk.attest(NODES[0], effects=(late,))
    shown = await desk.shown(ref)
    assert shown.ended == Took(2, 0, 70, "node-2")
    assert shown.began == Took(4, 30, 900, "node-4"), "it is remembered"
    assert sum(desk.at_nodes.began.counts) == 4
    assert desk.at_nodes.began.sum_ms == 20 + 30 + 40 + 900
    assert sum(desk.at_nodes.ended.counts) == 2
    assert [each.out_at_ms for each in shown.nodes if each.out_at_ms] == [
        ended_ms - 5,
        ended_ms + 70,
    ]


async def test_what_a_node_says_again_is_counted_once_and_the_first_time_counts(desk):
    ref = await desk.in_force()
    from_ms = desk.ledger.state.orders[ref.entry_index].approved_at_ms
    for at_ms in (20, 20, 60_000):  # the last after a bypass
        desk.land.now_ms += MINUTE_MS
        again = EffectTime(ref.entry_index, from_ms + at_ms, None)
        await desk.attest(NODES[0], effects=(again,))
    assert (await desk.shown(ref)).began == Took(1, 20, 20, "node-2")
    assert sum(desk.at_nodes.began.counts) == 1


async def test_the_times_of_the_newest_orders_are_remembered_and_no_more(desk, monkeypatch):
    monkeypatch.setattr(effect_history, "ORDERS_MAX", 3)
    history = EffectHistory()
    times = tuple(EffectTime(index, index, None) for index in range(1, 7))
    list(history.note(desk.said(effects=times)))
    assert [history.times(index, "node-1")[0] for index in range(1, 7)] == [
        None, None, None, 4, 5, 6
    ]  # fmt: skip
    assert history.times(6, "node-2") == (None, None)


async def test_news_comes_once_when_the_last_live_node_has_an_order_in_force(desk):
    await desk.attest(*desk.nodes[:3])
    desk.land.now_ms += 1
    ref = await desk.in_force()
    await desk.attest(*desk.nodes[:2])
    assert desk.news == []
    desk.land.now_ms += 1
    await desk.attest(desk.nodes[2])
    await desk.attest(desk.nodes[3])
    (news,) = desk.news
    assert (news.kind, news.order_index) == (NewsKind.REACHED, ref.entry_index)
    await desk.ledger.record(desk.stop_of(ref))
    desk.land.now_ms += 1
    await desk.attest(*desk.nodes[:4])
    assert [each.kind for each in desk.news] == [NewsKind.REACHED] * 2


async def test_a_node_that_waits_for_a_list_or_a_canary_is_waited_for_and_one_that_went_away_is_not(
    desk,
):
    await desk.attest(*desk.nodes[:3])
    desk.land.now_ms += 1
    ref = await desk.in_force()
    await desk.attest_without(desk.nodes[0], ref, NotEnforced.LIST_MISSING)
    await desk.attest_without(desk.nodes[1], ref, NotEnforced.SUSPENDED)
    for _ in range(4):
        desk.land.now_ms += MINUTE_MS
        await desk.attest_without(desk.nodes[0], ref, NotEnforced.CANARY_AWAITED)
        assert desk.news == []
    desk.land.now_ms += MINUTE_MS
    await desk.attest(desk.nodes[0])
    assert [each.kind for each in desk.news] == [NewsKind.REACHED]


async def test_a_node_that_differs_is_news_once(desk):
    await desk.attest(*desk.nodes[:2])
    desk.land.now_ms += 1
    await desk.in_force()
    for _ in range(2):
        await desk.attest(desk.nodes[0], gate=GateState.DIFFERS)
        desk.land.now_ms += 1
    (news,) = desk.news
    assert (news.kind, news.node_id) == (NewsKind.NODE_DIFFERS, "node-1")
