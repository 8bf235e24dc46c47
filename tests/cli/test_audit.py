"""The auditor's commands on files: what a dishonest control plane does is found, by index."""

import json
import tarfile
from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core import fields
from enforcer.core.attestation import NotEnforced, Omission
from enforcer.core.collateral import CollateralFound, Necessity, facts_document
from enforcer.core.entry import Entry, encode, parse
from enforcer.core.envelope import sign
from enforcer.core.hold import AssessmentRecorded
from enforcer.core.order import Measure, PublicationMode
from enforcer.core.policy import DAY_MS
from enforcer.core.table import DnsMeasure, IpMeasure
from tests.ledgers import TARGETS, Archive, digest_of, opened
from tests.people import ORIGIN, Land, hidden, seal

HOUR_MS = 3_600_000
OTHER = b"exact other.example.org\nip 192.0.2.7\nnet 198.51.100.0/24\n"


@pytest.fixture
def archive(tmp_path):
    archive = Archive(tmp_path / "ledger")
    archive.write_trust(tmp_path / "trust.toml")
    return archive


@pytest.fixture
def audit(run, archive, tmp_path):
    """Run ``enforcer audit WORDS`` with the trust file, and return what it said."""

    def audit(*words):
        return run("audit", *words, "--trust", tmp_path / "trust.toml")

    return audit


@pytest.fixture
def verified(audit, archive):
    """Write the ledger, verify it as of a second after its last entry, return the JSON."""

    def verified(path=None, *words, **options):
        if path is None:
            archive.write(**options)
        at_ms = archive.land.now_ms + 1_000
        said = audit("verify", path or archive.path, "--at", at(at_ms), *words, "--json")
        found = said.json
        found["code"] = said.code
        return found

    return verified


def at(t_ms):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat()


def violation(found):
    """Return the one violation."""
    assert (found["outcome"], found["code"]) == ("VIOLATION", 1), found
    (one,) = [each for each in found["findings"] if each["severity"] == "VIOLATION"]
    return one["code"], one["index"], one["words"]


def told(archive, envelope, *, index):
    """Return the leaf of an envelope, recorded at the time of entry `index`, or a second later."""
    leaves = archive.land.leaves
    time_ms = parse(leaves[min(index, len(leaves) - 1)]).recorded_at_ms
    return encode(Entry(time_ms, envelope))


# A dishonest control plane, and what travels to it.


def test_a_true_ledger_is_good_and_the_first_line_says_so(archive, audit, verified):
    archive.land.in_force_order(TARGETS)
    archive.attest()
    found = verified()
    assert (found["outcome"], found["code"], found["findings"]) == ("GOOD", 0, [])
    said = audit("verify", archive.path, "--at", at(archive.land.now_ms))
    assert said.out.splitlines()[0].startswith("GOOD: what the ledger says is what was lawfully")
    assert "as of" in said.out
    assert said.err == ""


def test_a_forged_signature_has_no_effect_and_is_named(archive, verified):
    land = archive.land
    ref = land.propose(TARGETS)
    good = seal(land.approval(ref), land.approver.key)
    (signature,) = good.signatures
    bad = replace(signature, octets=bytes(64))
    index = land.record(replace(good, signatures=(bad,))).index
    code, where, words = violation(verified())
    assert (code, where) == ("ENTRY_INEFFECTIVE", index)
    assert "is not valid" in words


def test_a_replayed_act_is_named(archive, verified):
    land = archive.land
    land.in_force_order(TARGETS)
    index = land.record(parse(land.leaves[-1]).envelope).index
    code, where, words = violation(verified())
    assert (code, where) == ("ENTRY_INEFFECTIVE", index)
    assert "the same payload is recorded already, as entry 8" in words


def test_acts_in_another_order_than_they_were_signed_are_named(archive, verified):
    land = archive.land
    land.in_force_order(TARGETS)
    *before, proposal, approval = land.leaves
    first = encode(replace(parse(approval), recorded_at_ms=parse(proposal).recorded_at_ms))
    second = encode(replace(parse(proposal), recorded_at_ms=parse(approval).recorded_at_ms))
    code, where, words = violation(verified(leaves=[*before, first, second]))
    assert (code, where) == ("ENTRY_INEFFECTIVE", 7)
    assert "entry 7 proposes no order" in words


