"""The formats that lists come in, and how one list is to be read.

Owns the closed list of formats, what tells them apart, and what each reader is given. A format
is never guessed at in doubt: a list whose lines are of several formats must be named one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from enforcer.backends.list_line import LINE_BYTES_MAX, NAME_PATTERN
from enforcer.backends.list_report import Notes
from enforcer.backends.list_taken_back import TakenBack
from enforcer.core.target import TargetKind
from enforcer.errors import InputError

SAMPLE_LINES: Final = 500
SHARE_MIN: Final = 0.8  # of the lines that look like some format


class ListFormat(IntEnum):
    """How a list is written; AUTO looks at its first lines."""

    UNSPECIFIED = 0
    AUTO = 1
    PLAIN = 2
    HOSTS = 3
    ADBLOCK = 4
    DNSMASQ = 5
    RPZ = 6
    CSV = 7
    CANONICAL = 8

    @property
    def word(self) -> str:
        """The format as it is written on a command line."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a list is to be read."""

    format: ListFormat = ListFormat.PLAIN
    kind: TargetKind | None = None
    """What a bare value means in PLAIN and CSV; EXACT if nothing is said."""
    column: str | None = None
    """The column of a CSV with the targets."""
    sinks: tuple[str, ...] = ()
    """Addresses and names, besides 0.0.0.0 and the like, that blocked names are sent to."""
    bad_lines_max: int | None = None
    """Bad lines that are allowed; None is a hundredth of all lines, and ten at least."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader of lines is given beside them."""

    reading: Reading
    notes: Notes
    spill_directory: Path
    taken_back: TakenBack = field(default_factory=TakenBack)

    def is_sink(self, text: bytes) -> bool:
        """Tell whether a list that sends a name to this address or name blocks it."""
        return _is_null(text) or text.decode("ascii", "replace").lower() in self.reading.sinks


def address_of(text: bytes) -> IPv4Address | IPv6Address | None:
    """Return the address that `text` is, a zone index left out; None if it is none."""
    if text == b"0":  # some hosts files are written so
        return IPv4Address(0)
    try:
        return ip_address(text.partition(b"%")[0].decode("ascii"))
    except ValueError:
        return None


def told_format(sample: bytes, reading: Reading) -> ListFormat:
    """Return the format to read a list in, from its first lines where AUTO is asked.

    Raises:
        InputError: the lines are of several formats, or an option belongs to another one.
    """
    chosen = reading.format
    if chosen in (ListFormat.AUTO, ListFormat.UNSPECIFIED):
        chosen = ListFormat.CSV if reading.column is not None else _guess(sample)
    if (reading.column is None) is (chosen is ListFormat.CSV):
        raise InputError(
            f"a list is read as {chosen.word} {'without' if reading.column is None else 'with'} "
            "the name of a column",
            advice="Name the column of a CSV (--column), and of nothing else.",
            field="column",
        )
    if reading.kind is not None and chosen not in (ListFormat.PLAIN, ListFormat.CSV):
        raise InputError(
            f"the format {chosen.word} says itself what a name means",
            advice="Leave out --kind; it is for plain lists and CSV.",
            field="kind",
        )
    return chosen


_SIGNS: Final = {
    ListFormat.RPZ: rb"\$(?:TTL|ORIGIN)\b.*|.*\s(?:SOA|CNAME)\s.*",
    ListFormat.ADBLOCK: rb"\[Adblock.*\]|\|\|.*|@@.*|!.*|[^#\s]+#@?[?$]?#.*",
    ListFormat.DNSMASQ: rb"(?:address|server|local)=/.*",
    ListFormat.HOSTS: rb"(?:[0-9.]+|(?=[0-9A-Fa-f]*:)[0-9A-Fa-f:.]+(?:%\S+)?)\s+\S.*",
    ListFormat.PLAIN: rb"(?i:(?:(?:exact|subtree)\s+)?" + NAME_PATTERN + rb"\.?"
    rb"|(?:ip|net)\s+\S+)(?:\s*#.*)?",
}
_MATCHERS: Final = {kind: re.compile(sign) for kind, sign in _SIGNS.items()}


def _guess(sample: bytes) -> ListFormat:
    seen = Counter(_signs(sample))
    if not seen:
        return ListFormat.PLAIN
    best, count = seen.most_common(1)[0]
    if count < SHARE_MIN * seen.total():
        words = ", ".join(kind.word for kind, _ in seen.most_common())
        raise InputError(
            f"the list's first lines are of several formats: {words}",
            advice="Name the format: --format.",
            field="format",
        )
    return best


def _signs(sample: bytes) -> Iterator[ListFormat]:
    for line in sample.split(b"\n")[:SAMPLE_LINES]:
        begin = line[:LINE_BYTES_MAX].strip()
        for kind, matcher in _MATCHERS.items():
            if matcher.fullmatch(begin):
                yield kind
                break


@lru_cache(1000)
def _is_null(text: bytes) -> bool:
    address = address_of(text)
    return address is not None and (address.is_unspecified or address.is_loopback)
