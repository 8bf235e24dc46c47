"""The rules as stories: who can block, who can stop, and what no one can do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.backends.keys import PrivateKey
from enforcer.core.entry import Entry, parse
from enforcer.core.envelope import Envelope, Signature
from enforcer.core.fold import apply
from enforcer.core.judge import judge_unlogged_stop
from enforcer.core.key import Category, Role
from enforcer.core.life import OrderStatus
from enforcer.core.order import Measure
from enforcer.core.policy import DAY_MS, DecisionKind, LifetimeCap
from enforcer.core.state import Roots, in_force
from enforcer.core.table import Binding, DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, InputError, IntegrityError, NotFoundError, RefusedError
from tests.people import LIST_RECIPIENT, ORIGIN, Land, Person, request_id, seal


@pytest.fixture
def land() -> Land:
    return Land.founded()


def blocked(land: Land) -> list[int]:
    return [row.index for row in in_force(land.state, land.now_ms)]


def refused(effect, kind=RefusedError, words=""):
    assert not effect.is_effective
    assert isinstance(effect.refusal, kind), effect.refusal
    assert words in effect.refusal.message, effect.refusal.message
    assert effect.refusal.advice
    return effect.refusal


# Two to block.


def test_a_proposal_and_another_persons_approval_block(land):
    ref = land.in_force_order()
    assert blocked(land) == [ref.entry_index]


def test_one_signature_never_blocks(land):
    land.propose()
    assert blocked(land) == []


def test_one_person_with_two_keys_is_one_person(land):
    second_key = Person("an.nguyen", Role.APPROVER, "cert-vn", land.proposer.categories)
    assert land.record(seal(second_key.registration(land.now_ms), *land.roots[:2])).is_effective
    ref = land.propose()
    refused(land.approve(ref, second_key), words="an.nguyen proposed this order")
    assert blocked(land) == []


def test_a_proposer_cannot_approve_and_an_approver_cannot_propose(land):
    ref = land.propose()
    refused(land.approve(ref, land.proposer), words="cannot act as APPROVER")
    refused(land.record(seal(land.order(), land.approver.key)), words="cannot act as PROPOSER")


def test_an_approver_of_another_authority_cannot_approve(land):
    refused(land.approve(land.propose(), land.stranger), words="acts for other-authority")


def test_oversight_and_nodes_and_roots_cannot_approve(land):
    ref = land.propose()
    for key in (land.oversight.key, land.node.key, land.roots[0], PrivateKey.generate()):
        assert not land.record(seal(land.approval(ref), key)).is_effective
    assert blocked(land) == []


def test_two_signatures_on_one_approval_are_not_an_approval(land):
    ref = land.propose()
    both = seal(land.approval(ref), land.approver.key, land.second_approver.key)
    refused(land.record(both), words="has 2 signatures")


def test_an_approval_names_the_order_by_id_index_and_hash(land):
    ref, other = land.propose(), land.propose(b"exact other.example.org\n")
    for wrong, kind in (
        (replace(ref, entry_index=other.entry_index), RefusedError),
        (replace(ref, order_id=other.order_id), RefusedError),
        (replace(ref, payload_sha256=other.payload_sha256), RefusedError),
        (replace(ref, entry_index=0), NotFoundError),
        (replace(ref, entry_index=10_000), NotFoundError),
    ):
        refused(land.approve(wrong), kind)
    assert blocked(land) == []


def test_an_approval_under_another_policy_has_no_effect(land):
    ref = land.propose()
    approval = seal(land.approval(ref), land.approver.key)
    assert land.record(seal(land.policy(), *land.roots[:2])).is_effective
    refused(land.record(approval), ConflictError, "another policy")


def test_category_and_territory_bound_what_a_person_may_order(land):
    narrow = Person("em.vo", Role.PROPOSER, "cert-vn", (Category.SPAM_SOURCE,))
    land.record(seal(narrow.registration(land.now_ms), *land.roots[:2]))
    refused(land.record(seal(land.order(), narrow.key)), words="no power over PHISHING")
    refused(
        land.record(seal(land.order(territory="LA"), land.proposer.key)), words="no power in LA"
    )
    assert land.record(seal(land.order(territory="VN-HN"), land.proposer.key)).is_effective


def test_a_tampered_signature_has_no_effect(land):
    envelope = seal(land.order(), land.proposer.key)
    signature = envelope.signatures[0]
    flipped = bytes([signature.octets[0] ^ 1]) + signature.octets[1:]
    refused(
        land.record(replace(envelope, signatures=(Signature(signature.key_id, flipped),))),
        words="is not valid",
    )


def test_an_old_proposal_cannot_be_approved(land):
    ref = land.propose(expires_at_ms=land.now_ms + 100 * DAY_MS)
    land.now_ms += 31 * DAY_MS
    refused(land.approve(ref), words="more than 30 days old")


# One to stop.


@pytest.mark.parametrize("who", ["proposer", "approver", "second_approver", "oversight"])
def test_one_right_person_stops_alone(land, who):
    ref = land.in_force_order()
    assert land.stop(ref, getattr(land, who)).is_effective
    assert blocked(land) == []


def test_who_has_nothing_to_do_with_an_order_cannot_stop_it(land):
    ref = land.in_force_order()
    refused(land.stop(ref, land.stranger), words="cannot stop it")
    refused(land.stop(ref, land.node))
    assert blocked(land) == [ref.entry_index]


def test_a_stopped_order_cannot_come_back(land):
    ref = land.in_force_order()
    approval = land.approval(ref)
    land.stop(ref)
    refused(land.record(seal(approval, land.second_approver.key)), ConflictError, "is STOPPED")
    both = (land.proposer.key, land.approver.key)
    extension = seal(land.extension(ref, land.now_ms + 40 * DAY_MS), *both)
    refused(land.record(extension), ConflictError)
    refused(land.stop(ref), ConflictError)
    assert blocked(land) == []


def test_a_stop_counts_even_when_it_was_signed_long_ago(land):
    ref = land.in_force_order()
    late = land.stopping(ref, valid_until_ms=1)
    assert land.record(seal(late, land.oversight.key)).is_effective


def test_a_node_obeys_a_valid_stop_before_it_is_logged_and_nothing_else(land):
    ref = land.in_force_order()
    stop = seal(land.stopping(ref), land.approver.key)
    assert judge_unlogged_stop(land.state, stop, land.now_ms).order == ref
    with pytest.raises(RefusedError, match="only a stop"):
        judge_unlogged_stop(land.state, seal(land.approval(ref), land.approver.key), land.now_ms)
    with pytest.raises(RefusedError, match="cannot stop it"):
        judge_unlogged_stop(land.state, seal(land.stopping(ref), land.stranger.key), land.now_ms)
    elsewhere = seal(land.stopping(ref, ledger_origin="example.net/ledger"), land.approver.key)
    with pytest.raises(RefusedError, match="meant for the ledger"):
        judge_unlogged_stop(land.state, elsewhere, land.now_ms)


def test_a_stop_ends_the_order_with_all_its_versions(land):
    """A second version prepared before or after the stop must not undo it."""
    first = land.in_force_order()
    second = land.propose(order_id=first.order_id, version=2, supersedes=first)
    assert land.stop(first).is_effective
    refused(land.approve(second), ConflictError, "is STOPPED")
    third = land.order(order_id=first.order_id, version=3, supersedes=first)
    refused(land.record(seal(third, land.proposer.key)), words="a stop is for good")
    assert blocked(land) == []


def test_a_stop_of_a_superseded_version_still_ends_the_order(land):
    first = land.in_force_order()
    stop = seal(land.stopping(first), land.oversight.key)
    second = land.propose(order_id=first.order_id, version=2, supersedes=first)
    assert land.approve(second).is_effective
    assert land.record(stop).is_effective
    assert blocked(land) == []


def test_a_stop_counts_even_if_its_request_id_was_used_before(land):
    ref = land.in_force_order()
    other = land.propose(b"exact x.example.org\n")
    first = land.stopping(other)
    assert land.record(seal(first, land.oversight.key)).is_effective
    again = land.stopping(ref, request_id=first.request_id)
    assert land.record(seal(again, land.oversight.key)).is_effective


# Every order ends.


def test_an_order_ends_by_itself(land):
    ref = land.in_force_order(
        expires_at_ms=land.now_ms + DAY_MS, review_due_at_ms=land.now_ms + DAY_MS
    )
    (row,) = in_force(land.state, land.now_ms)
    assert in_force(land.state, row.until_ms - 1) == (row,)
    assert in_force(land.state, row.until_ms) == ()
    assert land.state.orders[ref.entry_index].status is OrderStatus.APPROVED


def test_an_order_starts_at_its_approval_or_later_never_before(land):
    land.in_force_order()
    (row,) = in_force(land.state, land.now_ms)
    assert row.from_ms == land.now_ms
    later = land.in_force_order(b"exact x.example.org\n", not_before_ms=land.now_ms + DAY_MS)
    assert later.entry_index not in blocked(land)
    assert later.entry_index in [r.index for r in in_force(land.state, land.now_ms + DAY_MS)]


def test_a_missed_review_ends_the_order(land):
    land.in_force_order(review_due_at_ms=land.now_ms + DAY_MS)
    assert in_force(land.state, land.now_ms + DAY_MS) == ()


@pytest.mark.parametrize(
    ("kind", "category", "days"),
    [
        (DecisionKind.EMERGENCY, Category.PHISHING, 3),
        (DecisionKind.CERT_ADVISORY, Category.MALWARE, 30),
        (DecisionKind.ADMINISTRATIVE, Category.SPAM_SOURCE, 90),
        (DecisionKind.ADMINISTRATIVE, Category.SCAM, 180),
        (DecisionKind.COURT_FINAL, Category.COURT_DECISION, 366),
    ],
)
def test_no_order_lasts_longer_than_its_cap(land, kind, category, days):
    binding = Binding.ADVISORY if kind is DecisionKind.CERT_ADVISORY else Binding.BINDING

    def order(lifetime_ms):
        end = land.now_ms + lifetime_ms
        changes = {"expires_at_ms": end, "review_due_at_ms": end, "binding": binding}
        return seal(land.order(decision_kind=kind, category=category, **changes), land.proposer.key)

    refused(land.record(order(days * DAY_MS + 1_001)), words=f"over {days} days")
    assert land.record(order(days * DAY_MS)).is_effective


def test_the_cap_counts_from_the_approval(land):
    three_days = {"expires_at_ms": land.now_ms + 3 * DAY_MS + 2_000}
    three_days["review_due_at_ms"] = three_days["expires_at_ms"]
    envelope = seal(
        land.order(decision_kind=DecisionKind.EMERGENCY, **three_days), land.proposer.key
    )
    refused(land.record(envelope), words="over 3 days")
    effect = land.record(envelope)
    assert effect.is_effective  # one second later it fits, and so does the approval
    assert land.approve(land.ref(effect.index)).is_effective


def test_an_end_in_the_past_or_before_the_start_is_refused(land):
    past = land.order(expires_at_ms=land.now_ms - 1, not_before_ms=land.now_ms - 2)
    refused(land.record(seal(past, land.proposer.key)), words="would have ended")
    backwards = land.order(not_before_ms=land.now_ms + 31 * DAY_MS)
    refused(land.record(seal(backwards, land.proposer.key)), words="before it begins")


def test_an_extension_is_a_new_approval_by_two(land):
    ref = land.in_force_order()
    later = land.now_ms + 60 * DAY_MS
    for keys in (
        [land.proposer.key],
        [land.approver.key],
        [land.approver.key, land.second_approver.key],
        [land.proposer.key, land.stranger.key],
        [land.proposer.key, land.oversight.key],
        [land.proposer.key, land.approver.key, land.second_approver.key],
    ):
        refused(land.record(seal(land.extension(ref, later), *keys)))
    assert land.record(
        seal(land.extension(ref, later), land.approver.key, land.proposer.key)
    ).is_effective
    assert in_force(land.state, later - 1)
    assert not in_force(land.state, later)


def test_an_extension_never_shortens_passes_the_cap_or_revives(land):
    ref = land.in_force_order()
    both = (land.proposer.key, land.approver.key)
    refused(land.record(seal(land.extension(ref, land.now_ms + DAY_MS), *both)), words="not after")
    refused(
        land.record(seal(land.extension(ref, land.now_ms + 181 * DAY_MS), *both)), words="180 days"
    )
    land.now_ms += 31 * DAY_MS
    refused(
        land.record(seal(land.extension(ref, land.now_ms + DAY_MS), *both)), words="ended already"
    )


def test_an_emergency_cannot_be_extended(land):
    end = land.now_ms + 2 * DAY_MS
    ref = land.in_force_order(
        decision_kind=DecisionKind.EMERGENCY, expires_at_ms=end, review_due_at_ms=end
    )
    both = (land.proposer.key, land.approver.key)
    refused(land.record(seal(land.extension(ref, end + 1_000), *both)), words="emergency")


# What an order may say.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measure": Measure(DnsMeasure.NONE, IpMeasure.NONE)}, "blocks nothing"),
        ({"category": Category.COURT_DECISION}, "decision of a court"),
        ({"decision_kind": DecisionKind.CERT_ADVISORY}, "binds nobody"),
        ({"version": 2}, "version is 1"),
        ({"review_due_at_ms": 5}, "review"),
    ],
)
def test_an_order_that_says_too_much_or_too_little_is_refused(land, changes, words):
    refused(land.record(seal(land.order(**changes), land.proposer.key)), words=words)


def test_the_policy_bounds_the_number_of_targets(land):
    land.record(seal(land.policy(targets_max=2), *land.roots[:2]))
    three = b"exact a.example.org\nexact b.example.org\nexact c.example.org\n"
    refused(land.record(seal(land.order(three), land.proposer.key)), words="the policy allows 2")


def test_a_new_version_takes_over_when_it_is_approved(land):
    first = land.in_force_order()
    second = land.propose(order_id=first.order_id, version=2, supersedes=first)
    assert blocked(land) == [first.entry_index]
    assert land.approve(second).is_effective
    assert blocked(land) == [second.entry_index]
    assert land.state.orders[first.entry_index].status is OrderStatus.SUPERSEDED


def test_an_order_id_is_never_used_twice_by_accident(land):
    first = land.in_force_order()
    again = land.order(order_id=first.order_id)
    refused(land.record(seal(again, land.proposer.key)), ConflictError)


# Replays.


def test_a_repeated_payload_has_no_effect(land):
    envelope = seal(land.order(), land.proposer.key)
    assert land.record(envelope).is_effective
    refused(land.record(envelope), ConflictError, "recorded already")


def test_a_signers_request_id_serves_once(land):
    one, two = land.order(), land.order(b"exact x.example.org\n")
    assert land.record(seal(one, land.proposer.key)).is_effective
    second = seal(replace(two, request_id=one.request_id), land.proposer.key)
    refused(land.record(second), ConflictError, "request_id")


def test_a_payload_of_another_ledger_has_no_effect(land):
    order = land.order(ledger_origin="example.net/ledger")
    refused(land.record(seal(order, land.proposer.key)), words="meant for the ledger")


def test_an_act_has_no_effect_after_its_time_and_cannot_be_hoarded(land):
    late = land.order(valid_until_ms=land.now_ms)
    refused(land.record(seal(late, land.proposer.key)), words="to be recorded by")
    hoarded = land.order(valid_until_ms=land.now_ms + 32 * DAY_MS)
    refused(land.record(seal(hoarded, land.proposer.key)), words="more than 30 days")


# Roots, policy, keys.


def test_one_root_is_not_enough_and_no_stranger_helps(land):
    policy = land.policy()
    refused(land.record(seal(policy, land.roots[0])), words="1 root keys signed, and 2 must")
    refused(land.record(seal(policy, land.roots[0], PrivateKey.generate())), words="no root key")
    refused(land.record(seal(policy, land.roots[0], land.approver.key)), words="no root key")
    assert land.record(seal(policy, *land.roots)).is_effective


def test_a_policy_can_only_narrow(land):
    cap = LifetimeCap(Category.PHISHING, DecisionKind.ADMINISTRATIVE, 181)
    wide = land.policy(lifetime_caps=(cap,))
    refused(land.record(seal(wide, *land.roots[:2])), words="where the law allows 180")
    narrow = land.policy(lifetime_caps=(replace(cap, lifetime_days_max=7),))
    assert land.record(seal(narrow, *land.roots[:2])).is_effective
    refused(land.record(seal(land.order(), land.proposer.key)), words="over 7 days")


def test_an_older_policy_cannot_come_back(land):
    """Signed by the roots, withheld, and recorded after its narrower successor."""
    withheld = seal(land.policy(), *land.roots[:2])
    assert land.record(seal(land.policy(targets_max=10), *land.roots[:2])).is_effective
    refused(land.record(withheld), ConflictError, "follows another one")
    assert land.state.policy.payload.targets_max == 10


def test_a_key_under_which_anyone_can_sign_is_never_registered(land):
    for text in ("01" + "00" * 31, "00" * 32, "ec" + "ff" * 31, "01" + "00" * 30 + "80"):
        weak = Person("yen.ly", Role.APPROVER, "cert-vn", (Category.SCAM,)).registration(
            land.now_ms
        )
        act = replace(weak, public_key=text)
        refused(land.record(seal(act, *land.roots[:2])), words="anyone can sign")
    with pytest.raises(ValueError, match="anyone can sign"):
        Roots((bytes(32), *(key.public_key for key in land.roots)), 2)


def test_a_registration_lasts_five_years_at_most(land):
    person = Person("ha.bui", Role.OVERSIGHT)
    act = replace(person.registration(land.now_ms), not_after_ms=land.now_ms + 1_900 * DAY_MS)
    refused(land.record(seal(act, *land.roots[:2])), words="over 1827 days")


def test_all_orders_together_are_bounded(land):
    for number in range(10):
        land.in_force_order(b"exact %d.example.org\n" % number, target_count=2_000_000)
    ref = land.propose(b"exact x.example.org\n")
    refused(land.approve(ref), words="over 20000000")
    land.stop(land.ref(min(land.state.orders)))
    land.now_ms += DAY_MS  # what was added within a day is bounded for itself
    assert land.approve(ref).is_effective


def test_a_policy_of_a_newer_fold_stops_following_and_changes_nothing(land):
    size = land.state.size
    with pytest.raises(IntegrityError, match="fold version 2"):
        land.record(seal(land.policy(fold_version=2), *land.roots[:2]))
    assert land.state.size == size


def test_nothing_can_be_ordered_before_a_policy_stands():
    land = Land()
    for person in (land.proposer, land.approver):
        land.record(seal(person.registration(land.now_ms), *land.roots[:2]))
    refused(land.record(seal(land.order(), land.proposer.key)), words="no policy")


def test_a_registration_says_one_thing_about_one_holder(land):
    good = Person("nga.do", Role.PROPOSER, "cert-vn", (Category.SCAM,)).registration(land.now_ms)
    for changes, words in (
        ({"person_id": None}, "role of a person"),
        ({"machine_id": "node-9"}, "role of a person"),
        ({"role": Role.NODE, "authority": None, "categories": ()}, "role of a machine"),
        ({"encryption_key": LIST_RECIPIENT}, "opens no sealed list"),
        ({"authority": None}, "needs an authority"),
        ({"categories": ()}, "needs an authority"),
        ({"role": Role.OVERSIGHT}, "acts for no authority"),
        ({"not_after_ms": land.now_ms}, "would have ended"),
    ):
        act = replace(good, request_id=request_id(), **changes)
        refused(land.record(seal(act, *land.roots[:2])), words=words)
    reading = Person("clerk", Role.OVERSIGHT).registration(land.now_ms)
    for key, words in ((None, "opens sealed lists"), (LIST_RECIPIENT[:-1] + "q", "no age")):
        act = replace(reading, request_id=request_id(), encryption_key=key)
        refused(land.record(seal(act, *land.roots[:2])), words=words)
    taken = replace(good, public_key=land.approver.key.public_key.hex())
    refused(land.record(seal(taken, *land.roots[:2])), ConflictError, "registered already")


def test_a_key_ends_with_its_registration(land):
    land.now_ms += 366 * DAY_MS
    refused(land.record(seal(land.order(), land.proposer.key)), words="has ended")


def test_a_revoked_key_signs_nothing_more_but_its_past_stands(land):
    ref, waiting = land.in_force_order(), land.propose(b"exact x.example.org\n")
    assert land.record(seal(land.revocation(land.proposer), *land.roots[:2])).is_effective
    assert blocked(land) == [ref.entry_index]
    refused(land.record(seal(land.order(), land.proposer.key)), words="revoked")
    refused(land.approve(waiting), words="revoked")
    refused(land.record(seal(land.revocation(land.proposer), *land.roots[:2])), ConflictError)


def test_orders_that_rest_on_a_compromised_key_go_on_hold(land):
    before = land.in_force_order()
    after = land.in_force_order(b"exact x.example.org\n")
    land.record(seal(land.revocation(land.approver, since=after.entry_index), *land.roots[:2]))
    assert blocked(land) == [before.entry_index]
    assert land.state.orders[after.entry_index].status is OrderStatus.HELD
    refused(land.approve(after, land.second_approver), ConflictError, "is HELD")
    assert land.stop(after).is_effective


def test_the_root_threshold_is_at_least_two():
    keys = tuple(PrivateKey.generate().public_key for _ in range(3))
    for public_keys, threshold in ((keys, 1), (keys, 0), (keys, 4), (keys[:1] * 3, 2)):
        with pytest.raises(ValueError, match="root"):
            Roots(public_keys, threshold)


# The fold.


def test_time_that_runs_backwards_stops_following(land):
    size = land.state.size
    envelope = seal(land.order(), land.proposer.key)
    with pytest.raises(IntegrityError, match="before the entry in front"):
        apply(land.state, Entry(land.now_ms - 1, envelope))
    assert land.state.size == size


def test_a_malformed_payload_has_no_effect_and_is_reported(land):
    envelope = Envelope(land.order().TYPE, b'{"x":1}', (Signature("0" * 64, bytes(64)),))
    refused(land.record(envelope), InputError, "unknown field")
    assert land.state.size == len(land.leaves)


def test_the_same_leaves_give_the_same_state():
    land = Land.founded()
    ref = land.in_force_order()
    land.in_force_order(b"exact x.example.org\n")
    land.stop(ref)
    land.approve(ref)
    again = Land(roots=land.roots).state
    for leaf in land.leaves:
        apply(again, parse(leaf))
    assert again == land.state
    assert again.origin == ORIGIN


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(range(8)), st.sampled_from(range(7))), max_size=12))
def test_no_acts_by_fewer_than_two_right_persons_ever_block(acts):
    """Everybody except the right approvers does anything, in any order; nothing is blocked."""
    land = Land.founded()
    impostor = Person("an.nguyen", Role.APPROVER, "cert-vn", land.proposer.categories)
    land.record(seal(impostor.registration(land.now_ms), *land.roots[:2]))
    people = [land.proposer, impostor, land.stranger, land.oversight, land.node]
    keys = [person.key for person in people] + [land.roots[0], PrivateKey.generate()]
    refs = [land.propose()]
    for act, who in acts:
        key, ref = keys[who], refs[-1]
        if act in (0, 1):
            effect = land.record(seal(land.order(), key))
            if effect.is_effective:
                refs.append(land.ref(effect.index))
        elif act in (2, 3, 4):
            land.record(seal(land.approval(ref), key))
        elif act == 5:
            land.record(seal(land.extension(ref, land.now_ms + 40 * DAY_MS), key, keys[who - 1]))
        elif act == 6:
            land.record(seal(land.policy(), key))
        else:
            land.record(seal(Person("x", Role.NODE).registration(land.now_ms), key))
        assert not list(land.state.approved_rows())


def test_a_stop_of_a_version_that_never_was_ends_the_order_in_the_ledger_as_at_a_node(land):
    for wrong in (
        {"entry_index": 10**9, "payload_sha256": "cd" * 32},
        {"entry_index": 0},
        {"payload_sha256": "cd" * 32},
    ):
        ref = land.in_force_order()
        stop = seal(land.stopping(replace(ref, **wrong)), land.oversight.key)
        assert judge_unlogged_stop(land.state, stop, land.now_ms).order.order_id == ref.order_id
        effect = land.record(stop)
        assert (effect.refusal, effect.order_index) == (None, ref.entry_index)
        assert blocked(land) == []


def test_a_stop_of_an_order_id_that_nobody_proposed_ends_nothing(land):
    ref = land.in_force_order()
    stranger = replace(ref, order_id="VN-2027-999999")
    refused(land.record(seal(land.stopping(stranger), land.oversight.key)), words="proposes")
    assert blocked(land) != []
