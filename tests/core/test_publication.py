"""Lists that are not public at once: for what, with whose signature, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enforcer.backends import sealing
from enforcer.core import age
from enforcer.core.guard import Guard
from enforcer.core.key import Category, Role
from enforcer.core.order import Publication, PublicationMode
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.core.standing import Standing, standing
from enforcer.core.state import in_force
from enforcer.errors import ConflictError, RefusedError
from tests.people import (
    FULL,
    LIST_RECIPIENT,
    SALTED,
    Land,
    Person,
    digest,
    hidden,
    identity,
    seal,
)

RESTRICTED, DELAYED = PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED
CHILD_ABUSE = Category.CHILD_ABUSE_MATERIAL


@pytest.fixture
def land():
    return Land.founded()


def blocked(land: Land) -> list[int]:
    return [row.index for row in in_force(land.state, land.now_ms)]


def refused(effect, words: str, kind: type = RefusedError) -> None:
    assert isinstance(effect.refusal, kind), effect
    assert words in effect.refusal.message, effect.refusal.message
    assert effect.refusal.advice


def restricted(land: Land, *signers: Person, **changes: object):
    """Record a restricted proposal that these sign."""
    order = land.order(**({"publication": hidden(RESTRICTED), "category": CHILD_ABUSE} | changes))
    return land.record(seal(order, *(person.key for person in signers)))


# Restricted.


def test_oversight_lets_targets_stay_hidden_and_two_others_block(land):
    ref = land.propose_hidden(RESTRICTED)
    order = land.order_record(ref)
    assert order.persons == {land.proposer.person_id}
    assert order.cosigner.person_id == land.oversight.person_id
    assert blocked(land) == []
    assert land.approve(ref).is_effective
    assert blocked(land) == [ref.entry_index]
    assert not land.order_record(ref).is_public


def test_oversights_signature_may_come_first(land):
    assert restricted(land, land.oversight, land.proposer).is_effective


def test_oversights_signature_is_no_approval_where_three_must_sign(land):
    assert land.record(seal(land.policy(persons_min=3), *land.roots[:2])).is_effective
    ref = land.propose_hidden(RESTRICTED)
    assert land.approve(ref).is_effective
    assert blocked(land) == []
    assert land.approve(ref, land.second_approver).is_effective
    assert blocked(land) == [ref.entry_index]


@pytest.mark.parametrize(
    "category", [each for each in Category if each and each is not CHILD_ABUSE]
)
def test_no_other_category_is_restricted(land, category):
    changes = {"category": category}
    if category is Category.COURT_DECISION:
        changes["decision_kind"] = DecisionKind.COURT_FINAL
    refused(restricted(land, land.proposer, land.oversight, **changes), "not restricted")


def test_without_oversight_nothing_is_restricted(land):
    for others in ((), (land.approver,), (land.stranger,), (land.approver, land.oversight)):
        refused(restricted(land, land.proposer, *others), "proposer's and oversight's")
    refused(restricted(land, land.oversight), "proposer's and oversight's")
    refused(restricted(land, land.approver, land.oversight), "cannot act as PROPOSER")


def test_oversight_cosigns_nothing_else(land):
    order = land.order(category=CHILD_ABUSE)
    refused(land.record(seal(order, land.proposer.key, land.oversight.key)), "proposer's alone")


def test_one_person_with_two_keys_is_not_proposer_and_oversight(land):
    same = Person(land.proposer.person_id, Role.OVERSIGHT)
    land.register(same)
    refused(restricted(land, land.proposer, same), "one person")


def test_who_cosigned_for_oversight_stands_behind_no_block(land):
    same = Person(land.approver.person_id, Role.OVERSIGHT)
    land.register(same)
    effect = restricted(land, land.proposer, same)
    ref = land.ref(effect.index)
    refused(land.approve(ref), "signed for oversight")
    assert land.approve(ref, land.second_approver).is_effective
    later = land.extension(ref, land.now_ms + 60 * DAY_MS)
    refused(land.record(seal(later, land.proposer.key, land.approver.key)), "signed for oversight")


def test_a_restricted_order_rests_on_oversights_key_too(land):
    land.register(land.control)
    ref = land.propose_hidden(RESTRICTED)
    waiting = land.propose_hidden(RESTRICTED)
    land.approve(ref)
    revoked = land.revocation(land.oversight, since=ref.entry_index)
    assert land.record(seal(revoked, *land.roots[:2])).is_effective
    assert land.order_record(ref).holds == {Guard.COMPROMISED_KEY}
    assert blocked(land) == []
    assert not land.approve(waiting).is_effective


def test_who_cosigned_for_oversight_lifts_nothing_but_a_persons_hold(land):
    """Else oversight's one signature would let the block go on that it let be hidden."""
    land.register(land.control)
    ref = land.propose_hidden(RESTRICTED)
    land.approve(ref)
    land.record(seal(land.revocation(land.approver, since=ref.entry_index), *land.roots[:2]))
    assert land.order_record(ref).holds == {Guard.COMPROMISED_KEY}
    refused(land.lift(ref, Guard.COMPROMISED_KEY, by=land.oversight), "signed this order")
    other = Person("second-oversight", Role.OVERSIGHT)
    land.register(other)
    assert land.lift(ref, Guard.COMPROMISED_KEY, by=other).is_effective
    assert blocked(land) == [ref.entry_index]
    assert land.hold(ref, Guard.PERSON, by=land.oversight, report=None).is_effective
    assert land.lift(ref, Guard.PERSON, by=land.oversight).is_effective