def test_an_act_that_was_dropped_afterwards_shows_by_an_earlier_checkpoint(
    archive, tmp_path, audit, verified
):
    land = archive.land
    ref = land.in_force_order(TARGETS)
    land.stop(ref)
    (tmp_path / "kept").write_bytes(archive.write())
    without = [*land.leaves[:-1], told(archive, seal(land.order(), land.proposer.key), index=99)]
    rewritten = Archive(tmp_path / "rewritten", land)
    rewritten.write(leaves=without)
    code, where, words = violation(verified(rewritten.path, "--since", tmp_path / "kept"))
    assert (code, where) == ("FORKED", 9)
    assert "an earlier checkpoint of size 10 has root" in words
    cut = Archive(tmp_path / "cut", land)
    cut.write(leaves=land.leaves[:-1])
    code, _, words = violation(verified(cut.path, "--since", tmp_path / "kept"))
    assert code == "ROLLED_BACK"
    assert "counts 10 entries, this ledger has 9" in words


def test_an_act_that_was_dropped_afterwards_shows_by_what_nodes_attested(archive, verified):
    land = archive.land
    land.in_force_order(TARGETS)
    archive.attest()
    other = seal(land.order(b"exact x.example.org\n"), land.proposer.key)
    leaves = [*land.leaves[:-1], told(archive, other, index=99)]
    code, where, words = violation(verified(leaves=leaves))
    assert (code, where) == ("ATTESTED_OTHER_HISTORY", 8)
    assert "read a ledger with root" in words


def test_a_hoarded_act_is_named(archive, verified):
    land = archive.land
    ref = land.propose(TARGETS)
    hoarded = seal(land.approval(ref), land.approver.key)
    index = land.record(hoarded, after_ms=2 * DAY_MS).index
    code, where, words = violation(verified())
    assert (code, where) == ("ENTRY_INEFFECTIVE", index)
    assert "was to be recorded by" in words


def test_an_act_for_another_ledger_is_named(archive, verified):
    land = archive.land
    ref = land.propose(TARGETS)
    foreign = replace(land.approval(ref), ledger_origin="example.net/ledger")
    index = land.record(seal(foreign, land.approver.key)).index
    code, where, words = violation(verified())
    assert (code, where) == ("ENTRY_INEFFECTIVE", index)
    assert f"is meant for the ledger example.net/ledger, and this is {ORIGIN}" in words


def test_a_block_that_the_control_plane_appends_with_one_signature_is_named(archive, verified):
    land = archive.land
    ref = land.propose(TARGETS)
    index = land.approve(ref, by=land.proposer).index
    code, where, words = violation(verified())
    assert (code, where) == ("ENTRY_INEFFECTIVE", index)
    assert "PROPOSER cannot act as APPROVER" in words


def test_an_act_with_a_payload_that_nobody_can_read_is_named(archive, verified):
    land = archive.land
    proposal = seal(land.order(TARGETS), land.proposer.key)
    bad = sign(
        proposal.payload_type,
        proposal.payload.replace(b'"target_count":2', b'"target_count":"2"'),
        [(land.proposer.key.key_id, land.proposer.key.sign)],
    )
    index = land.record(bad).index
    code, where, words = violation(verified())
    assert (code, where) == ("ENTRY_INEFFECTIVE", index)
    assert "'target_count' is not an integer" in words


def test_an_old_approval_that_is_appended_again_after_a_stop_is_named(archive, verified):
    land = archive.land
    ref = land.in_force_order(TARGETS)
    approval = parse(land.leaves[-1]).envelope
    second = seal(land.approval(ref), land.second_approver.key)  # signed, and not sent
    land.stop(ref)
    again, hidden = land.record(approval).index, land.record(second).index
    found = verified()
    assert found["outcome"] == "VIOLATION"
    assert found["orders_in_force"] == 0
    where = {each["index"]: each["words"] for each in found["findings"] if each["index"]}
    assert "recorded already, as entry 8" in where[again]
    assert "STOPPED" in where[hidden].upper()


