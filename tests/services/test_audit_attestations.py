"""The audit of what nodes signed: tables, stops, and reasons not to enforce."""

from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network

import pytest

from enforcer.app.audit import audit_directory
from enforcer.core.attestation import (
    CLOCKS_APART_MS_MAX,
    OMISSIONS_MAX,
    EffectTime,
    GateState,
    NotEnforced,
    Omission,
    enforced_rows,
)
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallRow, FirewallState, pack_pieces, pieces_digest
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.order import Measure
from enforcer.core.policy import DAY_MS
from enforcer.core.remedy import AppealOutcome
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER, DnsMeasure, IpMeasure, LocalLayer, table_digest
from enforcer.services.findings import Code, Severity, worst
from tests.ledgers import TARGETS, Archive, digest_of, only
from tests.people import ORIGIN, Land, request_id, seal

HOUR_MS = 3_600_000


def noted(findings, code):
    """Return the one finding, a note of that code."""
    (found,) = findings
    assert (found.code, found.severity) == (code, Severity.NOTE)
    return found


def bad(findings):
    return [each for each in findings if each.severity is Severity.VIOLATION]


def test_an_attested_table_that_the_ledger_does_not_give_is_a_violation(archive):
    archive.land.in_force_order(TARGETS)
    wider = sha256(b"one order more").hexdigest()
    archive.attest(table_digest=wider)
    archive.write()
    finding = only(archive.audit(), Code.ATTESTED_OTHER_TABLE)
    assert finding.index == archive.land.state.size - 1
    assert finding.place.startswith("attestations/node-1/")


def test_an_attestation_after_an_order_ended_by_itself_must_not_have_it(archive):
    archive.land.in_force_order(
        TARGETS,
        expires_at_ms=archive.land.now_ms + 10_000,
        review_due_at_ms=archive.land.now_ms + 10_000,
    )
    before = archive.attestation()
    archive.land.now_ms += 20_000
    archive.attest()
    archive.write()
    assert archive.audit() == []
    archive.attest(table_digest=before.table_digest)
    assert only(archive.audit(), Code.ATTESTED_OTHER_TABLE)


def test_an_attestation_of_another_history_is_a_violation(archive):
    archive.attest(root_sha256=sha256(b"another root").hexdigest())
    archive.write()
    assert only(archive.audit(), Code.ATTESTED_OTHER_HISTORY)


def test_an_attestation_by_another_key_than_the_nodes_is_a_violation(archive):
    archive.attest(key=archive.land.proposer.key)
    archive.write()
    assert "not that of the node" in only(archive.audit(), Code.ATTESTATION_FORGED).words


def test_an_attestation_with_a_broken_signature_is_a_violation(archive):
    said = archive.attestation()
    archive.attest(said)
    other = seal(replace(said, request_id=request_id()), archive.land.node.key)
    path = archive.path / f"attestations/node-1/{said.t_ms}-{said.ledger_size}.json"
    path.write_bytes(
        format_envelope(replace(other, payload=seal(said, archive.land.node.key).payload))
    )
    archive.write()
    assert "signature is not valid" in only(archive.audit(), Code.ATTESTATION_FORGED).words


def test_an_attestation_with_a_revoked_key_is_a_violation(archive):
    land = archive.land
    archive.attest()
    land.record(seal(land.revocation(land.node), *land.roots[:2]))
    archive.write()
    assert archive.audit() == []
    land.now_ms += 1
    archive.attest()
    finding = only(archive.audit(), Code.ATTESTATION_FORGED)
    assert finding.index == 7


def test_a_node_that_attested_before_it_was_registered_is_checked_later(tmp_path):
    land = Land()
    land.record(seal(land.policy(), *land.roots[:2]))
    archive = Archive(tmp_path / "ledger", land)
    archive.attest()
    archive.write()
    assert "not registered" in only(archive.audit(), Code.ATTESTATION_FORGED).words
    land.record(seal(land.node.registration(land.now_ms), *land.roots[:2]))
    archive.write()
    assert archive.audit() == []


def test_an_attestation_that_makes_room_while_the_audit_runs_is_no_violation(archive):
    archive.attest()
    archive.write()
    summary, findings = audit_directory(archive.path, archive.trust, as_of_ms=archive.land.now_ms)
    for path in archive.path.glob("attestations/*/*.json"):
        path.unlink()
    found = list(findings)
    assert {each.code for each in found} == {Code.ATTESTATION_GONE, Code.NOT_ATTESTED}
    assert worst(found) is Severity.NOTE
    assert summary.attestations == 0


