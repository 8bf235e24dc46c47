"""``enforcer demo``: the whole path on loopback, in plain words, cleaned up whatever happens."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from enforcer.cli.output import err, out
from enforcer.errors import ConflictError

if TYPE_CHECKING:
    from enforcer.app.demo_stage import Stage

KEPT: Final = Path("demo")
INTERRUPTED_EXIT: Final = 130  # as a shell says of a program that SIGINT ended


def demo(
    *,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Play in ./demo, and leave it running until Ctrl-C."),
    ] = False,
) -> None:
    """Show it all on this machine, in plain words.

    Two persons block, one stops, an auditor verifies; without root, all on loopback.
    """
    from enforcer.app.demo_stage import Stage, open_to_pass
    from enforcer.cli.demo_story import Story

    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    if keep and KEPT.exists():
        raise ConflictError(
            f"{KEPT.absolute()} is there already",
            advice=f"Remove it first: rm -r {KEPT}",
            path=str(KEPT),
        )
    with TemporaryDirectory(prefix="enforcer-demo-") as scratch:
        open_to_pass(Path(scratch))
        directory = KEPT.absolute() if keep else Path(scratch) / "demo"
        try:
            with Stage(directory) as stage, _ending_undisturbed():
                Story(stage, out()).play()
                out().print(f"\n[dim]That took {time.monotonic() - began:.0f} seconds.[/]")
                if keep:
                    _stay(stage)
        except KeyboardInterrupt:
            err().print("\nEverything that was started has been ended.")
            raise typer.Exit(INTERRUPTED_EXIT) from None
        finally:
            if keep:
                out().print(f"The files stay in {directory}; remove them with rm -r {KEPT}.")


@contextmanager
def _ending_undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C disturb the cleaning up that follows."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _stay(stage: Stage) -> None:
    """Say what can be tried, and wait for Ctrl-C."""
    made = stage.installation
    commands = {
        "ask": f"dig @127.0.0.1 -p {stage.dns_port} www.example.org",
        "see what decides": f"enforcer check www.example.org --gate {made.gate}/gate.sock",
        "see how all are": f"enforcer status --control {stage.person('auditor')} "
        f"--node {made.node}/node.toml --gate {made.gate}/gate.sock",
        "list orders": f"enforcer order list -c {stage.person('an.nguyen')}",
        "propose": f"enforcer order propose -c {stage.person('an.nguyen')} "
        f"--targets {stage.directory}/list.txt --order {stage.directory}/order-4.toml",
        "approve": f"enforcer order approve -c {stage.person('binh.tran')} VN-2026-000004",
        "stop": f"enforcer order stop -c {stage.person('court.clerk')} VN-2026-000004 "
        f"--node {stage.node_address}",
        "verify": f"enforcer audit verify {made.ledger} --trust {made.trust_file}",
        "look into Redis": f"redis-cli -p {stage.redis_port} keys '*'",
    }
    out().print("\n[bold]It goes on running. In another terminal, with .venv/bin in the path:[/]")
    for what, command in commands.items():
        out().print(f"  [dim]# {what}[/]\n  {escape(command)}")
    out().print("\n[bold]Ctrl-C ends it.[/]")
    with suppress(KeyboardInterrupt):
        signal.pause()
    out().print("\nEnding everything that was started.")
