"""Lists as people write them: what is respelt, what is refused, and that nothing is widened."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends import list_import, list_report, list_sort
from enforcer.backends.list_format import ListFormat
from enforcer.backends.list_line import convert_line
from enforcer.backends.list_report import NormaliseReport
from enforcer.core import target
from enforcer.core.target import TargetKind, check_list
from enforcer.errors import InputError
from tests.lists import read

SUBTREE = TargetKind.SUBTREE


@pytest.fixture
def loose():
    def run(text: bytes) -> tuple[bytes, NormaliseReport]:
        found = read(text, kind=SUBTREE)
        return found.text, found.report

    return run


@pytest.mark.parametrize(
    ("line", "canonical"),
    [
        (b"example.org", b"subtree example.org\n"),
        (b"  Example.ORG.  \r\n", b"subtree example.org\n"),
        (b"exact\texample.org # a note", b"exact example.org\n"),
        (b"EXACT example.org", b"exact example.org\n"),
        ("müller.example.org".encode(), b"subtree xn--mller-kva.example.org\n"),
        ("MÜLLER.example.org.".encode(), b"subtree xn--mller-kva.example.org\n"),
        ("faß.example.org".encode(), b"subtree xn--fa-hia.example.org\n"),
        ("_x.例え。example.org".encode(), b"subtree _x.xn--r8jz45g.example.org\n"),
        (b"xn--mller-kva.example.org", b"subtree xn--mller-kva.example.org\n"),
        (b"ip 2001:DB8:0:0::1", b"ip 2001:db8::1\n"),
        (b"net 192.0.2.0/255.255.255.0", b"net 192.0.2.0/24\n"),
        (b"", None),
        (b"  # only a note", None),
    ],
)
def test_a_line_is_respelt(line: bytes, canonical: bytes | None):
    assert convert_line(line, 1, SUBTREE) == canonical


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        (b"http://example.org/a", 6, "URL"),
        (b"example.org/a", 12, "URL"),
        (b"192.0.2.0/24", 1, "write 'net'"),
        (b"subtree 2001:db8::/32", 9, "write 'net'"),
        (b"1.example.org/24", 14, "URL"),
        ("exact http://müller.example.org/".encode(), 12, "URL"),
        (b"*.example.org", 1, "wildcard"),
        ("*.müller.example.org".encode(), 1, "wildcard"),
        (b"subtree example.*", 17, "wildcard"),
        (b"||example.org^", 1, "cannot stand in a name"),
        (b"com", 1, "single label"),
        (b".", 1, "missing"),
        (b"192.0.2.1", 1, "write 'ip'"),
        (b"exact 192.0.2.1", 7, "write 'ip'"),
        (b"0.0.0.0 example.org", 1, "kind and one value"),
        (b"exact example.org example.net", 1, "kind and one value"),
        (b"net 192.0.2.1/24", 5, "host bits"),
        (b"net 0.0.0.0/0", 5, "shorter than /16"),
        (b"net 192.0.2.1/32", 5, "write it as 'ip'"),
        (b"ip ::ffff:192.0.2.1", 4, "inside IPv6"),
        (b"ip example.org", 4, "does not appear to be"),
        (b"caf\xe9.example.org", 1, "not UTF-8"),
        ("\u0640ab\u0640.example.org".encode(), 1, "not valid"),  # disallowed by IDNA 2008
        (b"x" * 64 + b".example.org", 1, "over 63"),
        (("ü" * 64 + ".example.org").encode(), 1, "not valid"),
    ],
)
def test_a_line_that_would_be_guessed_is_refused(line: bytes, column: int, words: str):
    with pytest.raises(InputError, match=words) as caught:
        convert_line(line, 7, SUBTREE)
    assert caught.value.data == {"line": 7, "column": column}
    assert caught.value.message.startswith(f"line 7, column {column}: ")


def test_a_bare_address_is_taken_where_addresses_were_asked_for():
    assert convert_line(b"192.0.2.1", 1, TargetKind.IP) == b"ip 192.0.2.1\n"
    assert convert_line(b"192.0.2.0/24", 1, TargetKind.NET) == b"net 192.0.2.0/24\n"


def test_what_is_written_is_sorted_and_each_once(loose):
    text, report = loose(b"b.org\nexact b.org\nB.org.\na.b.org\n")
    assert text == b"exact b.org\nsubtree a.b.org\nsubtree b.org\n"
    assert (report.target_count, report.fault_count) == (3, 0)
    assert check_list(text).target_count == 3


def test_faults_are_left_out_and_told(loose):
    text, report = loose(b"a.org\n*.b.org\nc.org\nhttp://d.org/\n")
    assert text == b"subtree a.org\nsubtree c.org\n"
    assert report.fault_count == 2
    assert [(fault.line, fault.column) for fault in report.faults] == [(2, 1), (4, 6)]


def test_only_the_first_faults_are_kept_but_all_are_counted(loose):
    found = read(b"*.example.org\n" * 250 + b"example.org\n", bad_lines_max=250)
    assert (len(found.report.faults), found.report.fault_count) == (100, 250)
    assert len(found.report_text.splitlines()) == 250
    assert found.report_text.startswith("1 1 bad a wildcard cannot be ordered: ")


def test_a_line_without_end_is_one_fault(loose):
    text, report = loose(b"x" * 100_000 + b"\na.org\n" + b"y" * 4096 + b"\n" + b"# " + b"z" * 5000)
    assert text == b"subtree a.org\n"
    assert [fault.line for fault in report.faults] == [1, 3, 4]


@pytest.mark.parametrize(("text", "words"), [(b"# nothing\n\n", "in it$"), (b"com\n", "line 1")])
def test_a_list_without_a_target_is_refused_with_the_first_reason(loose, text: bytes, words: str):
    with pytest.raises(InputError, match=words):
        loose(text)


@pytest.mark.parametrize(("size", "is_taken"), [(253, True), (254, False)])
def test_a_name_may_have_253_characters(size: int, is_taken: bool):
    name = ("x" * 63 + ".") * 3 + "y" * (size - 192 - 4) + ".org"
    found = read(f"{name}\na.org\n")
    assert (f"exact {name}" in found.targets) == is_taken
    assert found.report.bad_line_count == (not is_taken)


def test_long_lists_are_merged_from_runs(loose, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_sort, "RUN_LINES", 3)
    lines = [f"n{number * 7 % 20}.example.org\n" for number in range(40)]
    text, report = loose("".join(lines).encode())
    assert report.target_count == 20
    assert check_list(text).target_count == 20


def test_a_list_over_the_bound_is_refused(loose, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_import, "TARGETS_MAX", 2)
    assert loose(b"a.org\nb.org\na.org\n")[1].target_count == 2
    with pytest.raises(InputError, match="over 2 targets"):
        loose(b"a.org\nb.org\nc.org\n")


@pytest.mark.parametrize(
    ("lines", "bad", "bound", "is_taken"),
    [
        (100, 10, None, True),
        (100, 11, None, False),
        (5_000, 50, None, True),
        (5_000, 51, None, False),
        (100, 1, 0, False),
        (100, 60, 60, True),
    ],
)
def test_over_the_bound_on_bad_lines_the_whole_list_is_refused(
    lines: int, bad: int, bound: int | None, is_taken: bool
):
    text = "".join(f"n{number}.example.org\n" for number in range(lines - bad))
    text += "http://example.org/\n" * bad
    if is_taken:
        assert read(text, bad_lines_max=bound).report.bad_line_count == bad
        return
    with pytest.raises(InputError, match=f"{bad} lines are no lines of the format plain") as caught:
        read(text, bad_lines_max=bound)
    assert (caught.value.data["line"], caught.value.data["column"]) == (lines - bad + 1, 6)


def test_a_list_of_nothing_but_bad_lines_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_report, "LINES_MAX", 1_000)
    with pytest.raises(InputError, match="11 lines are no lines"):
        read("*.example.org\n" * 1_000)


def test_a_canonical_list_is_read_as_it_is_and_a_loose_line_of_it_is_bad():
    text = "subtree b.org\nexact a.org\nip 192.0.2.1\nexact B.org\na.org\n# remark\n"
    found = read(text, ListFormat.CANONICAL)
    assert found.targets == ["exact a.org", "ip 192.0.2.1", "subtree b.org"]
    assert [line for line, _ in found.left_out] == [4, 5, 6]


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_long_list_with_an_error_in_each_thousandth_line_is_read_to_its_end(count: int):
    lines = [f"0.0.0.0 n{number:07}.example.org\n" for number in range(count)]
    for number in range(0, count, 1_000):
        lines[number] = f"0.0.0.0 http://n{number}.example.org/\n"
    found = read("".join(lines), ListFormat.HOSTS)
    assert found.report.target_count == count - count // 1_000
    assert found.report.bad_line_count == count // 1_000
    reported = [line.split(" ", 3) for line in found.report_text.splitlines()]
    assert [int(line) for line, *_ in reported] == list(range(1, count, 1_000))
    assert {column for _, column, *_ in reported} == {"14"}


name_like = st.lists(st.sampled_from("aB9-_.*ßü。例١"), max_size=12).map("".join)


@given(
    st.text(max_size=40) | name_like.map("{}.org".format),
    st.sampled_from([kind for kind in TargetKind if kind]),
)
def test_what_is_accepted_is_always_canonical(line: str, kind: TargetKind):
    converted = None
    fast = b""
    with contextlib.suppress(InputError):
        fast = read(line.encode("utf-8", "surrogatepass"), kind=kind, bad_lines_max=0).text
    with contextlib.suppress(InputError):
        converted = convert_line(line.encode("utf-8", "surrogatepass"), 1, kind)
    if converted is not None:
        assert target.parse_line(converted[:-1]).line == converted
    if "\n" not in line:
        assert fast == (converted or b"")
