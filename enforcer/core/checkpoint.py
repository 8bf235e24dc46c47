"""C2SP checkpoint: which log, how many entries, which Merkle root, in three lines.

Refuses extension lines: nothing that no monitor can audit is signed or accepted here.
Always true: a :class:`Checkpoint` from :func:`open_checkpoint` was signed by the key given
and is of the origin given.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from enforcer.core.merkle import EMPTY_ROOT, HASH_BYTES, SIZE_MAX
from enforcer.core.note import (
    Sign,
    VerifierKey,
    Verify,
    decode_base64,
    malformed,
    open_note,
    sign_note,
)
from enforcer.errors import InputError, IntegrityError

_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: its origin, its number of entries, the root of its tree."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Raise InputError for what no checkpoint can say."""
        if not self.origin or any(each < " " for each in self.origin):
            raise _impossible("an origin is one line and not empty", "origin")
        if not 0 <= self.size <= SIZE_MAX:
            raise _impossible(f"{self.size} is not the size of a tree", "size")
        if len(self.root) != HASH_BYTES:
            raise _impossible(f"a root has {HASH_BYTES} bytes, not {len(self.root)}", "root")
        if (self.size == 0) != (self.root == EMPTY_ROOT):
            raise _impossible("the root of the empty tree goes with size 0 alone", "root")

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint.

        Raises:
            IntegrityError: it is not one (``problem`` is ``malformed``).
        """
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[_LINES]:
            raise malformed("a checkpoint here has three lines: origin, size, root")
        origin, size, root = lines[:_LINES]
        try:
            return cls(origin, parse_decimal(size), decode_base64(root))
        except InputError as error:
            raise malformed(f"the checkpoint is impossible: {error.message}") from None


def sign_checkpoint(checkpoint: Checkpoint, key: VerifierKey, sign: Sign) -> bytes:
    """Return the signed note of a checkpoint."""
    return sign_note(checkpoint.text, key, sign)


def open_checkpoint(note: bytes, origin: str, key: VerifierKey, verify: Verify) -> Checkpoint:
    """Read a checkpoint that ``key`` signed for the log ``origin``.

    Raises:
        IntegrityError: ``problem`` is ``malformed``, ``other key``, ``bad signature`` or
            ``other origin``.
    """
    checkpoint = Checkpoint.parse(open_note(note, key, verify).text)
    if checkpoint.origin != origin:
        raise IntegrityError(
            f"the checkpoint is of the log {checkpoint.origin!r}, not of {origin!r}",
            advice="Check which ledger this is; nothing in it counts for the one expected.",
            problem="other origin",
            expected=origin,
            got=checkpoint.origin,
        )
    return checkpoint


def parse_decimal(text: str) -> int:
    """Read ASCII digits without leading zeros, up to the largest tree size.

    Raises:
        IntegrityError: it is anything else (``problem`` is ``malformed``).
    """
    if text.isascii() and text.isdigit() and len(text) <= len(str(SIZE_MAX)):
        number = int(text)
        if str(number) == text and number <= SIZE_MAX:
            return number
    raise malformed(f"{text[:80]!r} is not a number without leading zeros up to {SIZE_MAX}")


def _impossible(what: str, field: str) -> InputError:
    return InputError(what, advice="Correct the field and try again.", field=field)
