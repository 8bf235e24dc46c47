"""Erasing a document beside the ledger, as the law may ask: reasons, evidence, a notice.

The ledger has salted hashes alone, so it stays whole; a mark in the document's place says when,
why and by whom, and auditors count it. Safe beside a control plane that serves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from enforcer.backends.content import ContentStore
from enforcer.backends.tiles import SIDE_BYTES_MAX
from enforcer.core import fields
from enforcer.errors import ConflictError, InputError, NotFoundError

WORDS_MAX: Final = 500


def erase_document(ledger_dir: Path, sha256: str, *, reason: str, by: str, now_ms: int) -> None:
    """Erase the document of that SHA-256 from the ledger's directory.

    Raises:
        InputError: the hash is none, or reason or name is missing or too long.
        NotFoundError: it is not here.
        ConflictError: it was erased before.
        UnavailableError: the disk did not take the mark, or let the document go.
    """
    for name, text in (("reason", reason), ("by", by)):
        if not text.strip() or len(text) > WORDS_MAX:
            raise InputError(
                f"--{name} has {len(text)} characters",
                advice=f"Say it in 1 to {WORDS_MAX} characters.",
                field=name,
            )
    store = ContentStore(ledger_dir / "side", size_bytes_max=SIDE_BYTES_MAX)
    if store.is_erased(sha256) and not store.has(sha256):
        raise ConflictError(
            f"the document {sha256} was erased before",
            advice="Nothing needs to be done here; look for copies elsewhere.",
            sha256=sha256,
        )
    if not store.has(sha256):
        raise NotFoundError(
            f"there is no document {sha256} in {store.directory}",
            advice="Copy the hash from the order: enforcer order show, enforcer audit explain.",
            sha256=sha256,
        )
    store.erase(sha256, fields.dump({"erased_at_ms": now_ms, "by": by, "reason": reason}) + b"\n")
