"""The program: all commands, and the one place where errors become words and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from enforcer import __version__
from enforcer.cli import (
    audit,
    check,
    control,
    demo,
    flows,
    gate,
    init,
    key,
    ledger,
    lists,
    node,
    order,
    pki,
    status,
    trust,
    witness,
)
from enforcer.cli.output import show_error
from enforcer.errors import UNEXPECTED_EXIT_CODE, EnforcerError


class Program(typer.Typer):
    """A Typer whose exit code says what kind of error it was."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the command line and leave the process."""
        try:
            return super().__call__(*args, **kwargs)
        except EnforcerError as error:
            words = args[0] if args else sys.argv
            show_error(error, as_json=isinstance(words, list) and "--json" in words)
            sys.exit(error.exit_code)
        except Exception:  # noqa: BLE001 - a defect: shown whole, and never mistaken for a finding
            traceback.print_exc()
            sys.exit(UNEXPECTED_EXIT_CODE)


app = Program(
    name="enforcer",
    help="Lawful blocking orders, made effective at resolvers and answerable to everyone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(order.app, name="order")
app.add_typer(lists.app, name="list")
audit.app.command("witness")(witness.witness)
app.add_typer(audit.app, name="audit")
app.add_typer(ledger.app, name="ledger")
app.command("check")(check.check)
app.command("flows")(flows.flows)
app.command("status")(status.status)
app.command("init")(init.init)
app.add_typer(key.app, name="key")
app.add_typer(pki.app, name="pki")
app.add_typer(trust.app, name="trust")
app.add_typer(control.app, name="control")
app.add_typer(node.app, name="node")
app.add_typer(gate.app, name="gate")
app.command("demo")(demo.demo)


def _version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"enforcer {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take what stands before the command."""
