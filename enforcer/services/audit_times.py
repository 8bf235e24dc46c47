"""The times that nodes sign, held against those that the ledger gives its entries.

A node that could choose its time could choose one at which nothing is in force; a ledger that
could date an entry back could make a stop look as if it had come in time. Each is witness to
the other. Refuses nothing: everything wrong is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.core.attestation import CLOCKS_APART_MS_MAX
from enforcer.core.fold import Effect
from enforcer.core.state import State
from enforcer.services.audit_claims import Claim
from enforcer.services.findings import Code, Finding, utc


class TimeAudit:
    """Checks times in the order of the ledger."""

    def __init__(self, as_of_ms: int) -> None:
        self.as_of_ms = as_of_ms
        """When the evidence was taken."""
        self._latest: Claim | None = None
        """Of those that are for no more entries than were folded, and hold, that of latest time."""
        self._ahead: list[Claim] = []
        """Those of a time that is to come, unless the ledger itself turns out to go on to it."""

    def record(self, effect: Effect) -> Iterator[Finding]:
        """Check that no node said, long after the entry's time, that it was not there.

        The control plane keeps no such word of a node that is only behind.
        """
        latest = self._latest
        if latest is None:
            return
        said = latest.attestation
        if said.t_ms > effect.recorded_at_ms + CLOCKS_APART_MS_MAX:
            self._latest = None  # once is enough: what follows is as late
            yield Finding(
                Code.ENTRY_BACKDATED,
                f"recorded {utc(effect.recorded_at_ms)}, it says, and {said.node_id} had read "
                f"{said.ledger_size} entries and not this one at {utc(said.t_ms)}",
                effect.index,
                latest.place,
            )

    def check(self, state: State, claim: Claim) -> Iterator[Finding]:
        """Check that the time lies where the node can have read what it has read."""
        if claim.attestation.t_ms < state.recorded_at_ms:
            words = f"the last entry that it has read was recorded {utc(state.recorded_at_ms)}"
            yield _other_time(claim, words)
        elif self._is_ahead(claim):
            self._ahead.append(claim)
        yield from _check_effects(state, claim)

    def believe(self, claim: Claim) -> None:
        """Take note of the time of one that is signed, and has read this history.

        Where copies are carried to a node, it reads entries long after they were recorded.
        """
        if claim.attestation.carried:
            return
        t_ms = self._latest.attestation.t_ms if self._latest is not None else 0
        if t_ms < claim.attestation.t_ms and not self._is_ahead(claim):
            self._latest = claim

    def finish(self, state: State) -> Iterator[Finding]:
        """Check what only the end of the ledger can tell."""
        # Nobody can say that the evidence was taken before what it holds was recorded.
        self.as_of_ms = max(self.as_of_ms, state.recorded_at_ms)
        for ahead in self._ahead:
            if self._is_ahead(ahead):
                yield _other_time(ahead, f"the evidence was taken {utc(self.as_of_ms)}")

    def _is_ahead(self, claim: Claim) -> bool:
        return claim.attestation.t_ms > self.as_of_ms + CLOCKS_APART_MS_MAX


def _check_effects(state: State, claim: Claim) -> Iterator[Finding]:
    """Check that no order took effect before it could, or later than the node's own time."""
    latest_ms = claim.attestation.t_ms + CLOCKS_APART_MS_MAX
    for effect in claim.attestation.effects:
        order = state.orders.get(effect.order_index)
        if order is None or order.approved_at_ms is None:
            yield _other_time(claim, f"no order of entry {effect.order_index} was approved by then")
            continue
        from_ms = max(order.approved_at_ms, order.payload.not_before_ms)
        for at_ms in filter(None, (effect.in_force_at_ms, effect.out_at_ms)):
            if not from_ms <= at_ms <= latest_ms:
                words = f"that entry {effect.order_index} took effect or ended {utc(at_ms)}"
                yield _other_time(claim, f"{words}, and it was to block from {utc(from_ms)}")
                break


def _other_time(claim: Claim, words: str) -> Finding:
    attestation = claim.attestation
    return Finding(
        Code.ATTESTED_OTHER_TIME,
        f"{attestation.node_id} at size {attestation.ledger_size} says that it is "
        f"{utc(attestation.t_ms)}, and {words}",
        attestation.ledger_size - 1 if attestation.ledger_size else None,
        claim.place,
    )
