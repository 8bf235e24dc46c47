"""The names that are blocked and asked for, and the files that dnsperf reads them from.

The blocked names are the first million of the shared list that the target grammar takes, each
with all below it. Passed names are made up and never below a blocked one. Nothing is resolved:
the only upstream is the bench's own.
"""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench import data_path_or_none
from bench.path import made_up

NAMES = 1_000_000
HOT = 10_000
UNIQUE = 3_000_000
MIX_BLOCKED = 0.05
MIX = 400_000
SAMPLE = 50

GRAMMAR = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
"""As the target-list grammar has it, but for one thing: top-level domains that are digits."""


class Names:
    """The blocked names in sorted order, and what is asked, each in a file under `folder`."""

    def __init__(self, folder: Path, count: int = NAMES) -> None:
        self.folder = folder
        self.blocked = blocked_names(count)
        draw = random.Random(1)
        shuffled = draw.sample(self.blocked, len(self.blocked))
        hot = [f"www.passed-{number:06}.com" for number in range(HOT)]
        self.hot = draw.sample(hot, HOT)
        self.some_blocked = [*shuffled[:SAMPLE], *(f"www.{n}" for n in shuffled[:SAMPLE])]
        self.some_passed = self.hot[:SAMPLE]
        self._write("blocked", shuffled)
        self._write("cached", self.hot)
        self._write("mix", self._mixed(draw, shuffled))
        self._write("uncached", unique("a", UNIQUE))
        self._write("uncached-steady", unique("b", UNIQUE // 10))

    def queries(self, workload: str, *, is_steady: bool = False) -> Path:
        """Return the file of a workload; what must be asked once has one for each run."""
        name = f"{workload}-steady" if is_steady and workload == "uncached" else workload
        return self.folder / f"{name}.queries"

    def _mixed(self, draw: random.Random, blocked: list[str]) -> Iterator[str]:
        for _ in range(MIX):
            yield draw.choice(blocked if draw.random() < MIX_BLOCKED else self.hot)

    def _write(self, workload: str, names: Iterable[str]) -> None:
        with self.queries(workload).open("w") as file:
            file.writelines(f"{name} A\n" for name in names)


def blocked_names(count: int) -> list[str]:
    """Return `count` names, real ones as far as there are, in sorted order."""
    listed = data_path_or_none("domains", "blocklist-1.28M.txt.gz")
    names: set[str] = set()
    if listed is not None:
        with gzip.open(listed, "rt") as file:
            for line in file:
                name = line.strip().lower()
                if len(name) <= 240 and GRAMMAR.fullmatch(name):
                    names.add(name)
                if len(names) == count:
                    break
    if len(names) < count:
        names.update(made_up(count - len(names)))
    return sorted(names)


def unique(label: str, count: int) -> Iterator[str]:
    """Yield names that no run has asked for before."""
    return (f"{label}{number:x}.unique-{number % 997}.net" for number in range(count))


def target_list(names: Iterable[str]) -> bytes:
    """Return the canonical target list of `names`: each and all below it."""
    return b"".join(sorted(b"subtree %s\n" % name.encode() for name in names))
