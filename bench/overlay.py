"""An overlay of a thousand new targets over a million names: made, laid, and looked through.

All in one process: the base is compiled once, with a few thousand protected names; then each
round makes an overlay with other names, lays it, and times the same lookups with and without
it, one after the other. Rows are those of all orders in force, which an overlay carries.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from time import perf_counter_ns

from bench import Row, median_row
from bench.lookup import NOW_MS, A, compile_to, map_file, row_of, samples, write_list
from enforcer._native import compiler
from enforcer._native.probe import Table
from enforcer.core.name import Name
from enforcer.core.table import OrderRow

ROUNDS = 51
LOOKUP_ROUNDS = 7
TARGETS = 1000
PROTECTED = 3000
ROWS = (10, 1000, 10_000)
UPDATES = 1000


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        text, path = Path(folder, "list"), Path(folder, "table")
        names = write_list(text)
        protected = b"".join(b"subtree p%05d.example.org\n" % n for n in range(PROTECTED))
        mapped = map_file(text)
        compile_to(path, mapped, protected)
        octets = map_file(path)
        rows = [Row("names in the base", names, ""), Row("targets in the overlay", TARGETS, "")]
        start = perf_counter_ns()
        base = Table(octets)
        rows.append(Row("base: checked", (perf_counter_ns() - start) / 1e6, "ms"))
        for count in ROWS:
            rows += made_and_laid(base, row_of(mapped), protected, count)
        rows += lookups(base, row_of(mapped), protected, samples(mapped))
        rows += memory(base, row_of(mapped), protected)
        return rows


def new_list(number: int) -> bytes:
    """Return a list of names that no other number has."""
    return b"".join(b"exact %06d.n%d.example.net\n" % (n, number) for n in range(TARGETS))


def overlay(base: Table, first: OrderRow, protected: bytes, rows: list[OrderRow], n: int) -> bytes:
    """Compile an overlay with `rows` beside the base's first, and a new order's list."""
    text = new_list(n)
    new = row_of(text, index=2)
    fd = os.memfd_create("overlay")
    compiler.compile_overlay(
        fd,
        origin="example.org/ledger",
        ledger_size=2,
        time_floor_ms=0,
        table_digest="00" * 32,
        secret=bytes(range(16)),
        register_url="https://register.example.org/o/",
        register_domain="register.example.org",
        base_sha256=base.header.body_sha256,
        rows=[first, new, *rows],
        orders=[(new, text)],
        protected=protected,
    )
    octets = os.pread(fd, os.fstat(fd).st_size, 0)
    os.close(fd)
    return octets


def made_and_laid(base: Table, first: OrderRow, protected: bytes, count: int) -> list[Row]:
    others = [row_of(b"", index=index) for index in range(3, 1 + count)]
    made, laid, octets = [], [], b""
    for number in range(ROUNDS):
        start = perf_counter_ns()
        octets = overlay(base, first, protected, others, number)
        middle = perf_counter_ns()
        base.with_overlay(octets)
        made.append((middle - start) / 1e6)
        laid.append((perf_counter_ns() - middle) / 1e6)
    what = f"overlay, {count:,} orders in force"
    return [
        median_row(f"{what}: compiled", made, "ms"),
        median_row(f"{what}: checked and laid", laid, "ms"),
        Row(f"{what}: size", len(octets) / 1e3, "kB"),
    ]


def lookups(
    base: Table, first: OrderRow, protected: bytes, by_kind: dict[str, list[Name]]
) -> list[Row]:
    laid = base.with_overlay(overlay(base, first, protected, [], 0))
    by_kind = {**by_kind, "in the overlay": by_kind["miss"][:0]}
    rows = []
    for kind, names in by_kind.items():
        wires = b"".join(name.wire for name in names)
        if kind == "in the overlay":
            chosen = [b"\6%06d\2n0\7example\3net\0" % n for n in range(TARGETS)] * 50
            random.Random(3).shuffle(chosen)
            wires = b"".join(chosen)
        with_ns: list[float] = []
        without_ns: list[float] = []
        for _ in range(LOOKUP_ROUNDS):
            for table, times in ((base, without_ns), (laid, with_ns)):
                count, _, ns = table.decide_many(wires, A, NOW_MS)
                times.append(ns / count)
        rows.append(median_row(f"{kind}: base alone", without_ns, "ns a lookup"))
        rows.append(median_row(f"{kind}: with the overlay", with_ns, "ns a lookup"))
    return rows


def memory(base: Table, first: OrderRow, protected: bytes) -> list[Row]:
    """Return what stays resident after the first hundred of many overlays, and after all."""
    found, laid = [], base
    for number in range(UPDATES):
        laid = base.with_overlay(overlay(base, first, protected, [], number))
        if number in (99, UPDATES - 1):
            found.append(Row(f"resident after {number + 1} overlays", resident_mb(), "MB"))
    assert laid.overlay_header is not None
    return found


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
