"""A control plane's deltas on disk: made once, and there for the feed to be filled again.

Nothing here is worth a backup: whatever is lost is made anew of the lists, and whatever is wrong
costs nodes a whole list. Owned by one control plane.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from enforcer.backends import durable
from enforcer.ports import Delta


class DeltaFiles:
    """The deltas in `directory`, made when the first is put there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, delta: Delta) -> Path:
        """Return where a delta is, or would be."""
        return self._directory / ".".join(delta)

    def has(self, delta: Delta) -> bool:
        """Tell whether a delta is here."""
        return self.path(delta).is_file()

    def keep_only(self, deltas: Collection[Delta]) -> None:
        """Remove all others, and what a killed worker left.

        Raises:
            UnavailableError: the directory cannot be used.
        """
        durable.make_directory(self._directory)
        kept = {self.path(delta) for delta in deltas}
        with durable.reporting(self._directory, "list"):
            for path in set(self._directory.iterdir()) - kept:
                durable.remove_quietly(path)
