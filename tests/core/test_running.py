"""Sums that are kept up say what a walk over everything would."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.running import Additions, LiveOrders

INDICES = st.integers(0, 5)
TIMES = st.integers(0, 20)
COUNTS = st.integers(1, 9)
PUTS = st.tuples(st.just("put"), INDICES, TIMES, COUNTS)
REMOVALS = st.tuples(st.just("remove"), INDICES)
ENDINGS = st.tuples(st.just("forget_ended"), TIMES)


@given(st.lists(PUTS | REMOVALS | ENDINGS, max_size=30))
def test_what_may_still_block_is_counted_at_every_time(steps):
    live, plain = LiveOrders(), {}
    for does, *numbers in steps:
        before, kept = live.copy(), dict(plain)
        getattr(live, does)(*numbers)
        match does:
            case "put":
                plain[numbers[0]] = (numbers[1], numbers[2])
            case "remove":
                plain.pop(numbers[0], None)
            case _:
                plain = {at: end for at, end in plain.items() if end[0] > numbers[0]}
        assert before == kept, "a copy goes on by itself"
        assert live == plain
        for t_ms in range(22):
            assert live.targets(t_ms) == sum(count for end, count in plain.values() if end > t_ms)


@given(st.lists(st.tuples(st.integers(0, 5), COUNTS, st.booleans()), max_size=30))
def test_what_was_added_of_late_is_counted_at_every_time(steps):
    added, plain, now_ms = Additions(), [], 0
    for later_ms, count, forgets in steps:
        before, kept = added.copy(), list(plain)
        now_ms += later_ms
        if forgets:
            added.forget(now_ms - 7)
            plain = [each for each in plain if each[0] > now_ms - 7]
        added.add(now_ms, count)
        plain.append((now_ms, count))
        assert list(before.added) == kept, "a copy goes on by itself"
        for t_ms in range(now_ms - 7, now_ms + 2):
            assert added.after(t_ms) == sum(count for at, count in plain if at > t_ms)
