"""Canonical lists as they are, sorted text: what stands in them, found by bisection.

No list becomes objects: a look costs some steps of a search, and what comes of it are the lines
asked for, or those below a name, in the very form that a list has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

BELOW_LINES_MAX: Final = 10_000
COUNT_CHUNK_BYTES: Final = 1 << 20


class ListText(Protocol):
    """A target list's whole text, such as bytes or a mapped file."""

    def __len__(self) -> int:
        """Return its size in bytes."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of it, for code that reads it in place."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a part of it."""

    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return where `sub` stands first, or -1."""

    def rfind(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return where `sub` stands last, or -1."""


Lists: TypeAlias = Callable[[str], ListText]
"""``lists(sha256)``: the text of a list; raises NotFoundError when it is not here."""


def find_line(text: ListText, line: bytes) -> int | None:
    """Return the offset of `line` in a sorted list, or None, by bisection."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        start = text.rfind(b"\n", low, middle) + 1 or low
        end = text.find(b"\n", start)
        here = text[start:end]
        if here == line:
            return start
        if here < line:
            low = end + 1
        else:
            high = start
    return None


def line_number(text: ListText, offset: int) -> int:
    """Return the number, from 1, of the line that begins at `offset`."""
    count = 1
    for start in range(0, offset, COUNT_CHUNK_BYTES):
        count += text[start : min(start + COUNT_CHUNK_BYTES, offset)].count(b"\n")
    return count


def below(text: ListText, zones: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the lines at or below `zones`: a pass rule there turns NXDOMAIN into NODATA."""
    for zone in zones:
        ending, at, found = zone + b"\n", 0, 0
        while found < BELOW_LINES_MAX and (at := text.find(ending, at)) >= 0:
            start = text.rfind(b"\n", 0, at) + 1
            if text[at - 1 : at] in (b".", b" "):
                found += 1
                yield text[start : at + len(zone)]
            at += len(ending)


def present(text: ListText, wanted: Iterable[bytes]) -> list[bytes]:
    """Return those of some lines that a sorted list has."""
    return [line for line in wanted if find_line(text, line) is not None]


def list_of(lines: Iterable[bytes]) -> bytes:
    """Return a canonical list of some lines."""
    return b"".join(line + b"\n" for line in sorted(set(lines)))
