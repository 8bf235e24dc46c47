"""What nodes attested about their firewalls, against what the ledger and its lists give.

Pieces are computed again at the end, when the sealed lists that can be opened are open, and once
for each set of orders. Refuses nothing: everything wrong is a finding. What a node's operator
protects is not known here; the node signs its digest, and names the orders that it curtails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from enforcer.core.attestation import NOTHING_ENFORCED, Attestation, enforced_rows, rows_for
from enforcer.core.firewall import FirewallState
from enforcer.core.state import State, in_force
from enforcer.core.table import IpMeasure, OrderRow
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.services.findings import Code, Finding, utc


class ListPieces(Protocol):
    """Turns the lists beside a ledger into what a firewall holds."""

    def digest(
        self, rows: Sequence[OrderRow], core: str | None, protected_names: str | None
    ) -> str:
        """Return core.firewall.pieces_digest for orders under two lists, by SHA-256.

        Raises:
            NotFoundError: a list is not here, or is sealed.
            IntegrityError, InputError: one is not what it must be.
        """


@dataclass(frozen=True, slots=True)
class _Wanted:
    """All that pieces depend on."""

    rows: tuple[tuple[int, str, IpMeasure, tuple[str, ...]], ...]
    core: str | None
    protected_names: str | None


@dataclass(frozen=True, slots=True)
class _Said:
    """Who was the first to attest a digest."""

    who: str
    index: int | None
    place: str


class FirewallAudit:
    """Checks attestations in the order of the ledger sizes that they are for."""

    def __init__(self, lists: ListPieces) -> None:
        self.sets = 0
        """Sets of orders whose pieces were computed again."""
        self._lists = lists
        self._repairs: dict[str, int] = {}
        """Key id -> how often that node's firewall had been altered, by its last word."""
        self._said: dict[_Wanted, tuple[tuple[OrderRow, ...], dict[str | None, _Said]]] = {}
        """What firewalls were to hold -> what was attested that they held."""

    def check(
        self, state: State, who: str, attestation: Attestation, key_id: str, place: str
    ) -> Iterator[Finding]:
        """Yield what an attestation says about the node's firewall, and what contradicts it."""
        index = state.size - 1 if state.size else None
        said = f"{who}, {utc(attestation.t_ms)},"
        rows = _addresses_enforced(state, attestation)
        if attestation.firewall in (FirewallState.DIFFERS, FirewallState.UNAVAILABLE):
            words = f"{said} says that its firewall is {attestation.firewall.name}"
            yield Finding(Code.FIREWALL_DIFFERS, words, index, place)
        elif attestation.firewall is not FirewallState.HOLDS:
            for row in rows or ():
                words = f"{said} enforces {row.order_id} against addresses, and has no firewall"
                yield Finding(Code.FIREWALL_MISSING, words, row.index, place)
        elif rows is not None and state.policy is not None:
            pins = state.policy.payload.pins
            parts = (
                (each.index, each.target_list_sha256, each.ip_measure, each.overrides)
                for each in rows
            )
            wanted = _Wanted(tuple(parts), pins.protected_core, pins.protected_names)
            _, by_digest = self._said.setdefault(wanted, (rows, {}))
            by_digest.setdefault(attestation.pieces_digest, _Said(said, index, place))
        for at in attestation.curtailed:
            order = state.orders.get(at)
            name = order.payload.order_id if order is not None else f"entry {at}, no order"
            words = f"{said} lets addresses of {name} pass that its operator protects"
            yield Finding(Code.CURTAILED, words, at, place)
        if attestation.repairs > self._repairs.get(key_id, 0):
            words = f"{said} has found its firewall altered by others {attestation.repairs} times"
            yield Finding(Code.FIREWALL_ALTERED, words, index, place)
        self._repairs[key_id] = attestation.repairs

    def finish(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Compute what firewalls must have held, and compare it with what was attested."""
        for done, (wanted, (rows, by_digest)) in enumerate(self._said.items(), 1):
            yield from self._compare(wanted, rows, by_digest)
            progress(done, len(self._said))

    def _compare(
        self,
        wanted: _Wanted,
        rows: tuple[OrderRow, ...],
        by_digest: dict[str | None, _Said],
    ) -> Iterator[Finding]:
        try:
            expected = self._lists.digest(rows, wanted.core, wanted.protected_names)
        except (NotFoundError, IntegrityError, InputError):
            return  # a list is not what it must be, or is sealed: that is said where lists are
        except EnforcerError as error:
            first = next(iter(by_digest.values()))
            words = f"{first.who} its firewall could not be computed: {error.message}"
            yield Finding(Code.FIREWALL_UNCHECKED, words, first.index, first.place)
            return
        self.sets += 1
        for digest, said in by_digest.items():
            if digest != expected:
                words = f"{said.who} says that its firewall holds, and it holds other addresses"
                yield Finding(Code.ATTESTED_OTHER_PIECES, words, said.index, said.place)


def _addresses_enforced(state: State, attestation: Attestation) -> tuple[OrderRow, ...] | None:
    """Return the orders against addresses that it says it enforces; None: nobody can tell."""
    omissions = attestation.omissions
    if any(each.reason in NOTHING_ENFORCED for each in omissions):
        return ()
    if attestation.omission_count != len(omissions):
        return None  # not all of them are named
    rows = rows_for(attestation.gate, in_force(state, attestation.t_ms))
    rows = enforced_rows(rows, omissions)
    return tuple(row for row in rows if row.ip_measure is not IpMeasure.NONE)