def test_garbage_among_the_attestations_is_reported_and_the_rest_goes_on(archive):
    archive.attest()
    (archive.path / "attestations/node-1/1-7.json").write_bytes(b"\x00\xff{")
    (archive.path / "attestations/node-1/what.json").write_bytes(b"{}")
    archive.write()
    findings = archive.audit()
    assert [each.code for each in findings] == [Code.ATTESTATION_UNREADABLE] * 2
    assert archive.summary.attestations == 1


def obeyed(archive, ref):
    """Let the node obey a stop that the ledger does not have; return the stop's envelope."""
    land = archive.land
    stop = seal(land.stopping(ref), land.oversight.key)
    omission = Omission(
        ref.entry_index, NotEnforced.STOPPED_UNLOGGED, stop.payload_sha256, land.now_ms
    )
    rows = enforced_rows(in_force(land.state, land.now_ms), [omission])
    digest = table_digest(ORIGIN, land.state.policy.ref, rows, NO_LOCAL_LAYER)
    archive.attest(omission_count=1, omissions=(omission,), table_digest=digest)
    return stop


def test_a_stop_that_is_not_in_the_ledger_after_an_hour_is_a_violation(archive):
    ref = archive.land.in_force_order(TARGETS)
    obeyed(archive, ref)
    archive.write()
    now_ms = archive.land.now_ms
    assert [each.code for each in archive.audit(as_of_ms=now_ms + HOUR_MS)] == [Code.STOP_PENDING]
    finding = only(archive.audit(as_of_ms=now_ms + HOUR_MS + 1), Code.STOP_UNLOGGED)
    assert finding.index == ref.entry_index


def test_a_stop_that_was_logged_in_time_is_no_finding_and_a_late_one_is(archive):
    ref = archive.land.in_force_order(TARGETS)
    stop = obeyed(archive, ref)
    archive.land.record(stop, after_ms=HOUR_MS)
    archive.write()
    assert archive.audit(as_of_ms=archive.land.now_ms + DAY_MS) == []
    late = archive.land.in_force_order(b"exact late.example.org\n")
    stop = obeyed(archive, late)
    index = archive.land.record(stop, after_ms=HOUR_MS + 1).index
    archive.write(lists=[b"exact late.example.org\n"])
    assert only(archive.audit(), Code.STOP_LOGGED_LATE).index == index


def test_a_stop_that_another_has_made_needless_is_no_violation(archive):
    ref = archive.land.in_force_order(TARGETS)
    obeyed(archive, ref)
    second = archive.land.propose(TARGETS, order_id=ref.order_id, version=2, supersedes=ref)
    archive.land.approve(second)
    archive.write()
    late_ms = archive.land.now_ms + DAY_MS
    only(archive.audit(as_of_ms=late_ms), Code.STOP_UNLOGGED)
    archive.land.stop(second, by=archive.land.approver)
    archive.write()
    assert archive.audit(as_of_ms=late_ms) == []


def test_an_order_that_an_appeal_ended_needs_no_stop_in_the_ledger(archive):
    land = archive.land
    land.register(land.control)
    ref = land.in_force_order(TARGETS)
    appeal = land.appeal(ref).index
    obeyed(archive, ref)
    assert land.decide(ref, appeal, AppealOutcome.GRANTED).is_effective
    archive.write()
    assert bad(archive.audit(as_of_ms=land.now_ms + DAY_MS)) == []


def test_a_node_cannot_say_that_a_stop_came_after_it_spoke_of_it(archive):
    ref = archive.land.in_force_order(TARGETS)
    t_ms = archive.land.now_ms
    for since_ms in (t_ms, t_ms + 1):
        omission = Omission(
            ref.entry_index, NotEnforced.STOPPED_UNLOGGED, f"{since_ms:064}", since_ms
        )
        digest = digest_of(archive.land.state, ())
        archive.attest(t_ms=t_ms, omission_count=1, omissions=(omission,), table_digest=digest)
        archive.write()
        expected = [] if since_ms == t_ms else [Code.OMISSION_UNFOUNDED]
        assert [each.code for each in bad(archive.audit())] == expected


def test_a_node_cannot_choose_a_time_before_what_it_has_read(archive):
    archive.land.in_force_order(TARGETS)
    archive.write()
    read_ms = archive.land.state.recorded_at_ms
    archive.attest(t_ms=read_ms)
    assert archive.audit() == []
    digest = digest_of(archive.land.state, ())
    archive.attest(t_ms=read_ms - 1, table_digest=digest)
    finding = only(archive.audit(), Code.ATTESTED_OTHER_TIME)
    assert finding.index == archive.land.state.size - 1