def test_a_stop_that_is_withheld_is_named_an_hour_after_a_node_obeyed_it(archive, audit, verified):
    land = archive.land
    ref = land.in_force_order(TARGETS)
    stop = seal(land.stopping(ref), land.oversight.key)
    omission = Omission(
        ref.entry_index, NotEnforced.STOPPED_UNLOGGED, stop.payload_sha256, land.now_ms
    )
    archive.attest(omission_count=1, omissions=(omission,), table_digest=digest_of(land.state, ()))
    assert verified()["outcome"] == "GOOD"
    said = audit("verify", archive.path, "--at", at(land.now_ms + HOUR_MS + 1), "--json")
    found = said.json | {"code": said.code}
    code, where, words = violation(found)
    assert (code, where) == ("STOP_UNLOGGED", ref.entry_index)
    assert "was obeyed over an hour ago and is not in the ledger" in words


def test_a_time_before_the_last_entry_hides_no_stop(archive, audit):
    land = archive.land
    ref = land.in_force_order(TARGETS)
    stop = seal(land.stopping(ref), land.oversight.key)
    omission = Omission(
        ref.entry_index, NotEnforced.STOPPED_UNLOGGED, stop.payload_sha256, land.now_ms
    )
    archive.attest(omission_count=1, omissions=(omission,), table_digest=digest_of(land.state, ()))
    land.now_ms += 2 * HOUR_MS
    land.propose(OTHER)
    archive.write(lists=[TARGETS, OTHER])
    said = audit("verify", archive.path, "--at", "2020-01-01", "--json")
    assert [each["code"] for each in said.json["findings"]] == ["STOP_UNLOGGED"]


def test_the_words_of_a_violation_come_first(archive, audit):
    archive.land.record(seal(archive.land.order(), archive.land.approver.key))
    archive.write()
    lines = audit("verify", archive.path).out.splitlines()
    assert lines[0].startswith("VIOLATION")
    assert lines[1].startswith("VIOLATION entry 7 ENTRY_INEFFECTIVE:")


# Archives.


def exported(archive, audit, tmp_path, name="x.tar.gz", *words):
    to = tmp_path / name
    said = audit("export", archive.path, to, "--at", at(archive.land.now_ms + 1_000), *words)
    assert said.code == 0, said.err
    return to


def test_an_archive_is_verified_as_the_folder_is(archive, audit, verified, tmp_path):
    land = archive.land
    for number in range(260):
        land.propose(TARGETS, order_id=f"VN-2028-{number:06d}")
    land.in_force_order(OTHER)
    archive.attest()
    note = archive.write(lists=[TARGETS, OTHER, b"exact stray.example.org\n"])
    (tmp_path / "earlier").write_bytes(note)
    (archive.path / "side" / sha256(b"salted reasons").hexdigest()).write_bytes(b"salted reasons")
    first = exported(archive, audit, tmp_path, "1.tar.gz", "--since", tmp_path / "earlier")
    second = exported(archive, audit, tmp_path, "2.tar.gz", "--since", tmp_path / "earlier")
    assert first.read_bytes() == second.read_bytes()
    of_folder = verified(archive.path)
    of_archive = audit("verify", first, "--json").json
    assert of_archive["outcome"] == "GOOD"
    assert of_archive == {key: value for key, value in of_folder.items() if key != "code"}
    assert of_archive["documents"] == 1
    assert of_archive["lists"] == 2
    again = exported(archive, audit, tmp_path, "3.tar.gz")
    said = audit("export", first, tmp_path / "4.tar.gz", "--json").json
    assert (said["checkpoints"], said["attestations"], said["lists"]) == (1, 1, 2)
    assert (tmp_path / "4.tar.gz").read_bytes() == first.read_bytes() != again.read_bytes()


def test_an_archive_is_as_of_when_it_was_taken(archive, audit, tmp_path):
    land = archive.land
    ref = land.in_force_order(TARGETS)
    stop = seal(land.stopping(ref), land.oversight.key)
    omission = Omission(
        ref.entry_index, NotEnforced.STOPPED_UNLOGGED, stop.payload_sha256, land.now_ms
    )
    archive.attest(omission_count=1, omissions=(omission,), table_digest=digest_of(land.state, ()))
    archive.write()
    path = exported(archive, audit, tmp_path)
    assert audit("verify", path).code == 0
    assert audit("verify", path, "--at", at(land.now_ms + 2 * HOUR_MS)).code == 1


