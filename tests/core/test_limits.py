"""Every field of every kind of act, at and past its limits, generated from the declarations."""

from __future__ import annotations

from dataclasses import fields as fields_of
from functools import cache

import pytest

from enforcer.core import fields
from enforcer.core.entry import KINDS, Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, sign
from enforcer.core.fold import apply
from enforcer.core.key import Category
from enforcer.core.policy import (
    LIFETIME_DAYS_MAX_BY_CATEGORY,
    LIFETIME_DAYS_MAX_BY_KIND,
    DecisionKind,
    LifetimeCap,
)
from enforcer.errors import InputError, IntegrityError, RefusedError
from tests.limits import Case, cases
from tests.people import Land, request_id, seal


@cache
def land() -> Land:
    """Return a land with one order in force, which tests only read."""
    land = Land.founded()
    land.in_force_order()
    return land


def lawful() -> dict[str, object]:
    """Return the fields that let an act through to the rules about itself."""
    order = land().ref(7)
    return {
        "ledger_origin": land().origin,
        "request_id": request_id(),
        "valid_until_ms": land().now_ms + 60_000,
        "order": fields.to_plain(order),
        "policy_sha256": land().state.policy.payload_sha256,
    }


def envelope_of(kind: type, case: Case) -> Envelope:
    """Sign what the case says: the roots' acts by the roots, all others by oversight."""
    is_root = kind.__name__ in ("PolicyAdopted", "RootsChanged", "LogKeyRotated") or (
        kind.__name__.startswith("Key")
    )
    keys = land().roots[:2] if is_root else [land().oversight.key]
    return sign(kind.TYPE, fields.dump(case.plain), [(key.key_id, key.sign) for key in keys])


def folded(envelope: Envelope):
    """Fold it behind the land's entries; return the effect, the state before and after."""
    before = land().state
    after = before.copy()
    leaf = encode(Entry(land().now_ms + 1, envelope))
    return apply(after, parse(leaf)), before, after


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_past_a_limit_the_field_is_named_and_nothing_changes(kind):
    seen = 0
    for case in cases(kind, lawful()):
        if case.field is None:
            continue
        seen += 1
        envelope = envelope_of(kind, case)
        with pytest.raises(InputError) as caught:
            parse_payload(envelope)
        assert caught.value.data["field"] == case.field, (case.what, caught.value)
        assert caught.value.advice
        effect, before, after = folded(envelope)
        assert isinstance(effect.refusal, InputError), case.what
        assert effect.refusal.data["field"] == case.field
        for each in fields_of(before):
            if each.name not in ("size", "recorded_at_ms", "news_size", "news_at_ms"):
                assert getattr(after, each.name) == getattr(before, each.name), case.what
    assert seen > 60


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_at_a_limit_it_is_read_as_it_was_written_and_the_rules_have_an_answer(kind):
    stopped_by = set()
    for case in cases(kind, lawful()):
        if case.field is not None:
            continue
        envelope = envelope_of(kind, case)
        assert fields.to_plain(parse_payload(envelope)) == case.plain, case.what
        try:
            effect, before, after = folded(envelope)
        except IntegrityError as error:
            stopped_by.add(error.data["field"])
            continue
        assert effect.is_effective or effect.refusal.advice, case.what
        # One act, whatever is in it, blocks nothing that was not blocked.
        blocked = {row.index for row in before.approved_rows()}
        assert {row.index for row in after.approved_rows()} <= blocked, case.what
    assert stopped_by <= {"fold_version"}  # the roots ask for a newer fold: followers stop


# A policy that contradicts itself, or tries to widen.

PAIRS = [(category, kind) for category in Category if category for kind in DecisionKind if kind]


@pytest.mark.parametrize(("category", "kind"), PAIRS, ids=lambda value: value.name)
def test_a_cap_stands_up_to_the_laws_and_not_a_day_beyond(category, kind):
    days = min(LIFETIME_DAYS_MAX_BY_CATEGORY[category], LIFETIME_DAYS_MAX_BY_KIND[kind])
    state = land().state
    for more in (0, 1):
        if days + more > 366:
            continue  # the declaration refuses it already
        policy = land().policy(lifetime_caps=(LifetimeCap(category, kind, days + more),))
        effect, _, after = folded(seal(policy, *land().roots[:2]))
        assert effect.is_effective is not bool(more)
        assert (after.policy == state.policy) is bool(more)
        if more:
            assert isinstance(effect.refusal, RefusedError)
            assert effect.refusal.data["field"] == "lifetime_caps[0].lifetime_days_max"


def test_a_policy_with_two_caps_for_one_case_is_refused_even_if_both_are_lawful():
    cap = LifetimeCap(Category.PHISHING, DecisionKind.ADMINISTRATIVE, 30)
    for second in (cap, LifetimeCap(cap.category, cap.decision_kind, 10)):
        policy = land().policy(lifetime_caps=(cap, second))
        effect, before, after = folded(seal(policy, *land().roots[:2]))
        assert effect.refusal.data["field"] == "lifetime_caps[1]"
        assert after.policy == before.policy
