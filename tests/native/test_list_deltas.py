"""Deltas of lists, made and applied: held against sets of lines, and against whoever forges one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.list_deltas import ROOM_BYTES_MIN, Diff, Patch
from enforcer.errors import InputError

NAMES = st.integers(0, 400).map(lambda n: b"exact n%d.example.org\n" % n)
ADDRESSES = st.integers(0, 255).map(lambda n: b"ip 192.0.2.%d\n" % n)
LINES = st.sets(NAMES | ADDRESSES | st.just(b"subtree %s.example.org\n" % (b"a" * 63)), max_size=60)
ROOMS = st.integers(ROOM_BYTES_MIN, 2_000)
BASE = b"exact a.example.org\nexact c.example.org\nexact e.example.org\n"


def text(lines):
    return b"".join(sorted(lines))


def drained(walk, room=ROOM_BYTES_MIN):
    out, parts = bytearray(room), []
    while size := walk.fill(out):
        parts.append(bytes(out[:size]))
    assert walk.fill(out) == 0
    return b"".join(parts)


def plain_delta(base, following):
    """What a delta is, by sets."""
    signed = [(line, b"-") for line in base - following] + [
        (line, b"+") for line in following - base
    ]
    return b"".join(sign + line for line, sign in sorted(signed))


@given(LINES, LINES, ROOMS)
def test_a_delta_is_the_lines_that_differ(base, following, room):
    assert drained(Diff(text(base), text(following)), room) == plain_delta(base, following)


@given(LINES, LINES, ROOMS)
def test_a_list_and_its_delta_make_the_other_list(base, following, room):
    delta = plain_delta(base, following)
    assert drained(Patch(text(base), delta), room) == text(following)


@given(st.data())
def test_few_lines_in_a_long_list_are_found(data):
    lines = {b"exact n%06d.example.org\n" % n for n in range(5_000)}
    changed = data.draw(
        st.sets(st.integers(0, 5_100).map(lambda n: b"exact n%06d.example.org\n" % n), max_size=9)
    )
    following = lines ^ changed
    delta = drained(Diff(text(lines), text(following)))
    assert delta == plain_delta(lines, following)
    assert drained(Patch(text(lines), delta), 65_536) == text(following)


@given(LINES, st.lists(LINES | st.binary(max_size=300), max_size=6), ROOMS)
def test_whatever_stands_in_a_delta_the_result_is_sorted_lines_or_an_error(base, parts, room):
    delta = b"".join(text(part) if isinstance(part, set) else part for part in parts)
    try:
        made = drained(Patch(text(base), delta), room)
    except InputError:
        return
    lines = made.splitlines(keepends=True)
    assert lines == sorted(set(lines))
    assert len(made) <= len(text(base)) + len(delta)


@pytest.mark.parametrize(
    ("delta", "line", "problem"),
    [
        (b"exact b.example.org\n", 1, "neither"),
        (b" exact b.example.org\n", 1, "neither"),
        (b"+exact b.example.org", 1, "without an end"),
        (b"\n", 1, "too long, empty"),
        (b"+exact " + b"b" * 256 + b"\n", 1, "too long"),
        (b"-exact b.example.org\n", 1, "does not have"),
        (b"-exact a.example.or\n", 1, "does not have"),
        (b"-exact z.example.org\n", 1, "does not have"),
        (b"+exact c.example.org\n", 1, "adds what"),
        (b"+exact d.example.org\n+exact b.example.org\n", 2, "not behind"),
        (b"+exact b.example.org\n+exact b.example.org\n", 2, "not behind"),
        (b"-exact c.example.org\n+exact c.example.org\n", 2, "not behind"),
        (b"-exact c.example.org\n-exact a.example.org\n", 2, "not behind"),
    ],
)
def test_a_delta_that_is_none_is_refused_at_its_line(delta, line, problem):
    with pytest.raises(InputError, match=problem) as caught:
        drained(Patch(BASE, delta))
    assert caught.value.data["line"] == line


def test_a_base_of_one_endless_line_is_no_list():
    with pytest.raises(InputError):
        drained(Diff(b"x" * 10_000, BASE))


def test_too_little_room_is_the_callers_fault():
    for walk in (Diff(BASE, b""), Patch(BASE, b"")):
        with pytest.raises(ValueError, match="room"):
            walk.fill(bytearray(ROOM_BYTES_MIN - 1))
