"""The answer cache: what a hit, a miss and a write cost, in how much memory, and how often it hits.

A hit is everything from the query as it was read to the whole answer: hash, lookup, TTLs, OPT;
one query after the other, or 32 at a time with what the others need fetched ahead. Names are
asked for in random order, from few that stay near the processor to a cache that is nearly full.
Times are the processor's; the first writes into a cache also pay for its pages. Beside them, for
the floor, a Python dict of the same names that only finds; beside the hit ratio, that of least
recently used with room for as many answers.
"""

from __future__ import annotations

import random
import struct
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from time import thread_time_ns

from bench import Row, median_row
from enforcer._native.probe_cache import AnswerCache
from enforcer.core.name import Name

ROUNDS = 7
OCTETS_MAX = 64 << 20
SECRET = bytes(range(16))
NAMES = 300_000
OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
ZIPF_NAMES, ZIPF_QUERIES = 40_000, 1_000_000


def run() -> list[Row]:
    draw = random.Random(1)
    exchanges = [exchange(number) for number in range(NAMES)]
    rows = [Row("answer", len(exchanges[-1][1]), "octets")]
    for count in (200, 20_000, NAMES):
        rows += costs(exchanges[:count], draw)
    return [*rows, *memory(exchanges), *hit_ratios(draw)]


def exchange(number: int) -> tuple[bytes, bytes]:
    """Return a query with EDNS, and an answer of one address."""
    question = Name.from_text(f"www.host-{number}.example.org").wire + b"\0\1\0\1"
    address = struct.pack("!HHHIHI", 0xC00C, 1, 1, 300, 4, number)
    asked = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 1) + question + OPT
    return asked, struct.pack("!6H", 1, 0x8180, 1, 1, 0, 1) + question + address + OPT


def costs(exchanges: list[tuple[bytes, bytes]], draw: random.Random) -> list[Row]:
    """Measure each step over at least 20,000 queries, on a cache that was empty."""
    asked = [query for query, _ in exchanges] * -(-20_000 // len(exchanges))
    draw.shuffle(asked)
    rounds = [
        AnswerCache(OCTETS_MAX, SECRET).measure(exchanges, asked, 1_000) for _ in range(ROUNDS)
    ]
    steps = {
        "miss": ("miss", len(asked)),
        "put": ("put", len(exchanges)),
        "hit": ("hit", len(asked)),
        "batch": ("hit, in batches", len(asked)),
    }
    names = f"{len(exchanges):,} names"
    rows = [
        median_row(f"{names}: {what}", [one[step] / count for one in rounds], "ns")
        for step, (what, count) in steps.items()
    ]
    plain = dict.fromkeys([query for query, _ in exchanges], 1)
    times = []
    for _ in range(ROUNDS):
        begun = thread_time_ns()
        for query in asked:
            plain.get(query)
        times.append((thread_time_ns() - begun) / len(asked))
    return [*rows, median_row(f"{names}: dict, found only", times, "ns")]


def memory(exchanges: list[tuple[bytes, bytes]]) -> list[Row]:
    """Fill a cache several times over, and see what the process has grown by."""
    before = resident_octets()
    cache = AnswerCache(OCTETS_MAX, SECRET)
    grown = []
    for lap in range(4):
        for query, answer in exchanges:
            cache.put(query, answer, lap)
        for query, answer in exchanges:  # the same names with DO set are other entries
            cache.put(query[:-4] + b"\x80\0\0\0", answer, lap)
        grown.append((resident_octets() - before) / 1e6)
    return [
        Row("memory taken at open", cache.counts["octets"] / 1e6, "MB"),
        Row("memory after 600,000 answers", grown[0], "MB"),
        Row("memory after 2,400,000 answers", grown[-1], "MB"),
        Row("answers that stand in it", cache.check()[0], ""),
    ]


def resident_octets() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def hit_ratios(draw: random.Random) -> list[Row]:
    """Ask by Zipf's law with room for about a quarter of the names."""
    exchanges = [exchange(number) for number in range(ZIPF_NAMES)]
    rows = []
    for exponent in (0.8, 1.0):
        weights = list(accumulate(1 / (rank + 1) ** exponent for rank in range(ZIPF_NAMES)))
        asked = draw.choices(range(ZIPF_NAMES), cum_weights=weights, k=ZIPF_QUERIES)
        cache, hits = AnswerCache(3 << 19, SECRET), 0
        for number in asked:
            if cache.find(exchanges[number][0], 0) is None:
                cache.put(*exchanges[number], 0)
            else:
                hits += 1
        capacity = cache.check()[0]
        what = f"Zipf {exponent}, room for {capacity / ZIPF_NAMES:.0%}"
        rows += [
            Row(f"{what}: hits", 100 * hits / len(asked), "%"),
            Row(f"{what}: hits of least recently used", 100 * lru(asked, capacity), "%"),
        ]
    return rows


def lru(asked: list[int], capacity: int) -> float:
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number in asked:
        if number in kept:
            hits += 1
            kept.move_to_end(number)
        else:
            kept[number] = None
            if len(kept) > capacity:
                kept.popitem(last=False)
    return hits / len(asked)