def test_a_damaged_archive_is_a_violation_that_says_where(archive, audit, tmp_path):
    archive.land.in_force_order(TARGETS)
    archive.write()
    path = exported(archive, audit, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    said = audit("verify", path, "--json")
    assert said.code == 1
    (finding,) = said.json["findings"]
    assert finding["code"] == "ARCHIVE_DAMAGED"
    assert "at octet" in finding["words"]
    for words in (["replay", path], ["explain", path, "a.example.org"], ["diff", path, path]):
        said = audit(*words)
        assert (said.code, "cannot be used" in said.error[0]) == (7, True)


def test_what_a_damaged_ledger_would_export_is_refused(archive, audit, tmp_path):
    archive.write()
    (path,) = archive.path.glob("tile/0/*.p/7")
    path.write_bytes(path.read_bytes()[:-1])
    said = audit("export", archive.path, tmp_path / "x.tar.gz")
    assert said.code == 7
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_list_that_not_everybody_may_read_is_left_out(archive, audit, tmp_path):
    land = archive.land
    delayed = hidden(PublicationMode.DELAYED, land.now_ms + DAY_MS)
    delayed = replace(delayed, sealed_sha256=sha256(OTHER).hexdigest())
    land.record(seal(land.order(publication=delayed), land.proposer.key))
    archive.write(lists=[OTHER])

    def taken(name, *words):
        said = audit("export", archive.path, tmp_path / name, *words, "--json").json
        with tarfile.open(tmp_path / name) as packed:
            members = [each for each in packed.getnames() if each.startswith("lists/")]
        assert len(members) == said["lists"]
        return said["lists"], said["withheld"]

    assert taken("x.tar.gz") == (0, 1)
    assert taken("z.tar.gz", "--with-restricted") == (1, 0)


# A ledger at a time, and what differs.


def test_replay_gives_the_rows_and_the_digest_of_a_time(archive, audit):
    land = archive.land
    ref = land.in_force_order(TARGETS)
    then_ms, digest = land.now_ms, archive.attestation().table_digest
    land.stop(ref)
    archive.write()
    said = audit("replay", archive.path, "--at", at(then_ms), "--json").json
    assert (said["size"], said["table_digest"]) == (9, digest)
    assert [(row["order_id"], row["index"]) for row in said["rows"]] == [(ref.order_id, 7)]
    assert said["orders"][0]["standing"] == "IN_FORCE"
    said = audit("replay", archive.path, "--at", at(land.now_ms))
    assert said.out.startswith("0 orders in force at ")
    assert "1 STOPPED" in said.out
    said = audit("replay", archive.path, "--at", "2020-01-01", "--json").json
    assert (said["size"], said["table_digest"], said["rows"]) == (0, None, [])


def test_explain_tells_what_decides_a_name_and_all_that_ever_named_it(archive, audit):
    land = archive.land
    ended = land.in_force_order(TARGETS)
    land.stop(ended)
    ref = land.in_force_order(b"exact bad.example.org\n")
    archive.write(lists=[TARGETS, b"exact bad.example.org\n"])
    said = audit("explain", archive.path, "Bad.example.org.", "--at", at(land.now_ms), "--json")
    found = said.json
    assert (found["action"], found["order_id"]) == ("BLOCK", ref.order_id)
    assert [each["standing"] for each in found["orders"]] == ["STOPPED", "IN_FORCE"]
    assert [act["kind"] for act in found["orders"][0]["acts"]] == [
        "OrderProposed",
        "OrderApproved",
        "OrderStopped",
    ]
    assert found["orders"][0]["acts"][2]["signers"] == ["court.clerk"]
    shown = audit("explain", archive.path, "bad.example.org", "--at", at(land.now_ms)).out
    assert shown.splitlines()[0].startswith(f"BLOCK bad.example.org by {ref.order_id} at ")
    passed = audit("explain", archive.path, "good.example.org", "--json").json
    assert (passed["action"], passed["orders"]) == ("PASS", [])


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("192.0.2.7", "ip 192.0.2.7"),
        ("198.51.100.200", "net 198.51.100.0/24"),
        ("::ffff:192.0.2.7", "ip 192.0.2.7"),
    ],
)
def test_explain_tells_what_decides_an_address(archive, audit, address, line):
    measure = Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
    ref = archive.land.in_force_order(OTHER, measure=measure)
    archive.write(lists=[OTHER])
    when = at(archive.land.now_ms)
    found = audit("explain", archive.path, address, "--at", when, "--json").json
    assert (found["action"], found["order_id"], found["line"]) == ("BLOCK", ref.order_id, line)
    assert audit("explain", archive.path, "203.0.113.1", "--json").json["action"] == "PASS"


