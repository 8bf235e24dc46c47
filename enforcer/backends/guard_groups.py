"""Which of many lists may share a target, in the list worker's process or in a program of its own.

Reads the lists as they are: whoever asks has checked that they are what their names say. What
shares a target is in one group; what is in one group may share none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from enforcer._native.near import Near
from enforcer._native.sharing import Sharing
from enforcer._native.windows import let_go, windows
from enforcer.backends.list_tasks import Text, bounded_memory, mapped
from enforcer.backends.sealing import SALT_OCTETS

NEAR_LISTS_MAX: Final = 16
NEAR_LINES_MAX: Final = 10_000
"""In all lists together that are looked up in the others."""

TextOf: TypeAlias = Callable[[str], AbstractContextManager[Text | memoryview]]


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
        counts: dict[str, int] = {}
        if len(of) <= NEAR_LISTS_MAX:
            counts = {sha256: _count(text_of, sha256) for sha256 in of}
            if sum(counts.values()) <= NEAR_LINES_MAX:
                return _near(of, paths, text_of)
        counts = {sha256: counts.get(sha256) or _count(text_of, sha256) for sha256 in paths}
        target_count = sum(counts.values())
        if len(of) <= NEAR_LISTS_MAX and _paired_lines(of, counts) <= target_count:
            return {sha256: _paired(sha256, counts, text_of) for sha256 in of}
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


def _paired_lines(of: Sequence[str], counts: Mapping[str, int]) -> int:
    """Return how many lines would be looked up in another list."""
    return sum(
        min(counts[sha256], count)
        for sha256 in of
        for other, count in counts.items()
        if other != sha256
    )


def _paired(sha256: str, counts: Mapping[str, int], text_of: TextOf) -> frozenset[str]:
    """Return which of the lists in `counts` share a target with one of them, itself among them."""
    found = {sha256}
    with text_of(sha256) as text:
        for other in counts.keys() - found:
            with text_of(other) as their:
                is_shorter = counts[sha256] < counts[other]
                short, long = (text, their) if is_shorter else (their, text)
                if Near(short).shares(long):
                    found.add(other)
                let_go(text)
    return frozenset(found)


def _count(text_of: TextOf, sha256: str) -> int:
    with text_of(sha256) as text:
        return line_count(text)


def line_count(text: Text | memoryview) -> int:
    """Return how many lines a list has."""
    count = at = 0
    for end in windows(text):
        count += bytes(text[at:end]).count(b"\n")
        at = end
    return count
