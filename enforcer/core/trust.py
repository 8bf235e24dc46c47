"""What a node or an auditor believes before it has read anything: the trust file's content."""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.core.cosignature import NOBODY, Witnesses
from enforcer.core.envelope import Verify
from enforcer.core.state import Roots, State


@dataclass(frozen=True, slots=True)
class Trust:
    """One ledger's name and log key, its root keys, and who must witness it."""

    origin: str
    log_vkey: str
    """The log's key as a C2SP signed-note verifier key, ``name+hash+base64``."""
    roots: Roots
    witnesses: Witnesses = NOBODY
    """A quorum of 0 only where nobody witnesses yet; shown as UNWITNESSED."""

    def genesis(self, verify: Verify) -> State:
        """Return the state before the first entry."""
        return State(self.origin, self.roots, verify)
