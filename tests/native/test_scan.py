"""Lists are read the same by the Python grammar and by the native scanner: one suite on both."""

from __future__ import annotations

import mmap
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enforcer._native import scanner
from enforcer.core import target
from enforcer.core.target import check_list
from enforcer.errors import InputError

Outcome = tuple[int, int] | tuple[str, dict[str, object]]


def python_outcome(text: bytes) -> Outcome:
    try:
        summary = check_list(text)
    except InputError as error:
        return error.message, dict(error.data)
    return summary.target_count, summary.name_count


def native_outcome(text: bytes) -> Outcome:
    try:
        result = scanner.scan(text)
    except InputError as error:
        return error.message, dict(error.data)
    assert result.target_count == result.name_count + result.address_count
    return result.target_count, result.name_count


both = pytest.mark.parametrize("outcome", [python_outcome, native_outcome])
Outcomes = Callable[[bytes], Outcome]

GOOD = [
    b"exact a.example.org\n",
    b"exact a.example.org\nsubtree example.org\n",
    b"ip 192.0.2.1\nip 2001:db8::1\nnet 192.0.2.0/24\nnet 2001:db8::/32\n",
    b"exact " + b"a." * 126 + b"a\n",
    b"subtree " + b"x" * 63 + b".org\n",
    b"exact " + b".".join([b"x" * 63] * 3 + [b"y" * 61]) + b"\n",
    b"exact _dmarc.example.org\nexact a--b.-example-.org\n",
    b"exact 192.0.2.1a\n",
    b"exact a.b\nexact a.b.c\n",
    b"exact a-b.c\nexact a.b\n",
    b"ip ::1\nip ::102:304\n",  # what a C library would write with dots
    b"net 10.0.0.0/16\n",
    b"net 2001:db8::/127\n",
]

BAD = [
    (b"", 1, 1),
    (b"\n", 1, 1),
    (b"exact\n", 1, 1),
    (b"exact \n", 1, 7),
    (b"Exact a.b\n", 1, 1),
    (b"exact  a.b\n", 1, 7),
    (b"exact a.b", 1, 10),
    (b"exact a.b\r\n", 1, 10),
    (b"exact a.b \n", 1, 10),
    (b"exact a.b.\n", 1, 10),
    (b"exact a..b\n", 1, 9),
    (b"exact .a.b\n", 1, 7),
    (b"exact com\n", 1, 7),
    (b"exact A.b\n", 1, 7),
    (b"exact a.\xc3\xa9\n", 1, 9),
    (b"exact a\x00.b\n", 1, 8),
    (b"subtree *.a.b\n", 1, 9),
    (b"subtree http://a.b/\n", 1, 14),
    (b"subtree 192.0.2.1\n", 1, 9),
    (b"exact " + b"x" * 64 + b".org\n", 1, 7),
    (b"exact " + b"a." * 127 + b"a\n", 1, 260),
    (b"subtree " + b"a" * 253 + b"\n", 1, 9),  # as long as a line can be
    (b"subtree " + b"a" * 253, 1, 262),
    (b"subtree " + b"a" * 254 + b"\n", 1, 262),
    (b"subtree " + b"a" * 254, 1, 262),
    (b"exact a.b\n" + b"x" * 5_000 + b"\nexact a.c\n", 2, 262),
    (b"exact a.b\nexact a.c" + b"\0" * 5_000, 2, 262),
    (b"exact b.b\nexact a.b\n", 2, 1),
    (b"exact a.b\nexact a.b\n", 2, 1),
    (b"exact a.b.c\nexact a.b\n", 2, 1),
    (b"ip 192.0.2.01\n", 1, 4),
    (b"ip 192.0.2.1/32\n", 1, 4),
    (b"ip ::ffff:192.0.2.1\n", 1, 4),
    (b"ip 2001:DB8::1\n", 1, 4),
    (b"ip 2001:db8:0::1\n", 1, 4),
    (b"ip fe80::1%eth0\n", 1, 4),
    (b"ip 1\x00.2.3.4\n", 1, 4),
    (b"ip \xc3\xa9\n", 1, 4),
    (b"net 192.0.2.1/24\n", 1, 5),
    (b"net 192.0.2.0/32\n", 1, 5),
    (b"net 192.0.2.0/024\n", 1, 5),
    (b"net 192.0.2.0/\n", 1, 5),
    (b"net 192.0.2.0\n", 1, 5),
    (b"net 192.0.2.0/255.255.255.0\n", 1, 5),
    (b"net 0.0.0.0/0\n", 1, 5),
    (b"net ::/0\n", 1, 5),
    (b"net 2001:db8::/128\n", 1, 5),
    (b"net 10.0.0.0/15\n", 1, 5),
    (b"net 2001:db8::/31\n", 1, 5),
    (b"net ::ffff:0:0/96\n", 1, 5),
]


