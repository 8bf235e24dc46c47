"""What the state keeps beside its records is what the records say."""

import sys
from dataclasses import replace

from enforcer.core.entry import Entry
from enforcer.core.fold import apply
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State
from tests.people import Land, seal


def live_by_the_records(state: State, t_ms: int) -> dict[int, tuple[int, int]]:
    rows = (row for row in state.approved_rows() if row.until_ms > t_ms)
    return {row.index: (row.until_ms, row.target_count) for row in rows}


def test_what_is_live_is_what_was_approved_and_has_not_ended():
    land = Land.founded()

    def check() -> None:
        now_ms = land.state.recorded_at_ms
        known = {index: end for index, end in land.state.live.items() if end[0] > now_ms}
        assert known == live_by_the_records(land.state, now_ms)
        assert land.state.copy().live == land.state.live

    stopped = land.in_force_order(b"exact a.example.org\n")
    extended = land.in_force_order(b"exact b.example.org\nexact c.example.org\n")
    short = land.in_force_order(
        b"exact d.example.org\n",
        expires_at_ms=land.now_ms + DAY_MS,
        review_due_at_ms=land.now_ms + DAY_MS,
    )
    land.propose(b"exact e.example.org\n")
    assert len(land.state.live) == 3
    check()

    keys = (land.proposer.key, land.approver.key)
    land.record(seal(land.extension(extended, land.now_ms + 60 * DAY_MS), *keys))
    check()
    land.stop(stopped)
    assert stopped.entry_index not in land.state.live
    check()

    land.record(seal(land.policy(follows_sha256=land.state.policy.payload_sha256), *land.roots[:2]))
    land.now_ms += 2 * DAY_MS
    check()
    renewed = land.propose(b"exact f.example.org\n")
    assert land.approve(renewed).is_effective
    assert short.entry_index not in land.state.live, "it grows with the ledger"
    check()

    version = replace(
        land.state.orders[renewed.entry_index].payload,
        version=2,
        supersedes=renewed,
        request_id="version-2-of-it-0001",
    )
    effect = land.record(seal(version, land.proposer.key))
    assert effect.is_effective, effect.refusal
    assert land.approve(land.ref(effect.index)).is_effective
    assert renewed.entry_index not in land.state.live
    check()

    land.record(seal(land.revocation(land.approver, since=0), *land.roots[:2]))
    assert not land.state.live
    check()


def steps_of(work) -> int:
    """Return how many instructions of the interpreter `work` takes."""
    steps = 0

    def trace(frame, event, _argument):
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(former)
    return steps


def test_an_approval_costs_the_same_however_many_orders_are_in_force():
    land = Land.founded()

    def fold_one_more() -> int:
        ref = land.propose(b"exact a.example.org\n")
        entry = Entry(land.now_ms + 1, seal(land.approval(ref), land.approver.key))
        return steps_of(lambda: apply(land.state, entry))

    few = fold_one_more()
    for number in range(200):
        land.in_force_order(f"exact n{number}.example.org\n".encode())
    assert len(land.state.live) == 201
    assert abs(fold_one_more() - few) < 100
