"""Which of many lists may share a target, in the list worker's process or in a program of its own.

Reads the lists as they are: whoever asks has checked that they are what their names say. What
shares a target is in one group; what is in one group may share none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from enforcer._native.near import Near
from enforcer._native.sharing import Sharing
from enforcer._native.windows import let_go, windows
from enforcer.backends.list_tasks import Text, bounded_memory, mapped
from enforcer.backends.sealing import SALT_OCTETS

NEAR_LISTS_MAX: Final = 16
NEAR_LINES_MAX: Final = 10_000
"""In all lists together that are looked up in the others."""

GROUPING_READS: Final = 2
"""How often grouping reads each list, at the least."""
WIDE_WORDS: Final = (b"subtree ", b"net ")

TextOf: TypeAlias = Callable[[str], AbstractContextManager[Text | memoryview]]


class Lines(NamedTuple):
    """What of a list tells how much is read to look it up in another."""

    size: int
    is_wide: bool
    """It has subtrees or prefixes: what these could cover has to be read."""


def near_lists(
    of: Sequence[str], paths: Mapping[str, Path], salted: frozenset[str] = frozenset()
) -> dict[str, frozenset[str]]:
    """Return for each list of `of` those in `paths` that may share a target with it.

    `paths` says where each is, by SHA-256; those of `salted` begin with their salt. Of two lists
    the shorter is looked up in the other, where that reads no more than grouping all of them,
    which takes 32 octets of memory for each of their lines.

    Raises:
        UnavailableError: a list cannot be read, or memory has run out.
    """

    @contextmanager
    def text_of(sha256: str) -> Iterator[Text | memoryview]:
        with mapped(paths[sha256]) as text:
            yield memoryview(text)[SALT_OCTETS:] if sha256 in salted else text

    with bounded_memory():
        kinds: dict[str, Lines] = {}
        if len(of) <= NEAR_LISTS_MAX:
            kinds = {sha256: _lines(text_of, sha256) for sha256 in of}
            if sum(each.size for each in kinds.values()) <= NEAR_LINES_MAX:
                return _near(of, paths, text_of)
        kinds = {sha256: kinds.get(sha256) or _lines(text_of, sha256) for sha256 in paths}
        target_count = sum(each.size for each in kinds.values())
        if len(of) <= NEAR_LISTS_MAX and _paired_lines(of, kinds) <= GROUPING_READS * target_count:
            return {sha256: _paired(sha256, kinds, text_of) for sha256 in of}
        groups = grouped(list(paths), text_of, target_count)
        members: dict[int, set[str]] = {}
        for sha256, group in groups.items():
            members.setdefault(group, set()).add(sha256)
        return {sha256: frozenset(members[groups[sha256]]) for sha256 in of}


def grouped(
    lists: Sequence[str],
    text_of: TextOf,
    target_count: int,
) -> dict[str, int]:
    """Return the groups of lists of so many lines in all, whose texts `text_of` gives in turn."""
    sharing = Sharing(len(lists), target_count + len(lists))
    for number in range(sharing.passes):
        sharing.begin(number)
        for read in (sharing.add, sharing.cover):
            for owner, sha256 in enumerate(lists):
                with text_of(sha256) as text:
                    read(owner, text)
    return dict(zip(lists, sharing.groups(), strict=True))


def _near(of: Sequence[str], others: Iterable[str], text_of: TextOf) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    with ExitStack() as stack:
        short = {sha256: Near(stack.enter_context(text_of(sha256))) for sha256 in of}
        for other in others:
            with text_of(other) as text:
                for sha256, near in short.items():
                    if near.shares(text):
                        found.setdefault(sha256, set()).add(other)
    return {sha256: frozenset(found.get(sha256, ())) for sha256 in of}


def _paired_lines(of: Sequence[str], kinds: Mapping[str, Lines]) -> int:
    """Return how many lines would be read to look lists up in each other."""
    pairs = (
        sorted((kinds[sha256], other))
        for sha256 in of
        for name, other in kinds.items()
        if name != sha256
    )
    return sum(short.size + short.is_wide * long.size for short, long in pairs)


def _paired(sha256: str, kinds: Mapping[str, Lines], text_of: TextOf) -> frozenset[str]:
    """Return which of the lists in `kinds` share a target with one of them, itself among them."""
    found = {sha256}
    with text_of(sha256) as text:
        for other in kinds.keys() - found:
            with text_of(other) as their:
                is_shorter = kinds[sha256] < kinds[other]
                short, long = (text, their) if is_shorter else (their, text)
                if Near(short).shares(long):
                    found.add(other)
                let_go(text)
    return frozenset(found)


def _lines(text_of: TextOf, sha256: str) -> Lines:
    with text_of(sha256) as text:
        return lines_of(text)


def lines_of(text: Text | memoryview) -> Lines:
    """Return how many lines a list has, and of what kind."""
    size = at = 0
    is_wide = False
    for end in windows(text):
        part = bytes(text[at:end])
        size += part.count(b"\n")
        is_wide = is_wide or any(word in part for word in WIDE_WORDS)
        at = end
    return Lines(size, is_wide)
