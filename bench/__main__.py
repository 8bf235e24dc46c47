"""Run benches by name, or all of them; `--write` puts the numbers into bench/RESULTS.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from bench import Row

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "RESULTS.md"
TITLE = (
    "# Results\n\nWritten by `python -m bench --write`. Compare numbers inside one section: "
    "they come from one run.\n"
)


def main() -> None:
    names = sorted(module.name for module in iter_modules([str(FOLDER)]))
    names = [name for name in names if not name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--write", action="store_true", help="update bench/RESULTS.md")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(names))
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(names)}")
    for name in arguments.names or names:
        module = import_module(f"bench.{name}")
        rows = module.run()
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}\n")
        print(table(rows))
        if arguments.write:
            write(name, module.__doc__ or "", rows)


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table that also reads as text."""
    cells = [("what", "value", "unit", "rounds")]
    cells += [(row.what, number(row.value), row.unit, str(row.rounds)) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    left = [True, False, True, False]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, left, strict=True)
        )
        + " |"
        for line in cells
    ]
    rule = "|".join(
        "-" * (width + 2) if is_left else "-" * (width + 1) + ":"
        for width, is_left in zip(widths, left, strict=True)
    )
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


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


def write(name: str, doc: str, rows: list[Row]) -> None:
    """Replace the section of `name` in RESULTS.md, or add it."""
    text = RESULTS.read_text() if RESULTS.exists() else TITLE
    ran = f"`python -m bench {name} --write`, {datetime.now(tz=UTC):%Y-%m-%d}, on {machine()}."
    section = f"## {name}\n\n{doc.strip()}\n\n{ran}\n\n{table(rows)}\n"
    found = re.search(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found:
        behind = text[found.end() :]
        text = text[: found.start()] + section + ("\n" if behind else "") + behind
    else:
        text = text.rstrip("\n") + "\n\n" + section
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
