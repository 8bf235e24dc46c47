"""What guards fire at, case by case; suffixes against their list's own vectors."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import idna
import pytest

from enforcer.core.guard import OUTCOMES, Guard, GuardScan, Outcome
from enforcer.core.guard_data import (
    PINNED_LINES_MAX,
    SuffixForm,
    kind_of,
    read_guard_data,
    read_ranges,
    read_suffixes,
)
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.guard_report import report_head, report_tail
from enforcer.core.guards import check_target, scan_list, suffix_at_or_below, top_down
from enforcer.core.special import SPECIAL_NETWORKS
from enforcer.core.target import ListKind, check_list, parse_line
from enforcer.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "rules"

DATA = read_guard_data(
    core=b"exact root.example.net\nsubtree time.example.net\n",
    protected=b"exact cdn.example\nip 198.51.100.7\nnet 203.0.113.0/24\nsubtree big.example\n"
    b"subtree drive.big.example\n",
    suffixes=b"icann !www.ck\nicann *.ck\nicann co.uk\nprivate *.host.example\n"
    b"private pages.example\n",
    shared=b"shared 192.0.2.0/24 cloud\nshared 192.0.2.64/26 cdn\n",
)


def found(line):
    return list(check_target(parse_line(line.encode()), DATA))


@pytest.mark.parametrize("kind", ["exact", "subtree"])
def test_a_public_suffix_is_refused_in_every_form(kind):
    assert found(f"{kind} co.uk") == [(Guard.PUBLIC_SUFFIX, "icann co.uk")]
    assert found(f"{kind} anything.ck") == [(Guard.PUBLIC_SUFFIX, "icann *.ck")]
    assert found(f"{kind} www.ck") == found(f"{kind} shop.co.uk") == []


def test_a_parent_of_public_suffixes_is_refused():
    data = read_guard_data(suffixes=b"icann *.kawasaki.example\nicann a.city.example\n")
    for name, line in (("kawasaki.example", "*.kawasaki.example"), ("city.example", "a.city.exam")):
        hits = list(check_target(parse_line(f"exact {name}".encode()), data))
        assert [guard for guard, _ in hits] == [Guard.PUBLIC_SUFFIX]
        assert hits[0][1].startswith(f"icann {line}")


def test_a_private_suffix_holds_as_a_subtree_and_passes_as_one_name():
    assert found("subtree pages.example") == [(Guard.PRIVATE_SUFFIX, "private pages.example")]
    assert found("subtree host.example") == [(Guard.PRIVATE_SUFFIX, "private *.host.example")]
    assert found("subtree a.host.example") == [(Guard.PRIVATE_SUFFIX, "private *.host.example")]
    assert found("exact pages.example") == []
    assert found("subtree customer.pages.example") == []


def test_the_core_is_refused_and_what_stands_above_it_is_held():
    assert found("exact a.time.example.net") == [(Guard.PROTECTED_CORE, "subtree time.example.net")]
    assert found("subtree root.example.net") == [(Guard.PROTECTED_CORE, "exact root.example.net")]
    assert found("exact below.root.example.net") == []
    assert found("exact example.net") == []
    assert found("subtree example.net") == [
        (Guard.PROTECTED_NAME, "exact root.example.net"),
        (Guard.PROTECTED_NAME, "subtree time.example.net"),
    ]


def test_protected_names_hold_at_below_and_above_and_the_nearest_is_named():
    assert found("exact x.big.example") == [(Guard.PROTECTED_NAME, "subtree big.example")]
    assert found("exact a.drive.big.example") == [
        (Guard.PROTECTED_NAME, "subtree drive.big.example")
    ]
    assert found("subtree big.example") == [
        (Guard.PROTECTED_NAME, "subtree big.example"),
        (Guard.PROTECTED_NAME, "subtree drive.big.example"),
    ]
    assert found("subtree cdn.example") == [(Guard.PROTECTED_NAME, "exact cdn.example")]
    assert found("subtree customer.cdn.example") == []
    assert found("exact notbig.example") == []


def test_addresses_hold_where_either_contains_the_other():
    assert found("ip 203.0.113.9") == [(Guard.PROTECTED_NETWORK, "net 203.0.113.0/24")]
    assert found("net 198.51.100.0/24") == [(Guard.PROTECTED_NETWORK, "ip 198.51.100.7")]
    assert found("ip 192.0.2.65") == [(Guard.SHARED_RANGE, "shared 192.0.2.64/26 cdn")]
    assert found("net 192.0.2.0/25") == [(Guard.SHARED_RANGE, "shared 192.0.2.0/24 cloud")]
    assert found("ip 198.51.100.8") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ip 10.1.2.3", "RFC 1918"),
        ("ip 100.64.0.1", "RFC 6598"),
        ("ip 255.255.255.255", "broadcast"),
        ("ip ::1", "outside global unicast"),
        ("ip 64:ff9b::102:304", "NAT64"),
        ("ip 2002:102:304::1", "6to4"),
        ("net 2001::/32", "Teredo"),
        ("ip ff02::1", "multicast"),
        ("ip fe80::1", "link-local"),
    ],
)
def test_networks_that_are_nobodys_alone_are_refused_without_any_pinned_data(line, words):
    ((guard, evidence),) = check_target(parse_line(line.encode()), read_guard_data())
    assert guard is Guard.SPECIAL_NETWORK
    assert words in evidence


def test_documentation_prefixes_pass_since_nobody_has_them():
    for line in ("ip 192.0.2.1", "net 198.51.100.0/24", "ip 2001:db8::1", "ip 3fff::1"):
        assert list(check_target(parse_line(line.encode()), read_guard_data())) == []


def test_a_prefix_around_a_special_network_is_refused():
    ((guard, evidence),) = check_target(parse_line(b"net 192.88.0.0/16"), read_guard_data())
    assert (guard, evidence.split(",")[0]) == (
        Guard.SPECIAL_NETWORK,
        "special 192.88.99.0/24 6to4 relays",
    )


def test_the_table_of_special_networks_has_each_prefix_once():
    networks = [each.network for each in SPECIAL_NETWORKS]
    assert len(set(networks)) == len(networks)


def test_every_guard_holds_or_refuses():
    assert set(OUTCOMES) == set(Guard) - {Guard.UNSPECIFIED}
    assert Outcome.UNSPECIFIED not in OUTCOMES.values()


def test_hits_come_line_by_line():
    hits = list(scan_list(b"exact co.uk\nip 10.0.0.1\nip 192.0.2.1\n", DATA))
    assert [(hit.line_number, hit.target, hit.guard) for hit in hits] == [
        (1, "exact co.uk", Guard.PUBLIC_SUFFIX),
        (2, "ip 10.0.0.1", Guard.SPECIAL_NETWORK),
        (3, "ip 192.0.2.1", Guard.SHARED_RANGE),
    ]


def vectors():
    for line in (ROOT / "tests" / "vectors" / "psl" / "tests.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("//"):
            name, registrable = line.split()
            if name != "null" and not name.startswith("."):
                yield name, None if registrable == "null" else registrable


def test_the_shipped_suffixes_give_what_the_lists_own_vectors_say():
    rules = read_suffixes((RULES / "public-suffixes.txt").read_bytes())
    by_name = {}
    for rule in rules:
        by_name.setdefault(rule.name, []).append(rule)

    def is_suffix(name):
        name = idna.encode(name, uts46=True).decode()
        parent = name.partition(".")[2]
        of_it = [each for each in by_name.get(name, ()) if each.form is not SuffixForm.WILDCARD]
        of_it += [each for each in by_name.get(parent, ()) if each.form is SuffixForm.WILDCARD]
        return not parent or suffix_at_or_below(top_down(name), of_it) is not None

    checked = 0
    for name, registrable in vectors():
        if registrable is None:
            assert is_suffix(name), name
        else:
            assert not is_suffix(registrable), name
            own = by_name.get(registrable, [])
            is_exception = any(each.form is SuffixForm.EXCEPTION for each in own)
            assert is_exception or is_suffix(registrable.partition(".")[2]), name
        checked += 1
    assert checked == 73


def test_what_comes_with_the_project_is_canonical_and_pins_no_special_network():
    data = read_guard_data(
        *(
            (RULES / f"{name}.txt").read_bytes()
            for name in ("protected-core", "protected-names", "public-suffixes", "shared-ranges")
        )
    )
    assert len(data.suffixes) > 9_000
    assert len(data.shared) > 10_000
    assert not [each for each in data.shared if list(_special_around(each.network))]
    for name in ("protected-core", "protected-names"):
        check_list((RULES / f"{name}.txt").read_bytes())


def _special_around(network):
    for each in SPECIAL_NETWORKS:
        if each.network.version == network.version and network.subnet_of(each.network):
            yield each


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b"icann", 1, 1),
        (b"icann com\n\n", 2, 1),
        (b"icann com\nicann com\n", 2, 1),
        (b"icann b\nicann a\n", 2, 1),
        (b"icann COM\n", 1, 1),
        (b"icann a.*.b\n", 1, 1),
        (b"icann .com\n", 1, 1),
        (b"icann c\xc3\xb6m\n", 1, 8),
        (b"icann com \n", 1, 1),
    ],
)
def test_a_bad_suffix_is_refused_with_its_place(text, line, column):
    with pytest.raises(InputError) as caught:
        read_suffixes(text)
    assert caught.value.data == {"line": line, "column": column}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"shared 192.0.2.0/24\n", 1),
        (b"shared 192.0.2.1/24 cloud\n", 1),
        (b"shared 0.0.0.0/0 everything\n", 1),
        (b"shared 2001:db8:0::/48 cloud\n", 1),
        (b"shared 192.0.2.0/024 cloud\n", 1),
        (b"shared 192.0.2.0/24 cdn\nshared 192.0.2.0/24 cloud\n", 2),
        (b"shared 192.0.2.0/24 cloud", 1),
    ],
)
def test_a_bad_range_is_refused_with_its_line(text, line):
    with pytest.raises(InputError) as caught:
        read_ranges(text)
    assert caught.value.data["line"] == line


def test_more_lines_than_a_guard_needs_are_refused():
    with pytest.raises(InputError, match="too many"):
        read_suffixes(b"\n" * (PINNED_LINES_MAX + 1))


def test_the_first_word_says_what_a_pinned_text_is():
    assert kind_of(b"icann com\n") is kind_of(b"private a.b\n") is ListKind.SUFFIXES
    assert kind_of(b"shared 192.0.2.0/24 cloud\n") is ListKind.RANGES
    assert kind_of(b"exact a.example\n") is kind_of(b"") is ListKind.TARGETS


def test_a_shared_range_is_as_wide_as_its_owner_says():
    assert read_ranges(b"shared 3.0.0.0/9 cloud\n")[0].network == ip_network("3.0.0.0/9")


def test_overrides_must_name_all_that_fired_also_what_is_not_known_here():
    scan = GuardScan(
        counts={Guard.PROTECTED_NAME: 3},
        evidence={Guard.PROTECTED_NAME: ("exact a.example", "subtree b.example")},
        evidence_counts={Guard.PROTECTED_NAME: 2},
    )
    named = frozenset(("exact a.example", "subtree b.example"))
    assert scan.not_named_in(Guard.PROTECTED_NAME, named) == ()
    assert scan.not_named_in(Guard.PROTECTED_NAME, frozenset(("exact a.example",))) == (
        "subtree b.example",
    )
    cut = GuardScan(scan.counts, scan.evidence, {Guard.PROTECTED_NAME: 9})
    assert cut.not_named_in(Guard.PROTECTED_NAME, named) == ("and 7 more",)


def test_a_report_begins_with_all_that_it_depends_on():
    head = report_head(GuardFacts("ab" * 32), {Guard.SHARED_RANGE: 2, Guard.GROWTH: 1})
    assert head.decode() == (
        f"enforcer guard report 1\nlist {'ab' * 32}\nprotected-core -\nprotected-names -\n"
        "public-suffixes -\nshared-ranges -\npast-orders 0 "
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        "administrative-ms 0 0\nguard SHARED_RANGE HOLD 2\nguard GROWTH HOLD 1\n\n"
    )
    assert report_tail(0) == b""
    assert report_tail(5) == b"and 5 more\n"
