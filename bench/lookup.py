"""A million real names: checked, compiled, and looked up.

Each step runs in a process of its own, so that peak memory is its own. Lookups are timed in
batches, in random order, over names that are there (hit), siblings of them that are not
(miss) and such siblings under a hundred more labels (deep miss), beside a Python dict of the
same names and the verdict function, in the same process.
"""

from __future__ import annotations

import gzip
import json
import mmap
import os
import random
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import perf_counter_ns
from typing import TypeVar

from bench import Row, data_path, median_row
from bench._step import in_child, timed
from enforcer._native import compiler, scanner
from enforcer._native.probe import Table
from enforcer.core.name import Name
from enforcer.core.table import Binding, DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import check_list, parse_line
from enforcer.core.verdict import Rules, decide
from enforcer.errors import InputError

ROUNDS = 7
SAMPLE = 100_000
ORACLE_NAMES = 50_000  # the verdict function walks all of them to tell NXDOMAIN from NODATA
ORACLE_HITS = 20
A, NOW_MS = 1, 1500

T = TypeVar("T")


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        text, table = Path(folder, "list"), Path(folder, "table")
        names = write_list(text)
        rows = [Row("names", names, ""), Row("list", text.stat().st_size / 1e6, "MB")]
        empty = [step("empty", text, table) for _ in range(ROUNDS)]
        peaks = [one["memory_mb"] for one in empty]
        rows.append(median_row("a process that does nothing: peak memory", peaks, "MB"))
        for name in ("scan", "check_list", "compile", "open"):
            rounds = 1 if name == "check_list" else ROUNDS
            got = [step(name, text, table) for _ in range(rounds)]
            rows.append(median_row(f"{name}: time", [one["seconds"] for one in got], "s"))
            rows.append(median_row(f"{name}: peak memory", [one["memory_mb"] for one in got], "MB"))
        rows.append(Row("table", table.stat().st_size / names, "bytes a name"))
        lookups: dict[str, list[float]]
        lookups = json.loads(in_child("bench.lookup", "lookup", text, table))
        rows += [median_row(what, values, "ns a lookup") for what, values in lookups.items()]
        return rows


def write_list(path: Path) -> int:
    """Write the real names that the grammar takes as one canonical list."""
    lines = set()
    with gzip.open(data_path("domains", "blocklist-1.28M.txt.gz")) as file:
        for name in file:
            line = b"subtree " + name.strip().lower()
            try:
                parse_line(line)
            except InputError:
                continue
            lines.add(line + b"\n")
    path.write_bytes(b"".join(sorted(lines)))
    return len(lines)


def step(name: str, text: Path, table: Path) -> dict[str, float]:
    """Run one of STEPS that is timed in a child, and return what it found."""
    found: dict[str, float] = json.loads(in_child("bench.lookup", name, text, table))
    return found


def map_file(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def row_of(text: bytes | mmap.mmap, index: int = 1) -> OrderRow:
    return OrderRow(
        index=index,
        order_id=f"XX-2026-{index:06}",
        version=1,
        target_list_sha256=sha256(text).hexdigest(),
        target_count=1,
        dns_measure=DnsMeasure.NEGATIVE,
        ip_measure=IpMeasure.NONE,
        binding=Binding.BINDING,
        from_ms=1000,
        until_ms=2000,
    )


def compile_to(
    path: Path, text: bytes | mmap.mmap, protected: bytes = b"", row: OrderRow | None = None
) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    compiler.compile_table(
        descriptor,
        origin="example.org/ledger",
        ledger_size=1,
        time_floor_ms=0,
        table_digest="00" * 32,
        secret=bytes(range(16)),
        register_url="https://register.example.org/o/",
        register_domain="register.example.org",
        orders=[(row or row_of(text), text)],
        protected=protected,
    )
    os.close(descriptor)


def sibling(name: Name) -> Name:
    """Return a name that is not listed, in place of `name`'s first label."""
    return Name(b"\x1aq-q-q-q-q-q-not-listed-q-q" + name.wire[1 + name.wire[0] :])


def samples(text: mmap.mmap) -> dict[str, list[Name]]:
    """Draw names in random order, and make misses of them that fit 255 octets."""
    names = [Name.from_text(line.split(b" ")[1].decode()) for line in bytes(text).splitlines()]
    drawn = random.Random(1).sample(names, SAMPLE)
    shallow = [name for name in drawn if name.wire[0] <= 26 or len(name.wire) < 220]
    return {
        "hit": drawn,
        "miss": [sibling(name) for name in shallow],
        "deep miss": [
            Name(b"\1a" * 100 + sibling(name).wire) for name in shallow if len(name.wire) < 28
        ],
    }


def lookup(text: Path, table: Path) -> dict[str, list[float]]:
    mapped = map_file(text)
    by_kind = samples(mapped)
    found: dict[str, list[float]] = {}
    native = Table(map_file(table))
    for kind, names in by_kind.items():
        wires = b"".join(name.wire for name in names)
        rounds = [native.decide_many(wires, A, NOW_MS) for _ in range(ROUNDS)]
        found[f"table, {kind}"] = [ns / count for count, _, ns in rounds]

    listed = {line.split(b" ")[1].decode() for line in bytes(mapped).splitlines()}
    plain = dict.fromkeys(listed, 1)
    for kind, names in by_kind.items():
        texts = [name.text for name in names]
        found[f"dict, no suffixes, {kind}"] = per_lookup(texts, plain.get)

    part = b"".join(b"subtree %s\n" % name.text.encode() for name in sorted_part(by_kind["hit"]))
    rules = Rules([(row_of(part), part)])
    few = random.Random(2).sample(sorted_part(by_kind["hit"]), ORACLE_HITS)
    for kind, names in {**by_kind, "hit": few}.items():
        what = f"verdict function, {ORACLE_NAMES:,} names, {kind}"
        found[what] = per_lookup(names[:2000], lambda name: decide(rules, name, A, NOW_MS))
    return found


def sorted_part(names: list[Name]) -> list[Name]:
    return sorted(names[:ORACLE_NAMES], key=lambda name: name.text)


def per_lookup(names: list[T], look_up: Callable[[T], object]) -> list[float]:
    times = []
    for _ in range(ROUNDS):
        start = perf_counter_ns()
        for name in names:
            look_up(name)
        times.append((perf_counter_ns() - start) / len(names))
    return times


STEPS: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda _text, _table: timed(lambda: None),
    "scan": lambda text, _table: timed(lambda: scanner.scan(map_file(text))),
    "check_list": lambda text, _table: timed(lambda: check_list(text.read_bytes())),
    "compile": lambda text, table: timed(lambda: compile_to(table, map_file(text))),
    "open": lambda _text, table: timed(lambda: Table(map_file(table))),
    "lookup": lookup,
}

if __name__ == "__main__":
    json.dump(STEPS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3])), sys.stdout)
