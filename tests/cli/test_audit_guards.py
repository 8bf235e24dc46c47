"""A control plane that skips a guard is found by `audit verify`, at the entry of the approval."""

from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.guard import Guard
from enforcer.core.hold import HoldLifted, OrderHeld
from enforcer.core.key import Role
from enforcer.core.policy import DAY_MS, DecisionKind, Pins
from tests.ledgers import Archive
from tests.people import Land, Person, request_id, seal

SUFFIXES = b"icann com\nicann org\nprivate hosting.example.com\n"
CORE = b"exact resolver.arpa\n"
PROTECTED = b"subtree bank.example.org\n"
BAD = b"exact bad.example.org\n"
PINNED = (CORE, PROTECTED, SUFFIXES)


@pytest.fixture
def land():
    core, protected, suffixes = (sha256(text).hexdigest() for text in PINNED)
    land = Land.founded(pins=Pins(core, protected, suffixes, None))
    land.control = Person("control-1", Role.CONTROL)
    land.record(seal(land.control.registration(land.now_ms), *land.roots[:2]))
    return land


@pytest.fixture
def verified(run, land, tmp_path):
    """Write the ledger with these lists beside it, verify it, and return what was found."""

    def verified(*lists):
        archive = Archive(tmp_path / "ledger", land)
        archive.write(lists=[*PINNED, *lists])
        trust = archive.write_trust(tmp_path / "trust.toml")
        said = run("audit", "verify", archive.path, "--trust", trust, "--json")
        found = [each for each in said.json["findings"] if each["severity"] != "NOTE"]
        assert said.json["guarded"] == said.json["orders_approved"]
        return said.code, [(each["code"], each["index"], each["words"]) for each in found]

    return verified


def skipped(found, land, words):
    code, ((name, index, said),) = found
    assert (code, name, index) == (1, "GUARD_SKIPPED", land.state.size - 1)
    assert words in said, said


def held(land, ref, *guards):
    act = OrderHeld(
        ledger_origin=land.origin,
        request_id=request_id(),
        valid_until_ms=land.now_ms + DAY_MS,
        order=ref,
        policy_sha256=land.state.policy.payload_sha256,
        guards=guards,
        report_sha256=sha256(b"report").hexdigest(),
    )
    assert land.record(seal(act, land.control.key)).is_effective


def lifted(land, ref, *guards, by=None):
    act = HoldLifted(
        ledger_origin=land.origin,
        request_id=request_id(),
        valid_until_ms=land.now_ms + DAY_MS,
        order=ref,
        policy_sha256=land.state.policy.payload_sha256,
        guards=guards,
        overrides=(),
        assessment_index=None,
        reason_sha256=None,
    )
    effect = land.record(seal(act, (by or land.oversight).key))
    assert effect.is_effective, effect.refusal


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (
            b"subtree example.com\n",
            "though PRIVATE_SUFFIX holds 1 line of its list: private hosting.example.com",
        ),
        (
            b"exact www.bank.example.org\n",
            "though PROTECTED_NAME holds 1 line of its list: subtree bank.example.org",
        ),
        (
            b"exact resolver.arpa\nexact z.example.com\n",
            "though PROTECTED_CORE refuses 1 line of its list: exact resolver.arpa",
        ),
        (
            b"subtree hosting.example.com\n",
            "though PRIVATE_SUFFIX holds 1 line of its list: private hosting.example.com",
        ),
    ],
)
def test_an_order_that_was_approved_past_a_guard_is_named(land, verified, targets, words):
    land.in_force_order(targets)
    skipped(verified(targets), land, words)


def test_what_no_guard_fires_at_is_good(land, verified):
    land.in_force_order(BAD)
    assert verified(BAD) == (0, [])


def test_a_hold_that_was_lifted_before_the_approval_is_good(land, verified):
    targets = b"subtree hosting.example.com\n"
    ref = land.propose(targets)
    held(land, ref, Guard.PRIVATE_SUFFIX)
    lifted(land, ref, Guard.PRIVATE_SUFFIX)
    assert land.approve(ref).is_effective
    assert verified(targets) == (0, [])


def test_a_hold_and_lift_after_the_approval_do_not_make_it_good(land, verified):
    targets = b"subtree hosting.example.com\n"
    ref = land.propose(targets)
    index = land.approve(ref).index
    held(land, ref, Guard.PRIVATE_SUFFIX)
    lifted(land, ref, Guard.PRIVATE_SUFFIX)
    code, ((name, where, _),) = verified(targets)
    assert (code, name, where) == (1, "GUARD_SKIPPED", index)


def test_what_was_stopped_lately_is_not_blocked_again_without_oversight(land, verified):
    first = land.in_force_order(BAD)
    land.stop(first)
    again = b"exact bad.example.org\nexact new.example.org\n"
    ref = land.propose(again)
    land.approve(ref)
    words = f"though STOPPED_BEFORE holds 1 line of its list: entry {first.entry_index}"
    skipped(verified(BAD, again), land, words)


def test_a_stop_of_long_ago_and_one_of_other_targets_do_not_matter(land, verified):
    land.stop(land.in_force_order(b"exact else.example.org\n"))
    land.stop(land.in_force_order(BAD))
    land.now_ms += 31 * DAY_MS
    land.in_force_order(BAD)
    assert verified(BAD, b"exact else.example.org\n") == (0, [])


