"""Where the passphrase of a key comes from: a file, a descriptor, or the person at the terminal.

Never from the command line or the environment itself, where others could read it: the environment
only names a file (ENFORCER_PASSPHRASE_FILE, mode 600) or an open descriptor
(ENFORCER_PASSPHRASE_FD). What was given once opens the other keys of the same command too.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Mapping
from getpass import getpass
from pathlib import Path
from typing import Final, TypeVar

from enforcer.backends import key_files
from enforcer.backends.key_files import PASSPHRASE_BYTES_MAX, PassphraseError, check_passphrase
from enforcer.errors import InputError, UnavailableError

TRIES_MAX: Final = 3
FILE_VARIABLE: Final = "ENFORCER_PASSPHRASE_FILE"
DESCRIPTOR_VARIABLE: Final = "ENFORCER_PASSPHRASE_FD"
NEW_FILE_VARIABLE: Final = "ENFORCER_NEW_PASSPHRASE_FILE"
NEW_DESCRIPTOR_VARIABLE: Final = "ENFORCER_NEW_PASSPHRASE_FD"
"""The same for a second passphrase: what one changes to, or of a key made beside another."""

T = TypeVar("T")


class Passphrases:
    """What one command may ask, and has been told; it is kept in memory alone."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self._environment = environment
        self._ask = ask if ask is not None else _terminal()
        self._told: list[bytes] = []
        self._has_given = False

    def open(self, path: Path, load: Callable[[bytes | None], T]) -> T:
        """Return what `load` makes of the key file `path`, with its passphrase if it has one.

        Raises:
            PassphraseError: the file or descriptor gives another, or nobody knew it.
            InputError: nobody can be asked; and whatever `load` raises.
        """
        if not key_files.is_encrypted(key_files.read_private(path)):
            return load(None)
        for told in self._told:
            try:
                return load(told)
            except PassphraseError:
                continue
        given = None if self._has_given else self._given(FILE_VARIABLE, DESCRIPTOR_VARIABLE)
        if given is not None:
            self._has_given = True
            self._told.append(given)
            return load(given)
        for left in reversed(range(TRIES_MAX)):
            told = self._asked(f"Passphrase of {path}: ", path)
            try:
                opened = load(told)
            except PassphraseError:
                if not left:
                    raise
                sys.stderr.write("That is not its passphrase.\n")
            else:
                self._told.append(told)
                return opened
        raise AssertionError  # the last try returned or raised

    def choose(self, path: Path, *, anew: bool = False) -> bytes:
        """Return the passphrase for a key that is to be written; `anew`: none that was told before.

        Raises:
            InputError: it is too short, was not repeated alike, or nobody can be asked.
        """
        names = (FILE_VARIABLE, DESCRIPTOR_VARIABLE)
        if anew:
            names = (NEW_FILE_VARIABLE, NEW_DESCRIPTOR_VARIABLE)
        elif self._told:
            return self._told[0]
        given = self._given(*names)
        if given is None:
            given = self._asked(f"A passphrase for {path}: ", path)
            check_passphrase(given)
            if self._asked("The same again: ", path) != given:
                raise InputError(
                    "the two passphrases differ; nothing was written",
                    advice="Repeat the command.",
                    field="passphrase",
                )
        check_passphrase(given)
        if not anew:
            self._has_given = True
            self._told.append(given)
        return given

    def _given(self, file_variable: str, descriptor_variable: str) -> bytes | None:
        """Return what the environment points to; None where it says nothing."""
        if name := self._environment.get(file_variable):
            path = Path(name)
            return _line(key_files.read_private(path), file_variable)
        number = self._environment.get(descriptor_variable)
        if not number:
            return None
        try:
            with open(int(number), "rb", closefd=False) as file:
                data = file.read(PASSPHRASE_BYTES_MAX + 2)
        except (ValueError, OSError) as error:
            raise UnavailableError(
                f"{descriptor_variable} names {number!r}, from which nothing can be read",
                advice="Give the number of a descriptor that is open for reading, such as 3, with "
                "3< before the file or pipe.",
                field="passphrase",
            ) from error
        return _line(data, descriptor_variable)

    def _asked(self, question: str, path: Path) -> bytes:
        if self._ask is None:
            raise InputError(
                f"the key file {path} needs a passphrase, and nobody is here to be asked",
                advice=f"Name a file of mode 600 in {FILE_VARIABLE}, or an open descriptor in "
                f"{DESCRIPTOR_VARIABLE}; a machine's key is made with --no-passphrase.",
                path=str(path),
            )
        return _bytes(self._ask(question))


def _terminal() -> Callable[[str], str] | None:
    """Return how to ask at the terminal, if there is one."""
    return getpass if sys.stdin is not None and sys.stdin.isatty() else None


def _line(data: bytes, variable: str) -> bytes:
    """Return the first line.

    Raises:
        InputError: it is empty, or not UTF-8.
    """
    try:
        text = data.partition(b"\n")[0].decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise InputError(
            f"what {variable} names does not begin with a line of UTF-8",
            advice="Write the passphrase there, in one line.",
            field="passphrase",
        )
    return _bytes(text)


def _bytes(text: str) -> bytes:
    """Return the octets of a passphrase, the same however a keyboard composes its letters."""
    return unicodedata.normalize("NFC", text).encode("utf-8", "replace")
