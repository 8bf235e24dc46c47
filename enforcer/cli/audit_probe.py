"""``enforcer audit probe``: ask a resolver from outside whether orders are in force there."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.audit_options import (
    INCOMPLETE_EXIT,
    TRUST,
    VIOLATION_EXIT,
    Ledger,
    Trust,
)
from enforcer.cli.output import AsJson, emit_json, emit_pairs, now_ms, out, progress, when

if TYPE_CHECKING:
    from enforcer.app.audit_probe import Asked, Probed, Report, Wanted

SHOWN_MAX = 3


def probe(
    ledger: Ledger,
    *,
    resolver: Annotated[
        str, typer.Option(help="The resolver's address, such as 192.0.2.53 or [2001:db8::53]:53.")
    ],
    control: Annotated[
        list[str], typer.Option(help="A name that must resolve there; may be repeated.")
    ],
    order: Annotated[
        list[str] | None,
        typer.Option(help="An order; may be repeated. Without: all that are in force."),
    ] = None,
    absent: Annotated[
        str | None, typer.Option(help="A name that must not resolve; a made-up one if not given.")
    ] = None,
    operator: Annotated[
        str | None, typer.Option(help="Whose network it is on: its suspensions count.")
    ] = None,
    block_page: Annotated[
        list[str] | None, typer.Option(help="The address of a block page; may be repeated.")
    ] = None,
    names: Annotated[int, typer.Option(help="Names asked of each order, at most.")] = 5,
    per_second: Annotated[int, typer.Option(help="Queries a second, at most.")] = 10,
    timeout_ms: Annotated[int, typer.Option(help="How long to wait for each answer.")] = 2_000,
    seed: Annotated[
        str | None, typer.Option(help="Draws the names; the same seed draws the same.")
    ] = None,
    trust: Trust = TRUST,
    as_json: AsJson = False,
) -> None:
    """Ask any resolver whether orders are in force there.

    Over UDP and TCP, a few names of each order's public list. Exit code 0: as the ledger says;
    1: an order is in force or lifted where it should not be; 2: something could not be told.
    """
    from enforcer.app import audit_probe as probes
    from enforcer.app.audit_archive import ledger_copy
    from enforcer.config import read_trust

    place = probes.resolver_at(resolver)
    wanted = probes.Wanted(
        orders=tuple(order or ()),
        controls=tuple(control),
        seed=seed if seed is not None else secrets.token_hex(8),
        names_max=names,
        per_second=per_second,
        timeout_ms=timeout_ms,
        absent=absent,
        operator=operator,
        block_pages=tuple(block_page or ()),
    )
    believed = read_trust(trust)
    with progress() as advance, ledger_copy(ledger, advance) as copy:
        report, recorded_at_ms = probes.probe(
            copy.directory, believed, place, wanted, now_ms=now_ms(), progress=advance
        )
    if as_json:
        emit_json(_plain(report, wanted, str(place), recorded_at_ms))
    else:
        _show(report, wanted, str(place), recorded_at_ms)
    code = {"VIOLATION": VIOLATION_EXIT, "INCOMPLETE": INCOMPLETE_EXIT}.get(report.outcome, 0)
    raise typer.Exit(code)


_COLOURS = {"VIOLATION": "bold red", "INCOMPLETE": "bold yellow", "GOOD": "bold green"}
_SAID = {
    "GOOD": "the resolver does what the ledger says",
    "VIOLATION": "the resolver does something else than the ledger says",
    "INCOMPLETE": "something could not be told",
}


def _show(report: Report, wanted: Wanted, place: str, recorded_at_ms: int) -> None:
    outcome = report.outcome
    out().print(f"[{_COLOURS[outcome]}]{outcome}[/]: {_SAID[outcome]}, at {escape(place)}.")
    for control in report.broken_controls:
        out().print(f"  [yellow]control[/] {_words(control)}")
    for probed in report.orders:
        plan = probed.plan
        mark = {True: "", False: " [bold red]not as it should be[/]", None: ""}
        reason = f": {plan.unknown_because}" if plan.unknown_because else ""
        out().print(
            f"[bold]{plan.order_id}[/] {probed.result.name}, the ledger says {plan.standing}"
            f"{mark[probed.is_as_expected]}{escape(reason)}; {_counts(probed)}"
        )
        for asked in _telling(probed):
            out().print(f"  {_words(asked)}")
    emit_pairs(
        {
            "seed": wanted.seed,
            "ledger": f"its last entry is of {when(recorded_at_ms)}",
            "controls": f"{len(report.controls)} questions, {len(report.broken_controls)} wrong",
        }
    )


def _words(asked: Asked) -> str:
    from enforcer.app.audit_probe import words

    said = words(asked.reply)
    return escape(
        f"{asked.name.text} over {asked.transport.name}: {asked.observation.name} ({said})"
    )


def _counts(probed: Probed) -> str:
    counts: dict[str, int] = {}
    for asked in probed.asked:
        counts[asked.observation.name] = counts.get(asked.observation.name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none asked"


def _telling(probed: Probed) -> list[Asked]:
    """Return the answers to show: the first of each kind."""
    first = {asked.observation: asked for asked in reversed(probed.asked)}
    return [first[kind] for kind in sorted(first)][:SHOWN_MAX]


def _plain(report: Report, wanted: Wanted, place: str, recorded_at_ms: int) -> dict[str, object]:
    return {
        "outcome": report.outcome,
        "resolver": place,
        "seed": wanted.seed,
        "recorded_at_ms": recorded_at_ms,
        "controls": [_plain_asked(asked) for asked in report.controls],
        "broken_controls": len(report.broken_controls),
        "orders": [
            {
                "order_id": probed.plan.order_id,
                "order_index": probed.plan.order_index,
                "result": probed.result.name,
                "expected": "IN_FORCE" if probed.plan.is_expected else "LIFTED",
                "standing": probed.plan.standing,
                "is_as_expected": probed.is_as_expected,
                "unknown_because": probed.plan.unknown_because,
                "evidence": [_plain_asked(asked) for asked in probed.asked],
            }
            for probed in report.orders
        ],
    }


def _plain_asked(asked: Asked) -> dict[str, object]:
    from enforcer.app.audit_probe import words

    return {
        "name": asked.name.text,
        "transport": asked.transport.name,
        "observation": asked.observation.name,
        "answer": words(asked.reply),
    }
