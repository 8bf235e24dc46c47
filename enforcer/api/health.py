"""What `/health` says: whether gate and firewall hold what the ledger says, and why not.

For whoever steers traffic by it, so words for people, and one status. A firewall that was just
changed is healthy until it should have been read back. Nothing in it names an address or a client.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from enforcer.core.attestation import GateState
from enforcer.core.firewall import FirewallState
from enforcer.services.node_view import FirewallView, NodeView

UNPROVEN_SECONDS_MAX: Final = 60.0
"""How long after a change nobody needs to have read the firewall back."""

_GATE: Final = {
    GateState.HOLDS_TABLE: (True, "ok: the gate holds what the ledger says"),
    GateState.DIFFERS: (False, "the gate holds something else"),
    GateState.UNREACHABLE: (False, "the gate does not answer"),
    GateState.NONE: (True, "ok: there is no gate here"),
}


def health(view: NodeView) -> tuple[HTTPStatus, bytes]:
    """Return the status and the text, a line each for the gate and for a firewall, if there is."""
    found = [_GATE[view.gate]]
    if view.firewall.is_real:
        found.append(_firewall(view.firewall))
    status = HTTPStatus.OK
    if not all(is_well for is_well, _ in found):
        status = HTTPStatus.SERVICE_UNAVAILABLE
    return status, "".join(f"{words}\n" for _, words in found).encode("utf-8")


def _firewall(view: FirewallView) -> tuple[bool, str]:
    why = f": {view.problem}" if view.problem else ""
    if view.state is FirewallState.HOLDS:
        return True, "ok: the firewall holds what the ledger says"
    if view.state is FirewallState.UNAVAILABLE:
        return False, f"the firewall does not answer{why}"
    if not why and view.unproven_seconds <= UNPROVEN_SECONDS_MAX:
        return True, "ok: the firewall was changed, and is being read back"
    return False, f"the firewall does not hold what the ledger says{why}"
