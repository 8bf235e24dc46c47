"""The target list: canonical text, one line ``exact|subtree|ip|net SP value LF`` a target.

Lines are bytewise sorted and unique; the SHA-256 of the whole text is the list's name.
A target says what it means and no more: no wildcard, pattern, URL, single label, or name
that is really an address. The native scanner is the fast twin of :func:`check_list`; this
module is what explains an error, and what the twin is held against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from enforcer.core import network
from enforcer.errors import InputError

TARGETS_MAX: Final = 2_000_000
LINE_BYTES_MAX: Final = len("subtree ") + 253
NAME_TEXT_BYTES_MAX: Final = 253

_NAME: Final = re.compile(
    rb"(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)+(?![0-9]+\Z)[a-z0-9_-]{1,63}", re.DOTALL
)


class TargetKind(IntEnum):
    """What a target covers; 0 is never a target."""

    UNSPECIFIED = 0
    EXACT = 1
    SUBTREE = 2
    IP = 3
    NET = 4


class ListKind(IntEnum):
    """What a canonical text is, as its first word says; 0 is no text."""

    UNSPECIFIED = 0
    TARGETS = 1
    SUFFIXES = 2
    """Public suffixes, for guards; see :mod:`enforcer.core.guard_data`."""
    RANGES = 3
    """Shared ranges, for guards."""


NAME_KINDS: Final = frozenset((TargetKind.EXACT, TargetKind.SUBTREE))
"""The kinds whose value is a name; the others' is an address or a prefix."""

_KINDS: Final = {
    b"exact": TargetKind.EXACT,
    b"subtree": TargetKind.SUBTREE,
    b"ip": TargetKind.IP,
    b"net": TargetKind.NET,
}


@dataclass(frozen=True, slots=True)
class Target:
    """One target; ``value`` is the canonical text of a name, an address or a prefix."""

    kind: TargetKind
    value: str

    @property
    def line(self) -> bytes:
        """The target as it stands in a list, LF included."""
        return f"{self.kind.name.lower()} {self.value}\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class ListSummary:
    """What a checked list is: its SHA-256 in hex, its lines, and how many of them are names."""

    sha256: str
    target_count: int
    name_count: int
    kind: ListKind = ListKind.TARGETS
    """What pins may name beside target lists; those have no targets."""


def parse_line(line: bytes, line_number: int = 1) -> Target:
    """Read one line without its LF.

    Raises:
        InputError: with ``data`` ``line`` and ``column`` (bytes, from 1) of what is wrong.
    """
    word, space, value = line.partition(b" ")
    kind = _KINDS.get(word)
    if kind is None or not space:
        raise _error(
            "the line does not start with 'exact ', 'subtree ', 'ip ' or 'net '", line_number, 1
        )
    column = len(word) + 2
    if kind in NAME_KINDS:
        if not _NAME.fullmatch(value):
            offset, what = _name_fault(value)
            raise _error(what, line_number, column + offset)
        return Target(kind, value.decode("ascii"))
    try:
        text = value.decode("ascii")
        if kind is TargetKind.IP:
            network.parse_address(text)
        else:
            network.parse_network(text)
    except UnicodeDecodeError as error:
        raise _error("the value is not ASCII", line_number, column + error.start) from error
    except InputError as error:
        raise _error(error.message, line_number, column) from error
    return Target(kind, text)


def read_line(text: bytes, at: int, line_number: int, previous: bytes) -> tuple[Target, bytes]:
    """Read the line of a list that begins at `at` and follows the line `previous`.

    Returns the target and its line without LF. Looks no further than a line can reach.

    Raises:
        InputError: the line is wrong, too long, has no LF, is out of order or one too many.
    """
    if line_number > TARGETS_MAX:
        raise _error(f"the list has over {TARGETS_MAX} targets", line_number, 1)
    end = text.find(b"\n", at, at + LINE_BYTES_MAX + 1)
    if end < 0 and len(text) - at > LINE_BYTES_MAX:
        what = f"the line is over {LINE_BYTES_MAX} bytes"
        raise _error(what, line_number, LINE_BYTES_MAX + 1)
    if end < 0:
        raise _error("the last line has no LF", line_number, len(text) - at + 1)
    line = text[at:end]
    target = parse_line(line, line_number)
    if line <= previous:
        what = "repeats the line before" if line == previous else "is out of bytewise order"
        raise _error(f"the line {what}", line_number, 1)
    return target, line


def iterate(text: bytes) -> Iterator[Target]:
    """Yield the targets of a list one by one, checking each line and the order.

    Raises:
        InputError: at the first line that is wrong, with ``line`` and ``column``.
    """
    previous = b""
    at = 0
    line_number = 0
    while at < len(text):
        line_number += 1
        target, previous = read_line(text, at, line_number, previous)
        yield target
        at += len(previous) + 1


def check_list(text: bytes) -> ListSummary:
    """Check a whole list and say what it is.

    Raises:
        InputError: an empty list, or the first line that is wrong (``line``, ``column``).
    """
    count = names = 0
    for target in iterate(text):
        count += 1
        names += target.kind in NAME_KINDS
    if count == 0:
        raise _error("the list is empty", 1, 1)
    return ListSummary(sha256(text).hexdigest(), count, names)


def _name_fault(value: bytes) -> tuple[int, str]:
    """Find the first thing wrong with a name that the pattern refused: (offset, words)."""
    if not value:
        return 0, "the name is missing"
    if b"://" in value or b"/" in value:
        return value.find(b"/"), "a URL or path stands where a name belongs"
    if b"*" in value:
        return value.find(b"*"), "a wildcard cannot be ordered: write 'subtree' and the name"
    for offset, octet in enumerate(value):
        if 0x41 <= octet <= 0x5A:
            return offset, "names are written in lower case"
        if octet > 0x7F:
            return offset, "an IDN is written as A-labels (xn--…)"
        if octet not in b"abcdefghijklmnopqrstuvwxyz0123456789-_.":
            return offset, f"the character {chr(octet)!r} cannot stand in a name"
    if value.endswith(b"."):
        return len(value) - 1, "names are written without a final dot"
    offset = 0
    for label in value.split(b"."):
        if not label:
            return offset, "a label is empty"
        if len(label) > 63:
            return offset, f"a label has {len(label)} characters, over 63"
        offset += len(label) + 1
    if len(value) > NAME_TEXT_BYTES_MAX:
        return NAME_TEXT_BYTES_MAX, f"the name has {len(value)} characters, over 253"
    if b"." not in value:
        return 0, "a single label (a top-level domain) cannot be a target"
    return 0, "an address stands where a name belongs: write 'ip'"


def _error(what: str, line_number: int, column: int) -> InputError:
    return InputError(
        f"line {line_number}, column {column}: {what}",
        advice="Lines are 'exact NAME', 'subtree NAME', 'ip ADDRESS' or 'net PREFIX', sorted "
        "bytewise, each once, each ended by LF.",
        line=line_number,
        column=column,
    )
