"""Waiting for many descriptors in one thread: each has a callable for when it is readable.

Nothing here waits longer than `tend` allows, and a source that was forgotten is not called,
even if it became readable in the same round.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Protocol, Self


class Source(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Watch:
    """The sources, and what each calls; one thread uses it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: dict[int, Callable[[], None]] = {}

    def add(self, source: Source | int, call: Callable[[], None]) -> None:
        """Have `call` called whenever `source` is readable, or its other end is closed."""
        fd = source if isinstance(source, int) else source.fileno()
        self._selector.register(fd, selectors.EVENT_READ)
        self._calls[fd] = call

    def forget(self, source: Source | int) -> None:
        """Forget a source, before it is closed."""
        fd = source if isinstance(source, int) else source.fileno()
        self._selector.unregister(fd)
        del self._calls[fd]

    def turn(self, seconds_max: float) -> None:
        """Wait for sources for so long at most, and call what is to be called."""
        for key, _ in self._selector.select(max(seconds_max, 0.0)):
            call = self._calls.get(key.fd)
            if call is not None:
                call()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._calls.clear()
