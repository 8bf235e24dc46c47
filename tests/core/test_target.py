"""The target list's canonical text; tests/native/test_scan.py has its faults, on both readers."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.target import Target, TargetKind, check_list, iterate, parse_line
from enforcer.errors import InputError

LIST = b"exact www.example.org\nip 192.0.2.1\nnet 2001:db8::/32\nsubtree example.org\n"


def test_a_list_is_named_by_the_hash_of_its_text():
    # Pinned: the text is what is signed, and cannot change.
    pinned = "bad75b5eb84c33f2a9cc8666d3af169c151b33b3b4a9465c2d4dba315f2560e2"
    assert check_list(LIST).sha256 == pinned
    assert check_list(LIST).sha256 == sha256(LIST).hexdigest()
    assert (check_list(LIST).target_count, check_list(LIST).name_count) == (4, 2)


def test_lines_come_back_as_they_stand():
    targets = list(iterate(LIST))
    assert b"".join(target.line for target in targets) == LIST
    assert targets[0] == Target(TargetKind.EXACT, "www.example.org")
    assert [target.kind for target in targets] == [
        TargetKind.EXACT,
        TargetKind.IP,
        TargetKind.NET,
        TargetKind.SUBTREE,
    ]


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        (b"subtree http://example.org/a.html", 14, "URL"),
        (b"exact *.example.org", 7, "wildcard"),
        (b"exact com", 7, "top-level domain"),
        (b"exact 192.0.2.1", 7, "write 'ip'"),
        (b"exact B\xc3\xbcro.example.org", 7, "lower case"),
        (b"exact b\xc3\xbcro.example.org", 8, "A-labels"),
        (b"domain example.org", 1, "does not start with"),
    ],
)
def test_a_fault_says_what_to_write_instead(line: bytes, column: int, words: str):
    with pytest.raises(InputError, match=words) as caught:
        parse_line(line, 3)
    assert caught.value.data == {"line": 3, "column": column}
    assert caught.value.advice.startswith("Lines are")


@given(st.binary(max_size=40))
def test_any_line_is_a_target_or_an_error_inside_the_line(line: bytes):
    try:
        target = parse_line(line)
    except InputError as error:
        column = error.data["column"]
        assert isinstance(column, int)
        assert 1 <= column <= len(line) + 1
    else:
        assert target.line == line + b"\n"


def test_no_kind_is_zero():
    assert TargetKind.UNSPECIFIED == 0
    assert all(target.kind for target in iterate(LIST))
