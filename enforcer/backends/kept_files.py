"""A process's own small files in one directory: :class:`enforcer.ports.KeptFiles`.

Refuses names that lead out of the directory. Always true: a file is the old or the new one,
whole, whenever the process or the machine stops, and whichever threads write it at once.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.errors import InputError, NotFoundError

FILE_BYTES_MAX: Final = 4 << 20

_NAME: Final = re.compile(r"(?:[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,200}", re.ASCII)


class KeptFiles:
    """The files in `directory`; with one folder below it at most."""

    def __init__(self, directory: Path) -> None:
        """Make the directory.

        Raises:
            UnavailableError: it could not be made.
        """
        durable.make_directory(directory)
        self._directory = directory
        self._turn = threading.Lock()  # two writers of one file would share its temporary name

    def path(self, name: str) -> Path:
        """Return where the file is or would be.

        Raises:
            InputError: the name leads elsewhere.
        """
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} names no kept file", advice="Use letters and digits.")
        return self._directory / name

    def read(self, name: str) -> bytes | None:
        """Return the content, or None where there is no such file.

        Raises:
            IntegrityError: it is larger than any that is written here.
            UnavailableError: it cannot be read.
        """
        try:
            return durable.read_file(self.path(name), size_bytes_max=FILE_BYTES_MAX)
        except NotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace the file; it is durable when this returns.

        Raises:
            UnavailableError: the disk did not take it.
        """
        path = self.path(name)
        durable.make_directory(path.parent)
        with self._turn:
            durable.write_file(path, data)

    def show(self, name: str, data: bytes) -> None:
        """Replace the file for others to read, without waiting for the disk.

        Raises:
            UnavailableError: it cannot be written.
        """
        path = self.path(name)
        temporary = durable.temporary_of(path)
        with self._turn, durable.reporting(path, "write"):
            try:
                temporary.write_bytes(data)
            except FileNotFoundError:  # the first of its folder
                durable.make_directory(path.parent)
                temporary.write_bytes(data)
            temporary.replace(path)

    def rename(self, name: str, new_name: str) -> None:
        """Give the file another name, in place of what had it.

        Raises:
            UnavailableError: it is not there, or cannot be renamed.
        """
        path = self.path(name)
        with durable.reporting(path, "rename"):
            path.replace(self.path(new_name))

    def remove(self, name: str) -> None:
        """Remove the file; one that is not there is no error.

        Raises:
            UnavailableError: it cannot be removed.
        """
        path = self.path(name)
        with durable.reporting(path, "remove"):
            path.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Return the names (``folder/name``) of a folder's files, sorted.

        Raises:
            UnavailableError: it cannot be read.
        """
        path = self.path(folder)
        if not path.is_dir():
            return []
        with durable.reporting(path, "list"):
            found = [f"{folder}/{each.name}" for each in path.iterdir() if each.is_file()]
        return sorted(name for name in found if _NAME.fullmatch(name))
