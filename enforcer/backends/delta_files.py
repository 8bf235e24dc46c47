"""A control plane's deltas on disk: made once, and there for every path to be fed from.

Nothing here is worth a backup: whatever is lost is made anew of the lists, and whatever is wrong
costs nodes a whole list. Owned by one control plane; who has a copy of its directory reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.backends.content import check_name
from enforcer.errors import NotFoundError
from enforcer.ports import Delta

DELTAS: Final = "deltas"
"""Their directory, in that of the ledger and in every copy of it."""


class DeltaFiles:
    """The deltas in `directory`, made when the first is put there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, delta: Delta) -> Path:
        """Return where a delta is, or would be.

        Raises:
            InputError: it is named by no two SHA-256 in lower-case hexadecimal digits.
        """
        for name in delta:
            check_name(name)
        return self._directory / ".".join(delta)

    def has(self, delta: Delta) -> bool:
        """Tell whether a delta is here."""
        return self.path(delta).is_file()

    def chunks(self, delta: Delta) -> Iterator[bytes]:
        """Yield a delta's octets in parts of at most 1 MiB; they are not verified.

        Raises:
            InputError: it is named by no two SHA-256.
            NotFoundError: it is not here.
            UnavailableError: it cannot be read.
        """
        path = self.path(delta)
        if not path.is_file():
            raise NotFoundError(
                f"there is no delta from the list {delta[1]} to {delta[0]}",
                advice="Take the whole list.",
                field="base_sha256",
            )
        yield from durable.read_parts(path)

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
