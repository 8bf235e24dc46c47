"""Options that several commands have, declared once as the fields of a dataclass.

Typer reads a command's options from its signature. What is made here shows it one in which the
fields stand behind the command's own options, and is given the dataclass, filled in. The
annotations must be there when the program runs, not for type checkers alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, Signature
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Result = TypeVar("Result")


def with_options(
    declared: Callable[..., T],
) -> Callable[[Callable[Concatenate[T, P], None]], Callable[P, None]]:
    """Give a command its first argument from the options that `declared` has as fields."""

    def decorated(command: Callable[Concatenate[T, P], None]) -> Callable[P, None]:
        return _shown(command, _parameters(command)[1:], declared)

    return decorated


def command_of(
    declared: Callable[..., T], own: Callable[P, Result], act: Callable[[T, Result], None]
) -> Callable[P, None]:
    """Return a command with the options of `own`, and those that `declared` has as fields.

    It is named and described as `own` is, which is called first; `act` is given what it returns.
    """

    @wraps(own)
    def run(filled: T, /, *args: P.args, **words: P.kwargs) -> None:
        act(filled, own(*args, **words))

    return _shown(run, _parameters(own), declared)


def _shown(
    run: Callable[Concatenate[T, P], None], own: Iterable[Parameter], declared: Callable[..., T]
) -> Callable[P, None]:
    """Return a command with its own options and those declared, which runs `run`."""
    shared = _parameters(declared)

    @wraps(run)
    def command(*args: P.args, **words: P.kwargs) -> None:
        filled = declared(**{each.name: words.pop(each.name) for each in shared})
        run(filled, *args, **words)

    shown = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
    command.__annotations__ = {each.name: each.annotation for each in shown}
    command.__dict__["__signature__"] = Signature(shown)
    return command


def _parameters(of: Callable[..., object]) -> list[Parameter]:
    return list(inspect.signature(of, eval_str=True).parameters.values())
