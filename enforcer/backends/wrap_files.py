"""Wraps in one directory, ``<sealed list's SHA-256>/<receiver's key id>``: :class:`ports.Wraps`.

Refuses names that are not two SHA-256 in hex, and what is over a wrap's bound. Nothing that is
read is verified: who unwraps it sees. Always true: a file is whole, the old or the new one.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.backends.sealing import WRAP_BYTES_MAX
from enforcer.errors import InputError, NotFoundError

WRITERS_MAX: Final = 16
_SHA256: Final = re.compile("[0-9a-f]{64}")


class WrapFiles:
    """The wraps in `directory`, which is made when the first one comes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, sealed_sha256: str, key_id: str) -> bytes | None:
        """Return the wrap of a sealed list for one receiver; None where there is none.

        Raises:
            InputError: these are not SHA-256.
            IntegrityError: the file is larger than any wrap.
            UnavailableError: it cannot be read.
        """
        try:
            path = self._path(sealed_sha256, key_id)
            return durable.read_file(path, size_bytes_max=WRAP_BYTES_MAX)
        except NotFoundError:
            return None

    def put(self, sealed_sha256: str, key_id: str, document: bytes) -> None:
        """Keep a wrap durably, in the place of a former one.

        Raises:
            InputError: these are not SHA-256, or it is over `WRAP_BYTES_MAX`.
            UnavailableError: the disk did not take it.
        """
        self.put_all(sealed_sha256, {key_id: document})

    def put_all(self, sealed_sha256: str, documents: Mapping[str, bytes]) -> None:
        """Keep wraps by their receivers' key ids; several at once cost less than one by one.

        Raises:
            InputError: a name is no SHA-256, or one is over `WRAP_BYTES_MAX`; none is kept.
            UnavailableError: the disk did not take one; others may be there.
        """
        files = {self._path(sealed_sha256, each): document for each, document in documents.items()}
        longest = max(map(len, files.values()), default=0)
        if longest > WRAP_BYTES_MAX:
            raise InputError(
                f"a wrap has {longest} bytes, over {WRAP_BYTES_MAX}",
                advice="Wrap one list identity for one receiver.",
                field="wrap",
            )
        if not files:
            return
        durable.make_directory(next(iter(files)).parent)
        names = list(files)
        # Side by side, since a disk takes many syncs as one, and there may be a node a file.
        shares = [
            {name: files[name] for name in names[at::WRITERS_MAX]} for at in range(WRITERS_MAX)
        ]
        with ThreadPoolExecutor(WRITERS_MAX) as pool:
            for done in [pool.submit(durable.write_files, each) for each in shares if each]:
                done.result()

    def receivers(self, sealed_sha256: str) -> list[str]:
        """Return the key ids of those that have a wrap of a sealed list here, sorted.

        Raises:
            InputError: it is no SHA-256.
            UnavailableError: the directory cannot be read.
        """
        folder = self._path(sealed_sha256, "0" * 64).parent
        if not folder.is_dir():
            return []
        with durable.reporting(folder, "list"):
            return sorted(each.name for each in folder.iterdir() if _SHA256.fullmatch(each.name))

    def forget(self, sealed_sha256: str) -> None:
        """Remove all wraps of a sealed list; none is no error.

        Raises:
            InputError: it is no SHA-256.
            UnavailableError: they cannot be removed.
        """
        folder = self._path(sealed_sha256, "0" * 64).parent
        with durable.reporting(folder, "remove"):
            shutil.rmtree(folder, ignore_errors=not folder.exists())

    def _path(self, sealed_sha256: str, key_id: str) -> Path:
        # Names come from the network: nothing but hexadecimal may become a path.
        for field, name in (("sealed_sha256", sealed_sha256), ("key_id", key_id)):
            if not _SHA256.fullmatch(name):
                raise InputError(
                    f"{name[:80]!r} is not a SHA-256",
                    advice="Give 64 lower-case hexadecimal digits.",
                    field=field,
                )
        return self.directory / sealed_sha256 / key_id