def test_explain_takes_no_url_and_no_prefix(archive, audit):
    archive.write()
    for target in ("https://bad.example.org/x", "192.0.2.0/24", "*.example.org", ""):
        assert audit("explain", archive.path, target).code == 2


def test_diff_shows_what_a_longer_copy_has_more(archive, audit, tmp_path):
    archive.land.propose(TARGETS)
    archive.write()
    short = exported(archive, audit, tmp_path)
    ref = archive.land.in_force_order(TARGETS)
    archive.write()
    for words in ([short, archive.path], [archive.path, "--sizes", "8", "10"]):
        said = audit("diff", *words, "--json")
        assert (said.code, said.json["outcome"], said.json["common_size"]) == (
            0,
            "SAME_HISTORY",
            8,
        )
        added = said.json["second"]["added"]
        assert [(act["index"], act["order_id"]) for act in added] == [
            (8, ref.order_id),
            (9, ref.order_id),
        ]
    assert "2 entries more in the first" in audit("diff", archive.path, short).out
    assert audit("diff", short, short).out.startswith("EQUAL: 8 entries")
    assert audit("diff", archive.path, "--sizes", "8", "11").code == 2
    assert audit("diff", archive.path).code == 2


@pytest.mark.parametrize("common", [0, 1, 7, 8])
def test_diff_shows_where_two_copies_fork_and_both_checkpoints(archive, audit, tmp_path, common):
    land = archive.land
    for _ in range(4):
        land.in_force_order(TARGETS)
    archive.write()
    other = Archive(tmp_path / "other", land)
    changed = [
        encode(Entry(parse(leaf).recorded_at_ms + 1, parse(leaf).envelope))
        for leaf in land.leaves[common:]
    ]
    other.write(leaves=[*land.leaves[:common], *changed])
    said = audit("diff", archive.path, other.path, "--json")
    assert (said.code, said.json["outcome"], said.json["common_size"]) == (1, "FORK", common)
    notes = {said.json[side]["checkpoint"] for side in ("first", "second")}
    assert notes == {(path / "checkpoint").read_text() for path in (archive.path, other.path)}
    shown = audit("diff", archive.path, other.path).out
    assert shown.startswith(f"FORK: the first {common} entries are the same")


def test_diff_of_times_shows_what_came_and_what_ended(archive, audit):
    land = archive.land
    ended = land.in_force_order(TARGETS)
    first_ms = land.now_ms
    land.stop(ended)
    came = land.in_force_order(TARGETS)
    archive.write()
    words = ["--times", at(first_ms), at(land.now_ms)]
    said = audit("diff", archive.path, *words, "--json").json
    assert [(each["change"], each["order_id"], each["standing"]) for each in said["changes"]] == [
        ("ENDED", ended.order_id, "STOPPED"),
        ("CAME", came.order_id, "IN_FORCE"),
    ]
    shown = audit("diff", archive.path, *words).out
    assert shown.startswith("1 came into force, 1 ended, 0 altered from ")
    assert audit("diff", archive.path, "--times", words[2], words[1]).code == 2


# Proofs for a third person.


@pytest.mark.parametrize("name", ["proof", "proof.tar.gz"])
def test_a_proof_of_an_order_is_checked_with_the_trust_file_alone(archive, audit, tmp_path, name):
    land = archive.land
    land.in_force_order(OTHER)
    ref = land.in_force_order(TARGETS)
    land.approve(ref, by=land.proposer)
    land.stop(ref)
    land.in_force_order(OTHER)
    archive.write()
    said = audit("prove", archive.path, ref.order_id, tmp_path / name)
    assert said.out.startswith("WRITTEN")
    archive.path.rename(tmp_path / "away")
    said = audit("check-proof", tmp_path / name)
    assert said.code == 0
    assert said.out.startswith(f"PROVED: 4 acts of {ref.order_id} are in the ledger {ORIGIN}")
    found = audit("check-proof", tmp_path / name, "--json").json
    assert [(act["kind"], act["signers"], act["refusal"] is None) for act in found["acts"]] == [
        ("OrderProposed", ["an.nguyen"], True),
        ("OrderApproved", ["binh.tran"], True),
        ("OrderApproved", ["an.nguyen"], False),
        ("OrderStopped", ["court.clerk"], True),
    ]
    kinds = [act["kind"] for act in found["rests_on"]]
    assert kinds == ["PolicyAdopted", *["KeyRegistered"] * 3]


