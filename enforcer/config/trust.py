"""``trust.toml``: what is believed before anything has been read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from enforcer.config.reading import File, Section, read
from enforcer.config.values import Origin, PublicKeyHex
from enforcer.core.cosignature import WITNESSES_MAX, CosignerKey, Witnesses
from enforcer.core.note import VerifierKey
from enforcer.core.state import Roots
from enforcer.core.trust import Trust
from enforcer.errors import InputError


class TrustedWitnesses(Section, frozen=True, kw_only=True):
    """Who must have seen a checkpoint before a new block counts."""

    quorum: Annotated[int, Meta(ge=0, le=WITNESSES_MAX)]
    """More than half of them; 0: nobody witnesses yet, shown as UNWITNESSED."""
    vkeys: Annotated[tuple[str, ...], Meta(max_length=WITNESSES_MAX)] = ()
    """Their cosigner keys (C2SP tlog-cosignature, type 0x04)."""

    def witnesses(self) -> Witnesses:
        """Return the witnesses that the section spells.

        Raises:
            ValueError: a vkey is none, or they and the quorum do not fit each other.
        """
        try:
            keys = tuple(map(CosignerKey.parse, self.vkeys))
        except InputError as error:
            raise ValueError(f"vkeys: {error.message}") from error
        return Witnesses(keys, self.quorum)


class TrustFile(File, frozen=True, kw_only=True):
    """What is believed before anything has been read; the same file for everybody."""

    origin: Origin
    log_vkey: str
    former_log_vkeys: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """Keys that signed the ledger's checkpoints before; for receipts and checkpoints from then."""
    root_keys: tuple[PublicKeyHex, ...]
    root_threshold: int
    witnesses: TrustedWitnesses

    def __post_init__(self) -> None:
        """Raise ValueError when the parts do not make a trust."""
        self.trust()

    def trust(self) -> Trust:
        """Return the trust that the file spells."""
        try:
            for vkey in (self.log_vkey, *self.former_log_vkeys):
                VerifierKey.parse(vkey)
        except InputError as error:
            raise ValueError(f"log_vkey: {error.message}") from error
        roots = Roots(tuple(map(bytes.fromhex, self.root_keys)), self.root_threshold)
        return Trust(
            self.origin, self.log_vkey, roots, self.witnesses.witnesses(), self.former_log_vkeys
        )


def read_trust(path: Path) -> Trust:
    """Read a trust file.

    Raises:
        NotFoundError, UnavailableError, InputError: as :func:`read`.
    """
    return read(path, TrustFile).trust()
