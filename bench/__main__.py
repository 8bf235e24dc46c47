"""Run benches by name, or all of them; `--write` puts the numbers into bench/RESULTS.md."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from bench._report import row_table, write

FOLDER = Path(__file__).resolve().parent


def bench_names() -> list[str]:
    """Return what can be run: every module whose name does not begin with an underscore."""
    found = [each.name for each in iter_modules([str(FOLDER)]) if not each.ispkg]
    return sorted(name for name in found if not name.startswith("_"))


def main() -> None:
    names = bench_names()
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
        print(row_table(rows))
        if arguments.write:
            command = f"python -m bench {name} --write"
            write(name, module.__doc__ or "", row_table(rows), command)


if __name__ == "__main__":
    main()
