"""Tables that read as text and as Markdown, and their place in bench/RESULTS.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import Row

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
TITLE = (
    "# Results\n\nWritten by the commands that each section names. Compare numbers inside one "
    "section: they come from one run.\n"
)


def row_table(rows: Sequence[Row]) -> str:
    """Return a table of single numbers."""
    cells = [(row.what, number(row.value), row.unit, str(row.rounds)) for row in rows]
    return table(("what", "value", "unit", "rounds"), cells, left=(0, 2))


def table(head: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Return a Markdown table; the columns numbered in `left` are set to the left."""
    lines = [head, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "| "
        + " | ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    ]
    rule = "|".join(
        "-" * (width + 2) if column in left else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    )
    return "\n".join([texts[0], f"|{rule}|", *texts[1:]])


def number(value: float) -> str:
    """Return `value` with three significant digits, or whole where it is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """Say on what machine this runs."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)
    model = models[0] if models else platform.machine()
    return (
        f"{model}, {os.cpu_count()} CPUs; Linux {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def write(name: str, doc: str, body: str, command: str) -> None:
    """Replace the section of `name` in RESULTS.md, or add it."""
    text = RESULTS.read_text() if RESULTS.exists() else TITLE
    ran = f"`{command}`, {datetime.now(tz=UTC):%Y-%m-%d}, on {machine()}."
    section = f"## {name}\n\n{doc.strip()}\n\n{ran}\n\n{body}\n"
    found = re.search(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found:
        behind = text[found.end() :]
        text = text[: found.start()] + section + ("\n" if behind else "") + behind
    else:
        text = text.rstrip("\n") + "\n\n" + section
    RESULTS.write_text(text)
