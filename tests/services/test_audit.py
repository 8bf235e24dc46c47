"""The offline audit: a true ledger passes, and what is altered, forged or missing is named."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.app.audit import check_receipt
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.entry import Entry, encode
from enforcer.core.fold import apply
from enforcer.core.policy import Pins
from enforcer.errors import InputError, IntegrityError, NotFoundError
from enforcer.services.findings import Code, Severity, worst
from tests.ledgers import TARGETS, VKEY, Archive, only
from tests.people import ORIGIN, Land, seal


def test_a_true_ledger_passes_and_says_what_was_checked(archive):
    archive.attest()
    ref = archive.land.in_force_order(TARGETS)
    archive.attest()
    archive.land.stop(ref)
    archive.attest()
    archive.write()
    assert archive.audit() == []
    assert worst([]) is Severity.NOTE
    summary = archive.summary
    assert (summary.size, summary.attestations, summary.nodes) == (10, 3, 1)
    assert (summary.orders_approved, summary.orders_in_force) == (1, 0)
    assert (summary.lists, summary.targets) == (1, 2)
    assert summary.entries["KeyRegistered"] == 6


def test_a_ledger_without_attestations_says_so(archive):
    archive.write()
    (finding,) = archive.audit()
    assert finding.code is Code.NOT_ATTESTED


def test_a_flipped_bit_in_a_bundle_is_found_with_its_entry(archive):
    archive.write()
    (path,) = archive.path.glob("tile/entries/*.p/7")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    finding = only(archive.audit(), Code.LEDGER_DAMAGED)
    assert "entry" in finding.words or "cut" in finding.words
    assert finding.place.endswith(str(path.relative_to(archive.path)))


def test_a_flipped_bit_in_an_old_full_bundle_is_found(archive):
    for number in range(260):
        archive.land.propose(order_id=f"VN-2028-{number:06d}")
    archive.write(lists=[b"exact bad.example.org\n"])
    path = archive.path / "tile/entries/000"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    finding = only(archive.audit(), Code.LEDGER_DAMAGED)
    assert finding.index == 0


def test_a_cut_tile_is_found(archive):
    archive.write()
    (path,) = archive.path.glob("tile/0/*.p/7")
    path.write_bytes(path.read_bytes()[:-1])
    finding = only(archive.audit(), Code.LEDGER_DAMAGED)
    assert "cut" in finding.words


def test_a_checkpoint_by_another_key_is_refused(tmp_path):
    archive = Archive(tmp_path / "ledger", log_key=PrivateKey.generate())
    archive.write()
    finding = only(archive.audit(), Code.LEDGER_DAMAGED)
    assert "not signed by" in finding.words


def test_a_block_with_one_signature_has_no_effect_and_is_a_violation(archive):
    land = archive.land
    ref = land.propose(TARGETS)
    effect = land.approve(ref, by=land.proposer)  # a dishonest control plane records it
    archive.attest()
    archive.write()
    finding = only(archive.audit(), Code.ENTRY_INEFFECTIVE)
    assert finding.index == effect.index
    assert "PROPOSER cannot act as APPROVER" in finding.words


def test_a_block_by_two_keys_of_one_person_has_no_effect(tmp_path):
    land = Land()
    land.approver.person_id = land.proposer.person_id
    land.record(seal(land.policy(), *land.roots[:2]))
    for person in land.everybody:
        land.record(seal(person.registration(land.now_ms), *land.roots[:2]))
    archive = Archive(tmp_path / "ledger", land)
    effect = land.approve(land.propose(TARGETS))
    archive.attest()
    archive.write()
    finding = only(archive.audit(), Code.ENTRY_INEFFECTIVE)
    assert finding.index == effect.index
    assert "cannot approve it as well" in finding.words


def test_a_fold_that_forgot_the_second_person_would_be_found(archive, monkeypatch):
    def forgetful(state, entry):
        effect = apply(state, entry)
        if effect.kind == "OrderApproved":
            order = state.orders[effect.order_index]
            state.orders[order.index] = replace(order, signers=order.signers[:1])
        return effect

    monkeypatch.setattr("enforcer.services.audit.apply", forgetful)
    ref = archive.land.in_force_order(TARGETS)
    archive.write()
    assert only(archive.audit(), Code.ONE_PERSON).index == ref.entry_index + 1


def test_an_entry_of_an_unknown_kind_ends_the_audit_there(archive):
    plain = json.loads(archive.land.leaves[-1])
    plain["envelope"]["payloadType"] = "application/vnd.example.unknown+json"
    leaf = json.dumps(plain, separators=(",", ":")).encode()
    archive.write(leaves=[*archive.land.leaves, leaf])
    finding = only(archive.audit(), Code.ENTRY_UNREADABLE)
    assert finding.index == 7
    assert "unknown kind" in finding.words


def test_time_that_runs_backwards_ends_the_audit_there(archive):
    envelope = seal(archive.land.order(), archive.land.proposer.key)
    archive.write(leaves=[*archive.land.leaves, encode(Entry(archive.land.now_ms - 1, envelope))])
    finding = only(archive.audit(), Code.ENTRY_UNREADABLE)
    assert finding.index == 7


def test_a_ledger_that_does_not_begin_with_a_policy_is_a_violation(tmp_path):
    land = Land()
    land.record(seal(land.proposer.registration(land.now_ms), *land.roots[:2]))
    archive = Archive(tmp_path / "ledger", land)
    archive.write()
    assert only(archive.audit(), Code.NO_POLICY).index == 0


def test_a_missing_list_makes_the_audit_incomplete(archive):
    ref = archive.land.in_force_order(TARGETS)
    archive.attest()
    archive.write(lists=())
    findings = archive.audit()
    assert only(findings, Code.LIST_MISSING).index == ref.entry_index
    assert worst(findings) is Severity.INCOMPLETE


def test_an_altered_list_is_a_violation(archive):
    ref = archive.land.in_force_order(TARGETS)
    archive.attest()
    archive.write()
    path = archive.path / "lists" / sha256(TARGETS).hexdigest()
    path.write_bytes(TARGETS.replace(b"bad", b"sad"))
    assert only(archive.audit(), Code.LIST_ALTERED).index == ref.entry_index


def test_a_list_with_another_count_than_its_order_says_is_a_violation(archive):
    ref = archive.land.in_force_order(TARGETS, target_count=1)
    archive.attest()
    archive.write()
    finding = only(archive.audit(), Code.LIST_WRONG)
    assert finding.index == ref.entry_index
    assert "has 2 targets, an order says 1" in finding.words


def test_a_list_that_is_not_canonical_is_a_violation(archive):
    loose = b"exact WWW.example.org\n"
    archive.land.in_force_order(loose)
    archive.attest()
    archive.write(lists=[loose])
    assert "lower case" in only(archive.audit(), Code.LIST_WRONG).words


def test_a_document_may_be_erased_and_not_altered(archive):
    reasons = b"salted reasons"
    path = archive.path / "side" / sha256(reasons).hexdigest()
    ref = archive.land.in_force_order(TARGETS)
    archive.attest()
    archive.write()
    assert archive.audit() == []
    assert archive.summary.documents == 0
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(reasons)
    assert archive.audit() == []
    assert archive.summary.documents == 1
    path.write_bytes(b"other reasons")
    finding = only(archive.audit(), Code.DOCUMENT_ALTERED)
    assert finding.index == ref.entry_index
    assert finding.place == str(path)


def test_a_pinned_list_must_be_here_too(tmp_path):
    core = b"subtree home.arpa\n"
    pins = Pins(sha256(core).hexdigest(), None, None, None)
    archive = Archive(tmp_path / "ledger", Land.founded(pins=pins))
    archive.attest()
    archive.write(lists=())
    assert only(archive.audit(), Code.LIST_MISSING).index == 0
    archive.write(lists=[core])
    assert archive.audit() == []


def test_other_effects_than_the_folds_are_a_violation(archive):
    land = archive.land
    land.approve(land.propose(TARGETS), by=land.proposer)
    archive.attest(ineffective=())
    archive.write()
    codes = {each.code for each in archive.audit()}
    assert codes == {Code.ENTRY_INEFFECTIVE, Code.ATTESTED_OTHER_EFFECTS}


def test_a_ledger_shorter_than_what_a_node_has_read_was_rolled_back(archive):
    leaves = list(archive.land.leaves)
    archive.land.in_force_order(TARGETS)
    archive.attest()
    archive.write(leaves=leaves)
    finding = only(archive.audit(), Code.ROLLED_BACK)
    assert "has read 9 entries, this ledger has 7" in finding.words


def test_an_earlier_checkpoint_must_be_part_of_this_history(archive, tmp_path):
    archive.attest()
    note = archive.write()
    (tmp_path / "earlier").write_bytes(note)
    archive.land.in_force_order(TARGETS)
    archive.write()
    assert archive.audit(earlier=[tmp_path / "earlier"]) == []


def test_an_earlier_checkpoint_of_more_entries_shows_a_rollback(archive, tmp_path):
    leaves = list(archive.land.leaves)
    archive.attest()
    archive.land.in_force_order(TARGETS)
    other = Archive(tmp_path / "longer", archive.land)
    (tmp_path / "earlier").write_bytes(other.write())
    archive.write(leaves=leaves)
    finding = only(archive.audit(earlier=[tmp_path / "earlier"]), Code.ROLLED_BACK)
    assert "counts 9 entries, this ledger has 7" in finding.words


def test_an_earlier_checkpoint_of_another_tree_shows_a_fork(archive, tmp_path):
    other = Archive(tmp_path / "other", Land.founded())
    (tmp_path / "earlier").write_bytes(other.write())
    archive.attest()
    archive.write()
    assert only(archive.audit(earlier=[tmp_path / "earlier"]), Code.FORKED).index == 6


def test_an_earlier_checkpoint_by_another_key_is_no_evidence(archive, tmp_path):
    other = Archive(tmp_path / "other", archive.land, log_key=PrivateKey.generate())
    (tmp_path / "earlier").write_bytes(other.write())
    archive.attest()
    archive.write()
    assert (
        "not signed by"
        in only(archive.audit(earlier=[tmp_path / "earlier"]), Code.LEDGER_DAMAGED).words
    )


def test_what_is_no_checkpoint_at_all_is_no_accusation(archive, tmp_path):
    archive.write()
    (tmp_path / "earlier").write_text("a receipt, or anything")
    with pytest.raises(InputError, match="earlier is no signed note"):
        archive.audit(earlier=[tmp_path / "earlier"])


def test_a_receipt_verifies_offline_for_its_own_entry_alone(archive, tmp_path):
    archive.write()
    with TileLedger.open(
        archive.path, origin=ORIGIN, vkey=VKEY, verify=verify, writer=False
    ) as ledger:
        (tmp_path / "3.tlog-proof").write_bytes(ledger.receipt(3).format())
    (tmp_path / "3.json").write_bytes(archive.land.leaves[3])
    (tmp_path / "4.json").write_bytes(archive.land.leaves[4])
    proved = check_receipt(tmp_path / "3.tlog-proof", tmp_path / "3.json", archive.trust)
    assert (proved.index, proved.checkpoint.size) == (3, 7)
    with pytest.raises(IntegrityError):
        check_receipt(tmp_path / "3.tlog-proof", tmp_path / "4.json", archive.trust)


def test_a_directory_without_a_ledger_is_named(tmp_path):
    archive = Archive(tmp_path / "nothing")
    with pytest.raises(NotFoundError, match="nothing"):
        archive.audit()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NotFoundError, match="no checkpoint"):
        archive.audit()


def test_data_that_a_policy_left_unpinned_is_named_even_when_a_later_one_pins_it(archive):
    text = b"icann example.org\n"
    pins = Pins(None, None, sha256(text).hexdigest(), None)
    archive.land.record(seal(archive.land.policy(pins=pins), *archive.land.roots[:2]))
    archive.write(lists=[text])
    archive.audit()
    names = ("protected_core", "protected_names", "public_suffixes", "shared_ranges")
    assert archive.summary.unpinned == names