@both
@pytest.mark.parametrize("text", GOOD)
def test_canonical_lists_are_counted(outcome: Outcomes, text: bytes):
    lines = text.split(b"\n")[:-1]
    names = sum(line.startswith((b"exact", b"subtree")) for line in lines)
    assert outcome(text) == (len(lines), names)


@both
@pytest.mark.parametrize(("text", "line", "column"), BAD)
def test_a_fault_is_told_with_line_and_column(
    outcome: Outcomes, text: bytes, line: int, column: int
):
    message, data = outcome(text)
    assert data == {"line": line, "column": column}
    assert str(message).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize("text", [*GOOD, *(text for text, _, _ in BAD)])
def test_both_use_the_same_words(text: bytes):
    assert native_outcome(text) == python_outcome(text)


@both
def test_a_list_over_the_bound_is_refused_at_the_line_too_many(
    outcome: Outcomes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(target, "TARGETS_MAX", 2)
    assert outcome(b"exact a.b\nexact a.c\n") == (2, 2)
    assert outcome(b"exact a.b\nexact a.c\nexact a.d\n")[1] == {"line": 3, "column": 1}


@both
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_end_costs_no_more_than_the_longest_line(outcome: Outcomes, end: bytes):
    text = b"exact a.b\nexact " + b"x" * (16 << 20) + end
    tracemalloc.start()
    try:
        message, data = outcome(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "the line is over 261 bytes" in str(message)
    assert data == {"line": 2, "column": 262}
    assert peak_bytes < 1 << 20


octets = st.sampled_from(b"abz019-_.A*/: \x00\xc3\xa9")
words = st.sampled_from([b"exact ", b"subtree ", b"ip ", b"net ", b"exact", b""])
values = (
    st.lists(octets, max_size=20).map(bytes)
    | st.ip_addresses().map(lambda address: str(address).encode())
    | st.ip_addresses(v=6).map(lambda address: address.exploded.encode())
    | st.tuples(st.ip_addresses(), st.integers(0, 130)).map(
        lambda pair: f"{pair[0]}/{pair[1]}".encode()
    )
    | st.integers(0, 2**32 - 1).map(lambda low: f"::{low >> 16:x}:{low & 0xFFFF:x}".encode())
    | st.lists(st.sampled_from(["0", "1", "", "ffff", "db8"]), min_size=3, max_size=9).map(
        lambda groups: ":".join(groups).encode()
    )
)


@given(st.lists(st.tuples(words, values).map(b"".join), max_size=4), st.booleans())
@example([b"exact a.b", b"exact a.b.c"], True)
@example([b"net ::1:0/112"], True)
def test_both_agree_on_any_text(lines: list[bytes], is_sorted: bool):
    lines = sorted(set(lines)) if is_sorted else lines
    text = b"".join(line + b"\n" for line in lines)
    assert native_outcome(text) == python_outcome(text)


@given(st.binary(max_size=60))
def test_any_octets_are_read_without_harm(text: bytes):
    assert native_outcome(text) == python_outcome(text)


def test_a_mapped_file_is_read_in_place(tmp_path: Path):
    path = tmp_path / "list"
    path.write_bytes(GOOD[1])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        assert scanner.scan(text).name_count == 2


@pytest.mark.parametrize("text", [*GOOD[:3], b"net 2001:db8:8000::/33\n"])
def test_plain_lines_never_reach_python(text: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(target, "read_line")
    assert scanner.scan(text).target_count == text.count(b"\n")