def test_a_node_cannot_choose_a_time_that_is_to_come(archive):
    archive.land.in_force_order(TARGETS)
    archive.write()
    now_ms = archive.land.now_ms
    digest = digest_of(archive.land.state, ())
    archive.attest(t_ms=now_ms + 300 * DAY_MS, table_digest=digest)
    ends_ms = now_ms + 300 * DAY_MS - CLOCKS_APART_MS_MAX
    assert archive.audit(as_of_ms=ends_ms) == []
    only(archive.audit(as_of_ms=ends_ms - 1), Code.ATTESTED_OTHER_TIME)


def test_a_stop_cannot_be_dated_back_into_the_hour_that_it_had(archive):
    """Without that node's word the log could write it whenever it likes, and say: in time."""
    ref = archive.land.in_force_order(TARGETS)
    stop = obeyed(archive, ref)
    since_ms = archive.land.now_ms
    omission = Omission(
        ref.entry_index, NotEnforced.STOPPED_UNLOGGED, stop.payload_sha256, since_ms
    )
    digest = digest_of(archive.land.state, ())
    index = archive.land.state.size
    recorded_ms = since_ms + 1_000
    for behind_ms, expected in ((0, []), (1, [Code.ENTRY_BACKDATED])):
        t_ms = recorded_ms + CLOCKS_APART_MS_MAX + behind_ms
        said = {"omission_count": 1, "omissions": (omission,), "table_digest": digest}
        root = CompactRange.over(map(leaf_hash, archive.land.leaves[:index])).root().hex()
        archive.attest(t_ms=t_ms, ledger_size=index, root_sha256=root, **said)
        if behind_ms == 0:
            assert archive.land.record(stop, after_ms=1_000).is_effective
            archive.write()
        found = archive.audit(as_of_ms=since_ms + DAY_MS)
        assert [(each.code, each.index) for each in found] == [(code, index) for code in expected]


def test_a_node_to_which_copies_are_carried_proves_nothing_about_the_ledger_s_times(archive):
    archive.land.in_force_order(TARGETS)
    archive.write()
    index = archive.land.state.size
    root = CompactRange.over(map(leaf_hash, archive.land.leaves)).root().hex()
    digest = digest_of(archive.land.state, in_force(archive.land.state, archive.land.now_ms))
    t_ms = archive.land.now_ms + HOUR_MS
    said = {"t_ms": t_ms, "ledger_size": index, "root_sha256": root, "table_digest": digest}
    archive.attest(carried=True, **said)
    archive.land.in_force_order(TARGETS)
    archive.write()
    assert archive.audit(as_of_ms=t_ms + DAY_MS) == []


def omits(archive, ref, reason):
    """Let the node say that it leaves one order out for a reason, and really do so."""
    omission = Omission(ref.entry_index, reason, None, archive.land.now_ms)
    digest = digest_of(archive.land.state, ())
    archive.attest(omission_count=1, omissions=(omission,), table_digest=digest)


def test_a_node_cannot_claim_a_suspension_that_no_officer_of_its_network_signed(archive):
    land = archive.land
    land.register(land.officer, land.other_officer)
    ref = land.in_force_order(TARGETS)
    for act, is_lawful in (
        (lambda: land.suspend(ref, by=land.other_officer), False),
        (lambda: land.suspend(ref), True),
        (lambda: land.resume(ref), False),
    ):
        assert act().is_effective
        omits(archive, ref, NotEnforced.SUSPENDED)
        archive.write()
        here = f"at size {land.state.size} "
        found = [each.code for each in archive.audit() if here in each.words]
        assert found == [Code.NOT_ENFORCED if is_lawful else Code.OMISSION_UNFOUNDED]


def test_a_node_cannot_go_on_enforcing_what_its_officer_suspended(archive):
    land = archive.land
    land.register(land.officer)
    ref = land.in_force_order(TARGETS)
    assert land.suspend(ref).is_effective
    archive.attest()
    archive.write()
    assert only(archive.audit(), Code.SUSPENSION_IGNORED).index == ref.entry_index


def test_a_node_cannot_wait_for_witnesses_that_nobody_named(archive):
    ref = archive.land.in_force_order(TARGETS)
    omits(archive, ref, NotEnforced.UNWITNESSED)
    archive.write()
    assert only(archive.audit(), Code.OMISSION_UNFOUNDED).index == ref.entry_index


def test_what_a_node_says_it_does_not_enforce_is_noted(archive):
    ref = archive.land.in_force_order(TARGETS)
    omission = Omission(ref.entry_index, NotEnforced.LIST_MISSING, None, archive.land.now_ms)
    digest = digest_of(archive.land.state, ())
    archive.attest(
        omission_count=1, omissions=(omission,), table_digest=digest, gate=GateState.UNREACHABLE
    )
    archive.write()
    findings = archive.audit()
    assert {each.code for each in findings} == {Code.NOT_ENFORCED, Code.GATE_DIFFERS}
    assert worst(findings) is Severity.NOTE


