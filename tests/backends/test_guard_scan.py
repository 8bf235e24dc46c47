"""Guards over lists on disk: what is found, the report, and lists with another hash."""

from __future__ import annotations

import random
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.guard_index import GUARD_NAMES, compile_index
from enforcer.backends.guard_scan import scan_guards
from enforcer.core.guard import Guard
from enforcer.core.guard_data import read_guard_data
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.guard_report import HITS_BYTES_MAX, report_head, report_tail
from enforcer.core.guards import scan_order
from enforcer.core.history import Relation
from enforcer.core.policy import DAY_MS, Pins
from enforcer.errors import InputError, IntegrityError, UnavailableError
from enforcer.ports import GuardJob

RULES = Path(__file__).resolve().parents[2] / "rules"
SIDE_FILE_BYTES_MAX = 1 << 20
SALT_BYTES = 32


class Lists:
    """Lists on disk by their hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}

    def put(self, text: bytes) -> str:
        name = sha256(text).hexdigest()
        self.paths[name] = self.folder / name
        self.paths[name].write_bytes(text)
        return name

    def text(self, name: str) -> bytes:
        return self.paths[name].read_bytes()

    def job(self, facts: GuardFacts) -> GuardJob:
        return GuardJob(facts, self.paths)


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    return Lists(tmp_path)


@pytest.fixture
def shipped(lists: Lists) -> Pins:
    names = ("protected-core", "protected-names", "public-suffixes", "shared-ranges")
    return Pins(*(lists.put((RULES / f"{name}.txt").read_bytes()) for name in names))


def listed(lines) -> bytes:
    return "".join(f"{line}\n" for line in sorted(set(lines))).encode()


def report_of(lists: Lists, facts: GuardFacts) -> bytes:
    """Write the report with the readable form."""
    pins = facts.pins
    named = (pins.protected_core, pins.protected_names, pins.public_suffixes, pins.shared_ranges)
    data = read_guard_data(*(lists.text(each) if each else b"" for each in named))
    hits = list(scan_order(facts, data, lists.text))
    guards = sorted({hit.guard for hit in hits})
    counts = {
        guard: len({hit.line_number for hit in hits if hit.guard == guard}) for guard in guards
    }
    lines = (f"{hit.line_number} {hit.guard.name} {hit.target} | {hit.evidence}\n" for hit in hits)
    return report_head(facts, counts) + "".join(lines).encode()


def test_the_shipped_data_is_read_alike_by_native_code_and_the_readable_form(lists, shipped):
    draw = random.Random(1)
    suffixes = [
        line.split()[1] for line in lists.text(shipped.public_suffixes).decode().split("\n") if line
    ]
    ranges = [
        line.split()[1] for line in lists.text(shipped.shared_ranges).decode().split("\n") if line
    ]
    names = [each.replace("*.", "any.").lstrip("!") for each in draw.sample(suffixes, 12)]
    names = [each for each in names if "." in each] + ["google.com", "ntp.org", "example.org"]
    targets = [
        f"{kind} {sub}{name}"
        for name in names
        for kind, sub in [("exact", ""), ("subtree", ""), ("subtree", "www.")]
    ]
    targets += [f"ip {each.split('/')[0]}" for each in draw.sample(ranges, 12)]
    facts = GuardFacts(lists.put(listed(targets)), shipped)

    scan = scan_guards(lists.job(facts))
    assert scan.report == report_of(lists, facts)
    assert {Guard.PUBLIC_SUFFIX, Guard.PROTECTED_NAME, Guard.SHARED_RANGE} <= set(scan.guards)
    assert Guard.PROTECTED_CORE in scan.refusing
    assert Guard.SHARED_RANGE in scan.holding


def test_what_follows_a_target_is_found_in_past_orders_lists(lists):
    stopped = lists.put(b"subtree a.example\n")
    urgent = lists.put(b"exact a.example\nexact b.example\n")
    before = lists.put(b"subtree c.example\n")
    own = lists.put(b"exact a.example\nsubtree b.example\nsubtree c.example\nsubtree d.example\n")
    facts = GuardFacts(
        own,
        relations=(
            Relation(Guard.EMERGENCY_REPEATED, 3, urgent),
            Relation(Guard.ADMINISTRATIVE_TIME, 3, urgent, 100 * DAY_MS),
            Relation(Guard.STOPPED_BEFORE, 5, stopped),
            Relation(Guard.ADMINISTRATIVE_TIME, 7, before, 200 * DAY_MS),
        ),
        administrative_ms=170 * DAY_MS,
        administrative_ms_max=365 * DAY_MS,
    )
    scan = scan_guards(lists.job(facts))
    assert dict(scan.counts) == {
        Guard.EMERGENCY_REPEATED: 2,
        Guard.ADMINISTRATIVE_TIME: 1,
        Guard.STOPPED_BEFORE: 1,
    }
    assert scan.evidence[Guard.ADMINISTRATIVE_TIME] == ("over 365 days",)
    assert scan.report == report_of(lists, facts)
    assert scan.report.endswith(
        b"1 EMERGENCY_REPEATED exact a.example | entry 3\n"
        b"1 STOPPED_BEFORE exact a.example | entry 5\n"
        b"2 EMERGENCY_REPEATED subtree b.example | entry 3\n"
        b"3 ADMINISTRATIVE_TIME subtree c.example | over 365 days\n"
    )


def test_a_list_at_which_nothing_fires_needs_no_report(lists, shipped):
    facts = GuardFacts(lists.put(b"subtree login.bank.example\n"), shipped)
    scan = scan_guards(lists.job(facts))
    assert (dict(scan.counts), scan.report) == ({}, b"")


def test_a_long_report_fits_beside_the_ledger_and_counts_what_it_leaves_out(lists):
    facts = GuardFacts(
        lists.put(
            listed(f"ip 10.{a}.{b}.{c}" for a in range(100) for b in range(16) for c in range(16))
        )
    )
    scan = scan_guards(lists.job(facts))
    written = scan.report.partition(b"\n\n")[2].splitlines()
    assert scan.counts == {Guard.SPECIAL_NETWORK: 25_600}
    assert written[-1] == report_tail(25_600 - len(written) + 1).rstrip()
    assert len(scan.report) <= SIDE_FILE_BYTES_MAX - SALT_BYTES
    assert len(scan.report) > HITS_BYTES_MAX - 1_000


@pytest.mark.parametrize("which", ["the order's", "a pinned", "a past order's"])
def test_a_list_with_another_hash_is_never_read_for_the_one_it_should_be(lists, which):
    own, core, past = (
        lists.put(text)
        for text in (b"exact a.example\n", b"exact b.example\n", b"exact c.example\n")
    )
    facts = GuardFacts(
        own,
        Pins(core, None, None, None),
        (Relation(Guard.STOPPED_BEFORE, 1, past),),
    )
    altered = {"the order's": own, "a pinned": core, "a past order's": past}[which]
    lists.paths[altered].write_bytes(b"exact other.example\n")
    with pytest.raises(IntegrityError) as caught:
        scan_guards(lists.job(facts))
    assert caught.value.data["expected"] == altered


def test_a_past_list_that_is_altered_after_a_scan_is_noticed_by_the_next(lists):
    past = lists.put(b"exact c.example\n")
    facts = GuardFacts(
        lists.put(b"exact a.example\n"), relations=(Relation(Guard.STOPPED_BEFORE, 1, past),)
    )
    scan_guards(lists.job(facts))
    scan_guards(lists.job(facts))
    lists.paths[past].write_bytes(b"exact a.example\n")
    with pytest.raises(IntegrityError):
        scan_guards(lists.job(facts))


def test_an_absent_list_and_data_of_another_kind_are_refused(lists):
    own = lists.put(b"exact a.example\n")
    suffixes = lists.put(b"icann com\n")
    with pytest.raises(InputError):
        scan_guards(lists.job(GuardFacts(own, Pins(suffixes, None, None, None))))
    with pytest.raises(InputError):
        scan_guards(lists.job(GuardFacts(own, Pins(None, None, own, None))))
    lists.paths[own].unlink()
    with pytest.raises(UnavailableError):
        scan_guards(lists.job(GuardFacts(own)))


async def test_the_worker_process_gives_the_same_answer(lists, shipped):
    facts = GuardFacts(lists.put(b"exact co.uk\nip 127.0.0.1\n"), shipped)
    async with ListWorker() as worker:
        assert await worker.scan_guards(lists.job(facts)) == scan_guards(lists.job(facts))


def test_pinned_data_becomes_an_index_and_no_objects_on_the_way():
    networks = sorted(f"shared 10.{at >> 8}.{at & 255}.0/24 cloud\n" for at in range(4_000))
    names = sorted(f"icann n{at}.example\n" for at in range(4_000))
    suffixes, shared = ("".join(lines).encode() for lines in (names, networks))
    compile_index(suffixes=suffixes, shared=shared)  # what is made once
    tracemalloc.start()
    try:
        index = compile_index(suffixes=suffixes, shared=shared)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found = index.scan(b"subtree n7.example\n", guard_names=GUARD_NAMES)
    assert found.counts == {Guard.PUBLIC_SUFFIX: 1}
    assert peak_bytes < 5 * len(suffixes + shared)
