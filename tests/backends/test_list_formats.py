"""Hosts files, dnsmasq, filter lists, CSV: what each says exactly, and what is left out."""

from __future__ import annotations

import gzip

import pytest

from enforcer.backends import list_source
from enforcer.backends.list_format import ListFormat, Reading, told_format
from enforcer.core.target import TargetKind
from enforcer.errors import InputError
from tests.lists import read

HOSTS, DNSMASQ, ADBLOCK, CSV = (
    ListFormat.HOSTS,
    ListFormat.DNSMASQ,
    ListFormat.ADBLOCK,
    ListFormat.CSV,
)
END = {  # one target more, so that a list is not empty
    HOSTS: ("0.0.0.0 end.invalid\n", "exact end.invalid"),
    DNSMASQ: ("local=/end.invalid/\n", "subtree end.invalid"),
    ADBLOCK: ("||end.invalid^\n", "subtree end.invalid"),
    CSV: ("name\nend.invalid\n", "exact end.invalid"),
}


def of_line(form: ListFormat, line: str, **reading: object) -> list[str]:
    """Return the targets of one line; what it takes back is seen in a line before it."""
    end, target = END[form]
    found = read(f"{line}\n{end}", form, **reading)
    return [each for each in found.targets if each != target]


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("0.0.0.0 a.example", ["exact a.example"]),
        ("127.0.0.1\tA.Example.  # remark", ["exact a.example"]),
        (":: a.example", ["exact a.example"]),
        ("::1 a.example b.example", ["exact a.example", "exact b.example"]),
        ("0 a.example", ["exact a.example"]),
        ("0.0.0.0 máy.example\r", ["exact xn--my-mia.example"]),
        ("0.0.0.0 a.example http://b.example/ c.example", ["exact a.example", "exact c.example"]),
        ("127.0.0.1 localhost localhost.localdomain", []),
        ("127.0.0.1 localhost.localdomain", []),
        ("fe80::1%lo0 localhost", []),
        ("0.0.0.0 0.0.0.0", []),
        ("# Title", []),
        ("192.0.2.7 nas.example", []),
        ("a.example", []),
        ("0.0.0.0", []),
        ("0.0.0.0 *.a.example", []),
        ("0.0.0.0 com", []),
    ],
)
def test_a_hosts_file_names_single_names(line: str, targets: list[str]):
    assert of_line(HOSTS, line) == targets


def test_a_name_with_an_address_is_blocked_only_where_that_address_is_said_to_mean_so():
    found = read("0.0.0.0 a.example\n198.51.100.7 b.example\n", HOSTS)
    assert (found.targets, found.report.bad_line_count) == (["exact a.example"], 0)
    assert found.left_out == [(2, "the line gives the name an address")]
    assert of_line(HOSTS, "198.51.100.7 b.example", sinks=("198.51.100.7",)) == ["exact b.example"]


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("local=/a.example/", ["subtree a.example"]),
        ("server=/a.example/", ["subtree a.example"]),
        ("address=/a.example/", ["subtree a.example"]),
        ("address=/a.example/#", ["subtree a.example"]),
        ("address=/A.example/0.0.0.0 # remark", ["subtree a.example"]),
        ("address = /a.example/::", ["subtree a.example"]),
        ("local=/a.example/b.example/", ["subtree a.example", "subtree b.example"]),
        ("# local=/a.example/", []),
        ("", []),
        ("address=/a.example/192.0.2.7", []),
        ("server=/a.example/192.0.2.53", []),
        ("server=/a.example/#", []),
        ("local=/#/", []),
        ("local=//", []),
        ("local=/*.a.example/", []),
        ("local=/com/", []),
        ("address=/a.example", []),
        ("server=192.0.2.53", []),
        ("cache-size=1000", []),
        ("conf-file=/etc/more.conf", []),
        ("||a.example^", []),
    ],
)
def test_dnsmasq_names_all_below_a_name(line: str, targets: list[str]):
    assert of_line(DNSMASQ, line) == targets


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("||a.example^", ["subtree a.example"]),
        ("  ||A.example^  ", ["subtree a.example"]),
        ("||máy.example^", ["subtree xn--my-mia.example"]),
        ("! ||a.example^", []),
        ("[Adblock Plus 2.0]", []),
        ("# remark", []),
        ("", []),
        ("||a.example^$third-party", []),
        ("||a.example^$important", []),
        ("||a.example/path^", []),
        ("||a.example", []),
        ("||a.example^|", []),
        ("|https://a.example/", []),
        ("a.example", []),
        ("/banner/*", []),
        ("/^ads[0-9]\\.example/", []),
        ("a.example##.banner", []),
        ("a.example#@#.banner", []),
        ("##.banner", []),
        ("||*.a.example^", []),
        ("||ads*.example^", []),
        ("||com^", []),
        ("||192.0.2.1^", []),
        ("||a.example:8080^", []),
        ("0.0.0.0 a.example", []),
    ],
)
def test_a_filter_list_names_a_domain_or_nothing(line: str, targets: list[str]):
    assert of_line(ADBLOCK, line) == targets


