"""C2SP tlog-proof: that an entry is in the ledger, verifiable offline from one small text.

A receipt is the entry's index, its inclusion proof and a signed checkpoint. The entry
itself is not inside: whoever checks a receipt brings the leaf that it must be about.
``extra`` is not authenticated by anything and nothing here reads it.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from enforcer.core.checkpoint import Checkpoint, open_checkpoint, parse_decimal
from enforcer.core.cosignature import NOBODY, Witnesses
from enforcer.core.merkle import (
    HASH_BYTES,
    PROOF_HASHES_MAX,
    leaf_hash,
    verify_inclusion,
)
from enforcer.core.note import (
    NOTE_BYTES_MAX,
    Note,
    VerifierKey,
    Verify,
    decode_base64,
    malformed,
)
from enforcer.errors import IntegrityError

EXTRA_BYTES_MAX: Final = 65_536
RECEIPT_BYTES_MAX: Final = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX

_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that entry ``index`` is in the tree of ``checkpoint_note``; not verified."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint_note: bytes
    extra: bytes | None = None

    def format(self) -> bytes:
        """Return the text of a ``.tlog-proof`` file."""
        lines = [_FIRST_LINE]
        if self.extra is not None:
            lines.append(f"extra {b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [b64encode(each).decode() for each in self.hashes]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint_note

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Read a ``.tlog-proof`` without trusting it; the checkpoint stays as its bytes.

        Raises:
            IntegrityError: it is not one (``problem`` is ``malformed``).
        """
        if len(data) > RECEIPT_BYTES_MAX:
            raise malformed(f"the receipt has {len(data)} bytes, more than {RECEIPT_BYTES_MAX}")
        head, blank, note = data.partition(b"\n\n")
        if not blank:
            raise malformed("the receipt has no empty line before its checkpoint")
        try:
            lines = head.decode().split("\n")
        except UnicodeDecodeError as error:
            raise malformed(f"byte {error.start} of the receipt is not UTF-8") from None
        if lines[0] != _FIRST_LINE:
            raise malformed(f"the receipt does not begin with {_FIRST_LINE!r}")
        rest = lines[1:]
        extra = None
        if rest and rest[0].startswith("extra "):
            extra = decode_base64(rest.pop(0).removeprefix("extra "))
            if len(extra) > EXTRA_BYTES_MAX:
                raise malformed(f"the extra data has {len(extra)} bytes, over {EXTRA_BYTES_MAX}")
        if not rest or not rest[0].startswith("index "):
            raise malformed("the receipt does not say the index of its entry")
        index = parse_decimal(rest.pop(0).removeprefix("index "))
        if len(rest) > PROOF_HASHES_MAX:
            raise malformed(f"the proof has {len(rest)} hashes, more than {PROOF_HASHES_MAX}")
        hashes = tuple(decode_base64(line) for line in rest)
        if any(len(each) != HASH_BYTES for each in hashes):
            raise malformed(f"a hash in the receipt has not {HASH_BYTES} bytes")
        return cls(index, hashes, note, extra)


def verify_receipt(
    receipt: Receipt,
    leaf: bytes,
    origin: str,
    key: VerifierKey,
    verify: Verify,
    witnesses: Witnesses = NOBODY,
) -> Checkpoint:
    """Check that ``leaf`` is the entry that the receipt is about, in the log ``origin``.

    A quorum of `witnesses` must have cosigned the checkpoint, if they have one: else the log may
    have made it for this receipt alone.

    Raises:
        IntegrityError: the checkpoint does not open (see :func:`open_checkpoint`), the proof
            does not lead from this leaf to its root (``problem`` is ``proof``), or there is no
            quorum (``problem`` is ``unwitnessed``, or ``bad signature`` of a witness).
    """
    checkpoint = open_checkpoint(receipt.checkpoint_note, origin, key, verify)
    verify_inclusion(
        leaf_hash(leaf), receipt.index, checkpoint.size, receipt.hashes, checkpoint.root
    )
    seen_by = len(witnesses.cosigned(Note.parse(receipt.checkpoint_note), verify))
    if seen_by < witnesses.quorum:
        raise IntegrityError(
            f"{seen_by} of the {witnesses.quorum} witnesses needed have cosigned the receipt's "
            "checkpoint",
            advice="Ask for the receipt again once witnesses have seen the ledger so far.",
            problem="unwitnessed",
            expected=witnesses.quorum,
            got=seen_by,
        )
    return checkpoint
