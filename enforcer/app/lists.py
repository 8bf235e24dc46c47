"""Lists at a person's desk: imported, exported, checked and split, each in a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from enforcer.app.audit_files import DiskLists
from enforcer.app.check import replay
from enforcer.app.orders import record_in
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.list_export import Writing
from enforcer.backends.list_format import ListFormat, Reading
from enforcer.backends.list_report import Fault, NormaliseReport
from enforcer.backends.list_split import SplitReport
from enforcer.backends.sealed_table import sealed_copy
from enforcer.core.target import ListSummary
from enforcer.core.trust import Trust
from enforcer.errors import InputError, NotFoundError, RefusedError

__all__ = [
    "Fault",
    "ListFormat",
    "ListSummary",
    "NormaliseReport",
    "Reading",
    "SplitReport",
    "Writing",
    "check_list",
    "export_list",
    "import_list",
    "list_of_order",
    "split_list",
]


async def import_list(
    written: Path, canonical: Path, reading: Reading, report_path: Path | None = None
) -> tuple[NormaliseReport, ListSummary]:
    """Write the canonical form of a list in any format.

    Raises:
        NotFoundError: there is no such list.
        InputError: it has no target or over two million, too many bad lines, or no format
            that can be told.
        UnavailableError: a file cannot be read or written, or the worker died.
    """
    _check_paths(written, canonical, report_path)
    async with ListWorker() as worker:
        report = await worker.normalise(written, canonical, reading, report_path)
        return report, await worker.check_list(canonical)


async def export_list(
    canonical: Path, to: Path, writing: Writing, report_path: Path | None = None
) -> NormaliseReport:
    """Write a canonical list in another format.

    Raises:
        NotFoundError: there is no such list.
        InputError: it is not canonical, or nothing of it can be said in that format.
        UnavailableError: a file cannot be read or written, or the worker died.
    """
    _check_paths(canonical, to, report_path)
    async with ListWorker() as worker:
        return await worker.export(canonical, to, writing, report_path)


async def check_list(canonical: Path) -> ListSummary:
    """Check a canonical list and say what it is.

    Raises:
        NotFoundError: there is no such list.
        InputError: the first line that is wrong.
        UnavailableError: it cannot be read, or the worker died.
    """
    _check_paths(canonical)
    async with ListWorker() as worker:
        return await worker.check_list(canonical)


async def split_list(canonical: Path, guards: Path, to: Path) -> tuple[SplitReport, ListSummary]:
    """Write a canonical list without the lines that a guards' report names.

    Raises:
        NotFoundError: there is no such list or report.
        InputError: the list is not canonical, the report not of it, or nothing is left.
        UnavailableError: a file cannot be read or written, or the worker died.
    """
    _check_paths(canonical, to)
    _check_paths(guards, to)
    async with ListWorker() as worker:
        return await worker.split(canonical, guards, to), await worker.check_list(to)


@contextmanager
def list_of_order(
    directory: Path, trust: Trust, order_id: str, entry_index: int | None
) -> Iterator[Path]:
    """Give the file with the list of an order, from a copy of the ledger.

    A list that was sealed and then published is opened in memory.

    Raises:
        NotFoundError: the order or its list is not there.
        IntegrityError: the copy is not what the trusted key signed, or the list was altered.
        RefusedError: the list is not public.
    """
    replayed = replay(directory, trust)
    order = record_in(replayed.state, order_id, entry_index)
    sha256 = order.payload.target_list_sha256
    if not order.is_public:
        raise RefusedError(
            f"the list of {order_id} is restricted: targets are not shown",
            advice="A delayed list can be read once it is published: enforcer order publish.",
            field="source",
        )
    if not order.payload.publication.is_sealed:
        DiskLists(replayed.lists).check(sha256)
        yield replayed.lists.store.path(sha256)
        return
    with closing(sealed_copy(replayed.text(sha256)[:])) as file:
        yield file.path


def _check_paths(read: Path, *written: Path | None) -> None:
    if not read.exists():
        raise NotFoundError(f"there is no file {read}", advice="Name the list.", path=str(read))
    paths = [path for path in written if path is not None]
    if len({path.absolute() for path in (read, *paths)}) <= len(paths):
        raise InputError(
            "one file stands for two",
            advice="Name different files for the list, what is written, and the report.",
            field="out",
        )