def test_a_node_without_a_gate_is_noted_once_and_speaks_of_no_names(archive):
    land = archive.land
    land.register(land.officer)
    ref = land.in_force_order(TARGETS)
    assert land.suspend(ref).is_effective  # of what it does not enforce, it ignores nothing
    land.in_force_order(b"exact other.example.org\n")
    digest = digest_of(land.state, ())
    for _ in range(2):
        land.now_ms += 1_000
        archive.attest(table_digest=digest, gate=GateState.NONE)
    archive.write(lists=[TARGETS, b"exact other.example.org\n"])
    (finding,) = archive.audit()
    assert (finding.code, finding.severity) == (Code.NO_GATE, Severity.NOTE)


def test_a_node_without_a_gate_cannot_claim_to_enforce_what_needs_one(archive):
    archive.land.in_force_order(TARGETS)
    archive.attest(gate=GateState.NONE)
    archive.write()
    assert only(archive.audit(), Code.ATTESTED_OTHER_TABLE)


def test_a_gate_that_was_switched_off_is_noted_once_for_all_its_orders(archive):
    ref = archive.land.in_force_order(TARGETS)
    archive.land.in_force_order(b"exact other.example.org\n")
    since_ms = archive.land.now_ms - HOUR_MS
    omission = Omission(ref.entry_index, NotEnforced.BYPASSED, None, since_ms)
    digest = digest_of(archive.land.state, ())
    archive.attest(omission_count=2, omissions=(omission,), table_digest=digest)
    archive.write(lists=[TARGETS, b"exact other.example.org\n"])
    (finding,) = archive.audit()
    assert finding.code is Code.GATE_OFF
    assert "enforces none of 2 orders: BYPASSED since" in finding.words
    assert finding.severity is Severity.NOTE


def test_a_gate_that_is_said_to_be_off_for_some_orders_is_a_violation(archive):
    ref = archive.land.in_force_order(TARGETS)
    archive.land.in_force_order(b"exact other.example.org\n")
    omission = Omission(ref.entry_index, NotEnforced.BYPASSED, None, archive.land.now_ms)
    archive.attest(omission_count=1, omissions=(omission,))
    archive.write(lists=[TARGETS, b"exact other.example.org\n"])
    codes = {each.code for each in archive.audit()}
    assert codes == {Code.GATE_OFF, Code.ATTESTED_OTHER_TABLE}


def test_omissions_that_nobody_names_are_a_violation_unless_there_are_too_many(archive):
    archive.attest(omission_count=1)
    archive.write()
    assert only(archive.audit(), Code.ATTESTED_OTHER_TABLE)
    omission = Omission(0, NotEnforced.LIST_MISSING, None, archive.land.now_ms)
    omissions = tuple(replace(omission, order_index=at) for at in range(OMISSIONS_MAX))
    archive.attest(omission_count=OMISSIONS_MAX + 7, omissions=omissions)
    found = only(archive.audit(), Code.OMISSIONS_UNNAMED)
    assert "7 orders more" in found.words


def test_what_an_operator_protects_is_named_by_the_orders_that_it_curtails(archive):
    ref = archive.land.in_force_order(TARGETS)
    local = LocalLayer(protected=b"net 192.0.2.0/24\n")
    rows = in_force(archive.land.state, archive.land.now_ms)
    digest = table_digest(ORIGIN, archive.land.state.policy.ref, rows, local)
    archive.attest(local_digest=local.digest, table_digest=digest, curtailed=(ref.entry_index,))
    archive.write()
    assert noted(archive.audit(), Code.CURTAILED).index == ref.entry_index


def test_local_protections_do_not_hide_another_table(archive):
    local = LocalLayer(protected=b"net 192.0.2.0/24\n")
    archive.attest(local_digest=local.digest)
    archive.write()
    assert only(archive.audit(), Code.ATTESTED_OTHER_TABLE)


@pytest.mark.parametrize("state", [FirewallState.DIFFERS, FirewallState.UNAVAILABLE])
def test_a_firewall_that_does_not_hold_what_it_should_is_noted(archive, state):
    archive.attest(firewall=state)
    archive.write()
    assert state.name in noted(archive.audit(), Code.FIREWALL_DIFFERS).words


