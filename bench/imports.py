"""A million names in each format: read into one target list, and written from it.

One line in a thousand of each file is bad. Each step runs in a process of its own, so that
peak memory is its own, beside two floors over the same file: `wc -l`, and a Python loop that
does nothing with each line.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter_ns

from bench import Row, data_path, median_row
from bench._step import in_child, timed
from enforcer.backends import list_tasks
from enforcer.backends.list_export import Writing
from enforcer.backends.list_format import ListFormat, Reading
from enforcer.core.target import TargetKind, parse_line
from enforcer.errors import InputError

ROUNDS = 5
NAMES = 1_000_000
BAD_EACH = 1_000
BAD = b"http://example.org/ *.example.org\n"

LINES = {
    ListFormat.PLAIN: b"%b\n",
    ListFormat.HOSTS: b"0.0.0.0 %b\n",
    ListFormat.ADBLOCK: b"||%b^\n",
    ListFormat.DNSMASQ: b"local=/%b/\n",
    ListFormat.RPZ: b"%b CNAME .\n*.%b CNAME .\n",
    ListFormat.CSV: b"1,%b,2026-11-22\n",
    ListFormat.CANONICAL: b"subtree %b\n",
}
HEADS = {ListFormat.CSV: b"id,name,seen\n"}
COLUMNS = {ListFormat.CSV: "name"}


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        listed = list(islice(names(), NAMES))
        rows = [Row("names", len(listed), "")]
        empty = [step("empty", Path(), Path(), ListFormat.PLAIN) for _ in range(ROUNDS)]
        rows.append(memory_row("a process that does nothing", empty))
        for form in LINES:
            path, to = Path(folder, form.word), Path(folder, "targets")
            write_list(path, form, listed)
            rows.append(Row(f"{form.word}: file", path.stat().st_size / 1e6, "MB"))
            rows.append(median_row(f"{form.word}: wc -l", [wc(path) for _ in range(ROUNDS)], "s"))
            looped = [step("loop", path, to, form) for _ in range(ROUNDS)]
            rows.append(seconds_row(f"{form.word}: loop", looped))
            got = [step("import", path, to, form) for _ in range(ROUNDS)]
            rows.append(seconds_row(f"{form.word}: import", got))
            rows.append(memory_row(f"{form.word}: import", got))
        canonical = Path(folder, "canonical")
        canonical.write_bytes(b"".join(sorted(b"subtree %b\n" % name for name in listed)))
        for form in LINES:
            if form is not ListFormat.HOSTS:  # which has no subtrees
                got = [step("export", canonical, Path(folder, "out"), form) for _ in range(ROUNDS)]
                rows.append(seconds_row(f"{form.word}: export", got))
        return rows


def seconds_row(what: str, got: list[dict[str, float]]) -> Row:
    return median_row(what, [each["seconds"] for each in got], "s")


def memory_row(what: str, got: list[dict[str, float]]) -> Row:
    return median_row(f"{what}, peak memory", [each["memory_mb"] for each in got], "MB")


def names() -> Iterator[bytes]:
    """Yield the real names that the grammar takes, in the order they come."""
    with gzip.open(data_path("domains", "blocklist-1.28M.txt.gz")) as file:
        for line in file:
            name = line.strip().lower()
            try:
                parse_line(b"subtree " + name)
            except InputError:
                continue
            yield name


def write_list(path: Path, form: ListFormat, listed: list[bytes]) -> None:
    line = LINES[form]
    count = line.count(b"%b")
    with path.open("wb") as file:
        file.write(HEADS.get(form, b""))
        for number, name in enumerate(listed):
            file.write(BAD if number % BAD_EACH == 0 else line % ((name,) * count))


def wc(path: Path) -> float:
    start = perf_counter_ns()
    subprocess.run(["wc", "-l", str(path)], check=True, stdout=subprocess.DEVNULL)
    return (perf_counter_ns() - start) / 1e9


def step(name: str, path: Path, to: Path, form: ListFormat) -> dict[str, float]:
    """Run one of the works below in a child, and return what it found."""
    found: dict[str, float]
    found = json.loads(in_child("bench.imports", name, path, to, form.name))
    return found


def loop(path: Path) -> None:
    with path.open("rb") as file:
        for _ in file:
            pass


def import_(path: Path, to: Path, form: ListFormat) -> None:
    report = list_tasks.normalise_list(path, to, Reading(form, column=COLUMNS.get(form)))
    assert report.target_count == NAMES - NAMES // BAD_EACH, report


def work(name: str, path: Path, to: Path, form: ListFormat) -> dict[str, float]:
    match name:
        case "empty":
            return timed(lambda: None)
        case "loop":
            return timed(lambda: loop(path))
        case "import":
            return timed(lambda: import_(path, to, form))
        case _:
            writing = Writing(form, kind=TargetKind.SUBTREE)
            return timed(lambda: list_tasks.export_list(path, to, writing))


if __name__ == "__main__":
    name, path, to, form = sys.argv[1:]
    json.dump(work(name, Path(path), Path(to), ListFormat[form]), sys.stdout)
