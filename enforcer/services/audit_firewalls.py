"""What nodes attested about their firewalls, against what they say that they enforce.

Refuses nothing: everything wrong is a finding. What a node's operator protects is not known
here; the node signs its digest, and names the orders that it curtails.
"""

from __future__ import annotations

from collections.abc import Iterator

from enforcer.core.attestation import NOTHING_ENFORCED, Attestation, enforced_rows
from enforcer.core.firewall import FirewallState
from enforcer.core.state import State, in_force
from enforcer.core.table import IpMeasure
from enforcer.services.findings import Code, Finding, utc


class FirewallAudit:
    """Checks attestations in the order of the ledger sizes that they are for."""

    def __init__(self) -> None:
        self._repairs: dict[str, int] = {}
        """Key id -> how often that node's firewall had been altered, by its last word."""

    def check(
        self, state: State, who: str, attestation: Attestation, key_id: str, place: str
    ) -> Iterator[Finding]:
        """Yield what an attestation says about the node's firewall, and what contradicts it."""
        index = state.size - 1 if state.size else None
        said = f"{who}, {utc(attestation.t_ms)},"
        if attestation.firewall in (FirewallState.DIFFERS, FirewallState.UNAVAILABLE):
            words = f"{said} says that its firewall is {attestation.firewall.name}"
            yield Finding(Code.FIREWALL_DIFFERS, words, index, place)
        elif attestation.firewall is not FirewallState.HOLDS:
            for order_id, at in _addresses_enforced(state, attestation):
                words = f"{said} enforces {order_id} against addresses, and has no firewall"
                yield Finding(Code.FIREWALL_MISSING, words, at, place)
        for at in attestation.curtailed:
            order = state.orders.get(at)
            name = order.payload.order_id if order is not None else f"entry {at}, no order"
            words = f"{said} lets addresses of {name} pass that its operator protects"
            yield Finding(Code.CURTAILED, words, at, place)
        if attestation.repairs > self._repairs.get(key_id, 0):
            words = f"{said} has found its firewall altered by others {attestation.repairs} times"
            yield Finding(Code.FIREWALL_ALTERED, words, index, place)
        self._repairs[key_id] = attestation.repairs


def _addresses_enforced(state: State, attestation: Attestation) -> Iterator[tuple[str, int]]:
    """Yield id and entry of the orders against addresses that it says it enforces."""
    omissions = attestation.omissions
    if any(each.reason in NOTHING_ENFORCED for each in omissions):
        return
    if attestation.omission_count != len(omissions):
        return  # not all of them are named
    for row in enforced_rows(in_force(state, attestation.t_ms), omissions):
        if row.ip_measure is not IpMeasure.NONE:
            yield row.order_id, row.index
