"""What a gate's time is when the machine's clock is wrong, and nobody is there to tell it."""

import os
import shutil
from contextlib import closing

import pytest
from dnslib import DNSRecord

from enforcer.backends.gate_time import TimeFloor
from enforcer.errors import IntegrityError, UnavailableError
from tests.backends.gate_client import Asking, query
from tests.backends.gate_tables import HOUR_MS, ORIGIN, compiled, now_ms, order
from tests.backends.wall_clock import WallClock, can_be_made
from tests.waiting import eventually

NXDOMAIN = 3


@pytest.fixture
def clock(folder):
    if not can_be_made():
        pytest.skip("no C compiler to make a clock that can be set")
    return WallClock(folder)


def is_blocked(gate, name="www.blocked.example"):
    with closing(Asking(gate.place)) as asking:
        return DNSRecord.parse(asking.ask(query(name))).header.rcode == NXDOMAIN


def ended(gate, name="www.blocked.example"):
    return not is_blocked(gate, name)


def floor_of(gate):
    """Return the time floor that the gate keeps on disk, 0 before it keeps one."""
    path = gate.control.parent / "state" / "time-floor"
    return int(path.read_text().split()[0]) if path.exists() else 0


class TestSteppedBack:
    def test_a_clock_stepped_back_revives_no_block(self, start_gate, clock, tmp_path):
        gate = start_gate(env=clock.env)
        ends_ms, made_ms = now_ms() + 1_000, now_ms() - 60_000
        gate.load(compiled(tmp_path / "t", order(until_ms=ends_ms), time_floor_ms=made_ms))
        eventually(lambda: ended(gate))
        clock.set_ahead(-1)
        assert not is_blocked(gate)
        assert check_ms(gate) >= ends_ms

    def test_an_order_ends_in_time_by_a_clock_that_stands_an_hour_back(
        self, start_gate, clock, tmp_path
    ):
        gate = start_gate(env=clock.env)
        clock.set_ahead(-1)
        floor_ms = now_ms()
        orders = order(until_ms=floor_ms + 2_000), order(8, b"subtree other.example\n")
        gate.load(compiled(tmp_path / "t", *orders, time_floor_ms=floor_ms))
        eventually(lambda: ended(gate))
        assert is_blocked(gate, "other.example")

    def test_a_new_table_takes_the_time_no_step_back(self, start_gate, clock, tmp_path):
        gate = start_gate(env=clock.env)
        clock.set_ahead(-1)
        floor_ms = now_ms()
        ending = order(until_ms=floor_ms + 1_000)
        gate.load(compiled(tmp_path / "a", ending, time_floor_ms=floor_ms))
        eventually(lambda: ended(gate))
        for size in (101, 102):  # as from a node that has no better clock either
            later = compiled(tmp_path / "b", ending, time_floor_ms=floor_ms, ledger_size=size)
            gate.load(later)
            assert not is_blocked(gate)
            assert check_ms(gate) >= floor_ms + 1_000

    @pytest.mark.parametrize("end", [9, 15])
    def test_a_restart_by_a_clock_stepped_back_revives_no_block(
        self, start_gate, clock, tmp_path, end
    ):
        gate = start_gate(env=clock.env)  # which keeps its time once a minute, and at an end
        ends_ms = now_ms() + 1_000
        gate.load(compiled(tmp_path / "t", order(until_ms=ends_ms), time_floor_ms=now_ms()))
        eventually(lambda: floor_of(gate) > ends_ms)
        assert gate.end(end) in (0, -9)
        clock.set_ahead(-1)
        gate.start()
        assert gate.status().rows != ()
        assert not is_blocked(gate)

    def test_a_floor_outlives_the_table_it_came_from(self, gate, tmp_path):
        ahead_ms = now_ms() + HOUR_MS
        gate.load(compiled(tmp_path / "a", order(), time_floor_ms=ahead_ms))
        gate.end()
        (gate.control.parent / "state" / "last-good.table").write_bytes(b"damaged")
        gate.start()
        ended_by_then = order(until_ms=ahead_ms - 1)
        gate.load(compiled(tmp_path / "b", ended_by_then, time_floor_ms=now_ms()))
        assert not is_blocked(gate)

    def test_a_gate_that_is_stopped_keeps_its_floor(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order(), time_floor_ms=now_ms() + HOUR_MS))
        kept_ms = check_ms(gate)
        gate.end()
        assert floor_of(gate) >= kept_ms


