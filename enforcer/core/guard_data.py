"""The data that guards read, as policies pin it: two grammars beside the target list's.

Public suffixes are ``icann|private SP rule LF``, rules as on publicsuffix.org but in A-labels
(``co.uk``, ``*.ck``, ``!www.ck``); shared ranges are ``shared SP prefix SP owner LF``. Lines are
bytewise sorted and unique, as in target lists; the first word of a text says which of the three
it is. Refuses more lines than a guard should ever need, since each becomes an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from ipaddress import ip_network
from typing import Final, TypeVar

from enforcer.core import target as target_list
from enforcer.core.network import Network
from enforcer.core.target import ListKind, ListSummary, Target
from enforcer.errors import InputError

PINNED_LINES_MAX: Final = 100_000
PINNED_BYTES_MAX: Final = 32 << 20
KIND_BYTES: Final = len(b"private ")
"""So many octets of a text say what it is."""

_SUFFIX: Final = re.compile(
    r"(icann|private) (\*\.|!)?((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63})", re.ASCII
)
_RANGE: Final = re.compile(r"shared ([0-9a-f.:]{2,39}/[0-9]{1,3}) ([a-z0-9-]{1,32})", re.ASCII)
_RANGE_LENGTH_MIN: Final = {4: 8, 6: 16}


class SuffixForm(IntEnum):
    """What a rule says of its name."""

    UNSPECIFIED = 0
    PLAIN = 1
    """The name is a suffix."""
    WILDCARD = 2
    """Each name one label below is a suffix."""
    EXCEPTION = 3
    """The name is none, although a wildcard says so."""


@dataclass(frozen=True, slots=True)
class SuffixRule:
    """One rule of the public-suffix list."""

    is_icann: bool
    """Of the ICANN section; else one of those that private registries asked for."""
    form: SuffixForm
    name: str
    """Without the rule's ``*.`` or ``!``."""
    line: str
    """As it is written, without LF."""


@dataclass(frozen=True, slots=True)
class SharedRange:
    """A prefix whose addresses many unrelated parties share."""

    network: Network
    owner: str
    line: str


@dataclass(frozen=True, slots=True)
class GuardData:
    """All that is pinned, read; what is not pinned is empty."""

    core: tuple[Target, ...] = ()
    protected: tuple[Target, ...] = ()
    """Without those that are in the core as well."""
    suffixes: tuple[SuffixRule, ...] = ()
    shared: tuple[SharedRange, ...] = ()


def kind_of(text: bytes) -> ListKind:
    """Return what a text is by its first word; what is neither of ours passes for targets."""
    word = text[:KIND_BYTES].partition(b" ")[0]
    if word in (b"icann", b"private"):
        return ListKind.SUFFIXES
    return ListKind.RANGES if word == b"shared" else ListKind.TARGETS


def check_text(text: bytes) -> ListSummary:
    """Check a whole text, of whatever kind, and say what it is; only targets are counted.

    Raises:
        InputError: the first line that is wrong, with ``line`` and ``column``.
    """
    kind = kind_of(text)
    if kind is ListKind.TARGETS:
        return target_list.check_list(text)
    lines = iterate_suffixes(text) if kind is ListKind.SUFFIXES else iterate_ranges(text)
    for _ in lines:
        pass  # it has been checked
    return ListSummary(sha256(text).hexdigest(), 0, 0, kind)


def read_guard_data(
    core: bytes = b"", protected: bytes = b"", suffixes: bytes = b"", shared: bytes = b""
) -> GuardData:
    """Read the four pinned texts; an empty one is none.

    Raises:
        InputError: a text is not canonical (``line``, ``column``), or has too many lines.
    """
    core_targets = _read_targets(core)
    known = frozenset(core_targets)
    return GuardData(
        core_targets,
        tuple(each for each in _read_targets(protected) if each not in known),
        read_suffixes(suffixes),
        read_ranges(shared),
    )


