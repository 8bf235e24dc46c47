"""A node's time: no step back revives a block, no step forward stays."""

from __future__ import annotations

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.memory import ManualClock
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.services.node_time import CLOCK_TRUST_MS, NodeTime

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


@pytest.fixture
def clock():
    return ManualClock(START_MS)


@pytest.fixture
def files(tmp_path):
    return KeptFiles(tmp_path)


@pytest.fixture
def time(clock, files):
    """The time of a node that accepted an entry just now."""
    time = NodeTime(clock, files)
    time.raise_to(START_MS)
    return time


def after_restart(time: NodeTime, clock: ManualClock, files: KeptFiles) -> NodeTime:
    time.keep()
    clock.passed_ms = 7  # whatever a clock counts from that nobody can set
    return NodeTime(clock, files)


def test_time_is_the_machines_clock(clock, time):
    clock.advance(HOUR_MS)
    assert time.moment().t_ms == clock.ms == time.moment().own_ms == time.moment().floor_ms


def test_a_clock_that_was_years_ahead_is_set_right_again(clock, files, time):
    clock.ms += 10 * YEAR_MS
    assert time.now_ms() == clock.ms
    time.keep()
    clock.ms = START_MS
    assert time.now_ms() <= START_MS + CLOCK_TRUST_MS
    assert after_restart(time, clock, files).now_ms() <= START_MS + CLOCK_TRUST_MS


def test_looking_often_at_a_clock_that_is_ahead_moves_the_floor_no_further(clock, files, time):
    clock.ms += YEAR_MS
    for _ in range(5):
        assert time.moment().floor_ms == START_MS + CLOCK_TRUST_MS
        time = after_restart(time, clock, files)


def test_a_step_back_goes_back_in_no_time_that_was_reached(clock, files, time):
    clock.advance(HOUR_MS)
    reached_ms = time.now_ms()
    clock.ms -= 2 * HOUR_MS
    assert time.now_ms() == reached_ms
    assert after_restart(time, clock, files).now_ms() == reached_ms


def test_after_a_step_back_time_goes_on(clock, time):
    clock.advance(HOUR_MS)
    reached_ms = time.now_ms()
    clock.ms -= 2 * HOUR_MS
    clock.advance(1_000)
    assert time.now_ms() == reached_ms + 1_000


def test_a_little_that_the_clock_was_ahead_stays_reached_and_does_not_add_up(clock, time):
    clock.ms += CLOCK_TRUST_MS
    assert time.now_ms() == START_MS + CLOCK_TRUST_MS
    clock.ms = START_MS
    assert time.now_ms() == START_MS + CLOCK_TRUST_MS
    clock.advance(CLOCK_TRUST_MS + 1)
    assert time.now_ms() == clock.ms


def test_time_is_never_before_an_accepted_entry(clock, files, time):
    time.raise_to(START_MS + HOUR_MS)
    assert time.moment().floor_ms == START_MS + HOUR_MS
    time.raise_to(START_MS)
    assert time.moment().floor_ms == START_MS + HOUR_MS
    assert after_restart(time, clock, files).now_ms() == START_MS + HOUR_MS


def test_what_was_kept_is_a_floor_though_nothing_was_accepted_since(clock, files, time):
    clock.advance(HOUR_MS)
    time.now_ms()
    again = after_restart(time, clock, files)
    clock.ms = START_MS - HOUR_MS
    assert again.moment().floor_ms == START_MS + HOUR_MS


@pytest.mark.parametrize("text", [b"", b"1\n", b"1 2 3\n", b"1 -2\n", b"x y\n", b"1 " + b"9" * 16])
def test_a_file_that_holds_no_floor_is_refused(clock, files, text):
    files.write("floor", text)
    with pytest.raises(IntegrityError, match="holds no time"):
        NodeTime(clock, files)


def test_the_floor_is_kept_each_minute_and_not_for_each_word(clock, time):
    time.now_ms()
    assert time.is_due(None), "nothing was kept yet"
    time.keep()
    for _ in range(59):
        clock.advance(1_000)
        time.now_ms()
        assert not time.is_due(None)
    clock.advance(1_000)
    time.now_ms()
    assert time.is_due(None)


def test_the_floor_is_kept_when_an_order_has_begun_or_ended(clock, files, time):
    time.now_ms()
    time.keep()
    ends_ms = time.now_ms() + 5_000
    assert not time.is_due(ends_ms)
    assert not time.is_due(ends_ms + HOUR_MS), "a later change of another plan hides no earlier one"
    clock.advance(5_001)
    time.now_ms()
    assert time.is_due(ends_ms + HOUR_MS)
    clock.ms -= HOUR_MS
    assert after_restart(time, clock, files).now_ms() > ends_ms
    assert not time.is_due(ends_ms + HOUR_MS)


def test_a_floor_that_the_disk_did_not_take_is_due_again(clock, files, time, monkeypatch):
    def full(*_):
        raise UnavailableError("the disk is full", advice="Free space.")

    time.now_ms()
    monkeypatch.setattr(files, "write", full)
    time.keep()
    assert time.is_due(None)
