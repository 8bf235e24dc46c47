"""How commands speak: results on stdout, everything else on stderr, JSON when asked.

An error is two lines, what is wrong and what to do, or one JSON object. Progress is shown only on
a terminal and only for what takes over a second.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from enforcer.errors import EnforcerError

PROGRESS_AFTER_SECONDS: Final = 1.0

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Config: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--config", "-c", envvar="ENFORCER_CONFIG", help="Your client.toml.", show_default=True
    ),
]
CLIENT_CONFIG: Final = Path("client.toml")

Advance: TypeAlias = Callable[[str, int, int], None]
"""``advance(stage, done, total)``"""


def out() -> Console:
    """Return the console for results; a pipe has no width to fit into."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def err() -> Console:
    """Return the console for progress, questions and errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def emit_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def emit_pairs(pairs: Mapping[str, object], console: Console | None = None) -> None:
    """Print names and values in two columns; a value of None is left out, none is cut."""
    shown = {name: str(value) for name, value in pairs.items() if value is not None}
    width = max(map(len, shown), default=0) + 2
    for name, value in shown.items():
        text = value.replace("\n", "\n" + " " * width)
        (console or out()).print(f"[dim]{escape(name.ljust(width))}[/]{escape(text)}")


def show_error(error: EnforcerError, *, as_json: bool) -> None:
    """Tell what is wrong and what to do."""
    if as_json:
        what = {"error": type(error).__name__, "message": error.message, "advice": error.advice}
        sys.stderr.write(json.dumps({**what, "data": error.data}, ensure_ascii=False) + "\n")
        return
    err().print(f"[bold red]error:[/] {escape(error.message)}")
    err().print(f"[bold]advice:[/] {escape(error.advice)}")


@contextmanager
def progress() -> Iterator[Advance]:
    """Give a function that shows how far each stage is, once it is worth showing."""
    began = time.monotonic()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=err(),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if time.monotonic() - began < PROGRESS_AFTER_SECONDS or not bars.console.is_terminal:
            return
        bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage)
        bars.update(tasks[stage], completed=done, total=total)

    try:
        yield advance
    finally:
        if tasks:  # else rich would print an empty line
            bars.stop()


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show that something goes on whose end cannot be foreseen, once it takes long."""
    console = err()
    if not console.is_terminal:
        yield
        return
    bars = Progress(TextColumn("{task.description}"), BarColumn(), console=console, transient=True)
    bars.add_task(what, total=None)
    later = threading.Timer(PROGRESS_AFTER_SECONDS, bars.start)
    later.start()
    try:
        yield
    finally:
        later.cancel()
        later.join()
        bars.stop()


def when(t_ms: int) -> str:
    """Return a time for people, in UTC, to the second."""
    return datetime.fromtimestamp(t_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(count: int, thing: str) -> str:
    """Return a number of things in words: ``1 target``, ``2 targets``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def now_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
