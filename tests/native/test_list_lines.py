"""Which lists may have a line: never too few, and in practice those that have it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.list_lines import ListLines

LINES = st.sets(st.sampled_from([f"exact n{n}.example.org" for n in range(12)]), max_size=8)


@given(st.lists(LINES, max_size=5), st.binary(min_size=16, max_size=16))
def test_every_list_that_has_a_line_is_told(lists, secret):
    index = ListLines(secret)
    for owner, lines in enumerate(lists):
        index.add(owner, "".join(f"{line}\n" for line in sorted(lines)).encode())
    assert len(index) == sum(map(len, lists))
    for n in range(13):
        line = f"exact n{n}.example.org"
        wanted = [owner for owner, lines in enumerate(lists) if line in lines]
        assert index.find(line.encode()) == wanted


def test_what_is_asked_too_early_or_wrongly_is_refused():
    index = ListLines(bytes(16))
    assert index.find(b"exact a.example") == []
    with pytest.raises(ValueError, match="before the first lookup"):
        index.add(1, b"exact a.example\n")
    with pytest.raises(ValueError, match="16 octets"):
        ListLines(b"short")