class TestJumpedAhead:
    def test_a_jump_ahead_is_taken_back_with_the_clock(self, start_gate, clock, tmp_path):
        gate = start_gate(env=clock.env, floor_interval_ms=50)
        gate.load(compiled(tmp_path / "t", order(), time_floor_ms=now_ms()))
        clock.set_ahead(48)
        assert not is_blocked(gate)
        jumped_ms = now_ms()
        eventually(lambda: floor_of(gate) > jumped_ms)  # kept while the clock was wrong
        clock.set_ahead(0)
        assert is_blocked(gate)
        gate.end(9)
        gate.start()
        assert is_blocked(gate)

    def test_a_table_that_came_while_the_clock_was_ahead_is_two_minutes_early_at_most(
        self, start_gate, clock, tmp_path
    ):
        gate = start_gate(env=clock.env)
        clock.set_ahead(48)
        gate.load(compiled(tmp_path / "t", order(), time_floor_ms=now_ms()))
        assert not is_blocked(gate)
        clock.set_ahead(0)
        assert is_blocked(gate)
        assert check_ms(gate) <= now_ms() + 120_000

    def test_a_floor_too_late_is_forgotten_when_true_time_is_there(self, gate, tmp_path):
        """A node whose clock was ahead for a moment must not leave its gate ahead for ever."""
        ahead_ms = 2_000
        start_ms = now_ms()
        early = compiled(tmp_path / "a", order(), time_floor_ms=start_ms + ahead_ms)
        gate.load(early)
        gate.load(compiled(tmp_path / "b", order(), time_floor_ms=start_ms, ledger_size=101))
        assert check_ms(gate) >= start_ms + ahead_ms
        eventually(lambda: abs(check_ms(gate) - now_ms()) < ahead_ms // 2)


class TestKept:
    def test_what_was_kept_is_read_again(self, tmp_path):
        floor = TimeFloor(tmp_path, ORIGIN)
        assert floor.read() == 0
        floor.keep(1_800_000_000_123)
        assert TimeFloor(tmp_path, ORIGIN).read() == 1_800_000_000_123

    @pytest.mark.parametrize("damage", ["flip", "cut", "empty", "garbage", "huge", "foreign"])
    def test_what_is_damaged_or_anothers_is_no_floor(self, tmp_path, damage):
        floor = TimeFloor(tmp_path, ORIGIN)
        floor.keep(1_800_000_000_123)
        kept = floor.path.read_bytes()
        floor.path.write_bytes(
            {
                "flip": b"9" + kept[1:],
                "cut": kept[:-9],
                "empty": b"",
                "garbage": os.urandom(80),
                "huge": bytes(1 << 20),
                "foreign": kept,
            }[damage]
        )
        origin = "ledger.example.org/two" if damage == "foreign" else ORIGIN
        with pytest.raises(IntegrityError, match="time-floor"):
            TimeFloor(tmp_path, origin).read()

    def test_a_disk_that_keeps_no_floor_is_said_in_words(self, tmp_path):
        with pytest.raises(UnavailableError):
            TimeFloor(tmp_path / "nowhere", ORIGIN).keep(1)

    def test_a_damaged_floor_is_loud_and_the_table_serves(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        gate.end()
        (gate.control.parent / "state" / "time-floor").write_bytes(b"soon")
        gate.start()
        assert is_blocked(gate)
        assert '"time_floor_refused"' in gate.log.read_text()

    def test_a_disk_that_keeps_nothing_is_loud_and_queries_are_served(self, start_gate, tmp_path):
        gate = start_gate(floor_interval_ms=50)
        shutil.rmtree(gate.control.parent / "state")
        gate.load(compiled(tmp_path / "t", order()))
        eventually(lambda: gate.counters()["floors_unkept"] > 1)
        assert is_blocked(gate)
        assert gate.log.read_text().count('"time_floor_not_kept"') == 1


def check_ms(gate):
    """Return the time by which the gate judges now."""
    return gate.say(b'{"op":"check","qname":"a.example","qtype":1}')["check"]["at_ms"]
