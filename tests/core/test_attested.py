"""Recorded attestations: the control plane alone, one interval after the other, nothing changed."""

from __future__ import annotations

import pytest

from enforcer.core import fields
from enforcer.core.attested import (
    EXCEPTIONS_MAX,
    AttestationsRecorded,
    Exceptional,
    NodeException,
)
from enforcer.core.life import OrderStatus
from tests.people import Land


@pytest.fixture
def land() -> Land:
    land = Land.founded()
    land.register(land.control, land.officer)
    return land


def exception(number: int, kind: Exceptional = Exceptional.LAGS) -> NodeException:
    return NodeException(f"node-{number:05d}", kind, None)


def refused(land: Land, **changes: object) -> str | None:
    """Return the field that an entry is refused for; None: it counts."""
    effect = land.record_attested(**changes)
    return None if effect.refusal is None else str(effect.refusal.data["field"])


def test_the_control_plane_records_and_nobody_else_does(land):
    for person in (land.node, land.officer, land.oversight, land.approver):
        assert refused(land, by=person) == "signatures"
    assert refused(land) is None


def test_recording_changes_no_order_and_is_no_news(land):
    ref = land.in_force_order()
    news = land.state.size, land.state.recorded_at_ms
    before = land.order_record(ref)
    for _ in range(3):
        assert refused(land) is None
    assert land.order_record(ref) is before
    assert before.status is OrderStatus.APPROVED
    assert (land.state.news_size, land.state.news_at_ms) == news
    assert land.state.size == news[0] + 3
    land.stop(ref)
    assert land.state.news_size == land.state.size


def test_an_entry_without_effect_is_news_whatever_it_was_to_be(land):
    assert refused(land, by=land.node) == "signatures"
    assert land.state.news_size == land.state.size


def test_intervals_follow_each_other_and_do_not_overlap(land):
    assert refused(land) is None
    until_ms = land.state.attested_until_ms
    assert refused(land, from_ms=until_ms - 1) == "from_ms"
    assert refused(land, from_ms=until_ms) is None
    land.now_ms += 3_600_000
    assert refused(land, from_ms=land.now_ms - 1_000) is None, "an hour in which nothing was taken"


def test_an_interval_has_a_length_and_is_over(land):
    assert refused(land, from_ms=land.now_ms, until_ms=land.now_ms) == "until_ms"
    assert refused(land, until_ms=land.now_ms + 1_001) == "until_ms"


def test_it_is_judged_by_no_more_than_the_ledger_has(land):
    size = land.state.size
    assert refused(land, ledger_size=size + 1) == "ledger_size"
    assert refused(land, ledger_size=size, read_from_size=size + 1) == "ledger_size"


def test_exceptions_are_named_each_once_ascending_and_as_many_as_fit(land):
    two = (exception(2, Exceptional.DIFFERS), exception(1))
    assert refused(land, exceptions=two, exception_count=2) is None
    assert refused(land, exceptions=two[::-1], exception_count=2) == "exceptions"
    twice = (exception(1, Exceptional.DIFFERS), exception(1))
    assert refused(land, exceptions=twice, exception_count=2) == "exceptions"
    assert refused(land, exceptions=two, exception_count=3) == "exceptions"
    assert refused(land, exceptions=(), exception_count=1) == "exceptions"
    many = tuple(map(exception, range(EXCEPTIONS_MAX)))
    assert refused(land, exceptions=many, exception_count=EXCEPTIONS_MAX + 7) is None


def test_an_entry_with_all_exceptions_that_can_be_named_fits_into_the_ledger(land):
    many = tuple(
        NodeException(f"{'n' * 60}{number:04d}", Exceptional.SPLIT_VIEW, 2**53 - 1)
        for number in range(EXCEPTIONS_MAX)
    )
    assert refused(land, exceptions=many, exception_count=EXCEPTIONS_MAX) is None
    assert len(land.leaves[-1]) < 65_535


def test_a_payload_reads_back_as_it_was_written(land):
    said = land.attested(exceptions=(exception(1),), exception_count=1)
    again = fields.read(AttestationsRecorded, fields.load(fields.dump(said), "payload"), "payload")
    assert again == said


def test_a_copy_of_the_state_goes_on_as_the_state_does(land):
    assert refused(land) is None
    copy = land.state.copy()
    for name in ("news_size", "news_at_ms", "attested_until_ms"):
        assert getattr(copy, name) == getattr(land.state, name) > 0
