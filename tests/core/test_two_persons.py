"""Law 1 over every kind of act, at random: two right persons to block, one right person to stop.

Whatever a coalition signs that lacks a proposer or another person's approval, in any order, with
every act that there is, no row ever comes into force; and whatever stands, one right person
takes it out. The fold gives the same state however often it is asked in between.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.backends.keys import verify
from enforcer.core.entry import parse
from enforcer.core.fold import apply
from enforcer.core.guard import Guard
from enforcer.core.key import Category, Role
from enforcer.core.life import OrderStatus
from enforcer.core.order import OrderRef, Publication, PublicationMode
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.core.remedy import AppealOutcome
from enforcer.core.state import Roots, State, in_force
from tests.people import ALL_CATEGORIES, FULL, Land, Person, hidden, seal

NAMES = ("proposer", "approver", "second_approver", "oversight", "stranger", "officer", "control")
ACTS = (
    "propose",
    "supersede",
    "approve",
    "confirm",
    "extend",
    "hold",
    "assess",
    "lift",
    "reject",
    "review",
    "appeal",
    "decide",
    "notify",
    "suspend",
    "resume",
    "publish",
    "stop",
)
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 6), st.integers(0, 6), st.integers(0, 9)),
    min_size=1,
    max_size=40,
)


@cache
def people() -> Land:
    """Return a land with everybody in it, and the proposer's second key, as an approver."""
    land = Land.founded()
    second_key = Person(land.proposer.person_id, Role.APPROVER, "cert-vn", ALL_CATEGORIES)
    land.register(land.officer, land.other_officer, land.control, second_key)
    land.second_key = second_key
    return land


def copy_of(land: Land) -> Land:
    twin = replace(land, leaves=list(land.leaves), effects=list(land.effects))
    for name in (*NAMES, "node", "other_officer", "second_key"):
        setattr(twin, name, getattr(land, name))
    twin.state = land.state.copy()
    return twin


def full(_: Land) -> Publication:
    return FULL


def restricted(_: Land) -> Publication:
    return hidden(PublicationMode.RESTRICTED_TARGETS)


def delayed(land: Land) -> Publication:
    return hidden(PublicationMode.DELAYED, land.now_ms + DAY_MS)


PUBLICATIONS = (full, restricted, full, delayed, full)


def step(land: Land, act: str, who: list[Person], pick: int, guard: int) -> None:
    """Do one act, lawful or not, on one of the orders that there are."""
    refs = [land.ref(index) for index in land.state.orders]
    by, other = who
    kind = (DecisionKind.ADMINISTRATIVE, DecisionKind.EMERGENCY, DecisionKind.COURT_FINAL)[pick % 3]
    until = land.now_ms + 2 * DAY_MS
    times = {"expires_at_ms": until, "review_due_at_ms": until}
    if act == "propose" or not refs:
        how = PUBLICATIONS[guard % len(PUBLICATIONS)]
        fields = {"decision_kind": kind, "publication": how(land), **times}
        if how is restricted:
            fields |= {"category": Category.CHILD_ABUSE_MATERIAL}
        keys = {person.key.key_id: person.key for person in (who if how is restricted else (by,))}
        land.record(seal(land.order(**fields), *keys.values()))
        return
    ref = refs[pick % len(refs)]
    _meet(land, act, ref, by, other, list(Guard)[1 + guard])


def _meet(land: Land, act: str, ref: OrderRef, by: Person, other: Person, guard: Guard) -> None:
    order = land.order_record(ref)
    both = tuple({person.key.key_id: person for person in (by, other)}.values())
    is_machine = by.role is Role.CONTROL
    special = {
        "supersede": lambda: land.record(
            seal(
                land.order(
                    order_id=ref.order_id, version=order.payload.version + 1, supersedes=ref
                ),
                by.key,
            )
        ),
        "confirm": lambda: land.confirm(ref, *both),
        "extend": lambda: land.record(
            seal(land.extension(ref, land.now_ms + 9 * DAY_MS), *(person.key for person in both))
        ),
        "hold": lambda: land.hold(
            ref,
            guard if is_machine else Guard.PERSON,
            by=by,
            report="0" * 64 if is_machine else None,
        ),
        "lift": lambda: land.lift(
            ref,
            min(order.holds, default=guard),
            by=by,
            overrides=("subtree bank.example.net",) * (guard is Guard.PROTECTED_NAME),
            assessment=max(order.assessments, default=None),
        ),
        "decide": lambda: land.decide(
            ref, max((each.index for each in order.appeals), default=0), AppealOutcome.GRANTED, by
        ),
        "review": lambda: land.review(ref, land.now_ms + DAY_MS, by),
    }
    if act in special:
        special[act]()
    else:
        getattr(land, act)(ref, by)


def play(land: Land, steps, names: tuple[str, ...], *, blocks: bool = True) -> None:
    """Have those of a coalition act in turn; without `blocks`, look after each that none does."""
    coalition = [getattr(land, name) for name in names]
    for act, first, second, pick in steps:
        who = [coalition[first % len(coalition)], coalition[second % len(coalition)]]
        step(land, act, who, pick, pick)
        assert blocks or not any(land.state.approved_rows()), (act, who)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_without_a_second_right_person_nothing_is_ever_blocked(steps):
    """One person with both keys, and everybody who is no approver of that authority."""
    land = copy_of(people())
    land.propose()
    names = ("proposer", "second_key", "oversight", "stranger", "officer", "control", "node")
    play(land, steps, names, blocks=False)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_without_a_proposer_nothing_is_ever_blocked(steps):
    land = copy_of(people())
    land.propose()
    land.reject(land.ref(max(land.state.orders)), land.proposer)
    names = ("approver", "second_approver", "oversight", "stranger", "officer", "control", "node")
    play(land, steps, names, blocks=False)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from(("approver", "second_approver", "oversight", "proposer")))
def test_one_right_person_always_takes_a_block_out(steps, who):
    land = copy_of(people())
    land.in_force_order()
    play(land, steps, NAMES)
    for row in tuple(land.state.approved_rows()):
        assert len(land.state.orders[row.index].persons) >= 2
        effect = land.stop(land.ref(row.index), getattr(land, who))
        assert effect.is_effective, effect.refusal
    assert in_force(land.state, land.now_ms) == ()


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 7))
def test_the_fold_is_deterministic_and_does_not_depend_on_how_entries_come(steps, batch):
    land = copy_of(people())
    land.in_force_order()
    play(land, steps, NAMES)
    public = tuple(key.public_key for key in land.roots)
    state = State(land.origin, Roots(public, 2), verify)
    for start in range(0, len(land.leaves), batch):
        state = state.copy()  # as a node does before it folds a batch in
        for leaf in land.leaves[start : start + batch]:
            apply(state, parse(leaf))
        assert in_force(state, land.now_ms) == in_force(state, land.now_ms)
    for name in ("size", "recorded_at_ms", "orders", "live", "growth", "versions", "keys"):
        assert getattr(state, name) == getattr(land.state, name), name


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_may_still_block_is_counted_as_it_stands(steps):
    land = copy_of(people())
    land.in_force_order()
    play(land, steps, NAMES)
    blocking = {row.index for row in in_force(land.state, land.now_ms)}
    assert blocking <= set(land.state.live)
    for index, (until_ms, targets) in land.state.live.items():
        order = land.state.orders[index]
        assert order.status is OrderStatus.APPROVED
        assert (until_ms, targets) == (order.until_ms, order.payload.target_count)