def test_a_restricted_list_is_never_published(land):
    ref = land.propose_hidden(RESTRICTED)
    land.approve(ref)
    for who in (land.proposer, land.approver, land.oversight):
        refused(land.publish(ref, who), "publication is RESTRICTED")


# What a publication says.


@pytest.mark.parametrize(
    ("publication", "words"),
    [
        (Publication(RESTRICTED, None, None, None), "takes a sealed list"),
        (Publication(RESTRICTED, None, "a" * 64, None), "takes a sealed list"),
        (Publication(RESTRICTED, None, None, LIST_RECIPIENT), "takes a sealed list"),
        (replace(FULL, sealed_sha256="a" * 64), "takes no sealed list"),
        (replace(FULL, list_recipient=LIST_RECIPIENT), "takes no sealed list"),
        (replace(FULL, publish_at_ms=2_000_000_000_000), "takes no time"),
        (hidden(RESTRICTED, 2_000_000_000_000), "takes no time"),
        (hidden(DELAYED), "names no time"),
        (replace(hidden(RESTRICTED), list_recipient=LIST_RECIPIENT[:-1] + "q"), "no age recipient"),
    ],
)
def test_a_publication_that_says_too_much_or_too_little_is_refused(land, publication, words):
    order = land.order(category=CHILD_ABUSE, publication=publication)
    keys = [land.proposer.key]
    if publication.mode is RESTRICTED:
        keys.append(land.oversight.key)
    refused(land.record(seal(order, *keys)), words)


# Delayed.


def delayed(land: Land, days: float, **changes: object):
    end_ms = land.now_ms + 60 * DAY_MS
    publication = hidden(DELAYED, land.now_ms + 1_000 + int(days * DAY_MS))
    changes = {"publication": publication, "expires_at_ms": end_ms, "review_due_at_ms": end_ms} | (
        changes
    )
    return land.record(seal(land.order(**changes), land.proposer.key))


def test_a_delay_is_bounded_by_the_law_and_by_the_policy(land):
    assert delayed(land, 30).is_effective
    refused(delayed(land, 30.1), "more than 30 days")
    refused(delayed(land, -1), "public already")
    land.record(seal(land.policy(delayed_days_max=7), *land.roots[:2]))
    assert delayed(land, 7).is_effective
    refused(delayed(land, 7.1), "more than 7 days")
    land.record(seal(land.policy(delayed_days_max=0), *land.roots[:2]))
    refused(delayed(land, 1), "allows no delayed publication")


def test_an_order_lapses_when_its_list_was_not_published(land):
    ref = land.propose_hidden(DELAYED)
    assert land.approve(ref).is_effective
    due_ms = land.order_record(ref).payload.publication.publish_at_ms
    assert land.order_record(ref).until_ms == due_ms
    assert [row.index for row in in_force(land.state, due_ms - 1)] == [ref.entry_index]
    assert in_force(land.state, due_ms) == ()
    assert standing(land.order_record(ref), due_ms) is Standing.LAPSED


@pytest.mark.parametrize("who", ["proposer", "approver", "second_approver", "oversight"])
def test_a_published_order_goes_on_to_its_end(land, who):
    ref = land.propose_hidden(DELAYED)
    land.approve(ref)
    assert land.publish(ref, getattr(land, who)).is_effective
    order = land.order_record(ref)
    assert order.is_public
    assert order.until_ms == order.expires_at_ms
    assert land.state.live[ref.entry_index][0] == order.expires_at_ms
    assert standing(order, order.expires_at_ms) is Standing.EXPIRED


def test_a_list_that_is_published_too_late_is_public_and_blocks_no_more(land):
    ref = land.propose_hidden(DELAYED)
    land.approve(ref)
    land.now_ms += 20 * DAY_MS
    assert land.publish(ref).is_effective
    order = land.order_record(ref)
    assert order.is_public
    assert blocked(land) == []
    assert standing(order, land.now_ms) is Standing.LAPSED


def test_nobody_else_publishes_and_nobody_twice(land):
    ref = land.propose_hidden(DELAYED)
    land.register(land.officer)
    for who in (land.stranger, land.officer, land.node):
        refused(land.publish(ref, who), "cannot publish")
    assert land.publish(ref).is_effective
    refused(land.publish(ref, land.approver), "public already", ConflictError)


