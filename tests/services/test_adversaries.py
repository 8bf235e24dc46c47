"""A dishonest control plane, met by a real node and by the audit of the same ledger.

Each deed is sealed with the log's own key, as its operator can. The node enforces nothing of it,
says which entry and why, and attests that; the audit, which reads what the node attested, names
the same entry with the same words, and finds nothing else that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from enforcer.app.audit import audit_directory
from enforcer.backends.keys import PrivateKey
from enforcer.core.attestation import NotEnforced, parse_attestation
from enforcer.core.entry import Entry, encode, parse
from enforcer.core.envelope import Envelope, Signature, parse_envelope
from enforcer.core.guard import Guard
from enforcer.core.key import Role
from enforcer.core.order import OrderRef
from enforcer.core.policy import DAY_MS, DecisionKind, Pins
from enforcer.services.findings import Code, Finding, Severity
from tests.node_world import BAD, WORSE, World, blocking, open_copy, stopped_here, trust_of
from tests.people import Land, Person, seal
from tests.waiting import until

HOUR_MS = 3_600_000
MINUTE_MS = 60_000  # less than clocks may be apart


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A node's world, whose lists are in the ledger's directory too."""
    world = World(tmp_path)
    world.bring(BAD)
    world.bring(WORSE)
    return world


def keep_evidence(world: World, directory: Path) -> None:
    """Put what the control plane keeps beside its ledger: lists, and what the node attested."""
    for text in world.feed.lists.values():
        world.book.lists.put(text)
    folder = directory / "attestations" / "node-1"
    folder.mkdir(parents=True, exist_ok=True)
    for envelope in world.control.attestations:
        said = parse_attestation(parse_envelope(envelope))
        (folder / f"{said.t_ms}-{said.ledger_size}.json").write_bytes(envelope)


def audited(world: World, directory: Path | None = None, after_ms: int = 1_000) -> list[Finding]:
    """Audit the control plane's directory, or another one, and return what is no note."""
    directory = directory or world.directory / "book"
    keep_evidence(world, directory)
    _, findings = audit_directory(
        directory,
        trust_of(world.land, world.log),
        as_of_ms=max(world.clock.ms, world.land.now_ms) + after_ms,
    )
    return [each for each in findings if each.severity is Severity.VIOLATION]


async def attested_all(world: World) -> None:
    """Wait until the node has attested the whole ledger."""
    await until(
        lambda: world.attested is not None and world.attested.ledger_size == len(world.land.leaves)
    )


# Entries that the log signed and that no rule allows.
#
# Each deed gets a land where BAD is in force by `ref`, and puts entries behind it. It returns the
# index of the one that breaks a rule, and words of the reason.

Deed = Callable[[Land, OrderRef], tuple[int, str]]


def one_signature(land: Land, _ref: OrderRef) -> tuple[int, str]:
    effect = land.approve(land.propose(WORSE), by=land.proposer)
    return effect.index, "PROPOSER cannot act as APPROVER"


def one_person_with_two_keys(land: Land, _ref: OrderRef) -> tuple[int, str]:
    twin = Person(land.proposer.person_id, Role.APPROVER, "cert-vn", land.approver.categories)
    land.register(twin)
    return land.approve(land.propose(WORSE), by=twin).index, "cannot approve it as well"


def approver_of_another_authority(land: Land, _ref: OrderRef) -> tuple[int, str]:
    return land.approve(land.propose(WORSE), by=land.stranger).index, "authority"


def key_that_nobody_registered(land: Land, _ref: OrderRef) -> tuple[int, str]:
    mallory = replace(land.approver, key=PrivateKey.generate())
    return land.approve(land.propose(WORSE), by=mallory).index, "not registered"


def nodes_key(land: Land, _ref: OrderRef) -> tuple[int, str]:
    return land.approve(land.propose(WORSE), by=land.node).index, "NODE cannot act as APPROVER"


def forged_signature(land: Land, _ref: OrderRef) -> tuple[int, str]:
    forged = seal(land.approval(land.propose(WORSE)), PrivateKey.generate())
    borrowed = Signature(land.approver.key.key_id, forged.signatures[0].octets)
    return land.record(replace(forged, signatures=(borrowed,))).index, "is not valid"


