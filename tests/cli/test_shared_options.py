"""A command's own options and those of a dataclass, as one command line."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from enforcer.cli.shared_options import command_of, with_options

calls: list[tuple[object, object]] = []


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What both commands have."""

    name: Annotated[str, typer.Argument(help="Whose.")]
    loud: Annotated[bool, typer.Option("--loud", help="Say it loudly.")] = False


@with_options(Shared)
def direct(shared: Shared, *, times: Annotated[int, typer.Option(help="How often.")] = 1) -> None:
    """Do it."""
    calls.append((shared, times))


def made(*, times: Annotated[int, typer.Option(help="How often.")] = 1) -> int:
    """Do it."""
    return times


@pytest.fixture(params=[direct, command_of(Shared, made, lambda *both: calls.append(both))])
def run(request):
    app = typer.Typer()
    app.command()(request.param)
    calls.clear()
    return lambda *words: CliRunner().invoke(app, words)


def test_a_command_is_given_its_own_options_and_the_shared_ones(run):
    assert run("an", "--times", "3", "--loud").exit_code == 0
    assert calls == [(Shared(name="an", loud=True), 3)]


def test_what_is_not_said_is_what_its_declaration_says(run):
    assert run("an").exit_code == 0
    assert calls == [(Shared(name="an", loud=False), 1)]


def test_help_describes_the_command_and_its_own_options_first(run):
    said = run("--help").output
    assert "Do it." in said
    assert "Whose." in said
    assert said.index("How often.") < said.index("Say it loudly.")


def test_what_the_shared_part_needs_is_asked_for(run):
    assert run().exit_code == 2
    assert calls == []