def test_who_says_that_addresses_are_blocked_without_a_firewall_says_what_cannot_be(archive):
    addresses = b"ip 192.0.2.7\n"
    measure = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
    ref = archive.land.in_force_order(addresses, measure=measure)
    archive.attest(firewall=FirewallState.NONE)
    archive.write(lists=[TARGETS, addresses])
    assert only(archive.audit(), Code.FIREWALL_MISSING).index == ref.entry_index


def order_against(archive, *lists):
    """Have each list of addresses in force; write all, and return the orders."""
    measure = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
    refs = [archive.land.in_force_order(each, measure=measure) for each in lists]
    archive.write(lists=[TARGETS, *lists])
    return refs


def holding(ref_networks, salts=None):
    """Return what a node attests whose firewall has these networks, by order."""
    rows = [FirewallRow(ref.entry_index, IpMeasure.REJECT) for ref, _ in ref_networks]
    targets = [(ip_network(each), ref.entry_index) for ref, each in ref_networks]
    digest = pieces_digest(pack_pieces(targets), rows, salts)
    return {"firewall": FirewallState.HOLDS, "pieces_digest": digest}


def test_a_firewall_that_holds_what_the_lists_give_is_right(archive):
    archive.attest(**holding([]))
    one, other = order_against(archive, b"ip 192.0.2.7\n", b"net 2001:db8:7::/48\n")
    archive.attest(**holding([(one, "192.0.2.7"), (other, "2001:db8:7::/48")]))
    archive.land.stop(one)
    archive.attest(**holding([(other, "2001:db8:7::/48")]))
    archive.write()
    assert archive.audit() == []
    assert archive.summary.firewalls == 3


def test_a_firewall_that_holds_other_addresses_than_it_must_is_a_violation(archive):
    (ref,) = order_against(archive, b"ip 192.0.2.7\n")
    archive.attest(**holding([(ref, "192.0.2.0/24")]))
    found = only(archive.audit(), Code.ATTESTED_OTHER_PIECES)
    assert found.index == archive.land.state.size - 1
    assert found.place.startswith("attestations/node-1/")
    assert "192.0.2" not in found.words


def test_who_says_that_the_firewall_holds_must_say_what(archive):
    order_against(archive, b"ip 192.0.2.7\n")
    archive.attest(firewall=FirewallState.HOLDS)
    assert only(archive.audit(), Code.ATTESTED_OTHER_PIECES)


def test_equal_contents_are_computed_once_for_all_nodes_and_times(archive):
    (ref,) = order_against(archive, b"ip 192.0.2.7\n")
    for _ in range(3):
        archive.land.reject(archive.land.propose(TARGETS))
        archive.attest(**holding([(ref, "192.0.2.7")]))
    archive.write()
    assert archive.audit() == []
    assert archive.summary.firewalls == 1


def test_what_a_firewall_must_hold_is_not_computed_where_a_list_is_missing(archive):
    measure = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
    archive.land.in_force_order(b"ip 192.0.2.7\n", measure=measure)
    archive.attest(firewall=FirewallState.HOLDS)
    archive.write()
    assert {each.code for each in archive.audit()} == {Code.LIST_MISSING}
    assert archive.summary.firewalls == 0


def test_a_firewall_that_others_altered_is_noted_each_time_more(archive):
    for repairs in (0, 2, 2, 3):
        archive.land.reject(archive.land.propose(TARGETS))
        archive.attest(repairs=repairs)
    archive.write()
    found = archive.audit()
    assert {each.code for each in found} == {Code.FIREWALL_ALTERED}
    assert [each.words.split()[-2] for each in found] == ["2", "3"]


@pytest.mark.parametrize("early_ms", [0, 1])
def test_no_order_can_have_taken_effect_before_it_could(archive, early_ms):
    ref = archive.land.in_force_order(TARGETS)
    at_ms = archive.land.order_record(ref).approved_at_ms - early_ms
    archive.attest(effects=(EffectTime(ref.entry_index, at_ms, None),))
    archive.write()
    findings = archive.audit()
    assert [each.code for each in findings] == [Code.ATTESTED_OTHER_TIME] * early_ms


def test_no_effect_is_later_than_the_node_s_own_time_or_of_what_is_no_order(archive):
    ref = archive.land.in_force_order(TARGETS)
    late_ms = archive.land.now_ms + CLOCKS_APART_MS_MAX + 1
    archive.attest(effects=(EffectTime(ref.entry_index, None, late_ms),))
    archive.write()
    assert only(archive.audit(), Code.ATTESTED_OTHER_TIME)
    archive.attest(effects=(EffectTime(1, archive.land.now_ms, None),))
    assert "no order of entry 1" in only(archive.audit(), Code.ATTESTED_OTHER_TIME).words
