"""``enforcer ledger backup | restore``: copies of a ledger, and a ledger from copies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.audit_options import VIOLATION_EXIT
from enforcer.cli.output import AsJson, emit_json, emit_pairs, now_ms, out, progress, when

if TYPE_CHECKING:
    from enforcer.app.ledger_copying import Copied
    from enforcer.app.ledger_restore import Restored

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keep verified copies of the ledger, and make it anew from them.",
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The control.toml.")]


@app.command("backup")
def backup(
    to: Annotated[Path, typer.Argument(help="The backup's directory, on another disk.")],
    *,
    config: Config,
    full: Annotated[
        bool, typer.Option("--full", help="Read all of the backup again, not only what is new.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup up to the ledger, and verify what is new.

    Only that is copied; safe while the control plane serves. The backup is a ledger's directory,
    for every `audit`. It refuses to become older. The keys are not in it: keep those elsewhere.
    Exit code 1: a list or a document in the ledger's directory is damaged, and was left out.
    """
    from enforcer.app.ledger_backup import back_up
    from enforcer.config import ControlConfig, read, read_trust

    settings = read(config, ControlConfig)
    with progress() as advance:
        done = back_up(
            settings.ledger_dir,
            to,
            read_trust(settings.trust_file),
            is_full=full,
            progress=advance,
        )
    if as_json:
        emit_json(
            {
                "path": str(to),
                "size": done.size,
                "root": done.root,
                "recorded_at_ms": done.recorded_at_ms,
                "former_size": done.former_size,
                "former_recorded_at_ms": done.former_recorded_at_ms,
                "copied": _plain(done.copied),
                "damaged": done.damaged,
            }
        )
    else:
        former = done.former_recorded_at_ms
        out().print(f"[bold green]BACKED UP[/]: {escape(str(to))} has {done.size} entries.")
        emit_pairs(
            {
                "root": done.root,
                "last entry": when(done.recorded_at_ms) if done.size else None,
                "before": f"{done.former_size} entries, the last of {when(former)}"
                if former is not None
                else "nothing",
                **_words(done.copied),
                "verified": "all of it" if full else "what is new",
                "damaged": "\n".join(done.damaged) or None,
            }
        )
    if done.damaged:
        raise typer.Exit(VIOLATION_EXIT)


@app.command("restore")
def restore(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Copies of it: directories, nodes' state directories, archives.",
        ),
    ],
    *,
    config: Config,
    to: Annotated[
        Path | None, typer.Option(help="Where it is to be, if not where control.toml says.")
    ] = None,
    receipts: Annotated[
        list[Path] | None, typer.Option(help="A folder of receipts that callers kept; repeatable.")
    ] = None,
    cosigned: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that a witness cosigned; its answer if new; repeatable."),
    ] = None,
    unproven: Annotated[
        str, typer.Option(help="Why it is to be done although witnesses cannot be asked.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make the ledger anew from copies, with proof that it is all.

    The fullest copy is verified, and the witnesses that control.toml names are asked how much
    they have seen. It refuses when entries are missing, when two copies contradict each other,
    and when too few witnesses answer (--unproven). Nothing is made then. What nobody saw, and
    nobody has a receipt for, nobody knows of: have people send again what was not answered.
    """
    from enforcer.app.control import witness_links
    from enforcer.app.ledger_lacks import lacks
    from enforcer.app.ledger_restore import Wanted, restore
    from enforcer.config import ControlConfig, read, read_trust

    settings = read(config, ControlConfig)
    trust = read_trust(settings.trust_file)
    target = to or settings.ledger_dir
    wanted = Wanted(
        sources,
        target,
        witness_links(settings, trust),
        cosigned or (),
        receipts or (),
        unproven.strip(),
    )
    with progress() as advance:
        done = asyncio.run(restore(wanted, trust, now_ms(), advance))
        missing = lacks(settings, target, trust, advance)
    if as_json:
        emit_json(_restored(done, target, missing))
        return
    out().print(f"[bold green]RESTORED[/]: {escape(str(target))} has {done.size} entries.")
    emit_pairs(
        {
            "from": done.source,
            "left out": "\n".join(done.left_out) or None,
            "root": done.root,
            **_words(done.copied),
            "receipts": f"{done.receipts}, all of entries that are here" if done.receipts else None,
            "witnesses": "\n".join(_said(done)) or None,
            "proof": "no quorum of witnesses has seen anything that is not here"
            if done.is_proven
            else f"none; restored because: {unproven}",
            "audit": f"{_outcome(done)}: enforcer audit verify {target}",
            "missing": "\n".join(missing) or None,
            "next": "End what may still run of the former control plane, then start this one: "
            f"enforcer control --standby -c {config}",
        }
    )


def _said(done: Restored) -> list[str]:
    return [
        f"{name} has seen {answer.claim.size} entries"
        + (f"; {answer.problem}" if answer.problem else "")
        if answer.claim
        else f"{name}: {answer.problem}"
        for name, answer in done.answers.items()
    ]


def _outcome(done: Restored) -> str:
    from enforcer.app.audit import worst

    return {"NOTE": "GOOD"}.get(name := worst(done.findings).name, name)


def _restored(done: Restored, target: Path, missing: tuple[str, ...]) -> dict[str, object]:
    return {
        "path": str(target),
        "source": done.source,
        "left_out": done.left_out,
        "size": done.size,
        "root": done.root,
        "copied": _plain(done.copied),
        "receipts": done.receipts,
        "witnesses": {
            name: answer.claim.size if answer.claim else answer.problem
            for name, answer in done.answers.items()
        },
        "is_proven": done.is_proven,
        "outcome": _outcome(done),
        "missing": list(missing),
    }


def _words(copied: Copied) -> dict[str, object]:
    return {
        "copied": f"{copied.entries} entries, {copied.lists} lists, {copied.documents} documents, "
        f"{copied.wraps} wraps, {copied.others} other files",
        "erased by law": copied.erased or None,
    }


def _plain(copied: Copied) -> dict[str, object]:
    return {
        "entries": copied.entries,
        "lists": copied.lists,
        "documents": copied.documents,
        "erased": copied.erased,
        "wraps": copied.wraps,
        "others": copied.others,
    }
