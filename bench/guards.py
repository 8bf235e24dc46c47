"""Real lists through the guards that come with the project: what fires, and how long it takes.

1.28 million names as subtrees, and 232,822 addresses, are what somebody might order in one go.
A scan is what the list worker does for one order: hashing, reading, and writing the report. The
past orders are the same list stopped, and an order of a thousand of its names.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path
from time import perf_counter_ns
from typing import TypeVar

from bench import ROOT, Row, data_path, median_row, peak_memory_mb
from bench.lookup import write_list
from enforcer.backends.guard_index import compile_index
from enforcer.backends.guard_scan import scan_guards
from enforcer.core.guard import OUTCOMES, Guard
from enforcer.core.guard_data import read_guard_data
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.guards import check_target
from enforcer.core.history import Relation
from enforcer.core.policy import Pins
from enforcer.core.target import parse_line
from enforcer.ports import GuardJob

ROUNDS = 7
ORACLE_TARGETS = 50
PINNED = ("protected-core", "protected-names", "public-suffixes", "shared-ranges")

T = TypeVar("T")


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        names, addresses, few = (Path(folder, name) for name in ("names", "addresses", "few"))
        write_list(names)
        with gzip.open(data_path("ip", "malicious-ipv4-232k.txt.gz")) as file:
            addresses.write_bytes(b"".join(sorted({b"ip " + line for line in file})))
        few.write_bytes(b"".join(names.read_bytes().splitlines(keepends=True)[::1283]))
        paths = {digest(path): path for path in (names, addresses, few)}
        paths |= {digest(path): path for path in map(rules_path, PINNED)}
        pins = Pins(*(digest(rules_path(name)) for name in PINNED))
        return [
            *data_rows(),
            *scan_rows("names", GuardFacts(digest(names), pins), paths),
            *scan_rows("addresses", GuardFacts(digest(addresses), pins), paths),
            *past_rows(digest(names), digest(few), paths),
            *memory_rows(names),
        ]


def rules_path(name: str) -> Path:
    return ROOT / "rules" / f"{name}.txt"


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def data_rows() -> Iterator[Row]:
    """Measure reading the pinned data, and the readable form beside the native one."""
    texts = [rules_path(name).read_bytes() for name in PINNED]
    yield Row("pinned lines", sum(text.count(b"\n") for text in texts), "")
    seconds, _ = timed(lambda: compile_index(*texts))
    yield median_row("pinned data: read and compiled", seconds, "s")
    data = read_guard_data(*texts)
    targets = [parse_line(b"subtree www%d.example.org" % n) for n in range(ORACLE_TARGETS)]
    start = perf_counter_ns()
    for target in targets:
        list(check_target(target, data))
    yield Row("readable form: a name", (perf_counter_ns() - start) / 1e3 / len(targets), "µs")


def scan_rows(what: str, facts: GuardFacts, paths: dict[str, Path]) -> Iterator[Row]:
    job = GuardJob(facts, paths)
    scan_guards(job)  # compiles the pinned data
    seconds, scan = timed(lambda: scan_guards(job))
    lines = paths[facts.target_list_sha256].read_bytes().count(b"\n")
    yield Row(f"{what}: lines", lines, "")
    yield median_row(f"{what}: scanned", seconds, "s")
    yield median_row(f"{what}: a line", [each * 1e9 / lines for each in seconds], "ns")
    for guard, count in scan.counts.items():
        yield Row(f"{what}: {guard.name} ({OUTCOMES[guard].name})", count, "lines")
        yield Row(f"{what}: {guard.name}, evidence", scan.evidence_counts[guard], "entries")
    yield Row(f"{what}: report", len(scan.report) / 1e3, "kB")


def memory_rows(names: Path) -> Iterator[Row]:
    """Measure the most memory of a process that only scans, the mapped list included."""
    command = [sys.executable, "-m", "bench.guards"]
    for what, more in (("nothing", []), ("one scan of the names", [str(names)])):
        done = subprocess.run([*command, *more], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        yield Row(f"a process that does {what}: peak memory", float(done.stdout), "MB")


def past_rows(names: str, few: str, paths: dict[str, Path]) -> Iterator[Row]:
    """Measure the comparison with past orders alone: nothing is pinned."""
    for what, own, past in (
        ("all names with all", names, names),
        ("a thousand with all", few, names),
        ("all names with a thousand", names, few),
    ):
        facts = GuardFacts(own, relations=(Relation(Guard.STOPPED_BEFORE, 1, past),))
        job = GuardJob(facts, paths)
        scan_guards(job)  # hashes the past list
        seconds, scan = timed(partial(scan_guards, job))
        yield median_row(f"past orders, {what}: compared and reported", seconds, "s")
        yield Row(f"past orders, {what}: shared", scan.counts[Guard.STOPPED_BEFORE], "lines")


def timed(work: Callable[[], T]) -> tuple[list[float], T]:
    """Return the seconds of each round, and what the last one gave."""
    seconds = []
    while True:
        start = perf_counter_ns()
        result = work()
        seconds.append((perf_counter_ns() - start) / 1e9)
        if len(seconds) == ROUNDS:
            return seconds, result


def main() -> None:
    """Scan the list that is named, if one is, and print the peak of memory."""
    if len(sys.argv) > 1:
        paths = {digest(path): path for path in map(rules_path, PINNED)}
        pins = Pins(*(digest(rules_path(name)) for name in PINNED))
        with Path(sys.argv[1]).open("rb") as file:
            name = file_digest(file, "sha256").hexdigest()
        scan_guards(GuardJob(GuardFacts(name, pins), {**paths, name: Path(sys.argv[1])}))
    print(peak_memory_mb())


if __name__ == "__main__":
    main()
