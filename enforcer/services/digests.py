"""Table digests as the ledger gives them, computed once for all nodes that say the same.

What a digest depends on is the news that was read, what is left out, the local layer, and the
time, which changes it only where an order begins or ends by itself. Holds no more than
`KEPT_MAX` of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

from enforcer.core.attestation import NOTHING_ENFORCED, Attestation, GateState, expected_digest
from enforcer.core.state import State

KEPT_MAX: Final = 256

_Key: TypeAlias = tuple[int, str, bool, int, bool, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    digest: str | None
    from_ms: float
    until_ms: float


class Digests:
    """The digests of one ledger; a state may be ahead of what a node has read by no news."""

    def __init__(self) -> None:
        self._known: dict[_Key, _Known] = {}
        self.computed = 0
        """How often one was computed."""

    def expected(self, state: State, attestation: Attestation) -> str | None:
        """Return the digest that the ledger gives; None where nobody can recompute it."""
        key = (
            state.news_size,
            attestation.local_digest,
            attestation.gate is GateState.NONE,
            attestation.omission_count,
            any(each.reason in NOTHING_ENFORCED for each in attestation.omissions),
            tuple(each.order_index for each in attestation.omissions),
        )
        known, t_ms = self._known.get(key), attestation.t_ms
        if known is None or not known.from_ms <= t_ms < known.until_ms:
            times = [at for row in state.approved_rows() for at in (row.from_ms, row.until_ms)]
            known = _Known(
                expected_digest(state, attestation),
                max((at for at in times if at <= t_ms), default=-inf),
                min((at for at in times if at > t_ms), default=inf),
            )
            self.computed += 1
            self._known.pop(key, None)
            self._known[key] = known
            if len(self._known) > KEPT_MAX:
                del self._known[next(iter(self._known))]
        return known.digest
