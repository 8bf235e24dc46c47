"""Write a constant database (cr.yp.to/cdb/cdb.txt): what dnsdist can look names up in."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

TABLES = 256
PAIR = struct.Struct("<II")


def write_cdb(path: Path, keys: Iterable[bytes]) -> None:
    """Write a file under 4 GB with each of `keys`, whose value is one octet."""
    entries: list[list[tuple[int, int]]] = [[] for _ in range(TABLES)]
    with path.open("wb") as file:
        file.write(bytes(TABLES * PAIR.size))
        at = TABLES * PAIR.size
        for key in keys:
            hashed = hash_of(key)
            entries[hashed % TABLES].append((hashed, at))
            at += file.write(PAIR.pack(len(key), 1) + key + b"1")
        heads = []
        for table in entries:
            slots = hashed_slots(table)
            heads.append((at, len(slots)))
            at += file.write(b"".join(PAIR.pack(*slot) for slot in slots))
        file.seek(0)
        file.write(b"".join(PAIR.pack(*head) for head in heads))


def hashed_slots(entries: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Place entries into twice as many slots, each at its hash or behind it."""
    count = 2 * len(entries)
    slots = [(0, 0)] * count
    for hashed, at in entries:
        slot = (hashed // TABLES) % count
        while slots[slot][1]:
            slot = (slot + 1) % count
        slots[slot] = (hashed, at)
    return slots


def hash_of(key: bytes) -> int:
    """Return cdb's hash of `key`."""
    hashed = 5381
    for octet in key:
        hashed = (hashed * 33 & 0xFFFFFFFF) ^ octet
    return hashed
