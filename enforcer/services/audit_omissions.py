"""Why nodes do not enforce orders, held against what the ledger knows; and the stops they obeyed.

A reason that the ledger contradicts is a violation, one that it cannot know is noted. A stop that
a node obeyed before it was logged must be in the ledger within the hour (law 1). Refuses nothing:
everything wrong is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from enforcer.core.attestation import NOTHING_ENFORCED, NotEnforced, Omission
from enforcer.core.entry import Entry
from enforcer.core.fold import Effect
from enforcer.core.life import OrderStatus
from enforcer.core.order import OrderStopped
from enforcer.core.state import State
from enforcer.services.audit_canaries import CANARY_REASONS, CanaryAudit
from enforcer.services.audit_claims import Claim
from enforcer.services.audit_suspensions import SuspensionAudit
from enforcer.services.findings import Code, Finding, utc

STOP_LOGGED_MS_MAX: Final = 3_600_000
"""Longest time from a stop that a node obeyed to its entry in the ledger (law 1)."""


class OmissionAudit:
    """Checks what attestations omit, in the order of the ledger sizes that they are for."""

    def __init__(self, *, witness_quorum: int) -> None:
        self._witness_quorum = witness_quorum
        self._stops: dict[str, tuple[int, int]] = {}
        """Payload hash of each stop in the ledger -> (entry index, time)."""
        self._unlogged: dict[str, tuple[Omission, str]] = {}
        """Payload hash of a stop that was obeyed before it was logged -> who said so first."""
        self._suspensions = SuspensionAudit()
        self._canaries = CanaryAudit()

    def record(self, state: State, effect: Effect, entry: Entry) -> None:
        """Remember a stop, or what a safety officer did, that was just folded."""
        self._suspensions.record(state, effect, entry)
        if effect.is_effective and effect.kind == OrderStopped.__name__:
            stop = entry.envelope.payload_sha256
            self._stops[stop] = (effect.index, effect.recorded_at_ms)

    def check(self, state: State, who: str, claim: Claim) -> Iterator[Finding]:
        """Yield what an attestation does not enforce, and what contradicts it."""
        attestation = claim.attestation
        off = [each for each in attestation.omissions if each.reason in NOTHING_ENFORCED]
        if off:
            yield Finding(
                Code.GATE_OFF,
                f"{who}, {utc(attestation.t_ms)}, enforces none of {attestation.omission_count} "
                f"orders: {off[0].reason.name} since {utc(off[0].since_ms)}",
                state.size - 1 if state.size else None,
                claim.place,
            )
        self._canaries.note(state, claim)
        for omission in attestation.omissions:
            if omission not in off:
                yield from self._check_omission(state, who, omission, claim)
        if not off:
            yield from self._suspensions.check_ignored(state, who, claim)

    def finish(self, state: State, as_of_ms: int) -> Iterator[Finding]:
        """Look for each stop that a node obeyed in the ledger, within the hour (law 1).

        Whatever else stopped the same order does as well: after it the ledger takes no more.
        """
        yield from self._suspensions.finish(state, as_of_ms)
        yield from self._canaries.finish()
        for stop, (omission, place) in self._unlogged.items():
            index, deadline_ms = omission.order_index, omission.since_ms + STOP_LOGGED_MS_MAX
            words = f"the stop {stop[:16]}… of the order in entry {index}"
            recorded = self._stops.get(stop) or _other_stop(state, index)
            if recorded is not None:
                if recorded[1] > deadline_ms:
                    late_ms = recorded[1] - omission.since_ms
                    yield Finding(
                        Code.STOP_LOGGED_LATE,
                        f"{words} was recorded {late_ms} ms after a node obeyed it",
                        recorded[0],
                        place,
                    )
            elif as_of_ms > deadline_ms:
                yield Finding(
                    Code.STOP_UNLOGGED,
                    f"{words} was obeyed over an hour ago and is not in the ledger",
                    index,
                    place,
                )
            else:
                yield Finding(
                    Code.STOP_PENDING, f"{words} is obeyed and not in the ledger yet", index, place
                )

    def _check_omission(
        self, state: State, who: str, omission: Omission, claim: Claim
    ) -> Iterator[Finding]:
        order = state.orders.get(omission.order_index)
        name = order.payload.order_id if order else f"entry {omission.order_index}, no order"
        place = claim.place
        if (problem := self._unfounded(state, who, omission, claim)) is not None:
            yield Finding(
                Code.OMISSION_UNFOUNDED,
                f"{who} does not enforce {name}: {omission.reason.name}, but {problem}",
                omission.order_index,
                place,
            )
            return
        if omission.reason is not NotEnforced.STOPPED_UNLOGGED:
            yield Finding(
                Code.NOT_ENFORCED,
                f"{who} does not enforce {name}: {omission.reason.name}",
                omission.order_index,
                place,
            )
            return
        stop = omission.act_payload_sha256
        if stop is None:
            yield Finding(
                Code.STOP_UNLOGGED,
                f"{who} does not enforce {name} because of a stop that it does not name",
                omission.order_index,
                place,
            )
            return
        known = self._unlogged.get(stop)
        if known is None or omission.since_ms < known[0].since_ms:
            self._unlogged[stop] = (omission, place)

    def _unfounded(self, state: State, who: str, omission: Omission, claim: Claim) -> str | None:
        """Say what contradicts the reason that a node gave; None: nothing that is known here."""
        if omission.since_ms > claim.attestation.t_ms:
            return f"since {utc(omission.since_ms)}, which is after it says so"
        if omission.reason is NotEnforced.SUSPENDED and not self._suspensions.is_founded(
            state, omission, who, claim
        ):
            return "no safety officer of its network suspended it"
        if omission.reason in CANARY_REASONS:
            return self._canaries.unfounded(state, who, omission, claim)
        if omission.reason is NotEnforced.UNWITNESSED and not self._witness_quorum:
            return "the trust file names no quorum of witnesses to wait for"
        return None


def _other_stop(state: State, order_index: int) -> tuple[int, int] | None:
    """Return what stopped an order, in any version, be it an appeal: its entry index and time."""
    order = state.orders.get(order_index)
    for version in state.versions[order.payload.order_id] if order is not None else ():
        ended = state.orders[version]
        index, t_ms = ended.ended_index, ended.ended_at_ms
        if ended.status is OrderStatus.STOPPED and index is not None and t_ms is not None:
            return index, t_ms
    return None