def test_a_rule_of_a_pattern_is_no_bad_line_and_one_that_names_no_domain_is():
    found = read("||ads*.example^\n||a.example/x\n||com^\n||end.example^\n", ADBLOCK)
    assert (found.report.fault_count, found.report.bad_line_count) == (3, 1)


@pytest.mark.parametrize(
    ("form", "line", "target", "is_taken_back"),
    [
        (ADBLOCK, "@@||good.a.example^", "subtree a.example", True),
        (ADBLOCK, "@@||good.a.example^$script", "subtree a.example", True),
        (ADBLOCK, "@@||a.example/path", "subtree a.example", True),
        (ADBLOCK, "@@|https://good.a.example/x", "subtree a.example", True),
        (ADBLOCK, "@@||a.example^", "subtree bad.a.example", True),
        (ADBLOCK, "@@||example^", "subtree a.example", True),
        (ADBLOCK, "@@||good*.a.example^", "subtree a.example", True),
        (ADBLOCK, "@@||good*.a.example^", "subtree b.a.example", True),
        (ADBLOCK, "||a.example^$badfilter", "subtree a.example", True),
        (ADBLOCK, "@@||MÁY.example^", "subtree xn--my-mia.example", True),
        (ADBLOCK, "@@||xa.example^", "subtree a.example", False),
        (ADBLOCK, "@@||b.example^", "subtree a.example", False),
        (ADBLOCK, "@@/ads.js?x=$script", "subtree a.example", False),
        (DNSMASQ, "server=/good.a.example/#", "subtree a.example", True),
        (DNSMASQ, "server=/a.example/192.0.2.53", "subtree a.example", True),
        (DNSMASQ, "address=/good.a.example/192.0.2.7", "subtree a.example", True),
        (DNSMASQ, "server=/*good.a.example/#", "subtree b.a.example", True),
        (DNSMASQ, "server=/*good.example/#", "subtree a.example", True),
        (DNSMASQ, "host-record=good.a.example,192.0.2.7", "subtree a.example", True),
        (DNSMASQ, "cname=x.good.a.example,b.example", "subtree good.a.example", True),
        (DNSMASQ, "server=/example/#", "subtree a.example", False),  # the longer name wins
        (DNSMASQ, "server=/xa.example/#", "subtree a.example", False),
    ],
)
def test_what_a_list_takes_back_is_left_out_whole(
    form: ListFormat, line: str, target: str, is_taken_back: bool
):
    rule = "||{}^" if form is ADBLOCK else "local=/{}/"
    end, kept = END[form]
    for lines in ([line, rule], [rule, line]):  # wherever it stands
        text = "\n".join(lines).format(target.partition(" ")[2])
        found = read(f"{text}\n{end}", form)
        assert found.targets == ([kept] if is_taken_back else sorted([target, kept]))
        taken = [reason for _, reason in found.left_out if f"'{target}'" in reason]
        assert len(taken) == is_taken_back


@pytest.mark.parametrize(
    "line", ["@@/^good/", "@@||good*^", "@@||good", "@@good.example", "@@||good$script", "@@*"]
)
def test_an_exception_that_can_be_about_any_name_refuses_the_list(line: str):
    with pytest.raises(InputError, match=r"^line 2, column 1: an exception that can be about any"):
        read(f"||a.example^\n{line}\n", ADBLOCK)


def test_a_server_for_a_pattern_that_can_be_any_name_refuses_the_list():
    with pytest.raises(InputError, match=r"^line 2, column 11: .*any name of the list"):
        read("local=/a.example/\nserver=/x/*b/#\n", DNSMASQ)


def test_csv_gives_the_targets_of_its_column():
    text = 'id,"host name",note\n1,A.example,x\n2,"b.example","two\nlines"\n3,ip 192.0.2.1,\n'
    found = read(text, CSV, column="host name")
    assert found.targets == ["exact a.example", "exact b.example", "ip 192.0.2.1"]
    found = read(text.replace(",", ";"), CSV, column="host name", kind=TargetKind.SUBTREE)
    assert found.targets == ["ip 192.0.2.1", "subtree a.example", "subtree b.example"]


def test_rows_of_a_csv_that_are_bad_are_told_with_their_line():
    rows = ["1,a.example", "2", "3,", '4,"b.example"x', "5,d.example#x", "6,e.example"]
    found = read("id,name\n" + "\n".join(rows) + "\n", CSV, column="name")
    assert found.targets == ["exact a.example", "exact e.example"]
    assert [line for line, _ in found.left_out] == [3, 4, 5, 6]
    long = "x" * 5_000
    found = read(f"id,name\n{long},a.example\n2,b.example\n", CSV, column="name")
    assert (found.targets, found.left_out[0][0]) == (["exact b.example"], 2)


