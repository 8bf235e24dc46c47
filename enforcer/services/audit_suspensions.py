"""What safety officers did on their own networks, as nodes attest it, held against the ledger.

A node heeds its officers before the ledger does; each act that it names must be in the ledger
within the hour. Refuses nothing: everything wrong is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from enforcer.core.attestation import Omission, Resumption, rows_for
from enforcer.core.entry import Entry
from enforcer.core.fold import Effect
from enforcer.core.remedy import OrderResumed, OrderSuspended
from enforcer.core.state import State, in_force
from enforcer.services.audit_claims import Claim, operator_of
from enforcer.services.findings import Code, Finding

ACT_LOGGED_MS_MAX: Final = 3_600_000
"""Longest time from an act that a node heeded to its entry in the ledger."""


class _Kind(Enum):
    SUSPENSION = OrderSuspended.__name__
    RESUMPTION = OrderResumed.__name__


@dataclass(frozen=True, slots=True)
class _Logged:
    """An act in the ledger."""

    index: int
    t_ms: int
    kind: _Kind
    order_index: int
    operator: str


@dataclass(frozen=True, slots=True)
class _Heeded:
    """An act that a node heeded and the ledger did not have, as it first said so."""

    sha256: str
    kind: _Kind
    order_index: int
    operator: str
    since_ms: int
    who: str
    place: str

    @property
    def deadline_ms(self) -> int:
        return self.since_ms + ACT_LOGGED_MS_MAX


class SuspensionAudit:
    """Checks suspensions in the order of the ledger sizes that attestations are for."""

    def __init__(self) -> None:
        self._logged: list[_Logged] = []
        self._by_hash: dict[str, _Logged] = {}
        self._heeded: dict[tuple[str, int], _Heeded] = {}
        """Payload hash and order of each act that was heeded ahead of the ledger."""

    def record(self, state: State, effect: Effect, entry: Entry) -> None:
        """Remember what an officer's entry did that was just folded."""
        kinds = {kind.value: kind for kind in _Kind}
        if not effect.is_effective or effect.kind not in kinds or effect.order_index is None:
            return
        signer = state.keys[entry.envelope.signatures[0].key_id].registration
        logged = _Logged(
            effect.index,
            effect.recorded_at_ms,
            kinds[effect.kind],
            effect.order_index,
            signer.operator or "",
        )
        self._logged.append(logged)
        self._by_hash[entry.envelope.payload_sha256] = logged

    def is_founded(self, state: State, omission: Omission, who: str, claim: Claim) -> bool:
        """Tell whether a node may leave an order out as suspended, by the ledger or by an act."""
        operator = operator_of(state, claim)
        order = state.orders.get(omission.order_index)
        if operator is None or order is None:
            return False
        if order.suspension(operator, claim.attestation.t_ms) is not None:
            return True
        if omission.act_payload_sha256 is None:
            return False
        self._heed(omission, _Kind.SUSPENSION, operator, who, claim)
        return True

    def check_ignored(self, state: State, who: str, claim: Claim) -> Iterator[Finding]:
        """Check that what a safety officer suspended is not enforced, unless it was resumed."""
        attestation, operator = claim.attestation, operator_of(state, claim)
        omitted = {each.order_index for each in attestation.omissions}
        if operator is None or attestation.omission_count != len(omitted):
            return  # not all of them are named
        resumed = {each.order_index: each for each in attestation.resumed}
        for row in rows_for(attestation.gate, in_force(state, attestation.t_ms)):
            held = state.orders[row.index].suspension(operator, attestation.t_ms)
            if held is None or row.index in omitted:
                continue
            if row.index in resumed:
                self._heed(resumed[row.index], _Kind.RESUMPTION, operator, who, claim)
                continue
            yield Finding(
                Code.SUSPENSION_IGNORED,
                f"{who} enforces {row.order_id}, which a safety officer of its network suspended",
                row.index,
                claim.place,
            )

    def finish(self, state: State, as_of_ms: int) -> Iterator[Finding]:
        """Look for each act that a node heeded in the ledger, within the hour."""
        for heeded in self._heeded.values():
            logged = self._answer_to(heeded)
            what = heeded.kind.name.lower()
            words = (
                f"the {what} {heeded.sha256[:16]}… of the order in entry {heeded.order_index}, "
                f"which {heeded.who} heeded"
            )
            if logged is not None and logged.t_ms > heeded.deadline_ms:
                late_ms = logged.t_ms - heeded.since_ms
                yield Finding(
                    Code.SUSPENSION_LOGGED_LATE,
                    f"{words}, was recorded {late_ms} ms after that",
                    logged.index,
                    heeded.place,
                )
            elif logged is None and not _is_over(state, heeded):
                is_late = as_of_ms > heeded.deadline_ms
                yield Finding(
                    Code.SUSPENSION_UNLOGGED if is_late else Code.SUSPENSION_PENDING,
                    f"{words}, is not in the ledger" + (", over an hour later" if is_late else ""),
                    heeded.order_index,
                    heeded.place,
                )

    def _heed(
        self, said: Omission | Resumption, kind: _Kind, operator: str, who: str, claim: Claim
    ) -> None:
        sha256 = said.act_payload_sha256 or ""
        heeded = _Heeded(sha256, kind, said.order_index, operator, said.since_ms, who, claim.place)
        known = self._heeded.get((sha256, said.order_index))
        if known is None or heeded.since_ms < known.since_ms:
            self._heeded[sha256, said.order_index] = heeded

    def _answer_to(self, heeded: _Heeded) -> _Logged | None:
        """Return the act's entry, or that of another that did the same in time."""

        def is_same(logged: _Logged) -> bool:
            return (logged.kind, logged.order_index, logged.operator) == (
                heeded.kind,
                heeded.order_index,
                heeded.operator,
            )

        own = self._by_hash.get(heeded.sha256)
        if own is not None and is_same(own):
            return own
        in_time = range(heeded.since_ms, heeded.deadline_ms + 1)
        return next((each for each in self._logged if is_same(each) and each.t_ms in in_time), None)


def _is_over(state: State, heeded: _Heeded) -> bool:
    """Tell whether the order ended within the hour: after that the ledger takes no more of it."""
    order = state.orders[heeded.order_index]
    ended_ms = order.ended_at_ms if order.ended_at_ms is not None else order.until_ms
    return min(ended_ms, order.until_ms) <= heeded.deadline_ms