def read_suffixes(text: bytes) -> tuple[SuffixRule, ...]:
    """Read a text of public suffixes; no line is no rule.

    Raises:
        InputError: the first line that is wrong, with ``line`` and ``column``.
    """
    return tuple(iterate_suffixes(text))


def read_ranges(text: bytes) -> tuple[SharedRange, ...]:
    """Read a text of shared ranges, each prefix once; no line is no range.

    Raises:
        InputError: the first line that is wrong, with ``line`` and ``column``.
    """
    return tuple(iterate_ranges(text))


def iterate_suffixes(text: bytes) -> Iterator[SuffixRule]:
    """Read as `read_suffixes`, one line after the other; raises at the line that is wrong."""
    return _iterate(text, _suffix_of)


def iterate_ranges(text: bytes) -> Iterator[SharedRange]:
    """Read as `read_ranges`, one line after the other; raises at the line that is wrong."""
    before: Network | None = None
    for number, this in enumerate(_iterate(text, _range_of), 1):
        if this.network == before:
            raise _error("the prefix of the line before has another owner", number, 8)
        before = this.network
        yield this


T = TypeVar("T")


def _read_targets(text: bytes) -> tuple[Target, ...]:
    _check_size(text)
    return tuple(target_list.iterate(text))


def _iterate(text: bytes, parse: Callable[[str, int], T]) -> Iterator[T]:
    """Read each line with `parse`, which is given its number."""
    _check_size(text)
    if text and not text.endswith(b"\n"):
        raise _error("the last line has no LF", text.count(b"\n") + 1, 1)
    before = b""
    at = number = 0
    while at < len(text):
        end = text.index(b"\n", at)
        line = text[at:end]
        at = end + 1
        number += 1
        if number > 1 and line <= before:
            raise _error("the line is out of bytewise order, or repeats the one before", number, 1)
        try:
            words = line.decode("ascii")
        except UnicodeDecodeError as error:
            raise _error("the line is not ASCII", number, error.start + 1) from error
        yield parse(words, number)
        before = line


def _suffix_of(line: str, number: int) -> SuffixRule:
    found = _SUFFIX.fullmatch(line)
    if found is None or len(found[3]) > target_list.NAME_TEXT_BYTES_MAX:
        raise _error("this is no 'icann RULE' or 'private RULE' in A-labels", number, 1)
    form = {"*.": SuffixForm.WILDCARD, "!": SuffixForm.EXCEPTION}.get(found[2], SuffixForm.PLAIN)
    return SuffixRule(found[1] == "icann", form, found[3], line)


def _range_of(line: str, number: int) -> SharedRange:
    found = _RANGE.fullmatch(line)
    if found is None:
        raise _error("this is no 'shared PREFIX OWNER'", number, 1)
    try:
        network = ip_network(found[1])
    except ValueError as error:
        raise _error(f"{found[1]!r} is no IP prefix", number, 8) from error
    if str(network) != found[1]:
        raise _error(f"the prefix {found[1]!r} is written {str(network)!r}", number, 8)
    shortest = _RANGE_LENGTH_MIN[network.version]
    if network.prefixlen < shortest:
        raise _error(f"the prefix {found[1]!r} is shorter than /{shortest}", number, 8)
    return SharedRange(network, found[2], line)


def _check_size(text: bytes) -> None:
    lines = text.count(b"\n")
    if lines > PINNED_LINES_MAX or len(text) > PINNED_BYTES_MAX:
        raise InputError(
            f"{lines} lines with {len(text)} bytes are too many for a guard",
            advice=f"Pin at most {PINNED_LINES_MAX} lines and {PINNED_BYTES_MAX} bytes.",
            field="pins",
        )


def _error(what: str, line_number: int, column: int) -> InputError:
    return InputError(
        f"line {line_number}, column {column}: {what}",
        advice="Lines are 'icann RULE' and 'private RULE', or 'shared PREFIX OWNER', sorted "
        "bytewise, each once, each ended by LF.",
        line=line_number,
        column=column,
    )
