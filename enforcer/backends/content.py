"""Files named by the SHA-256 of their bytes, in one directory: target lists, side files.

Refuses what is larger than the store's bound, and hands out nothing that does not hash to its
name. Always true: a name that was returned is on the disk. Storing again what is there writes it
again, so a damaged file heals; what was erased never comes back. Several threads may store at once;
`sweep` is for the one owner.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from enforcer.backends import durable
from enforcer.core.merkle import HASH_BYTES
from enforcer.errors import InputError, IntegrityError, NotFoundError, RefusedError

MARK: Final = ".erased"
"""Ending of the file that says when and why the content of that name was erased."""

_HEX: Final = frozenset("0123456789abcdef")


class ContentStore:
    """The files in `directory`, each at most `size_bytes_max` bytes."""

    def __init__(self, directory: Path, *, size_bytes_max: int) -> None:
        self.directory = directory
        self.size_bytes_max = size_bytes_max

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its SHA-256 in hexadecimal.

        Raises:
            InputError: it is over the bound.
            UnavailableError: it could not be made durable; nothing was stored.
        """
        with self.writer() as writer:
            writer.write(data)
            return writer.commit()

    def put_file(self, path: Path) -> str:
        """Store a copy of the file `path` and return its SHA-256.

        Raises:
            InputError, UnavailableError: as :meth:`put`, or the file cannot be read.
        """
        with self.writer() as writer:
            for part in durable.read_parts(path):
                writer.write(part)
            return writer.commit()

    @contextmanager
    def writer(self) -> Iterator[ContentWriter]:
        """Take a file in chunks; what was not committed when the block ends is gone.

        Raises:
            UnavailableError: no file can be made.
        """
        durable.make_directory(self.directory)
        temporary = self.directory / f".{secrets.token_hex(8)}.tmp"
        with durable.reporting(temporary, "write"):
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, durable.PUBLIC_MODE
            )
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                yield ContentWriter(self, temporary, file)
        finally:
            durable.remove_quietly(temporary)

    def has(self, sha256: str) -> bool:
        """Tell whether a file of that SHA-256 is here, without reading it.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
        """
        return self.path(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Return where the file of that SHA-256 is, or would be; its bytes are not verified.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
        """
        check_name(sha256)
        return self.directory / sha256

    def read(self, sha256: str) -> bytes:
        """Return the bytes of that SHA-256.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
            NotFoundError: it is not here.
            IntegrityError: the file's bytes hash to something else.
            UnavailableError: it cannot be read.
        """
        path = self.path(sha256)
        data = durable.read_file(path, size_bytes_max=self.size_bytes_max)
        got = hashlib.sha256(data).hexdigest()
        if got != sha256:
            raise IntegrityError(
                f"{path} was altered: its bytes hash to {got}",
                advice="Store the file again from its source, a replica or a backup.",
                problem="altered",
                path=str(path),
                expected=sha256,
                got=got,
            )
        return data

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield the bytes of that SHA-256 in parts of at most 1 MiB; they are not verified.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
            NotFoundError: it is not here.
            UnavailableError: it cannot be read.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise NotFoundError(
                f"{path} does not exist",
                advice="Check the hash; if the file was lost, restore it or store it again.",
                path=str(path),
            )
        yield from durable.read_parts(path)

    def is_whole(self, sha256: str) -> bool:
        """Tell whether a file that is here hashes to its name; it is read from its beginning.

        Raises:
            InputError, NotFoundError, UnavailableError: as :meth:`chunks`.
        """
        hashed = hashlib.sha256()
        for chunk in self.chunks(sha256):
            hashed.update(chunk)
        return hashed.hexdigest() == sha256

    def remove(self, sha256: str) -> None:
        """Forget the file of that SHA-256; one that is not here is no error.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
            UnavailableError: it cannot be removed.
        """
        path = self.path(sha256)
        with durable.reporting(path, "remove"):
            path.unlink(missing_ok=True)

    def erase(self, sha256: str, why: bytes) -> None:
        """Take the file of that SHA-256 away for ever, and keep `why` in its place.

        When it returns both are durable; killed in between, the mark stands and counts.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
            UnavailableError: the disk did not take the mark, or let the file go.
        """
        path = self.path(sha256)
        durable.make_directory(self.directory)
        durable.write_file(self.mark(sha256), why)
        with durable.reporting(path, "remove"):
            path.unlink(missing_ok=True)
        durable.sync_directory(self.directory)

    def is_erased(self, sha256: str) -> bool:
        """Tell whether a file of that SHA-256 was erased.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
        """
        return self.mark(sha256).is_file()

    def mark(self, sha256: str) -> Path:
        """Return where the mark of an erased file is, or would be.

        Raises:
            InputError: it is not 64 lower-case hexadecimal digits.
        """
        path = self.path(sha256)
        return path.with_name(path.name + MARK)

    def names(self) -> list[str]:
        """Return the SHA-256 of every file here, the one stored longest ago first.

        Raises:
            UnavailableError: the directory cannot be read.
        """
        if not self.directory.is_dir():
            return []
        with durable.reporting(self.directory, "list"), os.scandir(self.directory) as found:
            ages = [
                (entry.stat().st_mtime_ns, entry.name) for entry in found if _is_name(entry.name)
            ]
        return [name for _, name in sorted(ages)]

    def sweep(self) -> None:
        """Remove what crashed writers left. Only while nobody else writes here."""
        for leftover in self.directory.glob(".*.tmp"):
            durable.remove_quietly(leftover)


class ContentWriter:
    """One file on its way into a store; made by :meth:`ContentStore.writer`."""

    def __init__(self, store: ContentStore, temporary: Path, file: BinaryIO) -> None:
        self.size_bytes = 0
        self._store = store
        self._temporary = temporary
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            InputError: the file grows over the store's bound.
            UnavailableError: the disk does not take it.
        """
        bound = self._store.size_bytes_max
        if self.size_bytes + len(chunk) > bound:
            raise InputError(
                f"the file is larger than {bound} bytes",
                advice="Split it into files below the bound.",
                size_bytes_max=bound,
            )
        with durable.reporting(self._temporary, "write"):
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def commit(self, expected_sha256: str | None = None) -> str:
        """Make the file durable under its SHA-256, and return that in hexadecimal.

        Raises:
            IntegrityError: it is not the one expected; nothing is stored.
            RefusedError: it was erased by law.
            UnavailableError: it could not be made durable.
        """
        sha256 = self._hash.hexdigest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise IntegrityError(
                f"the bytes hash to {sha256}, not to {expected_sha256}",
                advice="Send the file that the hash was computed of.",
                problem="other content",
                expected=expected_sha256,
                got=sha256,
            )
        target = self._store.path(sha256)
        if self._store.is_erased(sha256):
            raise RefusedError(
                f"the document {sha256} was erased by law",
                advice="Leave it out; what must be said again is said in another document.",
                sha256=sha256,
            )
        with durable.reporting(target, "write"):
            os.fsync(self._file.fileno())
            self._temporary.replace(target)
        durable.sync_directory(target.parent)
        return sha256


def check_name(sha256: str) -> None:
    """Check what is to become a path: names come from the network.

    Raises:
        InputError: it is not 64 lower-case hexadecimal digits.
    """
    if not _is_name(sha256):
        raise InputError(
            f"{sha256[:80]!r} is not a SHA-256",
            advice="Give 64 lower-case hexadecimal digits.",
            field="sha256",
        )


def _is_name(text: str) -> bool:
    return len(text) == 2 * HASH_BYTES and _HEX.issuperset(text)
