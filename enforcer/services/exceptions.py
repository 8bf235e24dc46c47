"""With which nodes something is not as it should be: the rule that control plane and audit share.

A function of the ledger, the newest word of each node, and the end of an interval; only that a
node showed another history is the control plane's own observation, since such a word is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from enforcer.core.attestation import NOTHING_ENFORCED, Attestation, GateState
from enforcer.core.attested import CARRIED_MS_MAX, LAG_MS_MAX, Exceptional
from enforcer.core.firewall import FirewallState
from enforcer.core.key import Role
from enforcer.core.state import KeyRecord, State
from enforcer.services.digests import Digests

GATE_IS_RIGHT: Final = frozenset((GateState.HOLDS_TABLE, GateState.NONE))
FIREWALL_IS_RIGHT: Final = frozenset((FirewallState.HOLDS, FirewallState.NONE))


def nodes_of(state: State, at_ms: int) -> set[str]:
    """Return the nodes that have a key by which they can attest at `at_ms`."""
    nodes = (node_of(key, at_ms) for key in state.keys.values())
    return {node_id for node_id in nodes if node_id is not None}


def node_of(key: KeyRecord, at_ms: int) -> str | None:
    """Return the node that can attest by a key at `at_ms`, if one can."""
    known = key.registration
    is_good = key.revoked_index is None and known.not_after_ms >= at_ms
    return known.machine_id if known.role is Role.NODE and is_good else None


def exceptions(
    state: State,
    words: Mapping[str, Attestation],
    until_ms: int,
    digests: Digests,
    split_views: Collection[str] = (),
) -> dict[str, Exceptional]:
    """Return each node that is an exception at `until_ms`, sorted by kind and node id.

    `words` is the newest of each node in the interval, of ledger sizes up to the state's.
    """
    found: dict[str, Exceptional] = {}
    for node_id in nodes_of(state, until_ms) | words.keys():
        kind = exception_of(state, words.get(node_id), until_ms, digests)
        if node_id in split_views:
            kind = Exceptional.SPLIT_VIEW
        if kind is not None:
            found[node_id] = kind
    return dict(sorted(found.items(), key=lambda each: (each[1], each[0])))


def exception_of(
    state: State, word: Attestation | None, until_ms: int, digests: Digests
) -> Exceptional | None:
    """Return what is not as it should be with one node, by its newest word, if there is one."""
    if word is None:
        return Exceptional.SILENT
    if differs(state, word, digests):
        return Exceptional.DIFFERS
    if any(each.reason in NOTHING_ENFORCED for each in word.omissions):
        return Exceptional.OFF
    since_ms = until_ms - (CARRIED_MS_MAX if word.carried else LAG_MS_MAX)
    is_behind = word.ledger_size < state.news_size and state.news_at_ms < since_ms
    return Exceptional.LAGS if is_behind or word.t_ms < since_ms else None


def differs(state: State, word: Attestation, digests: Digests) -> bool:
    """Tell whether a node holds something else than the ledger gives, as far as its word tells.

    The table of one that has not read the last news cannot be computed here.
    """
    if word.gate not in GATE_IS_RIGHT or word.firewall not in FIREWALL_IS_RIGHT:
        return True
    if word.ledger_size < state.news_size or state.policy is None:
        return False
    return digests.expected(state, word) != word.table_digest
