"""Waiting for canaries, as nodes attest it: within its bound, and blame that a canary has spoken.

Whoever waits longer than anybody may, or leaves out what no other node of its network could not
enforce, is named. Refuses nothing: everything wrong is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from enforcer.core.attestation import NotEnforced, Omission
from enforcer.core.state import State
from enforcer.services.audit_claims import Claim, operator_of
from enforcer.services.canaries import BLAME_MS_MAX
from enforcer.services.findings import Code, Finding

CANARY_WAIT_MS_MAX: Final = 60_000
"""The longest that a configuration lets a new block wait for canaries."""
GRACE_MS: Final = 30_000
"""For what comes between the end of the waiting and the node's word that it blocks."""
CANARY_REASONS: Final = frozenset({NotEnforced.CANARY_AWAITED, NotEnforced.CANARY_BLAMED})


@dataclass(frozen=True, slots=True)
class _Blamed:
    """A node's word that the gate of a canary refuses an order."""

    operator: str
    order_index: int
    node_id: str
    who: str
    place: str


class CanaryAudit:
    """Checks what waits for canaries, or is left out by their word."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, int], set[str]] = {}
        """Operator and order -> its nodes that could not enforce the order."""
        self._blamed: list[_Blamed] = []

    def note(self, state: State, claim: Claim) -> None:
        """Remember which nodes could not enforce what."""
        operator = operator_of(state, claim) or ""
        for omission in claim.attestation.omissions:
            if omission.reason is NotEnforced.CANNOT_ENFORCE:
                nodes = self._refused.setdefault((operator, omission.order_index), set())
                nodes.add(claim.attestation.node_id)

    def unfounded(self, state: State, who: str, omission: Omission, claim: Claim) -> str | None:
        """Say why an order may not wait here any longer; None: it may, as far as is known yet."""
        attestation = claim.attestation
        if omission.reason is NotEnforced.CANARY_BLAMED:
            operator = operator_of(state, claim) or ""
            self._blamed.append(
                _Blamed(operator, omission.order_index, attestation.node_id, who, claim.place)
            )
            wait_ms_max = BLAME_MS_MAX
        else:
            wait_ms_max = CANARY_WAIT_MS_MAX
        waited_ms = attestation.t_ms - omission.since_ms
        if waited_ms > wait_ms_max + GRACE_MS:
            return f"for {waited_ms} ms, and nothing waits for canaries so long"
        return None

    def finish(self) -> Iterator[Finding]:
        """Look for the canary whose gate refused what others left out by its word."""
        named: set[tuple[str, int]] = set()
        for blamed in self._blamed:
            refused = self._refused.get((blamed.operator, blamed.order_index), set())
            key = (blamed.node_id, blamed.order_index)
            if key not in named and not refused - {blamed.node_id}:
                named.add(key)
                yield Finding(
                    Code.CANARY_UNKNOWN,
                    f"{blamed.who} leaves out the order in entry {blamed.order_index} by a "
                    "canary's word, and no other node of its network says that it cannot enforce "
                    "it",
                    blamed.order_index,
                    blamed.place,
                )
