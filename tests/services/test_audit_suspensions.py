"""The audit of what safety officers did on their own networks ahead of the ledger."""

from __future__ import annotations

import pytest

from enforcer.core.attestation import NotEnforced, Omission, Resumption
from enforcer.services.findings import Code
from tests.ledgers import TARGETS, digest_of, only
from tests.people import Land, seal

HOUR_MS = 3_600_000


@pytest.fixture
def land(archive):
    archive.land.register(archive.land.officer, archive.land.other_officer)
    return archive.land


def heeds_suspension(archive, ref, by=None):
    """Have the node leave an order out by an act that is not in the ledger; return the act."""
    land: Land = archive.land
    act = seal(land.suspending(ref), (by or land.officer).key)
    omission = Omission(ref.entry_index, NotEnforced.SUSPENDED, act.payload_sha256, land.now_ms)
    digest = digest_of(land.state, ())
    archive.attest(omission_count=1, omissions=(omission,), table_digest=digest)
    return act


def heeds_resumption(archive, ref):
    """Have the node enforce what the ledger has as suspended; return the act that says so."""
    land: Land = archive.land
    held = land.order_record(ref).suspension("isp-1", land.now_ms)
    act = seal(land.resuming(ref, held.payload_sha256), land.officer.key)
    resumed = Resumption(ref.entry_index, act.payload_sha256, land.now_ms)
    archive.attest(resumed=(resumed,))
    return act


def codes(archive, **options):
    return [each.code for each in archive.audit(**options)]


def test_a_suspension_heeded_ahead_of_the_ledger_is_named_and_an_hour_later_a_violation(
    archive, land
):
    ref = land.in_force_order(TARGETS)
    heeds_suspension(archive, ref)
    archive.write()
    in_time, late = land.now_ms + HOUR_MS, land.now_ms + HOUR_MS + 1
    assert codes(archive, as_of_ms=in_time) == [Code.NOT_ENFORCED, Code.SUSPENSION_PENDING]
    noted, found = archive.audit(as_of_ms=late)
    assert (noted.code, found.code) == (Code.NOT_ENFORCED, Code.SUSPENSION_UNLOGGED)
    assert found.index == ref.entry_index


def test_a_suspension_that_was_logged_in_time_is_no_finding_and_a_late_one_is_noted(archive, land):
    ref = land.in_force_order(TARGETS)
    act = heeds_suspension(archive, ref)
    assert land.record(act, after_ms=HOUR_MS).is_effective
    archive.write()
    assert codes(archive) == [Code.NOT_ENFORCED]
    assert land.resume(ref).is_effective
    act = heeds_suspension(archive, ref)
    assert land.record(act, after_ms=HOUR_MS + 1).is_effective
    archive.write()
    assert codes(archive).count(Code.SUSPENSION_LOGGED_LATE) == 1


def test_another_officers_suspension_in_time_answers_for_one_that_came_too_late(archive, land):
    ref = land.in_force_order(TARGETS)
    heeds_suspension(archive, ref)
    assert land.suspend(ref).is_effective
    archive.write()
    assert codes(archive, as_of_ms=land.now_ms + 2 * HOUR_MS) == [Code.NOT_ENFORCED]


def test_another_operators_suspension_answers_for_none(archive, land):
    ref = land.in_force_order(TARGETS)
    act = heeds_suspension(archive, ref, by=land.other_officer)
    assert land.record(act).is_effective
    archive.write()
    assert Code.SUSPENSION_UNLOGGED in codes(archive, as_of_ms=land.now_ms + 2 * HOUR_MS)


def test_an_order_that_ended_within_the_hour_needs_no_suspension_any_more(archive, land):
    ref = land.in_force_order(TARGETS)
    heeds_suspension(archive, ref)
    assert land.stop(ref).is_effective
    archive.write()
    assert codes(archive, as_of_ms=land.now_ms + 2 * HOUR_MS) == [Code.NOT_ENFORCED]


def test_a_resumption_heeded_ahead_of_the_ledger_must_come_to_it(archive, land):
    ref = land.in_force_order(TARGETS)
    assert land.suspend(ref).is_effective
    act = heeds_resumption(archive, ref)
    archive.write()
    assert codes(archive) == [Code.SUSPENSION_PENDING]
    late_ms = land.now_ms + HOUR_MS + 1
    only(archive.audit(as_of_ms=late_ms), Code.SUSPENSION_UNLOGGED)
    assert land.record(act).is_effective
    archive.write()
    assert codes(archive, as_of_ms=late_ms) == []
