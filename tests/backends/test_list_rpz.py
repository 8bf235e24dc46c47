"""Policy zones: which records are a target, which are left out, and what they take back."""

from __future__ import annotations

import pytest

from enforcer.backends.list_format import ListFormat
from enforcer.errors import InputError
from tests.lists import Read, read

HEAD = """$TTL 300
@ IN SOA localhost. hostmaster.localhost. (
    1 ; serial
    3600 600 86400 300 )
  IN NS localhost.
"""


def zone(*lines: str, head: str = HEAD, **reading: object) -> Read:
    text = head + "".join(f"{line}\n" for line in lines) + "end.test CNAME .\n"
    found = read(text, ListFormat.RPZ, **reading)
    assert found.targets.pop(found.targets.index("exact end.test"))
    found.text = found.text.replace(b"exact end.test\n", b"")
    return found


@pytest.mark.parametrize(
    ("lines", "targets"),
    [
        (["a.example CNAME ."], ["exact a.example"]),
        (["a.example 60 IN CNAME *."], ["exact a.example"]),
        (["A.Example\tIN 60 cname rpz-drop. ; why"], ["exact a.example"]),
        (["a.example A 0.0.0.0", "a.example AAAA ::"], ["exact a.example"]),
        (["a.example CNAME .", "*.a.example CNAME ."], ["subtree a.example"]),
        (["*.a.example CNAME *.", "a.example A 127.0.0.1"], ["subtree a.example"]),
        (["*.a.example CNAME ."] * 2 + ["a.example CNAME ."], ["subtree a.example"]),
        (["*.a.example CNAME ."], []),
        (["*.a.example CNAME .", "a.example.test CNAME ."], ["exact a.example.test"]),
        (["*.a CNAME .", "*.a.example CNAME .", "a.example CNAME ."], ["subtree a.example"]),
        (["a.example (", "  CNAME ; more", "  . )"], ["exact a.example"]),
        (
            ["www.a.example CNAME .", "a.example 1h CNAME ."],
            ["exact a.example", "exact www.a.example"],
        ),
        (["32.1.2.0.192.rpz-ip CNAME ."], ["ip 192.0.2.1"]),
        (["24.0.2.0.192.rpz-ip CNAME *."], ["net 192.0.2.0/24"]),
        (["48.zz.1.db8.2001.rpz-ip CNAME ."], ["net 2001:db8:1::/48"]),
        (["128.1.zz.db8.2001.rpz-ip CNAME ."], ["ip 2001:db8::1"]),
        (["128.1.0.0.0.0.0.db8.2001.rpz-ip CNAME ."], ["ip 2001:db8::1"]),
        (["24.1.2.0.192.rpz-ip CNAME ."], []),  # host bits
        (["8.0.0.0.10.rpz-ip CNAME ."], []),  # wider than a target may be
        (["0.0.2.192.rpz-ip CNAME ."], []),
        (["rpz-ip CNAME ."], []),
        (["a.example CNAME rpz-passthru."], []),
        (["a.example CNAME a.example."], []),
        (["a.example CNAME rpz-tcp-only."], []),
        (["a.example CNAME garden.example."], []),
        (["a.example A 192.0.2.7"], []),
        (["a.example TXT CNAME ."], []),
        (["a.example CNAME"], []),
        (["a.*.example CNAME ."], []),
        (["* CNAME ."], []),
        (["com CNAME ."], []),
        (["a\\.b.example CNAME ."], []),
        (["32.1.2.0.192.rpz-client-ip CNAME ."], []),
        (["ns.example.rpz-nsdname CNAME ."], []),
        (["32.1.2.0.192.rpz-nsip CNAME ."], []),
        (['a.example TXT "open'], []),
        (["a.example CNAME . )"], []),
        (["$GIBBERISH 1"], []),
    ],
)
def test_a_record_is_a_target_or_is_left_out(lines: list[str], targets: list[str]):
    found = zone(*lines)
    assert found.targets == targets
    assert targets or found.left_out


