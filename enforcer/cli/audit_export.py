"""``enforcer audit export | prove | check-proof | check-receipt``: evidence to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from enforcer.cli.audit_history import act_lines, plain_acts
from enforcer.cli.audit_options import TRUST, VIOLATION_EXIT, At, Ledger, Trust, moment
from enforcer.cli.output import AsJson, emit_json, emit_pairs, now_ms, out, progress, when
from enforcer.errors import IntegrityError


def export(
    ledger: Ledger,
    to: Annotated[Path, typer.Argument(help="The archive to write, such as ledger.tar.gz.")],
    *,
    trust: Trust = TRUST,
    since: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint kept from before, to go with it; may be repeated."),
    ] = None,
    at: At = None,
    with_restricted: Annotated[
        bool, typer.Option(help="Take in the lists that not everybody may read, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a ledger and what lies beside it as one archive.

    --at says when the copy was taken, if that is not just now.
    """
    from enforcer.app.audit_archive import export_archive, ledger_copy
    from enforcer.config import read_trust

    now = now_ms()
    believed, at_ms = read_trust(trust), moment(at, now)
    with progress() as advance, ledger_copy(ledger, advance) as copy:
        taken_at_ms = at_ms or copy.taken_at_ms or now
        done = export_archive(
            copy.directory,
            to,
            believed,
            taken_at_ms=taken_at_ms,
            earlier=since or (),
            with_restricted=with_restricted,
            progress=advance,
        )
    facts = {
        "size": done.size,
        "root": done.root,
        "sums_sha256": done.sums_sha256,
        "bytes": to.stat().st_size,
        "lists": done.lists,
        "documents": done.documents,
        "attestations": done.attestations,
        "checkpoints": done.checkpoints,
        "withheld": done.withheld,
    }
    if as_json:
        emit_json({"path": str(to), "taken_at_ms": taken_at_ms, **facts})
        return
    out().print(f"[bold green]WRITTEN[/]: {escape(str(to))}, a ledger of {done.size} entries.")
    withheld = f"{done.withheld} that not everybody may read yet" if done.withheld else None
    emit_pairs(
        {
            **facts,
            "sums_sha256": None,
            "content": f"{done.sums_sha256} (SHA-256 of SHA256SUMS in it)",
            "as of": when(taken_at_ms),
            "withheld": withheld,
        }
    )


def prove(
    ledger: Ledger,
    order: Annotated[str, typer.Argument(help="The order, such as VN-2026-000001.")],
    to: Annotated[Path, typer.Argument(help="A folder to make, or an archive (.tar.gz).")],
    *,
    trust: Trust = TRUST,
    as_json: AsJson = False,
) -> None:
    """Write what proves one order's acts to a third person."""
    from enforcer.app import audit_proof
    from enforcer.app.audit_archive import ledger_copy
    from enforcer.config import read_trust

    believed = read_trust(trust)
    with progress() as advance, ledger_copy(ledger, advance) as copy:
        done = audit_proof.prove(copy.directory, order, to, believed, advance)
    if as_json:
        emit_json(
            {
                "path": str(to),
                "order_id": order,
                "acts": done.acts,
                "entries": done.entries,
                "bytes": done.size_bytes,
            }
        )
        return
    out().print(
        f"[bold green]WRITTEN[/]: {escape(str(to))}, {done.acts} acts of {escape(order)} and "
        f"{done.entries - done.acts} entries that they rest on, {done.size_bytes} bytes."
    )
    out().print(f"To check: enforcer audit check-proof {escape(str(to))} --trust trust.toml")


def check_proof(
    proof: Annotated[Path, typer.Argument(help="The folder or archive that `prove` wrote.")],
    *,
    trust: Trust = TRUST,
    as_json: AsJson = False,
) -> None:
    """Check such a proof, against the trust file alone.

    Exit code 1: it does not prove what it says.
    """
    from enforcer.app import audit_proof
    from enforcer.config import read_trust

    believed = read_trust(trust)
    try:
        proved = audit_proof.check_proof(proof, believed)
    except IntegrityError as error:
        if as_json:
            emit_json({"outcome": "NOT_PROVED", "reason": error.message, "data": error.data})
        else:
            out().print(f"[bold red]NOT PROVED[/]: {escape(error.message)}")
        raise typer.Exit(VIOLATION_EXIT) from error
    if as_json:
        emit_json(
            {
                "outcome": "PROVED",
                "origin": believed.origin,
                "order_id": proved.order_id,
                "size": proved.size,
                "root": proved.root,
                "acts": plain_acts(proved.acts),
                "rests_on": plain_acts(proved.rests_on),
            }
        )
        return
    out().print(
        f"[bold green]PROVED[/]: {len(proved.acts)} acts of {escape(proved.order_id)} are in the "
        f"ledger {escape(believed.origin)} of {proved.size} entries."
    )
    for line in act_lines(proved.acts):
        out().print(line)
    out().print("They rest on these acts of the roots:")
    for line in act_lines(proved.rests_on):
        out().print(line)
    out().print("That no other act was recorded is for `audit verify` to say, on the whole ledger.")


def check_receipt(
    receipt_file: Annotated[Path, typer.Argument(help="The receipt (.tlog-proof).")],
    entry_file: Annotated[Path, typer.Argument(help="The entry's bytes that it is about.")],
    *,
    trust: Trust = TRUST,
    as_json: AsJson = False,
) -> None:
    """Check a receipt: that an entry is in it, and who witnessed."""
    from enforcer.app import audit
    from enforcer.config import read_trust

    believed = read_trust(trust)
    proved = audit.check_receipt(receipt_file, entry_file, believed)
    checkpoint = proved.checkpoint
    if as_json:
        emit_json(
            {
                "entry_index": proved.index,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "witness_quorum": believed.witnesses.quorum,
                "witnesses": proved.witnesses,
            }
        )
        return
    out().print(
        f"[green]Proved.[/] Entry {proved.index} is in the ledger {escape(checkpoint.origin)} of "
        f"{checkpoint.size} entries."
    )
    for name, t_seconds in proved.witnesses.items():
        out().print(f"Witnessed by {escape(name)}, {when(1_000 * t_seconds)}.")
    if not believed.witnesses.quorum:
        out().print("[yellow]UNWITNESSED[/]: that there is only one history is the log's word.")
