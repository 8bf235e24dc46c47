"""Lists at a person's desk: imported, exported, checked and split, each in a worker process."""

from __future__ import annotations

from pathlib import Path

from enforcer.app.audit_files import DiskLists
from enforcer.app.orders import find_in_ledger
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.content import ContentStore
from enforcer.backends.list_export import Writing
from enforcer.backends.list_format import ListFormat, Reading
from enforcer.backends.list_report import Fault, NormaliseReport
from enforcer.backends.list_split import SplitReport
from enforcer.backends.tiles import LIST_BYTES_MAX
from enforcer.core.target import ListSummary
from enforcer.core.trust import Trust
from enforcer.errors import InputError, NotFoundError

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


def list_of_order(directory: Path, trust: Trust, order_id: str, entry_index: int | None) -> Path:
    """Return where a copy of the ledger has the list of an order.

    Raises:
        NotFoundError: the order or its list is not there.
        IntegrityError: the copy is not what the trusted key signed, or the list was altered.
    """
    payload = find_in_ledger(directory, trust, order_id, entry_index).payload
    is_node = not (directory / "checkpoint").exists()
    lists = (directory / "ledger" if is_node else directory) / "lists"
    store = ContentStore(lists, size_bytes_max=LIST_BYTES_MAX)
    DiskLists(store).check(payload.target_list_sha256)
    return store.path(payload.target_list_sha256)


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