def test_an_open_quotation_hides_no_row():
    found = read('id,name\n1,a.example\n2,"b.example\n3,c.example\n', CSV, column="name")
    assert found.targets == ["exact a.example"]
    assert found.left_out == [(4, "unexpected end of data")]


@pytest.mark.parametrize("header", ["id,domain", "name,name", "", '"name'])
def test_a_csv_without_the_column_is_refused(header: str):
    with pytest.raises(InputError, match="no column 'name', or several") as caught:
        read(f"{header}\n1,a.example\n", CSV, column="name")
    assert caught.value.data["field"] == "column"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a.example\nb.example\n", ListFormat.PLAIN),
        ("subtree a.example\nnet 192.0.2.0/24\n", ListFormat.PLAIN),
        ("# Title: a\n127.0.0.1 localhost\n0.0.0.0 a.example\n0.0.0.0 b.example\n", HOSTS),
        ("[Adblock Plus 2.0]\n! x\n||a.example^\na.example##.x\n@@||b.example^\n", ADBLOCK),
        ("# x\naddress=/a.example/#\nserver=/b.example/\n", DNSMASQ),
        ("$TTL 60\n@ SOA . . 1 2 3 4 5\n NS .\na.example CNAME .\n", ListFormat.RPZ),
        ("", ListFormat.PLAIN),
    ],
)
def test_the_format_is_told_by_the_first_lines(text: str, form: ListFormat):
    assert told_format(text.encode(), Reading(ListFormat.AUTO)) is form


def test_a_list_of_two_formats_is_not_guessed_at():
    with pytest.raises(InputError, match="of several formats: ") as caught:
        read("||a.example^\n0.0.0.0 b.example\n", ListFormat.AUTO)
    assert caught.value.data["field"] == "format"


@pytest.mark.parametrize(
    "reading",
    [
        {"form": HOSTS, "kind": TargetKind.SUBTREE},
        {"form": HOSTS, "column": "name"},
        {"form": CSV},
    ],
)
def test_an_option_of_another_format_is_refused(reading: dict):
    with pytest.raises(InputError, match=r"the format hosts says itself|the name of a column"):
        read("0.0.0.0 a.example\n", **reading)


def test_a_list_may_be_gzip_and_a_cut_one_is_refused():
    text = "".join(f"0.0.0.0 n{number}.example\n" for number in range(5_000))
    packed = gzip.compress(text.encode())
    assert read(packed, ListFormat.AUTO).targets == read(text, HOSTS).targets
    for broken in (packed[:-20], packed + b"x", packed[:200] + b"\0" * 99 + packed[299:]):
        with pytest.raises(InputError, match="no whole gzip file"):
            read(broken, HOSTS)


def test_a_gzip_that_grows_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_source, "SOURCE_BYTES_MAX", 1_000_000)
    packed = gzip.compress(b"\n" * 1_000_001)
    assert len(packed) < 2_000
    with pytest.raises(InputError, match="over 1000000 octets"):
        read(packed)


def test_too_many_lines_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(list_source, "LINES_MAX", 100_000)
    with pytest.raises(InputError, match="over 100000 lines"):
        read(b"\n" * 200_000)


def test_a_byte_order_mark_is_no_part_of_the_first_name_and_utf_16_is_refused():
    found = read("\ufeff0.0.0.0 a.example\n".encode(), HOSTS)
    assert found.targets == ["exact a.example"]
    with pytest.raises(InputError, match="UTF-16"):
        read("a.example\n".encode("utf-16"))


@pytest.mark.parametrize("size", [4_096, 4_097, 65_536, 200_000])
@pytest.mark.parametrize("before", [0, 65_530])
def test_a_long_line_is_one_fault_and_the_next_line_is_read(size: int, before: int):
    lines = b"#" * 99 + b"\n"
    text = lines * (before // 100) + b"x" * size + b"\nb.example\n"
    found = read(text)
    assert found.targets == ["exact b.example"]
    assert [line for line, _ in found.left_out] == [before // 100 + 1]
    assert found.report.line_count == before // 100 + 2


def test_one_list_in_four_formats_is_the_same_names(data_dir):
    folder = data_dir / "domains" / "formats"
    found = {
        name: read((folder / name).read_bytes(), ListFormat.AUTO)
        for name in ("domain.txt", "hosts", "filter.txt", "dnsmasq-hostsVN.conf")
    }
    formats = ["plain", "hosts", "adblock", "dnsmasq"]
    assert [each.report.format for each in found.values()] == formats
    assert not any(each.report.fault_count for each in found.values())
    plain, hosts, filters, dnsmasq = (each.targets for each in found.values())
    assert plain == hosts
    # Where they differ: the authors' filter list has a name without its "www." and all below
    # it, which is wider than their hosts file and not for us to undo.
    names = {line.removeprefix("exact ").removeprefix("www.") for line in plain}
    assert filters == sorted(f"subtree {name}" for name in names)
    # Their file for dnsmasq is another list, of 18,298 names.
    assert len(dnsmasq) == 18_298
    assert all(line.startswith("subtree ") for line in dnsmasq)
