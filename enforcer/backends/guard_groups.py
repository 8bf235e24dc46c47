"""Which of many lists may share a target, in the list worker's process or in a program of its own.

Reads the lists as they are: whoever asks has checked that they are what their names say. What
shares a target is in one group; what is in one group may share none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from enforcer._native.sharing import Sharing
from enforcer.backends.list_tasks import Text, bounded_memory, mapped
from enforcer.backends.sealing import SALT_OCTETS

READ_BYTES: Final = 1 << 20


def group_lists(paths: Mapping[str, Path], salted: frozenset[str] = frozenset()) -> dict[str, int]:
    """Return a number for each list: lists that share a target have the same.

    Those of `salted` begin with their salt.

    Raises:
        UnavailableError: a list cannot be read, or memory has run out.
    """

    @contextmanager
    def text_of(sha256: str) -> Iterator[Text | memoryview]:
        with mapped(paths[sha256]) as text:
            yield memoryview(text)[SALT_OCTETS:] if sha256 in salted else text

    with bounded_memory():
        target_count = 0
        for sha256 in paths:
            with text_of(sha256) as text:
                target_count += _lines(text)
        return grouped(list(paths), text_of, target_count)


def grouped(
    lists: Sequence[str],
    text_of: Callable[[str], AbstractContextManager[Text | memoryview]],
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


def _lines(text: Text | memoryview) -> int:
    return sum(
        bytes(text[at : at + READ_BYTES]).count(b"\n") for at in range(0, len(text), READ_BYTES)
    )