def test_a_proof_proves_nothing_that_was_changed_in_it(archive, audit, tmp_path):
    ref = archive.land.in_force_order(TARGETS)
    archive.write()
    audit("prove", archive.path, ref.order_id, tmp_path / "proof")
    entries = sorted((tmp_path / "proof" / "entries").iterdir())
    proofs = sorted((tmp_path / "proof" / "proofs").iterdir())
    assert [path.stem for path in entries] == [path.stem for path in proofs]

    def refused(words):
        said = audit("check-proof", tmp_path / "proof")
        assert said.code == 1, said.err
        assert said.out.startswith("NOT PROVED")
        assert words in said.out

    last, other = entries[-1].read_bytes(), entries[-2].read_bytes()
    entries[-1].write_bytes(last.replace(b'"recorded_at_ms":18', b'"recorded_at_ms":19'))
    refused("entry 8 is not proved")
    entries[-1].write_bytes(other)
    refused("entry 8 is not proved")
    entries[-1].write_bytes(last)
    text = proofs[-1].read_bytes()
    proofs[-1].write_bytes(proofs[-2].read_bytes())
    refused("is about entry 7")
    proofs[-1].write_bytes(text[:-9] + b"AAAAAAAA\n")
    refused("entry 8 is not proved")
    proofs[-1].write_bytes(b"anything")
    refused("no empty line before its checkpoint")
    proofs[-1].write_bytes(text)
    assert audit("check-proof", tmp_path / "proof").code == 0
    stranger = Archive(tmp_path / "stranger", Land.founded())
    stranger.write_trust(tmp_path / "trust.toml")
    refused("no policy that the trusted roots signed")


def test_an_order_that_no_act_names_has_no_proof(archive, audit, tmp_path):
    archive.write()
    said = audit("prove", archive.path, "VN-2026-999999", tmp_path / "proof")
    assert said.code == 4
    assert not (tmp_path / "proof").exists()
    assert audit("check-proof", tmp_path / "proof").code == 4
    (tmp_path / "proof").mkdir()
    (tmp_path / "proof" / "about.json").write_text(json.dumps({"format": "another"}))
    assert audit("check-proof", tmp_path / "proof").code == 1


def test_explain_tells_what_an_assessment_said(archive, audit):
    land = archive.land
    ref = land.propose(b"ip 192.0.2.7\n", measure=Measure(DnsMeasure.NONE, IpMeasure.REJECT))
    said = Necessity(("The host was asked.",), "No name leads there.", "An, clerk")
    order = land.order_record(ref)
    nothing = CollateralFound("1", "0", (("ipv4/32", 1),), (), (), (), (), 0)
    files = [
        b"f" * 32 + facts_document(land.state, order, nothing, land.now_ms),
        b"n" * 32 + fields.dump(said),
    ]
    names = [sha256(each).hexdigest() for each in files]
    act = land.act(AssessmentRecorded, ref, facts_sha256=names[0], necessity_sha256=names[1])
    index = land.record(seal(act, land.proposer.key)).index
    archive.write(lists=(b"ip 192.0.2.7\n",))
    with opened(archive.path, writer=True) as ledger:
        for data in files:
            ledger.side.put(data)
    shown = audit("explain", archive.path, "192.0.2.7")
    assert "attested by: An, clerk" in shown.out
    assert "IPv4 addresses: 1" in shown.out
    told = audit("explain", archive.path, "192.0.2.7", "--json").json["assessments"]
    assert list(told) == [str(index)]
    with opened(archive.path, writer=True) as ledger:
        for name in names:
            ledger.side.remove(name)
    assert "not kept any more" in audit("explain", archive.path, "192.0.2.7").out
