"""``witness.toml``: a witness, and the logs that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from enforcer.config.reading import File, Section
from enforcer.config.values import Address, Origin
from enforcer.core.note import VerifierKey
from enforcer.errors import InputError


class WitnessedLog(Section, frozen=True, kw_only=True):
    """A log that a witness knows."""

    origin: Origin
    vkey: str
    """The log's key, as the trust file's ``log_vkey``."""

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is none."""
        try:
            VerifierKey.parse(self.vkey)
        except InputError as error:
            raise ValueError(f"vkey: {error.message}") from error


class WitnessConfig(File, frozen=True, kw_only=True):
    """``enforcer audit witness``."""

    name: Origin
    """The witness's name in its cosignatures, such as ``witness.example.org/w1``."""
    key_file: Path
    """Ed25519, PEM: of this witness alone, for nothing else."""
    state_dir: Path
    """What was cosigned. A witness that lost it needs another key."""
    listen: Address = Address("127.0.0.1:7480")
    logs: Annotated[tuple[WitnessedLog, ...], Meta(min_length=1, max_length=1_000)]

    def __post_init__(self) -> None:
        """Raise ValueError when a log stands twice."""
        if len({log.origin for log in self.logs}) != len(self.logs):
            raise ValueError("logs: an origin stands twice")
