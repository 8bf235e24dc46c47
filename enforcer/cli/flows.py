"""``enforcer flows``: whether orders had effect, by flows, exports or captures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.audit_options import Identity, secret_of
from enforcer.cli.output import AsJson, emit_json, emit_pairs, err, out, progress, when
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.flows import Found, Listening, Tally

WORDS = {
    "sets_without_template": "data came before its template and was dropped",
    "gaps": "exports were lost on their way",
    "packets_cut": "packets were cut within their headers",
    "links_unknown": "packets of a link type that is not known",
    "cut": "a capture ends in the middle of a packet",
    "bad_lines": "lines are wrong",
    "lists_missing": "lists of orders are not here, or are restricted",
    "unproven": "flows came from a blocked address, and nothing shows whether anybody got them",
    "nothing_seen": "no flow and no message was there to look at",
}
MISSING_SHOWN_MAX = 20
PHASES = {
    "BEFORE": "before it was in force",
    "AT_EDGE": "at its beginning or end",
    "IN_FORCE": "while in force",
    "PROTECTED": "while in force, but protected",
    "AFTER": "when not in force any more",
}
SHOWN = {
    "ATTEMPT": "attempts without an answer",
    "STOPPED": "stopped, or reset at once",
    "THROUGH": "got through",
    "UNPROVEN": "unproven",
    "QUERY": "DNS queries",
    "RESOLVES": "DNS answers that got through",
    "BLOCKED_BY_ORDER": "DNS answers that name the order",
    "BLOCKED_BY_OTHER": "DNS answers that name another order",
    "BLOCKED_BY_THIRD": "DNS answers that somebody else blocks",
    "ABSENT": "DNS answers without data",
    "FAILED": "DNS failures",
    "NO_ANSWER": "DNS answers that were cut",
}


def flows(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Captures (pcap, pcapng), files of NetFlow v5, v9 or IPFIX messages, CSV or JSON "
            "lines."
        ),
    ] = None,
    *,
    ledger: Annotated[
        Path, typer.Option(help="A ledger's directory, a node's state directory, or an archive.")
    ],
    trust: Annotated[Path, typer.Option(help="The installation's trust.toml.")] = Path(
        "trust.toml"
    ),
    order: Annotated[
        list[str] | None, typer.Option(help="Look for this order alone; may be repeated.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Receive exports at this HOST:PORT, over UDP.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400, help="Receive for so long.")] = 60,
    packets: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="Receive at most so many datagrams.")
    ] = 1_000_000,
    grace: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds that an order has to take effect.")
    ] = 60,
    skew: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds by which clocks may be apart.")
    ] = 2,
    export_port: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=65_535,
            help="Decode what captures have for this UDP port as exports [default: 2055, 4739].",
        ),
    ] = None,
    identity: Identity = None,
    as_json: AsJson = False,
) -> None:
    """Say whether orders had effect, by traffic that was seen.

    Counts flows for each order, before, while and after it was in force, and says whether any got
    through. Exit code 0: none did; 1: some did; 2: nobody can tell. No address and no name is
    kept or shown.
    """
    from enforcer.app import flows as checks
    from enforcer.config import read_trust

    if not files and listen is None:
        raise InputError(
            "there is nothing to look at",
            advice="Name captures, files of exports or lists of flows, or give --listen HOST:PORT.",
            field="files",
        )
    asked = checks.Checking(
        files=files or (),
        listening=_listening(listen, seconds, packets) if listen else None,
        grace_ms=round(grace * 1000),
        skew_ms=round(skew * 1000),
        export_ports=export_port or (2055, 4739),
        order_ids=order or (),
        identity=secret_of(identity),
    )
    with progress() as advance:
        found = checks.check_flows(ledger, read_trust(trust), asked, advance)
    if as_json:
        emit_json(checks.plain(found))
    else:
        _show(found)
    raise typer.Exit(found.exit_code)


def _listening(listen: str, seconds: float, packets: int) -> Listening:
    from enforcer.app import flows as checks

    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise InputError(
            f"{listen!r} is no HOST:PORT",
            advice="Write 127.0.0.1:2055 or [::1]:2055.",
            field="listen",
        )
    return checks.Listening(host.strip("[]"), int(port), seconds, packets)


def _show(found: Found) -> None:
    checked = found.checked
    seen = 0
    for tally in checked.tallies.values():
        if tally.phases:
            seen += 1
            _show_order(tally)
    leaks = checked.leaks
    verdict = {
        0: "[bold green]GOOD[/] nothing got through",
        1: f"[bold red]LEAK[/] {leaks} got through",
        2: "[bold yellow]INCOMPLETE[/] nothing that was seen got through",
    }[found.exit_code]
    out().print(verdict)
    emit_pairs(
        {
            "looked at": f"{checked.flows} flows, {checked.messages} DNS messages",
            "orders": f"{seen} of {len(checked.tallies)} were met",
            "sampled": f"one packet of {checked.sampling}: what is rare can have been missed"
            if checked.sampling > 1
            else None,
        }
    )
    for reason in found.reasons:
        count = found.counts.get(reason, 0)
        words = WORDS.get(reason, reason.replace("_", " ").replace("export ", "exports: "))
        err().print(
            f"[yellow]not everything was seen:[/] {escape(words)}" + f" ({count})" * (count > 0)
        )
    if checked.missing:
        ids = ", ".join(each.order.payload.order_id for each in checked.missing[:MISSING_SHOWN_MAX])
        more = len(checked.missing) - MISSING_SHOWN_MAX
        err().print(
            f"[yellow]not looked at:[/] {escape(ids)}{f' and {more} more' * (more > 0)}. Copy "
            "their lists as well; what is restricted opens with --identity, for whom it was sealed."
        )
    for path, (line, problem) in found.first_bad_lines.items():
        err().print(f"[yellow]{escape(path)} line {line}:[/] {escape(problem)}")


def _show_order(tally: Tally) -> None:
    order = tally.times.order
    out().print(
        f"[bold]{escape(order.payload.order_id)}[/] version {order.payload.version}, entry "
        f"{order.index}, in force from {when(tally.times.begins_ms)}"
    )
    pairs: dict[str, object] = {}
    for words, sums in ((PHASES, tally.phases), (SHOWN, tally.passages), (SHOWN, tally.answers)):
        for kind, each in sums.items():
            name = kind if isinstance(kind, str) else kind.name
            pairs[words[name] if words is PHASES else f"  {words[name]}"] = (
                f"{each.flows} flows, {each.packets} packets, {each.octets} bytes, "
                f"from {each.first_s:+} s to {each.last_s:+} s"
            )
    emit_pairs(pairs)