def words_changed_after_signing(land: Land, _ref: OrderRef) -> tuple[int, str]:
    honest = seal(land.order(BAD), land.proposer.key)
    widened = seal(land.order(WORSE), land.proposer.key)
    changed = Envelope(honest.payload_type, widened.payload, honest.signatures)
    return land.record(changed).index, "is not valid"


def approval_appended_again_after_a_stop(land: Land, _ref: OrderRef) -> tuple[int, str]:
    ref = land.propose(WORSE)
    approval = seal(land.approval(ref), land.approver.key)
    assert land.record(approval).is_effective
    assert land.stop(ref).is_effective
    return land.record(approval).index, "recorded already"


def approval_hoarded_until_after_the_stop(land: Land, _ref: OrderRef) -> tuple[int, str]:
    ref = land.propose(WORSE)
    hoarded = seal(land.approval(ref), land.second_approver.key)
    land.approve(ref)
    assert land.stop(ref).is_effective
    return land.record(hoarded).index, "STOPPED"


def version_hoarded_until_after_the_stop(land: Land, ref: OrderRef) -> tuple[int, str]:
    order = land.order(WORSE, order_id=ref.order_id, version=2, supersedes=ref)
    hoarded = seal(order, land.proposer.key)
    assert land.stop(ref).is_effective
    return land.record(hoarded).index, "a stop is for good"


def approval_hoarded_past_its_last_minute(land: Land, _ref: OrderRef) -> tuple[int, str]:
    ref = land.propose(WORSE)
    approval = land.approval(ref, valid_until_ms=land.now_ms + MINUTE_MS)
    late = land.record(seal(approval, land.approver.key), after_ms=MINUTE_MS + 1)
    return late.index, "was to be recorded by"


def approval_before_its_proposal(land: Land, _ref: OrderRef) -> tuple[int, str]:
    proposal = seal(land.order(WORSE), land.proposer.key)
    payload = land.order(WORSE)
    ref = OrderRef(payload.order_id, len(land.leaves) + 1, proposal.payload_sha256)
    effect = land.approve(ref)
    assert land.record(proposal).is_effective
    return effect.index, "no order"


def approval_moved_to_another_order(land: Land, ref: OrderRef) -> tuple[int, str]:
    wider = land.propose(WORSE)
    return land.approve(replace(wider, payload_sha256=ref.payload_sha256)).index, "hash"


def request_used_twice(land: Land, _ref: OrderRef) -> tuple[int, str]:
    first = land.order(BAD)
    assert land.record(seal(first, land.proposer.key)).is_effective
    second = land.order(WORSE, request_id=first.request_id)
    return land.record(seal(second, land.proposer.key)).index, "request_id"


def approval_from_another_ledger(land: Land, _ref: OrderRef) -> tuple[int, str]:
    approval = land.approval(land.propose(WORSE), ledger_origin="example.org/other")
    return land.record(seal(approval, land.approver.key)).index, "example.org/other"


def approval_under_a_policy_of_before(land: Land, _ref: OrderRef) -> tuple[int, str]:
    approval = seal(land.approval(land.propose(WORSE)), land.approver.key)
    assert land.record(seal(land.policy(targets_max=1_000), *land.roots[:2])).is_effective
    return land.record(approval).index, "policy"


def approval_by_a_revoked_key(land: Land, _ref: OrderRef) -> tuple[int, str]:
    approval = seal(land.approval(land.propose(WORSE)), land.approver.key)
    assert land.record(seal(land.revocation(land.approver), *land.roots[:2])).is_effective
    return land.record(approval).index, "revoked"


def policy_by_one_root(land: Land, _ref: OrderRef) -> tuple[int, str]:
    return land.record(seal(land.policy(persons_min=3), land.roots[0])).index, "root"


def policy_that_was_withheld(land: Land, _ref: OrderRef) -> tuple[int, str]:
    withheld = seal(land.policy(targets_max=1_000_000), *land.roots[:2])
    assert land.record(seal(land.policy(targets_max=1_000), *land.roots[:2])).is_effective
    return land.record(withheld).index, "follow"


