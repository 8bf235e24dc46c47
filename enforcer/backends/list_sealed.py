"""Opening sealed lists, in memory alone, in the list worker's process or for an audit.

A sealed list is an age file of a salt and a canonical text; its SHA-256 is that of both. A salt
whose first octet is below 0x80 is refused: it may be the beginning of a list that is public under
the same hash. What is opened is proven before anybody gets it. Always true: no disk ever has the
text, and no error says more of it than how many lines are right before a wrong one.
"""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from pathlib import Path

from enforcer._native import scanner
from enforcer.backends import durable, sealing
from enforcer.backends.list_tasks import Place, bounded_memory, mapped
from enforcer.backends.sealed_table import SealedFile, path_of, writable
from enforcer.core.target import ListSummary
from enforcer.errors import InputError, IntegrityError


def open_at(place: Place, sealed: Path, secret: str, expected: str) -> ListSummary:
    """Open the list in the file `sealed` into memory of another process, and check it.

    Raises:
        IntegrityError: it does not open with this secret, or to what hashes to something else.
        InputError: the text is not canonical, or the secret is none.
        UnavailableError: it cannot be read, its place is gone, or memory has run out.
    """
    with bounded_memory():
        with (
            place.opened() as descriptor,
            durable.reporting(sealed, "read"),
            sealed.open("rb") as source,
            open(descriptor, "wb", closefd=False) as to,
        ):
            sealing.open_sealed_into(source, to, secret)
        return _checked(place.path, expected)


def open_at_within(
    place: Place, sealed: Path, secret: str, expected: str, seconds_max: float
) -> ListSummary:
    """Open as `open_at`; this process ends at once if that takes longer than `seconds_max`.

    For a worker's main thread alone: nothing less than the kernel ends what a library is at.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds_max)
    try:
        return open_at(place, sealed, secret, expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def open_here(sealed: Path, secret: str, expected: str) -> tuple[SealedFile, ListSummary]:
    """Open the list in the file `sealed` into memory of this process; as `open_at` otherwise."""
    with writable() as fd:
        place = Place(path_of(fd), os.fstat(fd).st_ino)
        summary = open_at(place, sealed, secret, expected)
        return SealedFile(fd), summary


def _checked(path: Path, expected: str) -> ListSummary:
    with mapped(path) as opened:
        if sha256(opened).hexdigest() != expected or not sealing.has_salt(opened):
            # Its own hash is not told: of a list that was sealed without a salt it would say all.
            raise IntegrityError(
                f"a sealed list opens to something else than what hashes to {expected}",
                advice="The order names another list than was sealed: have it proposed again.",
                problem="other content",
                expected=expected,
            )
        try:
            found = scanner.scan(memoryview(opened)[sealing.SALT_OCTETS :])
        except InputError as error:
            line = error.data.get("line")
            raise InputError(
                f"line {line} of a sealed list is not canonical",
                advice="Have it normalised, and sealed again: enforcer list import.",
                line=line,
            ) from None
    return ListSummary(expected, found.target_count, found.name_count)
