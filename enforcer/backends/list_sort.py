"""Sorting more lines than fit into memory: sorted runs in unnamed files, merged."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

RUN_LINES: Final = 100_000  # lines sorted in memory at a time: some 10 MB


def sorted_unique(lines: Iterable[bytes], spill_directory: Path) -> Iterator[bytes]:
    """Yield `lines`, each ended by LF, bytewise sorted, each once.

    Memory is bounded by RUN_LINES; what is over waits in files in `spill_directory`, which
    have no names and are gone when the iteration ends, however it ends. All lines are read
    before the first is yielded.

    Raises:
        OSError: a file cannot be written.
    """
    with ExitStack() as files:
        source = iter(lines)
        runs: list[IO[bytes]] = []
        run = sorted(islice(source, RUN_LINES))
        while len(run) == RUN_LINES:
            file = files.enter_context(TemporaryFile(dir=spill_directory))
            file.writelines(run)
            file.seek(0)
            runs.append(file)
            run = sorted(islice(source, RUN_LINES))
        previous = b""
        for line in heapq.merge(run, *runs):
            if line != previous:
                previous = line
                yield line