def roots_by_one_root(land: Land, _ref: OrderRef) -> tuple[int, str]:
    own = (PrivateKey.generate().public_key, PrivateKey.generate().public_key)
    return land.change_roots(own, 2, land.roots[0]).index, "root"


def hold_passed_over(land: Land, _ref: OrderRef) -> tuple[int, str]:
    land.register(land.control)
    ref = land.propose(WORSE)
    assert land.hold(ref, Guard.GROWTH).is_effective
    return land.approve(ref).index, "HELD"


def hold_lifted_by_the_control_plane(land: Land, _ref: OrderRef) -> tuple[int, str]:
    land.register(land.control)
    ref = land.propose(WORSE)
    assert land.hold(ref, Guard.GROWTH).is_effective
    return land.lift(ref, Guard.GROWTH, by=land.control).index, "CONTROL"


def hold_lifted_by_who_proposed(land: Land, _ref: OrderRef) -> tuple[int, str]:
    twin = Person(land.proposer.person_id, Role.APPROVER, "cert-vn", land.approver.categories)
    land.register(land.control, twin)
    ref = land.propose(WORSE)
    assert land.hold(ref, Guard.GROWTH).is_effective
    return land.lift(ref, Guard.GROWTH, by=twin).index, "cannot lift"


def extension_by_one_person(land: Land, ref: OrderRef) -> tuple[int, str]:
    extension = land.extension(ref, land.now_ms + 60 * DAY_MS)
    return land.record(seal(extension, land.approver.key)).index, "two persons"


def suspension_by_an_officer_of_nobody(land: Land, ref: OrderRef) -> tuple[int, str]:
    return land.suspend(ref, by=land.approver).index, "APPROVER"


def stop_by_a_stranger(land: Land, ref: OrderRef) -> tuple[int, str]:
    return land.stop(ref, by=land.stranger).index, "cannot stop it"


def rejection_of_what_is_in_force(land: Land, ref: OrderRef) -> tuple[int, str]:
    return land.reject(ref).index, "APPROVED"


