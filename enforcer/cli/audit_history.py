"""``enforcer audit replay | explain | diff``: the ledger at a time, a target, two ledgers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.audit_options import (
    TRUST,
    VIOLATION_EXIT,
    At,
    Identity,
    Ledger,
    Trust,
    moment,
    secret_of,
)
from enforcer.cli.output import AsJson, emit_json, emit_pairs, now_ms, out, progress, when
from enforcer.cli.words import not_read, plain_not_read, time_of
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.audit_history import Act, Changed, Comparison, Side, TargetStory, Then


def replay(ledger: Ledger, *, trust: Trust = TRUST, at: At = None, as_json: AsJson = False) -> None:
    """Say what was in force at a time, with its table digest.

    By the entries that were recorded until then.
    """
    from enforcer.app.audit_archive import ledger_copy
    from enforcer.app.audit_history import replay_at
    from enforcer.config import read_trust

    now = now_ms()
    believed, t_ms = read_trust(trust), moment(at, now)
    with progress() as advance, ledger_copy(ledger, advance) as copy:
        then = replay_at(copy.directory, believed, t_ms, now, advance)
    if as_json:
        emit_json(_plain_then(then))
        return
    count = len(then.rows)
    out().print(
        f"[bold]{count} order{'s' * (count != 1)} in force[/] at {when(then.t_ms)}, "
        f"table digest {then.table_digest or 'none: no policy'}"
    )
    for row in then.rows:
        order = then.state.orders[row.index]
        out().print(
            f"  {row.order_id} version {row.version}, entry {row.index}, "
            f"{escape(order.payload.authority)}, {order.payload.category.name}, "
            f"{row.target_count} targets, until {when(row.until_ms)}"
        )
    standings: dict[str, int] = {}
    for order in then.state.orders.values():
        name = then.standing(order).name
        standings[name] = standings.get(name, 0) + 1
    policy = then.state.policy
    emit_pairs(
        {
            "ledger": f"{then.state.origin}, {then.state.size} entries by then",
            "policy": f"entry {policy.index}, {policy.payload_sha256}" if policy else None,
            "orders": ", ".join(f"{n} {name}" for name, n in sorted(standings.items())) or None,
        }
    )


def explain(
    ledger: Ledger,
    target: Annotated[str, typer.Argument(help="A domain name or an address.")],
    *,
    trust: Trust = TRUST,
    at: At = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Say what decides a name or an address, and its history.

    Orders that name it or something around it, protections, holds, every act.
    """
    from enforcer.app.audit_archive import ledger_copy
    from enforcer.app.audit_history import assessments_told, tell_target
    from enforcer.config import read_trust

    now = now_ms()
    believed, t_ms, secret = read_trust(trust), moment(at, now), secret_of(identity)
    with progress() as advance, ledger_copy(ledger, advance) as copy:
        said = tell_target(copy.directory, believed, target, t_ms, now, advance, secret)
        told = assessments_told(copy.directory, believed, said)
        if as_json:
            emit_json({**_plain_story(said), "assessments": told})
        else:
            _show_story(said, told)


