"""A list without what guards found in it: only with that list's own report, and canonical still."""

from __future__ import annotations

import io
from hashlib import sha256

import pytest

from enforcer.backends.list_split import SplitReport, split
from enforcer.core.target import check_list
from enforcer.errors import InputError
from tests.tables import target_list

LIST = target_list("exact a.example", "ip 192.0.2.1", "subtree b.example", "subtree co.uk")


def report_of(*hits: str, text: bytes = LIST, head: str = "enforcer guard report 1") -> bytes:
    lines = [head, f"list {sha256(text).hexdigest()}", "guard PUBLIC_SUFFIX REFUSE 1", "", *hits]
    return "".join(f"{line}\n" for line in lines).encode()


def done(guards: bytes) -> tuple[bytes, SplitReport]:
    to = io.BytesIO()
    report = split(io.BufferedReader(io.BytesIO(LIST)), io.BytesIO(guards), to)
    return to.getvalue(), report


def test_lines_at_which_guards_fired_are_left_out():
    text, report = done(
        report_of(
            "2 SPECIAL_NETWORK ip 192.0.2.1 | net 192.0.2.0/24 TEST-NET-1",
            "4 PUBLIC_SUFFIX subtree co.uk | icann co.uk",
            "4 PROTECTED_NAME subtree co.uk | subtree bbc.co.uk",
            "4 PROTECTED_NAME subtree co.uk | subtree nhs.co.uk",
        )
    )
    assert text == target_list("exact a.example", "subtree b.example")
    assert check_list(text).target_count == 2
    guards = {"SPECIAL_NETWORK": 1, "PUBLIC_SUFFIX": 1, "PROTECTED_NAME": 1}
    assert report == SplitReport(2, 2, guards, 0)


def test_a_report_without_hits_leaves_the_list_as_it_is():
    assert done(report_of())[0] == LIST


def test_a_report_that_was_cut_says_that_more_may_be_found():
    _, report = done(report_of("4 PUBLIC_SUFFIX subtree co.uk | icann co.uk", "and 7 more"))
    assert (report.left_out_count, report.unnamed_hit_count) == (1, 7)


HIT = "4 PUBLIC_SUFFIX subtree co.uk | icann co.uk"


@pytest.mark.parametrize(
    ("guards", "words"),
    [
        (report_of(HIT, text=b"exact c.example\n"), "not of this list: its hash"),
        (report_of("3 PUBLIC_SUFFIX subtree co.uk | icann co.uk"), "line 3 of the list is not"),
        (report_of(HIT, "2 SHARED_RANGE ip 192.0.2.1 | x"), "line 4 of the list is not"),
        (report_of("9 PUBLIC_SUFFIX subtree co.uk | icann co.uk"), "the list has no line 9"),
        (report_of("x"), "hit line 1 is none"),
        (report_of("and 7 more", "x"), "hit line 2 is none"),
        (report_of("4 NO_GUARD subtree co.uk | icann co.uk"), "hit line 1 is none"),
        (report_of("4 UNSPECIFIED subtree co.uk | icann co.uk"), "hit line 1 is none"),
        (report_of(HIT, head="enforcer guard report 2"), "line 1 is none of a report"),
        (report_of(HIT)[:-1], "hit line 1 is none"),
        (report_of()[:-1], "not of this list|cannot be read"),
        (b"", "line 1 is none of a report"),
        (b"\0" * 5_000, "line 1 is none of a report"),
    ],
)
def test_a_report_that_is_none_or_of_another_list_is_refused(guards: bytes, words: str):
    with pytest.raises(InputError, match=words) as caught:
        done(guards)
    assert caught.value.data["field"] == "report"


def test_nothing_is_written_where_nothing_is_left():
    lines = LIST.decode().splitlines()
    hits = [f"{number} PERSON {line} | x" for number, line in enumerate(lines, start=1)]
    with pytest.raises(InputError, match="names every line"):
        done(report_of(*hits))
