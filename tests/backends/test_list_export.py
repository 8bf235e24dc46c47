"""A list in other programs' formats: nothing wider, what is left out told, read back the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.list_format import ListFormat
from enforcer.core.target import TargetKind, check_list
from enforcer.errors import InputError
from tests.conformance.client import Client
from tests.conformance.signed import Unbound
from tests.lists import read, written
from tests.tables import target_list

LONG = ".".join(["x" * 63] * 3) + "." + "y" * 48 + ".example"  # 248 characters
ANCHOR = ". DS 20326 8 2 " + "00" * 32  # nothing here is signed
ZONE = "@ SOA . . 1 2 3 4 5\n@ NS ns\n" + "".join(
    f"{owner} A 192.0.2.1\n" for owner in ("ns", "a", "*.a", "b", "*.b", "c")
)
LIST = target_list(
    "exact a.example",
    "exact b.example",
    "subtree b.example",
    "subtree _x.c.example",
    f"subtree {LONG}",
    f"exact z{LONG[1:]}",
    f"subtree z{LONG[2:]}",
    "exact odd.rpz-ip",
    "ip 192.0.2.1",
    "ip 2001:db8::1",
    "ip ::1",
    "net 192.0.2.0/25",
    "net 2001:db8:0:1::/64",
)


@pytest.mark.parametrize(
    ("form", "line", "target_count", "reason"),
    [
        (ListFormat.HOSTS, "0.0.0.0 a.example", 4, "single names alone"),
        (ListFormat.ADBLOCK, "||_x.c.example^", 4, "all below them alone"),
        (ListFormat.DNSMASQ, "local=/_x.c.example/", 4, "all below them alone"),
        (ListFormat.PLAIN, "a.example", 4, "not exact"),
        (ListFormat.RPZ, "25.0.2.0.192.rpz-ip CNAME .", 11, "no place for such a name"),
        (ListFormat.CSV, "exact a.example,exact,a.example", 13, ""),
        (ListFormat.CANONICAL, "exact a.example", 13, ""),
    ],
)
def test_what_a_format_cannot_say_is_left_out_and_told(
    form: ListFormat, line: str, target_count: int, reason: str
):
    text, report = written(LIST, form)
    assert line in text.splitlines()
    assert (report.target_count, report.fault_count) == (target_count, 13 - target_count)
    assert {reason in fault.message for fault in report.faults} <= {True}
    assert {fault.is_bad for fault in report.faults} <= {False}
    lines = LIST.decode().splitlines()
    left_out = {lines[fault.line - 1] for fault in report.faults}
    column = "target" if form is ListFormat.CSV else None
    back = read(text, form, column=column)
    covered = set(back.targets) | ({"exact b.example"} if form is ListFormat.RPZ else set())
    assert covered == set(lines) - left_out
    assert back.left_out == []


def test_plain_names_are_of_the_kind_that_is_asked_for():
    text, _ = written(LIST, ListFormat.PLAIN, kind=TargetKind.SUBTREE)
    back = read(text, kind=TargetKind.SUBTREE)
    assert back.targets == [line for line in LIST.decode().splitlines() if "subtree" in line]


def test_a_zones_own_name_takes_room_from_the_names_in_it():
    target = target_list("exact a.example", f"exact {LONG}")
    assert written(target, ListFormat.RPZ, zone="r")[1].target_count == 2
    assert written(target, ListFormat.RPZ, zone="policy.example.org.")[1].target_count == 1


@pytest.mark.parametrize("zone", ["", ".", "a..b", "x" * 64])
def test_a_zone_needs_a_name(zone: str):
    with pytest.raises(InputError) as caught:
        written(LIST, ListFormat.RPZ, zone=zone)
    assert caught.value.data["field"] == "zone"


def test_a_list_of_which_nothing_can_be_said_is_refused():
    with pytest.raises(InputError, match="nothing of the list can be said in the format hosts"):
        written(target_list("subtree a.example"), ListFormat.HOSTS)
    with pytest.raises(InputError, match="cannot be written as auto"):
        written(LIST, ListFormat.AUTO)


label = st.text("abz019-_", min_size=1, max_size=8)
name = st.lists(label, min_size=1, max_size=4).map(lambda each: ".".join([*each, "example"]))
line = st.one_of(
    st.tuples(st.sampled_from(["exact", "subtree"]), name).map(" ".join),
    st.ip_addresses(v=4).map("ip {}".format),
    st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None).map("ip {}".format),
)


@given(st.lists(line, min_size=1, max_size=20), st.sampled_from(ListFormat))
def test_what_is_read_back_never_covers_more(lines: list[str], form: ListFormat):
    text = target_list(*lines)
    try:
        exported, report = written(text, form)
    except InputError:
        return
    column = "target" if form is ListFormat.CSV else None
    back = read(exported, form, column=column)
    assert check_list(back.text)
    assert set(back.targets) <= set(text.decode().splitlines())
    assert len(back.targets) <= report.target_count


def test_bind_loads_the_zone(tmp_path: Path):
    checker = shutil.which("named-checkzone")
    if checker is None:
        pytest.skip("no named-checkzone here (package bind9-utils)")
    path = tmp_path / "zone"
    path.write_text(written(LIST, ListFormat.RPZ, zone="r-z")[0])
    flat = tmp_path / "flat"
    words = [checker, "-q", "-o", flat, "-f", "text", "r-z", path]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout
    # What BIND makes of it, absolute and sorted its own way, is the same list.
    assert (
        read(flat.read_bytes(), ListFormat.RPZ).targets
        == read(path.read_bytes(), ListFormat.RPZ).targets
    )


def test_unbound_blocks_what_the_zone_says_and_nothing_else(tmp_path: Path):
    if Unbound.EXECUTABLE is None:
        pytest.skip("no unbound here (package unbound)")
    path = tmp_path / "zone"
    text = target_list("exact a.example", "subtree b.example", "exact b.example")
    path.write_text(written(text, ListFormat.RPZ)[0])
    upstream = tmp_path / "upstream"
    upstream.write_text(f"$ORIGIN example.\n$TTL 60\n{ZONE}")
    clauses = (
        f'rpz:\n    name: "rpz"\n    zonefile: "{path}"\n',
        f'auth-zone:\n    name: "example."\n    zonefile: "{upstream}"\n    for-downstream: no\n',
    )
    names = ("a.example", "sub.a.example", "b.example", "x.sub.b.example", "c.example")
    options = '    module-config: "respip iterator"\n'
    with Unbound(tmp_path / "unbound", ANCHOR, *clauses, server=options) as unbound:
        client = Client(unbound.place)
        rcodes = {name: dns.rcode.to_text(client.ask(name).rcode()) for name in names}
    blocked = {name for name, rcode in rcodes.items() if rcode == "NXDOMAIN"}
    assert blocked == {"a.example", "b.example", "x.sub.b.example"}
    assert set(rcodes.values()) == {"NXDOMAIN", "NOERROR"}
