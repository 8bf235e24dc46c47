"""Files in sealed memory: :class:`enforcer.ports.SealedTable`, :class:`enforcer.ports.OpenedList`.

A memfd that can be neither cut, grown nor written: whoever maps it, in whatever process, can
rely on it, and needs no copy of its own. It lives as long as somebody holds or maps it, so that
no disk is needed to hand a table over, or to have read what must be on none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from enforcer.backends.durable import reporting
from enforcer.backends.gate_messages import seal
from enforcer.errors import UnavailableError

COPY_BYTES: Final = 1 << 24


class SealedFile:
    """A memfd that was sealed; given back by `close`, or with the object."""

    def __init__(self, fd: int) -> None:
        """Seal `fd` and take it over; nobody may have it mapped for writing.

        What could not be sealed stays the caller's.
        """
        self._fd = -1
        seal(fd)
        self._fd = fd

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor.

        Raises:
            ValueError: it was given back.
        """
        if self._fd < 0:
            raise ValueError("it was given back")
        return self._fd

    @property
    def path(self) -> Path:
        """Its name while it is held, for this process and for others of this user.

        Raises:
            ValueError: it was given back.
        """
        return path_of(self.fileno())

    def close(self) -> None:
        """Give it back; whoever has it mapped keeps it. Again is no error."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def path_of(fd: int) -> Path:
    """Return by what name other processes can open a file in memory of this one."""
    return Path(f"/proc/{os.getpid()}/fd/{fd}")


@contextmanager
def writable() -> Iterator[int]:
    """Yield the descriptor of an empty memfd, closed again if the block raises.

    Raises:
        UnavailableError: there is no memory or no descriptor for it, or for what is written.
    """
    fd = -1
    try:
        fd = os.memfd_create("enforcer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        yield fd
    except BaseException as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, OSError):
            raise UnavailableError(
                f"cannot have a file in memory: {error.strerror or error}",
                advice="Give this host more memory, or raise the limits of the service.",
            ) from error
        raise


def sealed_copy(octets: bytes) -> SealedFile:
    """Return these octets in a file of their own.

    Raises:
        UnavailableError: there is no memory for it.
    """
    with writable() as fd:
        with open(fd, "wb", closefd=False) as file:
            file.write(octets)
        return SealedFile(fd)


def sealed_copy_of(path: Path) -> SealedFile:
    """Return a sealed copy of the file `path`, whatever is in it.

    Raises:
        UnavailableError: it cannot be read, or there is no memory for it.
    """
    with writable() as fd:
        with reporting(path, "read"), path.open("rb", buffering=0) as file:
            while os.sendfile(fd, file.fileno(), None, COPY_BYTES):
                pass
        return SealedFile(fd)