@pytest.mark.parametrize(
    ("line", "target", "is_taken_back"),
    [
        ("good.a.example CNAME rpz-passthru.", "subtree a.example", True),
        ("*.good.a.example CNAME rpz-passthru.", "subtree a.example", True),
        ("good.a.example A 192.0.2.7", "subtree a.example", True),
        ("good.a.example CNAME garden.test.", "subtree a.example", True),
        ("a.example CNAME rpz-passthru.", "exact a.example", True),
        ("good.a.example TXT x", "subtree a.example", False),  # still not what the name has
        ("*.a.example CNAME rpz-passthru.", "exact a.example", False),
        ("a.example CNAME rpz-passthru.", "exact b.a.example", False),
        ("*.example CNAME rpz-passthru.", "subtree a.example", False),  # the longer name wins
        ("32.9.2.0.192.rpz-ip CNAME rpz-passthru.", "net 192.0.2.0/24", True),
        ("16.0.0.0.192.rpz-ip CNAME rpz-passthru.", "net 192.0.2.0/24", True),
        ("32.9.3.0.192.rpz-ip CNAME rpz-passthru.", "net 192.0.2.0/24", False),
        ("128.1.zz.db8.2001.rpz-ip CNAME rpz-passthru.", "net 192.0.2.0/24", False),
    ],
)
def test_what_a_zone_passes_takes_back_what_is_above_it(
    line: str, target: str, is_taken_back: bool
):
    kind, value = target.split()
    blocks = {
        "exact": [f"{value} CNAME ."],
        "subtree": [f"{value} CNAME .", f"*.{value} CNAME ."],
        "net": ["24.0.2.0.192.rpz-ip CNAME ."],
    }[kind]
    for lines in ([line, *blocks], [*blocks, line]):
        found = zone(*lines)
        assert found.targets == ([] if is_taken_back else [target])
        assert found.left_out


def test_a_garden_is_a_block_where_it_is_said_to_be():
    lines = ["a.example CNAME garden.test.", "b.example A 198.51.100.7"]
    assert zone(*lines, sinks=("garden.test", "198.51.100.7")).targets == [
        "exact a.example",
        "exact b.example",
    ]


@pytest.mark.parametrize(
    "head",
    [
        "$ORIGIN rpz.test.\n@ SOA . . 1 2 3 4 5\n",
        "rpz.test. SOA . . 1 2 3 4 5\n@ NS .\n",
        "$ORIGIN test.\nrpz SOA . . 1 2 3 4 5\n$ORIGIN rpz.test.\n",
    ],
)
def test_owners_are_relative_to_the_zone(head: str):
    found = zone(
        "a.example CNAME .",
        "b.example.rpz.test. CNAME .",
        "c.example.elsewhere.test. CNAME .",
        "$ORIGIN example.rpz.test.",
        "d CNAME .",
        "www.d CNAME .",
        "$ORIGIN rpz.test.",
        head=head,
    )
    assert found.targets == [
        "exact a.example",
        "exact b.example",
        "exact d.example",
        "exact www.d.example",
    ]
    assert [reason for _, reason in found.left_out] == ["the owner is not in the zone"]


def test_without_its_soa_a_zone_is_not_guessed():
    for origin in ("com.rpz.test.", "."):
        text = f"c.example CNAME .\n$ORIGIN {origin}\na.example CNAME .\n"
        found = read(text, ListFormat.RPZ)
        assert found.targets == ["exact c.example"]
        with pytest.raises(InputError, match="its SOA comes first"):
            read(f"$ORIGIN {origin}\na.example CNAME .\n", ListFormat.RPZ)


def test_names_written_out_are_those_below_the_zone():
    head = "rpz.test. 60 IN SOA . . 1 2 3 4 5\n"
    found = zone(
        "$ORIGIN elsewhere.test.",
        "a.example.rpz.test. 60 IN CNAME .",
        "*.a.example.rpz.test.\t60 IN CNAME .",
        "b.example.xrpz.test. CNAME .",
        "192.0.2.1.rpz.test. CNAME .",
        "com.rpz.test. CNAME .",
        "rpz.test. CNAME .",
        "c.example CNAME .",
        "$ORIGIN rpz.test.",
        head=head,
    )
    assert found.targets == ["subtree a.example"]
    assert [line for line, _ in found.left_out] == [5, 6, 7, 9]


def test_a_record_that_names_no_owner_is_about_the_one_before():
    found = zone("a.example CNAME .", "  TXT x", "b.example CNAME .", "  A 192.0.2.7")
    assert found.targets == ["exact a.example"]


@pytest.mark.parametrize("word", ["$INCLUDE more.zone", "$generate 1-9 n$.example CNAME ."])
def test_a_zone_that_is_not_all_there_is_refused(word: str):
    with pytest.raises(InputError, match="stands for lines that are not in the file"):
        zone(word)


def test_an_open_parenthesis_ends_after_a_hundred_lines():
    found = zone("a.example CNAME . (", *["; nothing"] * 100, "b.example CNAME .")
    assert (found.targets, found.left_out[0][1]) == (
        ["exact b.example"],
        "a parenthesis is not closed",
    )
    with pytest.raises(InputError, match="a parenthesis is not closed"):
        read("a.example CNAME ( .\n", ListFormat.RPZ)
