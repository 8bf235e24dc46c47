"""The machine: its clock, and the few files that a process keeps about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """The machine's time; it may be wrong, and may step."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""

    def monotonic_ms(self) -> int:
        """Return milliseconds since some moment: nobody can set it, and sleep counts."""


class KeptFiles(Protocol):
    """A few small files that one process keeps about itself, by name (``kept/name.json``).

    A file is replaced as a whole, and after a crash is the old or the new one. All calls block.
    """

    def path(self, name: str) -> Path:
        """Return where the file is or would be."""

    def read(self, name: str) -> bytes | None:
        """Return the content, or None where there is no such file.

        Raises:
            IntegrityError: it is larger than any that this process writes.
        """

    def write(self, name: str, data: bytes) -> None:
        """Replace the file; it is durable when this returns."""

    def show(self, name: str, data: bytes) -> None:
        """Replace the file for others to read; a crash of the machine may lose it."""

    def rename(self, name: str, new_name: str) -> None:
        """Give the file another name, in place of what had it."""

    def remove(self, name: str) -> None:
        """Remove the file; one that is not there is no error."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no folder."""