def test_the_secret_of_another_list_publishes_nothing(land):
    ref = land.propose_hidden(DELAYED)
    land.approve(ref)
    refused(land.publish(ref, secret=identity()), "secret of another list")
    assert not land.order_record(ref).is_public
    plain = land.propose()
    refused(land.publish(plain), "publication is FULL")


def test_an_order_is_not_approved_when_its_list_should_be_public(land):
    ref = land.propose_hidden(DELAYED)
    land.now_ms += 20 * DAY_MS
    refused(land.approve(ref), "was to be published")


def test_an_extension_does_not_pass_an_unpublished_list(land):
    end_ms = land.now_ms + 21 * DAY_MS
    ref = land.propose_hidden(DELAYED, expires_at_ms=end_ms, review_due_at_ms=end_ms)
    land.approve(ref)
    due_ms = land.order_record(ref).payload.publication.publish_at_ms

    def extend(until_ms: int):
        act = land.extension(ref, until_ms)
        return land.record(seal(act, land.proposer.key, land.approver.key))

    refused(extend(end_ms + 1), "is to be published by")
    assert land.publish(ref).is_effective
    assert extend(end_ms + 1).is_effective
    assert due_ms < end_ms


def test_another_version_does_not_begin_the_delay_anew(land):
    first = land.propose_hidden(DELAYED)
    land.approve(first)
    land.now_ms += 15 * DAY_MS
    again = {"order_id": first.order_id, "version": 2, "supersedes": first}
    refused(delayed(land, 16, **again), "more than 30 days")
    assert delayed(land, 14, **again).is_effective


@pytest.mark.parametrize("last", [("review_due_at_ms",), ("expires_at_ms", "review_due_at_ms")])
def test_a_list_is_public_before_its_order_ends(land, last):
    """Else it would never have to be."""
    publication = hidden(DELAYED, land.now_ms + 10 * DAY_MS)
    due_ms = publication.publish_at_ms
    words = "before its list is public"
    refused(delayed(land, 10, publication=publication, **dict.fromkeys(last, due_ms)), words)
    times = dict.fromkeys(last, due_ms + 1)
    assert delayed(land, 10, publication=publication, **times).is_effective


def resealed() -> dict[str, object]:
    """Return the hidden list's other seal."""
    recipient = age.recipient_of(identity())
    octets = sealing.seal(SALTED, recipient)
    return {"sealed_sha256": digest(octets), "list_recipient": recipient}


@pytest.mark.parametrize("changes", [dict, resealed])
def test_another_order_with_the_same_list_does_not_begin_the_delay_anew(land, changes):
    first = land.propose_hidden(DELAYED)
    land.approve(first)
    land.now_ms += 15 * DAY_MS
    for days, is_let in ((16, False), (14, True)):
        due_ms = land.now_ms + 1_000 + days * DAY_MS
        publication = replace(hidden(DELAYED, due_ms), **changes())
        same_list = {"target_list_sha256": digest(SALTED), "target_count": 1}
        effect = delayed(land, days, publication=publication, **same_list)
        assert effect.is_effective == is_let
        if not is_let:
            refused(effect, "more than 30 days")


def test_a_delay_that_never_began_does_not_count(land):
    land.propose_hidden(DELAYED)
    land.now_ms += 15 * DAY_MS
    assert delayed(land, 30).is_effective


@pytest.mark.parametrize("mode", [DELAYED, RESTRICTED])
def test_a_sealed_file_has_one_recipient_and_one_list(land, mode):
    """Else one order's list would be public with a secret that opens nothing."""
    same = land.order_record(land.propose_hidden(mode)).payload.publication
    keys = [land.proposer.key] + [land.oversight.key] * (mode is RESTRICTED)
    other = replace(same, list_recipient=age.recipient_of(identity()))
    fields = {"category": CHILD_ABUSE, "publication": other}
    refused(land.record(seal(land.order(**fields), *keys)), "another recipient")
    fields = {"category": CHILD_ABUSE, "publication": same, "target_list_sha256": "0" * 64}
    refused(land.record(seal(land.order(**fields), *keys)), "another list")


def test_a_recipient_serves_one_list_in_one_mode(land):
    """Else who publishes one list would publish another, or one that stays hidden."""
    first = land.propose_hidden(DELAYED)
    same = land.order_record(first).payload.publication
    again = land.propose_hidden(DELAYED, publication=same)  # another order, the same list
    assert again != first
    other = replace(same, sealed_sha256="0" * 64)
    refused(land.record(seal(land.order(publication=other), land.proposer.key)), "another list")
    land.propose_hidden(RESTRICTED)
    hiding = hidden(RESTRICTED)
    shown = replace(same, list_recipient=hiding.list_recipient)
    refused(
        land.record(seal(land.order(publication=shown), land.proposer.key)), "recipient or mode"
    )