def diff(
    ledger: Ledger,
    other: Annotated[Path | None, typer.Argument(help="Another copy of the same ledger.")] = None,
    *,
    trust: Trust = TRUST,
    sizes: Annotated[
        tuple[int, int] | None, typer.Option(help="Compare two sizes of the one ledger.")
    ] = None,
    times: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Say what came into force and what ended between two times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what two ledgers or times differ in; where they fork.

    Exit code 1: they fork, that is, the log has shown two histories.
    """
    from enforcer.app.audit_archive import ledger_copy
    from enforcer.app.audit_history import compare_ledgers, compare_sizes, compare_times
    from enforcer.config import read_trust

    if sum(given is not None for given in (other, sizes, times)) != 1:
        raise InputError(
            "there is nothing to compare with, or too much",
            advice="Give another ledger, or --sizes M N, or --times T T.",
            field="other",
        )
    believed, now = read_trust(trust), now_ms()
    with progress() as advance, ExitStack() as copies:
        directory = copies.enter_context(ledger_copy(ledger, advance)).directory
        if times is not None:
            first_ms, second_ms = (time_of(text, now, "times") for text in times)
            changed = compare_times(directory, (first_ms, second_ms), believed, advance)
            _tell_changes(*changed, as_json=as_json)
            return
        if sizes is not None:
            said = compare_sizes(directory, sizes, believed, advance)
        else:
            second = copies.enter_context(ledger_copy(other or ledger, advance)).directory
            said = compare_ledgers(directory, second, believed, advance)
    if as_json:
        emit_json(_plain_comparison(said))
    else:
        _show_comparison(said)
    if said.is_fork:
        raise typer.Exit(VIOLATION_EXIT)


def act_lines(acts: Iterable[Act]) -> Iterable[str]:
    """Yield one line, with markup, for each act."""
    for act in acts:
        effect = f"; [yellow]no effect[/]: {escape(act.refusal)}" if act.refusal else ""
        order = f" {act.order_id}" if act.order_id else ""
        yield (
            f"  entry {act.index}, {when(act.recorded_at_ms)}: {escape(act.kind)}{order} "
            f"by {escape(', '.join(act.signers))}{effect}"
        )


def plain_acts(acts: Iterable[Act]) -> list[dict[str, object]]:
    """Return acts as plain JSON values."""
    return [
        {
            "index": act.index,
            "recorded_at_ms": act.recorded_at_ms,
            "kind": act.kind,
            "order_id": act.order_id,
            "signers": list(act.signers),
            "refusal": act.refusal,
        }
        for act in acts
    ]


def _plain_then(then: Then) -> dict[str, object]:
    policy = then.state.policy
    return {
        "at_ms": then.t_ms,
        "origin": then.state.origin,
        "size": then.state.size,
        "table_digest": then.table_digest,
        "policy_index": policy.index if policy else None,
        "policy_sha256": policy.payload_sha256 if policy else None,
        "rows": [
            {
                "index": row.index,
                "order_id": row.order_id,
                "version": row.version,
                "target_list_sha256": row.target_list_sha256,
                "target_count": row.target_count,
                "dns_measure": row.dns_measure.name,
                "ip_measure": row.ip_measure.name,
                "binding": row.binding.name,
                "from_ms": row.from_ms,
                "until_ms": row.until_ms,
            }
            for row in then.rows
        ],
        "orders": [
            {
                "index": order.index,
                "order_id": order.payload.order_id,
                "version": order.payload.version,
                "standing": then.standing(order).name,
            }
            for order in then.state.orders.values()
        ],
    }


def _show_story(said: TargetStory, told: Mapping[int, str]) -> None:
    action = said.verdict.action.name
    colour = {"BLOCK": "bold red", "PASS": "bold green"}[action]
    named = said.verdict.order
    because = f" by {named.order_id}" if named and action == "BLOCK" else ""
    out().print(
        f"[{colour}]{action}[/] [bold]{escape(_text_of(said))}[/]{because} at {when(said.t_ms)} "
        f"({said.verdict.cause.name})"
    )
    emit_pairs(
        {
            "line": f"{said.line.text!r}, line {said.line.number} of the list "
            f"{said.line.list_sha256[:16]}…"
            if said.line
            else None,
            "protected by": "\n".join(f"{line.text!r}" for line in said.protections) or None,
            **not_read(said.missing),
        }
    )
    for mention in said.mentions:
        order = mention.order
        holds = ", ".join(guard.name for guard in sorted(order.holds))
        out().print(
            f"[bold]{order.payload.order_id}[/] version {order.payload.version}, entry "
            f"{order.index}: {_standing(mention.standing.name)}"
            + (f" for {holds}" if holds else "")
            + f", {escape(repr(mention.line.text))}, until {when(order.until_ms)}"
        )
        for act, line in zip(mention.acts, act_lines(mention.acts), strict=True):
            out().print(line)
            for words in told.get(act.index, "").splitlines():
                out().print(f"    [dim]│[/] {escape(words)}")


def _standing(name: str) -> str:
    return "not proposed yet" if name == "UNSPECIFIED" else name


def _plain_story(said: TargetStory) -> dict[str, object]:
    named = said.verdict.order
    return {
        "target": _text_of(said),
        "at_ms": said.t_ms,
        "action": said.verdict.action.name,
        "cause": said.verdict.cause.name,
        "denial": said.verdict.denial.name,
        "order_id": named.order_id if named else None,
        "order_index": named.index if named else None,
        "line": said.line.text if said.line else None,
        "line_number": said.line.number if said.line else None,
        "list_sha256": said.line.list_sha256 if said.line else None,
        "protections": [line.text for line in said.protections],
        "orders": [
            {
                "order_id": mention.order.payload.order_id,
                "version": mention.order.payload.version,
                "index": mention.order.index,
                "standing": mention.standing.name,
                "holds": [guard.name for guard in sorted(mention.order.holds)],
                "line": mention.line.text,
                "line_number": mention.line.number,
                "until_ms": mention.order.until_ms,
                "acts": plain_acts(mention.acts),
            }
            for mention in said.mentions
        ],
        **plain_not_read(said.missing),
    }


def _text_of(said: TargetStory) -> str:
    text = getattr(said.target, "text", None)
    return text if isinstance(text, str) else str(said.target)


def _show_comparison(said: Comparison) -> None:
    if said.is_fork:
        out().print(
            f"[bold red]FORK[/]: the first {said.common_size} entries are the same, entry "
            f"{said.common_size} is not: the log has shown two histories. Keep both."
        )
        for title, side in (("first", said.first), ("second", said.second)):
            out().print(f"[bold]{title}[/], {side.size} entries, from where they differ:")
            _show_side(side)
        return
    longer = said.first if said.first.added else said.second
    count = len(longer.added)
    which = "" if said.second is longer else " in the first"
    out().print(
        f"[bold green]SAME HISTORY[/]: {count} entr{'y' if count == 1 else 'ies'} more{which} "
        f"after the first {said.common_size}"
        if count
        else f"[bold green]EQUAL[/]: {said.common_size} entries, root {said.first.root}"
    )
    _show_side(longer)


def _show_side(side: Side) -> None:
    if side.checkpoint is not None:
        for line in side.checkpoint.splitlines():
            out().print(f"  [dim]{escape(line)}[/]")
    for line in act_lines(side.added):
        out().print(line)


def _plain_comparison(said: Comparison) -> dict[str, object]:
    return {
        "outcome": "FORK" if said.is_fork else "SAME_HISTORY",
        "common_size": said.common_size,
        **{
            title: {
                "size": side.size,
                "root": side.root,
                "checkpoint": side.checkpoint,
                "added": plain_acts(side.added),
            }
            for title, side in (("first", said.first), ("second", said.second))
        },
    }


def _tell_changes(earlier: Then, later: Then, changed: list[Changed], *, as_json: bool) -> None:
    if as_json:
        emit_json(
            {
                "from_ms": earlier.t_ms,
                "to_ms": later.t_ms,
                "from_digest": earlier.table_digest,
                "to_digest": later.table_digest,
                "changes": [
                    {
                        "change": each.change.name,
                        "order_id": each.order.payload.order_id,
                        "version": each.order.payload.version,
                        "index": each.order.index,
                        "standing": each.standing.name,
                        "ended_index": each.order.ended_index,
                        "until_ms": each.order.until_ms,
                    }
                    for each in changed
                ],
            }
        )
        return
    counts = {name: sum(each.change.name == name for each in changed) for name in _WORDS}
    said = ", ".join(f"{count} {_WORDS[name]}" for name, count in counts.items())
    out().print(f"[bold]{said}[/] from {when(earlier.t_ms)} to {when(later.t_ms)}")
    for each in changed:
        order = each.order
        ended = f", by entry {order.ended_index}" if order.ended_index is not None else ""
        out().print(
            f"  {_WORDS[each.change.name]}: {order.payload.order_id} version "
            f"{order.payload.version}, entry {order.index}: {each.standing.name}{ended}, "
            f"until {when(order.until_ms)}"
        )
    emit_pairs({"digest before": earlier.table_digest, "digest after": later.table_digest})


_WORDS = {"CAME": "came into force", "ENDED": "ended", "ALTERED": "altered"}
