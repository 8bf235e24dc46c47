"""How an order stands at the nodes, for people: a few lines, or a receipt node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.markup import escape

from enforcer.cli.output import counted, emit_pairs, out, when

if TYPE_CHECKING:
    from enforcer.app.order_fleet import KnownFleet, NodeLine, Took

_WORDS: Final = {
    "IN_FORCE": "in force",
    "OUT": "not in force",
    "LEFT_OUT": "left out",
    "NOT_CONCERNED": "not concerned",
    "DIFFERS": "differs",
    "LAGS": "lags",
    "SILENT": "silent",
}
_MEANS: Final = {
    "LEFT_OUT": "to block, and the node says why it does not",
    "NOT_CONCERNED": "for names, and the node has no gate",
    "DIFFERS": "the node holds something else than the ledger gives",
    "LAGS": "not heard for three minutes, or has not read the last act",
    "SILENT": "never heard",
}


def tell_fleet(fleet: KnownFleet, *, with_nodes: bool) -> None:
    """Print where the order is in force, how long that took, and the nodes if asked."""
    out().print("\n[bold]At the nodes[/]")
    if not fleet.counts:
        out().print("  no node is registered")
        return
    lines: dict[str, str | None] = {
        _WORDS[state]: counted(count, "node") + (f" ({_MEANS[state]})" if state in _MEANS else "")
        for state, count in fleet.counts.items()
    }
    lines["took effect"] = _took(fleet.began)
    lines["ended"] = _took(fleet.ended)
    emit_pairs(lines)
    for node in fleet.nodes if with_nodes else ():
        out().print(f"  [bold]{escape(node.node_id)}[/]  {escape(_line(node))}")


def _took(took: Took | None) -> str | None:
    if took is None:
        return None
    return (
        f"at {counted(took.nodes, 'node')} after {_seconds(took.median_ms)} (median), "
        f"{_seconds(took.slowest_ms)} at the slowest, {took.slowest_node}"
    )


def _line(node: NodeLine) -> str:
    words = _WORDS[node.state] + (f": {node.reason}" if node.reason else "")
    times = {
        "in force since": node.in_force_at_ms if node.out_at_ms is None else None,
        "was in force from": node.in_force_at_ms if node.out_at_ms is not None else None,
        "out since": node.out_at_ms,
        "heard": node.seen_at_ms,
    }
    said = [f"{name} {when(at_ms)}" for name, at_ms in times.items() if at_ms is not None]
    return "; ".join([words, *said])


def _seconds(took_ms: int) -> str:
    return f"{took_ms} ms" if took_ms < 10_000 else f"{took_ms / 1_000:.0f} s"
