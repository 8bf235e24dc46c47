"""Guards find the same in the readable form and in native code, on random lists and data."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer._native.guards import shared_lines as native_shared_lines
from enforcer.backends.guard_index import GUARD_NAMES, compile_index
from enforcer.core.guard import Guard
from enforcer.core.guard_data import read_guard_data
from enforcer.core.guard_facts import GuardFacts, evidence_of, related
from enforcer.core.guards import scan_order, shared_lines
from enforcer.core.history import Relation
from enforcer.core.target import iterate
from enforcer.errors import InputError

DAY_MS = 86_400_000

LABELS = st.sampled_from(["a", "b", "a-b", "ck", "co", "uk", "www", "0"])
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(lambda labels: ".".join([*labels, "x"]))
SHORT = st.lists(LABELS, min_size=0, max_size=2).map(lambda labels: ".".join([*labels, "x"]))
ADDRESSES = st.sampled_from(
    (
        "198.51.100.7 198.51.101.0 10.0.0.1 192.0.0.1 255.255.255.255 64:ff9b::1 2001:db8::1 "
        "2001:db8:0:1:: 2001::1 fe80::1 3fff::1 ::1"
    ).split()
)
PREFIXES = st.sampled_from(
    (
        "198.51.0.0/16 198.51.100.0/24 198.51.100.0/25 198.51.100.6/31 10.1.0.0/16 192.0.0.0/16 "
        "2001:db8::/32 2001:db8::/64 2001:db8:0:1::/64 2001::/32 2001:db8::/127 4000::/32"
    ).split()
)
TARGETS = st.one_of(
    st.builds("exact {}".format, NAMES | SHORT.filter(lambda name: "." in name)),
    st.builds("subtree {}".format, NAMES | SHORT.filter(lambda name: "." in name)),
    st.builds("ip {}".format, ADDRESSES),
    st.builds("net {}".format, PREFIXES),
)


def listed(lines):
    return "".join(f"{line}\n" for line in sorted(set(lines))).encode()


def by_prefix(lines):
    """Keep one line for each prefix: two owners of one are refused."""
    return listed({line.split()[1]: line for line in lines}.values())


LISTS = st.lists(TARGETS, min_size=1, max_size=12).map(listed)
PINNED = st.lists(TARGETS, max_size=8).map(listed)
SUFFIXES = st.lists(
    st.builds(
        "{} {}{}".format,
        st.sampled_from(["icann", "private"]),
        st.sampled_from(["", "", "*.", "!"]),
        SHORT | NAMES,
    ),
    max_size=8,
).map(listed)
RANGES = st.lists(
    st.builds("shared {} {}".format, PREFIXES, st.sampled_from(["cloud", "cdn"])), max_size=6
).map(by_prefix)
PAST = st.lists(
    st.tuples(
        st.sampled_from(
            [
                Guard.EMERGENCY_REPEATED,
                Guard.STOPPED_BEFORE,
                Guard.ADMINISTRATIVE_TIME,
                Guard.HIDDEN_BEFORE,
            ]
        ),
        LISTS,
        st.integers(0, 3),
    ),
    max_size=4,
)


def facts_of(text, past, days):
    named = {sha256(each).hexdigest(): each for each in (text, *(other for _, other, _ in past))}
    relations = tuple(
        Relation(guard, 10 + at, sha256(other).hexdigest(), blocked_days * DAY_MS)
        for at, (guard, other, blocked_days) in enumerate(past)
    )
    facts = GuardFacts(
        sha256(text).hexdigest(),
        relations=relations,
        administrative_ms=days * DAY_MS,
        administrative_ms_max=3 * DAY_MS,
    )
    return facts, named.__getitem__


def native_scan(text, pinned, facts, text_of, **options):
    def evident(guard):
        return [
            (evidence_of(each).encode(), text_of(each.target_list_sha256))
            for each in related(facts, guard)
        ]

    return compile_index(*pinned).scan(
        text,
        guard_names=GUARD_NAMES,
        emergencies=evident(Guard.EMERGENCY_REPEATED),
        stops=evident(Guard.STOPPED_BEFORE),
        hidden=evident(Guard.HIDDEN_BEFORE),
        administrative=[
            (each.blocked_ms, text_of(each.target_list_sha256))
            for each in related(facts, Guard.ADMINISTRATIVE_TIME)
        ],
        administrative_ms=facts.administrative_ms,
        administrative_ms_max=facts.administrative_ms_max,
        administrative_evidence=facts.administrative_evidence.encode(),
        **{"report_bytes_max": 1 << 16, **options},
    )


@settings(max_examples=400, deadline=None)
@given(LISTS, PINNED, PINNED, SUFFIXES, RANGES, PAST, st.integers(0, 3))
@example(b"subtree co.x\n", b"", b"", b"icann co.x\nprivate a.co.x\n", b"", [], 0)
@example(b"subtree a.ck.x\n", b"", b"", b"icann !a.ck.x\nicann *.ck.x\n", b"", [], 0)
@example(b"net 198.51.0.0/16\n", b"ip 198.51.100.7\n", b"net 198.51.100.0/25\n", b"", b"", [], 0)
@example(
    b"exact a.x\nsubtree a.x\n",
    b"",
    b"",
    b"",
    b"",
    [(Guard.ADMINISTRATIVE_TIME, b"exact a.x\nsubtree a.x\n", 1)],
    2,
)
def test_the_native_scan_finds_what_the_readable_form_finds(
    text, core, protected, suffixes, ranges, past, days
):
    data = read_guard_data(core, protected, suffixes, ranges)
    facts, text_of = facts_of(text, past, days)
    hits = list(scan_order(facts, data, text_of))
    found = native_scan(text, (core, protected, suffixes, ranges), facts, text_of)

    written = "".join(
        f"{hit.line_number} {hit.guard.name} {hit.target} | {hit.evidence}\n" for hit in hits
    )
    assert found.report.decode() == written
    assert found.left_out == 0
    lines = {guard: {hit.line_number for hit in hits if hit.guard == guard} for guard in Guard}
    assert found.counts == {guard: len(numbers) for guard, numbers in lines.items() if numbers}
    assert {guard: set(each) for guard, each in found.evidence.items()} == {
        guard: {hit.evidence.encode() for hit in hits if hit.guard == guard}
        for guard in found.counts
    }


LONG = st.lists(TARGETS | st.builds("exact n{}.x".format, st.integers(0, 400)), max_size=300)


@settings(max_examples=200, deadline=None)
@given(LONG.map(listed), LONG.map(listed))
@example(b"exact a.x\nip 10.0.0.1\nsubtree b.x\n", b"exact b.x\nsubtree a.x\n")
@example(b"", b"exact a.x\n")
@example(b"exact b.a.x\nexact ba.x\nsubtree c.x\n", b"exact d.c.x\nsubtree a.x\n")
@example(b"ip 198.51.100.7\nnet 10.1.0.0/16\n", b"ip 10.1.2.3\nnet 198.51.0.0/16\n")
def test_lists_share_targets_where_one_covers_the_other(text, other):
    assert native_shared_lines(text, other) == len(shared_lines(list(iterate(text)), other))


def test_a_report_that_does_not_fit_is_cut_at_a_hit_and_counts_the_rest():
    text = listed(f"ip 10.0.0.{octet}" for octet in range(100))
    facts, text_of = facts_of(text, [], 0)
    found = native_scan(text, (), facts, text_of, report_bytes_max=1_000)
    assert found.report.endswith(b"RFC 1918\n")
    assert len(found.report) <= 1_000
    assert found.report.count(b"\n") + found.left_out == found.counts[Guard.SPECIAL_NETWORK] == 100


@pytest.mark.parametrize(
    "text",
    [b"exact", b"ip 300.1.1.1\n", b"*.x\n", b"net 1.2.3.4/1x\n", b"\n", b"subtree "],
)
def test_a_text_that_is_no_checked_list_is_refused(text):
    with pytest.raises(InputError) as caught:
        compile_index().scan(text, guard_names=GUARD_NAMES)
    assert caught.value.data == {"line": 1}