DEEDS: list[Deed] = [
    one_signature,
    one_person_with_two_keys,
    approver_of_another_authority,
    key_that_nobody_registered,
    nodes_key,
    forged_signature,
    words_changed_after_signing,
    approval_appended_again_after_a_stop,
    approval_hoarded_until_after_the_stop,
    version_hoarded_until_after_the_stop,
    approval_hoarded_past_its_last_minute,
    approval_before_its_proposal,
    approval_moved_to_another_order,
    request_used_twice,
    approval_from_another_ledger,
    approval_under_a_policy_of_before,
    approval_by_a_revoked_key,
    policy_by_one_root,
    policy_that_was_withheld,
    roots_by_one_root,
    hold_passed_over,
    hold_lifted_by_the_control_plane,
    hold_lifted_by_who_proposed,
    extension_by_one_person,
    suspension_by_an_officer_of_nobody,
    stop_by_a_stranger,
    rejection_of_what_is_in_force,
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
async def test_node_and_audit_name_the_same_entry_for_the_same_reason(world, deed):
    async with world.running():
        with capture_logs() as logs:
            ref = await blocking(world)
            at, reason = deed(world.land, ref)
            await world.publish()
            await attested_all(world)
        assert not world.gate.blocks("worse.example.org")
        is_stopped = deed is version_hoarded_until_after_the_stop
        assert world.gate.blocks("bad.example.org") is not is_stopped
        (refused,) = [each for each in logs if each["event"] == "an entry has no effect"]
        assert (refused["index"], reason in refused["problem"]) == (at, True), refused
        assert world.attested.ineffective == (at,)
    (finding,) = audited(world)
    assert (finding.code, finding.index) == (Code.ENTRY_INEFFECTIVE, at)
    assert finding.words.endswith(refused["problem"])


# Approvals that are lawfully signed, of lists that a guard refuses or holds.

CORE = b"exact resolver.arpa\nsubtree emergency.example.org\n"
NAMES = b"subtree bank.example.org\n"
SUFFIXES = b"icann co.uk\nicann com\nicann org\nprivate hosting.example.com\n"


@pytest.fixture
def guarded(tmp_path: Path) -> World:
    """A node's world whose policy pins what guards read."""
    pins = (sha256(text).hexdigest() for text in (CORE, NAMES, SUFFIXES))
    world = World(tmp_path, Land.founded(pins=Pins(*pins, None)))
    for text in (CORE, NAMES, SUFFIXES, BAD):
        world.bring(text)
    return world


@pytest.mark.parametrize(
    ("name", "guard"),
    [
        ("co.uk", Guard.PUBLIC_SUFFIX),
        ("hosting.example.com", Guard.PRIVATE_SUFFIX),
        ("fire.emergency.example.org", Guard.PROTECTED_CORE),
        ("bank.example.org", Guard.PROTECTED_NAME),
        ("login.bank.example.org", Guard.PROTECTED_NAME),
    ],
)
async def test_a_skipped_guard_holds_the_order_at_the_node_and_is_named_by_the_audit(
    guarded, name, guard
):
    targets = f"subtree {name}\nsubtree zzz.example.net\n".encode()
    async with guarded.running():
        await blocking(guarded)
        guarded.bring(targets)
        ref = guarded.land.in_force_order(targets)
        await guarded.publish()
        await attested_all(guarded)
        await until(lambda: guarded.attested.omissions)
        await until(lambda: guarded.attested.omissions[0].reason is NotEnforced.GUARD)
        assert guarded.attested.omissions[0].order_index == ref.entry_index
        assert not any(map(guarded.gate.blocks, (name, f"www.{name}", "zzz.example.net")))
        assert guarded.gate.blocks("bad.example.org")
    (finding,) = audited(guarded)
    assert (finding.code, finding.index) == (Code.GUARD_SKIPPED, ref.entry_index + 1)
    assert guard.name in finding.words
    assert guarded.land.order_record(ref).payload.order_id in finding.words


PAST: Final = {
    Guard.EMERGENCY_REPEATED: DecisionKind.EMERGENCY,
    Guard.STOPPED_BEFORE: DecisionKind.COURT_FINAL,
    Guard.ADMINISTRATIVE_TIME: DecisionKind.ADMINISTRATIVE,
}


@pytest.mark.parametrize("guard", PAST, ids=lambda guard: guard.name)
async def test_a_limit_of_the_target_is_kept_by_the_node_and_its_breach_named_by_the_audit(
    guarded, guard
):
    """A dishonest control plane records an order that shares a target with a past one."""
    land, kind = guarded.land, PAST[guard]
    pins = land.state.policy.payload.pins
    land.record(seal(land.policy(administrative_days_max=40, pins=pins), *land.roots[:2]))
    past, again = b"exact www.zzz.example.net\n", b"subtree zzz.example.net\n"
    async with guarded.running():
        first = await blocking(guarded, past, "www.zzz.example.net", **lasting(land, kind))
        if guard is Guard.STOPPED_BEFORE:
            land.stop(first)
            await guarded.publish()
            await attested_all(guarded)
        land.now_ms += DAY_MS if kind is DecisionKind.EMERGENCY else 20 * DAY_MS
        guarded.bring(again)
        ref = land.in_force_order(again, **lasting(land, kind))
        await blocking(guarded)
        await until(lambda: omissions(guarded) == {ref.entry_index: NotEnforced.GUARD})
        await attested_all(guarded)
        assert not guarded.gate.blocks("zzz.example.net")
    findings = [each for each in audited(guarded) if each.code is not Code.NOT_ENFORCED]
    assert [(each.code, each.index) for each in findings] == [
        (Code.GUARD_SKIPPED, ref.entry_index + 1)
    ]
    assert guard.name in findings[0].words


def lasting(land, kind):
    """Return the fields of an order that lasts as long as orders of its kind may in all."""
    end_ms = land.now_ms + (2 if kind is DecisionKind.EMERGENCY else 30) * DAY_MS
    return {"decision_kind": kind, "expires_at_ms": end_ms, "review_due_at_ms": end_ms}


def omissions(world: World) -> dict[int, NotEnforced]:
    said = world.attested
    return {} if said is None else {each.order_index: each.reason for each in said.omissions}


# A control plane that shows one history here and another there, or leaves out what it was given.


def another_book(world: World, leaves: list[bytes]) -> Path:
    """Write other entries under the log's own key; return where."""
    directory = world.directory / "another"
    with open_copy(directory, world.log) as ledger:
        ledger.append(leaves, world.log.seal)
        for text in world.feed.lists.values():
            ledger.lists.put(text)
    return directory


async def refusal_of(world: World) -> str:
    """Wait until the node refuses what the feed has; return why."""
    await until(lambda: world.status.get("feed", {}).get("state") == "REFUSING")
    return world.status["feed"]["reason"]


async def test_a_withheld_stop_is_obeyed_attested_and_an_hour_later_a_violation(world):
    async with world.running() as node:
        ref = await blocking(world)
        stop = world.stop_bytes(ref)
        await node.offer_stop(stop)
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        (omission,) = world.attested.omissions
    assert omission.act_payload_sha256 == parse_envelope(stop).payload_sha256
    assert audited(world, after_ms=0) == []
    (finding,) = audited(world, after_ms=HOUR_MS + 1_000)
    assert (finding.code, finding.index) == (Code.STOP_UNLOGGED, ref.entry_index)
    assert omission.act_payload_sha256[:16] in finding.words


async def test_a_stop_cut_off_the_ledger_again_is_a_rollback_to_both(world):
    async with world.running():
        ref = await blocking(world)
        world.land.stop(ref)
        await world.publish()
        await attested_all(world)
        cut = world.land.leaves[:-1]
        world.feed.clear()
        world.feed.head = world.log.note(cut)
        assert "rolled back" in await refusal_of(world)
        assert not world.gate.blocks("bad.example.org")
    findings = audited(world, another_book(world, cut))
    assert Code.ROLLED_BACK in {each.code for each in findings}


@pytest.mark.parametrize("change", ["dropped", "re-ordered", "another instead"])
async def test_two_histories_are_told_by_the_node_and_by_the_audit_of_the_other(world, change):
    async with world.running():
        ref = await blocking(world)
        world.land.propose(WORSE)
        world.land.stop(ref)
        await world.publish()
        await attested_all(world)
        *before, proposal, stop = world.land.leaves
        filler = encode(Entry(world.land.now_ms, seal(world.land.order(), world.land.proposer.key)))
        if change == "dropped":
            other = [*before, proposal, filler]  # the stop was never there
        elif change == "re-ordered":
            later = world.land.now_ms
            entries = [parse(stop), parse(proposal)]
            other = [*before, *(encode(replace(each, recorded_at_ms=later)) for each in entries)]
        else:
            other = [*before, filler, stop]
        world.feed.head = world.log.note(other)
        assert "two histories" in await refusal_of(world)
        assert not world.gate.blocks("bad.example.org")
    findings = audited(world, another_book(world, other))
    found = [each for each in findings if each.code is Code.ATTESTED_OTHER_HISTORY]
    assert found
    assert audited(world) == []


async def test_another_ledgers_entries_under_this_ones_head_reach_neither(world):
    async with world.running():
        await blocking(world)
        foreign = Land(origin="example.org/other", roots=world.land.roots)
        foreign.proposer, foreign.approver = world.land.proposer, world.land.approver
        foreign.record(seal(foreign.policy(), *foreign.roots[:2]))
        for person in (foreign.proposer, foreign.approver):
            there = replace(person.registration(foreign.now_ms), ledger_origin=foreign.origin)
            foreign.record(seal(there, *foreign.roots[:2]))
        foreign.in_force_order(WORSE)  # lawful there, by the same persons and keys
        acts = [parse(leaf).envelope for leaf in foreign.leaves[-2:]]
        effects = [world.land.record(act) for act in acts]
        await world.publish()
        await attested_all(world)
        assert not world.gate.blocks("worse.example.org")
        assert world.attested.ineffective == tuple(each.index for each in effects)
    findings = audited(world)
    assert [each.index for each in findings] == list(world.attested.ineffective)
    assert all("example.org/other" in each.words for each in findings)
