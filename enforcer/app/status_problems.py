"""What is wrong with a node, by what it shows of itself, and what to do: for who is woken by it.

A function of the status alone. Always true: where nothing is wrong it returns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_FEED: Final = {
    "STALE": "Nothing new comes; what is in force stays, and ends on time. Bring one path back: "
    "Redis, the control plane (enforcer status --control), or a copy.",
    "REFUSING": "What comes cannot be true, and is not taken. Keep state_dir, and ask whoever runs "
    "the ledger; compare trust.toml.",
    "WAITING": "Set this host's clock right.",
}
_PATHS: Final = {
    "redis": "Start Redis again, or correct [redis]; the control plane refills it by itself.",
    "sync": "See to the control plane: enforcer status --control, --standby on its host.",
}
_COPY: Final = "Bring a newer copy: enforcer ledger backup."
_FAILED: Final = ("STALE", "AWAY", "REFUSED")
_TRUST: Final = (
    "Entry 0 is refused, so that nothing in this ledger counts here. Compare root_keys and "
    "root_threshold in trust.toml with everybody else's."
)
_SPLIT_VIEW: Final = (
    "The log has shown another history (ledger.split_views). Keep both, and tell the auditor; "
    "two that are proven are for the roots."
)
_ACTS: Final = "They are brought there when the control plane answers, and are due within the hour."
_LISTS: Final = (
    "They come from Redis, control plane and copies; "
    "sealed ones need encryption_key_file registered."
)
_GATE: Final = {
    "UNREACHABLE": "Start it: enforcer gate -c gate.toml; its log says what keeps it from running.",
    "DIFFERS": "It holds another table than the ledger gives; the node brings it again. If this "
    "lasts, see the logs of both.",
}


def node_problems(shown: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong, each with what to do, by where; gravest first."""
    return dict(_found(shown))


def _found(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    gate = shown.get("gate", {})
    if (advice := _GATE.get(gate.get("state"))) is not None:
        yield "gate", f"{gate['state']}: {gate.get('problem') or 'read back'}. {advice}"
    if gate.get("override"):
        yield "blocking", "It is switched off here (gate.override). On again: enforcer gate resume."
    firewall = shown.get("firewall", {})
    if firewall.get("problem"):
        yield "firewall", f"{firewall['problem']}. The node tries again; its log says more."
    yield from _feed(shown.get("feed", {}))
    if 0 in shown.get("ledger", {}).get("ineffective", ()):
        yield "trust", _TRUST
    if shown.get("ledger", {}).get("split_views"):
        yield "split view", _SPLIT_VIEW
    if waiting := shown.get("waiting_for_witnesses"):
        yield "witnesses", f"{waiting} orders wait. See to the witnesses; stops never wait."
    acts = [*shown.get("unlogged_stops", ()), *shown.get("suspensions", {}).get("unlogged", ())]
    if acts:
        yield "acts", f"Heeded here and not in the ledger: {len(acts)}. {_ACTS}"
    lists = [*shown.get("missing_lists", ()), *shown.get("missing_sealed_lists", ())]
    if lists:
        yield "lists", f"Missing, and their orders left out: {len(lists)}. {_LISTS}"


def _feed(feed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state = feed.get("state")
    if state in _FEED:
        yield "feed", f"{state}: {feed.get('reason')}. {_FEED[state]}"
    paths = feed.get("paths", {})
    feeds = next((name for name, path in paths.items() if path.get("state") == "FEEDS"), None)
    for name, path in paths.items():
        if path.get("state") in _FAILED:
            meanwhile = f"; the node follows {feeds}" if feeds else ""
            yield (
                f"path {name}",
                f"{path['state']}: {path.get('reason')}{meanwhile}. {_PATHS.get(name, _COPY)}",
            )
