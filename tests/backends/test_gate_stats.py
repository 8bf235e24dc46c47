"""What is counted: every word of one writer, summed over workers, kept when one of them dies."""

import fcntl
import itertools
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native import counts, probe_stats
from enforcer.backends import gate_stats
from enforcer.backends.gate_messages import Reply
from enforcer.backends.gate_stats import GateStats, map_counts
from enforcer.errors import InputError, IntegrityError
from enforcer.ports import GateReport

RECEIVED, IN_FLIGHT, RELAYED = (
    counts.COUNTER_NAMES.index(name) + 1 for name in ("received", "in_flight", "relayed")
)
NXDOMAIN, SHADOWED = (
    counts.OUTCOME_NAMES.index(name) + 1 for name in ("blocked_nxdomain", "shadowed")
)
BLOCKED = counts.STAGE_NAMES.index("blocked") + 1

WORKER = """
import os, sys
from enforcer._native import probe_stats
from enforcer.backends.gate_stats import map_counts
memory = map_counts(int(sys.argv[1]))
region, counter, gauge = map(int, sys.argv[2:])
for _ in range(1_000):
    probe_stats.add(memory, region, 0, counter, 1)
    probe_stats.add(memory, region, 1, counter, 1)
probe_stats.put(memory, region, 0, gauge, 7)
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stats() -> Iterator[GateStats]:
    made = GateStats.create()
    yield made
    made.close()


def memory_of(stats: GateStats) -> mmap.mmap:
    return map_counts(stats.fd)


def test_new_memory_has_counted_nothing_and_takes_no_room(stats):
    assert set(stats.counters()) == set(counts.COUNTER_NAMES)
    assert set(stats.counters().values()) == {0}
    assert stats.order_counts() == {}
    assert all(sum(each.counts) == each.sum_us == 0 for each in stats.histograms().values())
    assert os.fstat(stats.fd).st_blocks * 512 < 1 << 20


def test_both_threads_of_all_workers_are_summed(stats):
    memory = memory_of(stats)
    regions = [stats.region_of(number) for number in range(3)]
    for weight, (region, thread) in enumerate(itertools.product(regions, (0, 1)), 1):
        probe_stats.add(memory, region, thread, RECEIVED, weight)
        probe_stats.observe(memory, region, thread, BLOCKED, 2_000, weight)
    assert stats.counters()["received"] == 21
    assert stats.histograms()["blocked"].counts[1] == 21
    assert stats.histograms()["blocked"].sum_us == 42


def test_an_order_counts_in_its_own_slot_and_by_outcome(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    slots = stats.slots([100, 7])
    assert slots == {100: 1, 7: 2}
    assert stats.slots([7, 8]) == {7: 2, 8: 3}
    probe_stats.count_order(memory, region, 0, slots[100], NXDOMAIN)
    probe_stats.count_order(memory, region, 1, slots[7], SHADOWED)
    probe_stats.count_order(memory, region, 0, slots[7], SHADOWED)
    assert stats.order_counts() == {100: {"blocked_nxdomain": 1}, 7: {"shadowed": 2}}


def test_orders_beyond_the_slots_are_counted_together(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    slots = stats.slots(range(counts.ORDERS_MAX + 5))
    assert slots[counts.ORDERS_MAX - 2] == counts.ORDERS_MAX - 1
    assert slots[counts.ORDERS_MAX - 1] == slots[counts.ORDERS_MAX + 4] == 0
    for slot in (slots[counts.ORDERS_MAX - 2], 0, counts.ORDERS_MAX + 5, (1 << 31) + 9):
        probe_stats.count_order(memory, region, 0, slot, NXDOMAIN)
    assert stats.order_counts() == {
        counts.ORDERS_MAX - 2: {"blocked_nxdomain": 1},
        -1: {"blocked_nxdomain": 3},
    }


def test_every_counter_has_a_word_of_its_own(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    for number, name in enumerate(counts.COUNTER_NAMES, 1):
        before = stats.counters()
        probe_stats.add(memory, region, 0, number, 1)
        after = stats.counters()
        assert {each for each in after if after[each] != before[each]} == {name}
    assert stats.order_counts() == {}
    assert not any(sum(each.counts) for each in stats.histograms().values())


def test_a_counter_that_is_none_hurts_no_other(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    for counter in (0, 127, 128, (1 << 32) - 128):
        probe_stats.add(memory, region, 0, counter, 1)
    assert set(stats.counters().values()) == {0}
    assert not any(sum(each.counts) for each in stats.histograms().values())


def test_the_fates_of_a_query_and_of_an_upstreams_answer_are_told_apart():
    assert counts.FATES[0] == "blocked_nxdomain"
    assert counts.FATES[-1] == "dropped_response"
    assert counts.UPSTREAM_FATES[0] == "upstream_answered"
    assert counts.UPSTREAM_FATES[-1] == "upstream_wrong_question"
    assert not {"received", "in_flight", "passed", "shadowed"} & {
        *counts.FATES, *counts.UPSTREAM_FATES,
    }  # fmt: skip


def test_a_crashed_worker_leaves_what_it_counted_and_what_it_had_in_flight_is_lost(stats):
    region = stats.region_of(0)
    arguments = [str(each) for each in (stats.fd, region, RECEIVED, IN_FLIGHT)]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        cwd=Path(__file__).parent.parent.parent,
        pass_fds=[stats.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as worker:
        assert worker.stdout.readline() == b"counted\n"
        worker.send_signal(signal.SIGKILL)
    assert stats.counters()["in_flight"] == 7
    assert stats.bury(region) == 7
    assert stats.bury(region) == 0
    counted = stats.counters()
    assert (counted["received"], counted["in_flight"], counted["lost"]) == (2_000, 0, 7)
    probe_stats.add(memory_of(stats), stats.region_of(0), 0, RECEIVED, 1)  # the next one there
    assert stats.counters()["received"] == 2_001


def test_a_successor_reads_on_and_counts_elsewhere(stats):
    mine = stats.region_of(3)
    probe_stats.add(memory_of(stats), mine, 0, RECEIVED, 5)
    slots = stats.slots([11, 12])
    successor = GateStats.adopt(os.dup(stats.fd))
    assert successor.slots([12, 11, 13]) == {**slots, 13: 3}
    theirs = successor.region_of(3)
    assert theirs != mine
    # The old worker, which still drains, and the new one count side by side.
    probe_stats.add(memory_of(stats), mine, 0, RELAYED, 1)
    probe_stats.add(memory_of(successor), theirs, 0, RELAYED, 1)
    assert (successor.counters()["received"], successor.counters()["relayed"]) == (5, 2)
    third = GateStats.adopt(os.dup(successor.fd))
    assert third.region_of(3) == mine
    for each in (third, successor):
        each.close()


def corrupted(at: int, octets: bytes) -> GateStats:
    made = GateStats.create()
    memory_of(made)[at : at + len(octets)] = octets
    return made


@pytest.mark.parametrize(
    ("at", "octets"),
    [
        (0, b"ENFSTATX"),
        (8, struct.pack("<I", 99)),
        (16, struct.pack("<Q", probe_stats.REGION_OCTETS + 8)),
        (24, bytes(8)),
    ],
)
def test_memory_of_another_release_is_refused(at, octets):
    made = corrupted(at, octets)
    with pytest.raises(IntegrityError, match="release"):
        GateStats.adopt(made.fd)
    made.close()


def test_memory_that_could_be_cut_or_has_another_length_is_refused(tmp_path):
    plain = os.memfd_create("plain", os.MFD_ALLOW_SEALING)
    short = os.memfd_create("short", os.MFD_ALLOW_SEALING)
    os.ftruncate(plain, counts.MEMORY_OCTETS)
    os.ftruncate(short, counts.MEMORY_OCTETS - 8)
    fcntl.fcntl(short, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, counts.MEMORY_OCTETS)
    for fd in (plain, short, file):
        with pytest.raises(IntegrityError, match="release"):
            GateStats.adopt(fd)
        os.close(fd)


def test_nobody_can_cut_the_memory(stats):
    with pytest.raises(PermissionError):
        os.ftruncate(stats.fd, 4_096)


def test_a_worker_too_many_has_no_place(stats):
    last = stats.region_of(gate_stats.WORKERS_MAX - 1)
    probe_stats.add(memory_of(stats), last, 1, RECEIVED, 1)
    assert stats.counters()["received"] == 1
    for number in (-1, gate_stats.WORKERS_MAX):
        with pytest.raises(InputError, match="no place"):
            stats.region_of(number)


def test_what_is_written_while_it_is_read_is_never_half_a_number(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    step = (1 << 32) + 1  # half of it seen without the other half is no multiple
    done = threading.Event()

    def write() -> None:
        for _ in range(20_000):
            probe_stats.add(memory, region, 0, RECEIVED, step)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert stats.counters()["received"] % step == 0
    writer.join()
    assert stats.counters()["received"] == 20_000 * step


def test_bounds_ascend_by_two_to_an_octave():
    bounds = counts.BUCKET_BOUNDS_US
    assert bounds[:10] == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    assert len(bounds) == probe_stats.BUCKETS - 1
    assert all(b <= 2 * a and a < b for a, b in itertools.pairwise(bounds))
    assert bounds[-1] > 10_000_000  # µs: longer than any query is waited for


@given(st.one_of(st.integers(0, 100_000), st.integers(0, 1 << 62)))
def test_a_latency_is_in_the_first_bucket_that_it_does_not_exceed(duration_ns):
    bounds = counts.BUCKET_BOUNDS_US
    expected = sum(1 for bound in bounds if duration_ns > bound * 1_000)
    assert probe_stats.bucket(duration_ns) == expected


def test_a_latency_at_its_bound_is_within_it():
    for number, bound_us in enumerate(counts.BUCKET_BOUNDS_US):
        assert probe_stats.bound_us(number) == bound_us
        assert probe_stats.bucket(bound_us * 1_000) == number
        assert probe_stats.bucket(bound_us * 1_000 + 1) == number + 1


def test_what_is_counted_crosses_the_control_socket_whole(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    probe_stats.observe(memory, region, 0, BLOCKED, 5_000, 3)
    probe_stats.count_order(memory, region, 0, stats.slots([9])[9], NXDOMAIN)
    report = GateReport(
        "", "", 0, 0, (), stats.counters(), {},
        order_outcomes=stats.order_counts(), histograms=stats.histograms(),
    )  # fmt: skip
    sent = msgspec.json.encode(Reply(report=report))
    assert msgspec.json.decode(sent, type=Reply).report == report


def test_a_clock_that_steps_back_takes_no_time(stats):
    memory, region = memory_of(stats), stats.region_of(0)
    probe_stats.observe(memory, region, 0, BLOCKED, -5, 1)
    probe_stats.observe(memory, region, 0, BLOCKED, 1_000, 0)
    found = stats.histograms()["blocked"]
    assert (found.counts[0], sum(found.counts), found.sum_us) == (1, 1, 0)
