"""C2SP tlog-cosignature: a witness's word that it has seen no other history of a log.

Timestamped Ed25519 cosignatures (type 0x04, ``cosignature/v1``), made and verified, and who must
give how many of them. Refuses a note in which a line by a named witness does not hold; lines by
others are ignored. Always true: of two histories only one can have a quorum, unless more
witnesses sign both than the quorum exceeds half of them by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from enforcer.core.note import (
    SIGNATURE_BYTES,
    SIGNATURES_MAX,
    Note,
    NoteKey,
    Sign,
    SignatureLine,
    Verify,
)
from enforcer.errors import IntegrityError

WITNESSES_MAX: Final = 32
NAME_BYTES_MAX: Final = 200  # so that a checkpoint with all of them stays under 16 KiB
TIMESTAMP_BYTES: Final = 8
TIMESTAMP_SECONDS_MAX: Final = 2**63 - 1


class CosignerKey(NoteKey):
    """A key that cosigns checkpoints (type 0x04)."""

    __slots__ = ()
    ALGORITHM = b"\x04"


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Whose cosignatures count, and how many of them a new block needs; 0: none (UNWITNESSED)."""

    keys: tuple[CosignerKey, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a quorum that two histories could have at once."""
        if len(self.keys) > WITNESSES_MAX:
            raise ValueError(f"more than {WITNESSES_MAX} witnesses")
        # The signed message does not name the cosigner: one key under two names would count twice.
        if len({key.public_key for key in self.keys}) != len(self.keys):
            raise ValueError("a witness's key stands twice")
        if len({key.name for key in self.keys}) != len(self.keys):
            raise ValueError("a witness's name stands twice")
        if any(len(key.name.encode()) > NAME_BYTES_MAX for key in self.keys):
            raise ValueError(f"a witness's name has more than {NAME_BYTES_MAX} octets")
        if not 0 <= self.quorum <= len(self.keys):
            raise ValueError(f"the quorum is above the number of witnesses, {len(self.keys)}")
        if self.quorum and 2 * self.quorum <= len(self.keys):
            raise ValueError(
                f"a quorum of {self.quorum} of {len(self.keys)} witnesses could be had for two "
                "histories at once: it must be more than half"
            )

    def key_of(self, public_key: bytes) -> CosignerKey | None:
        """Return the witness whose key this is, if it is one."""
        return next((key for key in self.keys if key.public_key == public_key), None)

    def cosigned(self, note: Note, verify: Verify) -> dict[CosignerKey, int]:
        """Return which of these witnesses cosigned the note, and when (Unix time, seconds).

        Raises:
            IntegrityError: a line by one of them does not hold (``problem`` is ``bad signature``).
        """
        times = ((key, cosigned_at(note, key, verify)) for key in self.keys)
        return {key: at for key, at in times if at is not None}

    def has_quorum(self, note: Note, verify: Verify) -> bool:
        """Tell whether enough of them cosigned the note; without a quorum every note has it.

        Raises:
            IntegrityError: as `cosigned`.
        """
        return not self.quorum or len(self.cosigned(note, verify)) >= self.quorum


NOBODY: Final = Witnesses()


def cosign(text: str, key: CosignerKey, sign: Sign, t_seconds: int) -> SignatureLine:
    """Return the cosignature of a checkpoint's text at a time (Unix time).

    The caller answers for what it says: that no larger and no other history was seen before.
    """
    if not 0 <= t_seconds <= TIMESTAMP_SECONDS_MAX:
        raise ValueError(f"{t_seconds} is no timestamp")
    timestamp = t_seconds.to_bytes(TIMESTAMP_BYTES, "big")
    return SignatureLine(key.name, key.key_id, timestamp + sign(cosigned_message(text, t_seconds)))


def cosigned_at(note: Note, key: CosignerKey, verify: Verify) -> int | None:
    """Return when `key` cosigned the note last (Unix time, seconds); None: it did not.

    Raises:
        IntegrityError: a line says that it is this key's and does not hold (``problem`` is
            ``bad signature``).
    """
    latest: int | None = None
    for line in note.signatures:
        if line.is_of(key):
            t_seconds = _verified(note.text, line, key, verify)
            latest = max(t_seconds, latest or 0)
    return latest


def cosigned_message(text: str, t_seconds: int) -> bytes:
    """Return what is signed for a checkpoint's text (C2SP tlog-cosignature)."""
    return f"cosignature/v1\ntime {t_seconds}\n{text}".encode()


def with_lines(note: Note, lines: Iterable[SignatureLine]) -> Note:
    """Return the note with more signature lines; a key's newer line takes the place of its older.

    As many are kept as a note may have, the first ones.
    """
    by_key = {(line.name, line.key_id): line for line in (*note.signatures, *lines)}
    return replace(note, signatures=tuple(by_key.values())[:SIGNATURES_MAX])


def _verified(text: str, line: SignatureLine, key: CosignerKey, verify: Verify) -> int:
    t_seconds = int.from_bytes(line.signature[:TIMESTAMP_BYTES], "big")
    signature = line.signature[TIMESTAMP_BYTES:]
    if (
        len(signature) != SIGNATURE_BYTES
        or t_seconds > TIMESTAMP_SECONDS_MAX
        or not verify(key.public_key, cosigned_message(text, t_seconds), signature)
    ):
        raise IntegrityError(
            f"the cosignature of {key.name}+{key.key_id.hex()} does not hold for this checkpoint",
            advice="The checkpoint or the line was altered; fetch the note from another source.",
            problem="bad signature",
            key=f"{key.name}+{key.key_id.hex()}",
        )
    return t_seconds
