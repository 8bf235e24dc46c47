"""What is imported never covers a name that the list itself would let pass.

Each format has a slow reader here that decides one name by the words of its specification, with
exceptions and which rule wins; every name of a small world is asked of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.backends.list_format import ListFormat
from enforcer.core.target import check_list
from enforcer.errors import InputError
from tests.lists import read

LABELS = ("a", "b", "ab")
WORLD = [
    ".".join([*labels, "example"])
    for depth in (1, 2, 3, 4)
    for labels in product(LABELS, repeat=depth)
]
names = st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(
    lambda labels: ".".join([*labels, "example"])
)


def is_at_or_below(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def adblock_passes(lines: list[str], name: str) -> bool:
    """Adblock Plus, "Writing filters": exceptions win; ``^`` ends a name, ``*`` is anything."""

    def matches(pattern: str) -> bool:
        body = re.escape(pattern.removeprefix("||")).replace(r"\*", ".*").replace(r"\^", r"(?=/|$)")
        return re.search(rf"^(?:.*\.)?{body}", f"{name}/") is not None

    removed = {line.partition("$")[0] for line in lines if line.endswith("$badfilter")}
    rules = [line for line in lines if "$" not in line and line not in removed]
    excepted = [line[2:].partition("$")[0] for line in lines if line.startswith("@@")]
    blocks = [line for line in rules if not line.startswith("@@")]
    return any(map(matches, excepted)) or not any(map(matches, blocks))


def dnsmasq_passes(lines: list[str], name: str) -> bool:
    """dnsmasq(8), --address and --server: the longest domain decides."""
    found: dict[int, set[bool]] = {}
    for line in lines:
        option, _, value = line.partition("=")
        *domains, to = (
            value.strip("/ ").split("/")
            if not value.endswith("/")
            else [
                *value.strip("/").split("/"),
                "",
            ]
        )
        is_block = to == "" or (option == "address" and to in ("#", "0.0.0.0"))
        for domain in domains:
            wild = domain.startswith("*")
            zone = domain.removeprefix("*")
            if is_at_or_below(name, zone) or (wild and name.endswith(zone)):
                found.setdefault(len(zone), set()).add(is_block)
    return not found or found[max(found)] != {True}


def rpz_passes(lines: list[str], name: str) -> bool:
    """draft-vixie-dnsop-dns-rpz §4.2.1: the name itself decides, else the longest wildcard."""
    at: dict[str, set[bool]] = {}
    for line in lines:
        owner, _, *data = line.split()
        at.setdefault(owner, set()).add(data[-1] in (".", "*.", "0.0.0.0"))
    labels = name.split(".")
    owners = [name, *(f"*.{'.'.join(labels[n:])}" for n in range(1, len(labels)))]
    decides = next((at[owner] for owner in owners if owner in at), {False})
    return decides != {True}


def hosts_passes(lines: list[str], name: str) -> bool:
    """hosts(5): a line is about its names alone."""
    return not any(
        name in line.split()[1:] and line.split()[0] in ("0.0.0.0", "::1") for line in lines
    )


FORMATS: dict[ListFormat, tuple[list[str], Callable[[list[str], str], bool]]] = {
    ListFormat.ADBLOCK: (
        ["||{}^"] * 4
        + ["@@||{}^", "@@||{}^$script", "||{}^$script", "||{}^$badfilter", "||*.{}^", "||{}"]
        + ["@@||*.{}^", "@@||a*.{}^", "||b*.{}^", "|{}^"],
        adblock_passes,
    ),
    ListFormat.DNSMASQ: (
        ["local=/{}/"] * 4
        + ["server=/{}/", "address=/{}/#", "address=/{}/0.0.0.0", "address=/{}/192.0.2.1"]
        + ["server=/{}/#", "server=/{}/192.0.2.53", "server=/*{}/#", "local=/*{}/"],
        dnsmasq_passes,
    ),
    ListFormat.RPZ: (
        ["{} CNAME ."] * 4
        + ["*.{} CNAME ."] * 4
        + ["{} CNAME *.", "{} A 0.0.0.0", "*.{} A 192.0.2.1", "{} CNAME garden.test."]
        + ["{} CNAME rpz-passthru.", "*.{} CNAME rpz-passthru."],
        rpz_passes,
    ),
    ListFormat.HOSTS: (
        ["0.0.0.0 {}", "::1 {0} x.{0}", "192.0.2.1 {}", "0.0.0.0 *.{}", "0.0.0.0 http://{}/"],
        hosts_passes,
    ),
}


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=120)
@given(data=st.data())
def test_no_name_is_covered_that_the_list_lets_pass(form: ListFormat, data: st.DataObject):
    shapes, passes = FORMATS[form]
    line = st.builds(str.format, st.sampled_from(shapes), names)
    lines = data.draw(st.lists(line, min_size=1, max_size=8))
    try:
        targets = read("\n".join(lines), form, bad_lines_max=100).targets
    except InputError:  # no target, or an exception that can be about any
        return
    for target in targets:
        kind, _, value = target.partition(" ")
        for name in WORLD:
            if name == value or (kind == "subtree" and is_at_or_below(name, value)):
                assert not passes(lines, name), (target, name)


PIECES = (
    '|| @@ ^ $ * a.example b . / = local address server # 0.0.0.0 ::1 ( ) " ; @ $ORIGIN SOA CNAME '
    "rpz-passthru. 24.0.2.0.192.rpz-ip ü , ! ##"
)


@pytest.mark.parametrize("form", [each for each in ListFormat if each])
@settings(max_examples=60)
@given(
    text=st.lists(
        st.sampled_from([*PIECES.split(), " ", "\t", "\n", "\r\n", "name\n", "\0"]),
        max_size=40,
    ).map("".join)
    | st.text(max_size=60)
)
def test_whatever_comes_in_is_refused_or_comes_out_canonical(form: ListFormat, text: str):
    column = "name" if form is ListFormat.CSV else None
    try:
        found = read(text.encode("utf-8", "surrogatepass"), form, column=column, bad_lines_max=100)
    except InputError:
        return
    assert check_list(found.text).target_count == found.report.target_count
    for target in found.targets:  # each name stands in the list as it is, or as an IDN
        value = target.partition(" ")[2]
        if "xn--" not in value and "rpz-ip" not in text:
            assert value in text.lower()


@pytest.mark.parametrize(
    "text",
    [
        *(piece * (60_000 // len(piece)) for piece in (":", " ", "#a", ": ", "1.", "ü")),
        *(
            piece * 15
            for piece in (f"{'a ' * 2_000}SOA\n", f"{':' * 4_000}\n", f"@@||{'a*' * 2_000}\n")
        ),
    ],
)
def test_no_line_takes_long_to_be_refused(text: str):
    for form in ListFormat:
        with pytest.raises(InputError):  # quadratic reading would take minutes here
            read(text, form, column="name" if form is ListFormat.CSV else None)
