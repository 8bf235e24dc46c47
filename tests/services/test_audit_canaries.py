"""The audit of what nodes leave out while they wait for canaries, or by a canary's word."""

from __future__ import annotations

from enforcer.core.attestation import NotEnforced, Omission
from enforcer.core.key import Role
from enforcer.services.canaries import BLAME_MS_MAX
from enforcer.services.findings import Code
from tests.ledgers import TARGETS, digest_of, only
from tests.people import Person

SECOND_MS = 1_000


def omits(archive, ref, reason, since_ms, node=None):
    omission = Omission(ref.entry_index, reason, None, since_ms)
    digest = digest_of(archive.land.state, ())
    node = node or archive.land.node
    said = archive.attestation(
        node_id=node.person_id, omission_count=1, omissions=(omission,), table_digest=digest
    )
    archive.attest(said, key=node.key)


def codes(archive):
    return [each.code for each in archive.audit()]


def test_an_order_that_waits_for_a_canary_within_the_bound_is_noted(archive):
    ref = archive.land.in_force_order(TARGETS)
    since_ms = archive.land.now_ms
    archive.land.now_ms += 60 * SECOND_MS
    omits(archive, ref, NotEnforced.CANARY_AWAITED, since_ms)
    archive.write()
    assert codes(archive) == [Code.NOT_ENFORCED]


def test_an_order_that_waits_beyond_the_bound_is_a_violation(archive):
    ref = archive.land.in_force_order(TARGETS)
    since_ms = archive.land.now_ms
    archive.land.now_ms += 91 * SECOND_MS
    omits(archive, ref, NotEnforced.CANARY_AWAITED, since_ms)
    archive.write()
    assert only(archive.audit(), Code.OMISSION_UNFOUNDED).index == ref.entry_index


def test_an_order_that_is_left_out_by_blame_beyond_the_bound_is_a_violation(archive):
    land = archive.land
    canary = Person("node-2", Role.NODE, operator="isp-1")
    land.register(canary)
    ref = land.in_force_order(TARGETS)
    since_ms = land.now_ms
    omits(archive, ref, NotEnforced.CANNOT_ENFORCE, since_ms, node=canary)
    land.now_ms += BLAME_MS_MAX
    omits(archive, ref, NotEnforced.CANARY_BLAMED, since_ms)
    archive.write()
    assert set(codes(archive)) == {Code.NOT_ENFORCED}
    land.now_ms += 31 * SECOND_MS
    omits(archive, ref, NotEnforced.CANARY_BLAMED, since_ms)
    assert only(archive.audit(), Code.OMISSION_UNFOUNDED).index == ref.entry_index


def test_blame_that_no_canary_of_the_network_has_spoken_leaves_the_audit_incomplete(archive):
    land = archive.land
    canary = Person("node-2", Role.NODE, operator="isp-1")
    elsewhere = Person("node-3", Role.NODE, operator="isp-2")
    land.register(canary, elsewhere)
    ref = land.in_force_order(TARGETS)
    omits(archive, ref, NotEnforced.CANARY_BLAMED, land.now_ms)
    archive.write()
    assert only(archive.audit(), Code.CANARY_UNKNOWN).index == ref.entry_index
    for node in (land.node, elsewhere):
        land.now_ms += SECOND_MS
        omits(archive, ref, NotEnforced.CANNOT_ENFORCE, land.now_ms, node=node)
        only(archive.audit(), Code.CANARY_UNKNOWN)
    land.now_ms += SECOND_MS
    omits(archive, ref, NotEnforced.CANNOT_ENFORCE, land.now_ms, node=canary)
    assert set(codes(archive)) == {Code.NOT_ENFORCED}
