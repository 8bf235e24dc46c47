"""What canaries blame, on disk: a restart forgets neither the blame nor since when it counts.

Owns one small file of a node that follows canaries. Refuses to guess: a file that cannot be read
blames nothing, and then each order is tried at the node's own gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

import structlog

from enforcer.errors import EnforcerError
from enforcer.ports import KeptFiles

BLAME_FILE: Final = "canary-blame"
KEPT_MAX: Final = 10_000
"""Orders that are kept as blamed; more are forgotten at a restart."""
DIGITS_MAX: Final = 15

_log: Final = structlog.get_logger(__name__)


class BlameFile:
    """The orders that wait because a canary blames them, each with since when it waits."""

    def __init__(self, files: KeptFiles) -> None:
        self._files = files

    def read(self) -> dict[int, int]:
        """Return what was kept: entry index -> Unix milliseconds; it blocks."""
        try:
            lines = (self._files.read(BLAME_FILE) or b"").splitlines()
            return dict(_numbers(line) for line in lines)
        except (EnforcerError, ValueError) as error:
            _log.error("cannot read what canaries blamed", problem=str(error))
            return {}

    def write(self, since_ms: Mapping[int, int]) -> None:
        """Make it durable, as far as the disk allows; it blocks."""
        lines = (b"%d %d\n" % each for each in islice(since_ms.items(), KEPT_MAX))
        try:
            self._files.write(BLAME_FILE, b"".join(lines))
        except EnforcerError as error:
            _log.error("cannot keep what canaries blame", problem=error.message)


def _numbers(line: bytes) -> tuple[int, int]:
    """Return the two numbers of a line.

    Raises:
        ValueError: it is none such.
    """
    index, since_ms = line.split(b" ")
    if not all(each.isdigit() and len(each) <= DIGITS_MAX for each in (index, since_ms)):
        raise ValueError("a line is not two numbers")
    return int(index), int(since_ms)
