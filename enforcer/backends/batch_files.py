"""Recorded batches of attestations on the disk: :class:`enforcer.ports.Batches`.

``<until_ms, 16 digits>-<SHA-256>.zlib``, compressed, the hash over what was compressed. Always
true: a batch that was put is on the disk; of those that time has thinned out the last of each
day (UTC) stays, as long as all together are within their bound.
"""

from __future__ import annotations

import re
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.batch import BATCH_BYTES_MAX
from enforcer.core.policy import DAY_MS
from enforcer.errors import IntegrityError

ALL_KEPT_MS: Final = 30 * DAY_MS
"""So long each batch is kept, then the last of each day."""
BYTES_MAX: Final = 16 << 30
"""All together; then the oldest go. A batch of 10,000 quiet nodes has some 3 MB."""

_NAME: Final = re.compile(r"([0-9]{16})-([0-9a-f]{64})\.zlib")
_LEVEL: Final = 6


class BatchFiles:
    """The batches in `directory`, which need not be there to read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, until_ms: int, data: bytes) -> str:
        """Keep a batch durably, and return its SHA-256.

        Raises:
            UnavailableError: the disk did not take it.
        """
        durable.make_directory(self._directory)
        name = sha256(data).hexdigest()
        durable.write_file(self._path(until_ms, name), zlib.compress(data, _LEVEL))
        return name

    def read(self, until_ms: int, sha256_: str) -> bytes:
        """Return a batch.

        Raises:
            NotFoundError: it is not here.
            IntegrityError: it was altered.
        """
        path = self._path(until_ms, sha256_)
        unpacker = zlib.decompressobj()
        try:
            packed = durable.read_file(path, size_bytes_max=BATCH_BYTES_MAX)
            data = unpacker.decompress(packed, BATCH_BYTES_MAX)
        except zlib.error as error:
            raise _altered(path, str(error)) from error
        if not unpacker.eof or unpacker.unused_data or sha256(data).hexdigest() != sha256_:
            raise _altered(path, "it has another hash")
        return data

    def thin(self, now_ms: int) -> None:
        """Remove what is no longer kept.

        Raises:
            UnavailableError: the directory cannot be read, or one cannot be removed.
        """
        kept = self._kept()
        last_of = {until_ms // DAY_MS: path for until_ms, path, _ in kept}
        left = 0
        for until_ms, path, size in reversed(kept):
            is_thinned = until_ms < now_ms - ALL_KEPT_MS and last_of[until_ms // DAY_MS] != path
            left += 0 if is_thinned else size
            if is_thinned or left > BYTES_MAX:
                with durable.reporting(path, "remove"):
                    path.unlink(missing_ok=True)

    def _kept(self) -> list[tuple[int, Path, int]]:
        """Return end of the interval, path and size of each, ascending."""
        if not self._directory.is_dir():
            return []
        with durable.reporting(self._directory, "list"):
            found = [
                (int(name[1]), path, path.stat().st_size)
                for path in self._directory.iterdir()
                if (name := _NAME.fullmatch(path.name)) is not None
            ]
        return sorted(found)

    def _path(self, until_ms: int, sha256_: str) -> Path:
        return self._directory / batch_name(until_ms, sha256_)


def batch_name(until_ms: int, sha256_: str) -> str:
    """Return the name of a batch's file."""
    return f"{until_ms:016}-{sha256_}.zlib"


def _altered(path: Path, problem: str) -> IntegrityError:
    return IntegrityError(
        f"{path} was altered: {problem}",
        advice="Get the batch from another copy of the ledger.",
        problem="altered",
        path=str(path),
    )
