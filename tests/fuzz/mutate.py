"""Hostile messages made from real ones, the same for the same seed.

A mutant is a message with one to four things done to it: bits flipped, a length made to lie,
a compression pointer put somewhere, records doubled, cut or taken from another message.
Knows DNS just so far that what it makes gets past the first checks.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

OCTETS_MAX: Final = 65_535
INTERESTING: Final = (0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFE, 0xFF)
WORDS: Final = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x200, 0x3FFF, 0x7FFF, 0x8000, 0xC00C, 0xFFFF)
TYPES: Final = (1, 2, 5, 6, 12, 15, 28, 33, 39, 41, 43, 46, 47, 64, 65, 250, 255, 0xFF00)

Change = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutants(seed: int, corpus: Sequence[bytes]) -> Iterator[bytes]:
    """Yield mutants of `corpus` without end; the same for the same arguments."""
    chance = random.Random(seed)
    while True:
        wire = bytearray(chance.choice(corpus))
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
            chance.choice(CHANGES)(chance, wire, corpus)
        yield bytes(wire[:OCTETS_MAX])


def place(chance: random.Random, wire: bytearray) -> int:
    """Return a place in `wire`, more often an early one."""
    return int(len(wire) * chance.random() ** 1.5) if wire else 0


def flip_bits(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    for _ in range(chance.choice((1, 1, 2, 8))):
        if wire:
            wire[place(chance, wire)] ^= 1 << chance.randrange(8)


def set_octet(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    if wire:
        wire[place(chance, wire)] = chance.choice(INTERESTING)


def set_word(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    at = place(chance, wire)
    wire[at : at + 2] = struct.pack("!H", chance.choice((*WORDS, *TYPES, len(wire))))


def cut(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    del wire[place(chance, wire) :]


def grow(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    wire += chance.randbytes(chance.choice((1, 2, 12, 300)))


def insert(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    at = place(chance, wire)
    wire[at:at] = chance.randbytes(chance.choice((1, 2, 4, 63)))


def drop(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    at = place(chance, wire)
    del wire[at : at + chance.choice((1, 2, 10))]


def double(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    start, stop = sorted((place(chance, wire), place(chance, wire)))
    wire[stop:stop] = wire[start:stop] * chance.choice((1, 1, 2, 30))


def splice(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    other = chance.choice(corpus)
    at = place(chance, wire)
    wire[at:] = other[chance.randrange(len(other) + 1) :]


def lie_in_counts(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.choice((4, 6, 8, 10))
    wire[at : at + 2] = struct.pack("!H", chance.choice((0, 1, 2, 3, 64, 513, 0xFFFF)))


def be_plausible(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    """Give it the header of a plain query or of a good answer."""
    wire[2:4] = chance.choice((b"\1\0", b"\1\x10", b"\x81\x80", b"\x81\x83", b"\x85\x80"))
    wire[4:6] = b"\0\1"


def point(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    """Put a compression pointer somewhere: back, forward, to itself or to another pointer."""
    at = place(chance, wire)
    where = chance.choice((12, at, max(at - 1, 0), at + 2, max(at - 2, 0), place(chance, wire)))
    wire[at : at + 2] = struct.pack("!H", 0xC000 | where & 0x3FFF)


def chain_pointers(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    """Put in a run of pointers each of which leads to the one before."""
    at = place(chance, wire)
    for step in range(chance.choice((2, 20, 130))):
        wire[at : at + 2] = struct.pack("!H", 0xC000 | max(at - 2, 12) & 0x3FFF)
        at += 2
        if step == 0:
            wire[at - 2 : at] = b"\xc0\x0c"


def lengthen_labels(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    """Put in labels up to, at, or just beyond what a name may hold."""
    at = place(chance, wire)
    wire[at:at] = (b"\x3f" + b"a" * 63) * chance.choice((1, 3, 4)) + b"\x3e" * chance.choice((0, 1))


def set_rdata_length(chance: random.Random, wire: bytearray, corpus: Sequence[bytes]) -> None:
    """Find what looks like the fixed part of a record and let its length or type lie."""
    found = [at for at in range(12, len(wire) - 10) if wire[at : at + 2] == b"\0\1"]
    if found:
        at = chance.choice(found)
        wire[at + 6 : at + 8] = struct.pack("!H", chance.choice((0, 1, 3, 5, 15, 17, 0xFFFF)))
        if chance.random() < 0.5:
            wire[at - 2 : at] = struct.pack("!H", chance.choice(TYPES))


CHANGES: Final[tuple[Change, ...]] = (
    flip_bits, set_octet, set_word, cut, grow, insert, drop, double, splice, lie_in_counts,
    be_plausible, point, chain_pointers, lengthen_labels, set_rdata_length,
)  # fmt: skip