def test_an_emergency_may_not_follow_an_emergency(land, verified):
    def emergency():
        soon_ms = land.now_ms + 2 * DAY_MS
        return land.in_force_order(
            BAD,
            decision_kind=DecisionKind.EMERGENCY,
            expires_at_ms=soon_ms,
            review_due_at_ms=soon_ms,
        )

    first = emergency()
    land.now_ms += 3 * DAY_MS
    emergency()
    words = f"though EMERGENCY_REPEATED refuses 1 line of its list: entry {first.entry_index}"
    skipped(verified(BAD), land, words)


def test_the_data_of_the_time_counts_and_not_that_of_later(land, verified):
    targets = b"exact www.bank.example.net\n"
    land.in_force_order(targets)
    names = PROTECTED.replace(b".org", b".net")
    later = replace(land.pins, protected_names=sha256(names).hexdigest())
    land.record(seal(land.policy(pins=later), *land.roots[:2]))
    assert verified(targets, names) == (0, [])


def test_a_list_that_is_not_here_is_told_once_and_leaves_the_audit_incomplete(run, land, tmp_path):
    land.in_force_order(BAD)
    archive = Archive(tmp_path / "ledger", land)
    archive.write(lists=PINNED)
    trust = archive.write_trust(tmp_path / "trust.toml")
    said = run("audit", "verify", archive.path, "--trust", trust, "--json")
    assert said.code == 2
    assert [each["code"] for each in said.json["findings"]] == ["NOT_ATTESTED", "LIST_MISSING"]


def lasting(land, days):
    end_ms = land.now_ms + days * DAY_MS - 60_000
    return {
        "not_before_ms": land.now_ms,
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }


def test_time_without_a_court_that_an_extension_got_is_named(land, verified):
    land.record(seal(land.policy(administrative_days_max=100), *land.roots[:2]))
    land.in_force_order(BAD, **lasting(land, 98))
    land.now_ms += 98 * DAY_MS
    ref = land.in_force_order(BAD, **lasting(land, 1))
    extension = land.extension(ref, land.now_ms + 98 * DAY_MS)
    effect = land.record(seal(extension, land.proposer.key, land.approver.key))
    assert effect.is_effective
    skipped(verified(BAD), land, "was extended though ADMINISTRATIVE_TIME refuses 1 line")


@pytest.mark.parametrize("again", [b"subtree example.net\n", b"exact a.bad.example.net\n"])
def test_a_stop_that_a_parent_or_a_name_below_escaped_is_named(land, verified, again):
    stopped = b"subtree bad.example.net\n"
    land.stop(land.in_force_order(stopped))
    land.in_force_order(again)
    skipped(verified(stopped, again), land, "STOPPED_BEFORE holds 1 line of its list: entry ")


def test_a_stop_after_the_lift_is_named(land, verified):
    refs = [land.in_force_order(BAD) for _ in range(2)]
    land.stop(refs[0])
    ref = land.propose(BAD)
    held(land, ref, Guard.STOPPED_BEFORE)
    lifted(land, ref, Guard.STOPPED_BEFORE)
    land.stop(refs[1])
    assert land.approve(ref).is_effective
    skipped(verified(BAD), land, f"holds 1 line of its list: entry {refs[1].entry_index}")


def test_a_lift_of_other_data_than_is_pinned_at_the_approval_is_named(land, verified):
    targets = b"subtree hosting.example.com\n"
    ref = land.propose(targets)
    held(land, ref, Guard.PRIVATE_SUFFIX)
    lifted(land, ref, Guard.PRIVATE_SUFFIX)
    suffixes = SUFFIXES + b"private other.example.com\n"
    pins = replace(land.pins, public_suffixes=sha256(suffixes).hexdigest())
    land.record(seal(land.policy(pins=pins), *land.roots[:2]))
    assert land.approve(ref).is_effective
    skipped(verified(targets, suffixes), land, "though PRIVATE_SUFFIX holds 1 line")


def test_a_hold_for_what_does_not_fire_is_named(land, verified):
    ref = land.in_force_order(BAD)
    held(land, ref, Guard.PUBLIC_SUFFIX)
    code, ((name, index, words),) = verified(BAD)
    assert (code, name, index) == (1, "HELD_FOR_NOTHING", land.state.size - 1)
    assert "PUBLIC_SUFFIX, which does not fire" in words


@pytest.mark.parametrize("minutes", [30, 90])
def test_what_new_data_objects_to_is_held_within_the_hour(land, verified, minutes):
    ref = land.in_force_order(BAD)
    names = PROTECTED + b"subtree example.org\n"
    names = b"".join(sorted(names.splitlines(keepends=True)))
    pins = replace(land.pins, protected_names=sha256(names).hexdigest())
    adopted = land.record(seal(land.policy(pins=pins), *land.roots[:2]))
    assert adopted.is_effective
    land.now_ms += minutes * 60_000
    held(land, ref, Guard.PROTECTED_NAME)
    land.now_ms += DAY_MS
    land.record(seal(land.policy(pins=pins), *land.roots[:2]))
    code, found = verified(BAD, names)
    is_late = minutes > 60
    assert (code, [(name, index) for name, index, _ in found]) == (
        is_late,
        [("NOT_HELD", adopted.index)] * is_late,
    )
