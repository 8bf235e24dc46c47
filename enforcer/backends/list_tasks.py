"""What the list worker's process does: check, compile and normalise whole lists.

Plain functions of paths, called in another process by :mod:`compile_worker`; nothing here is
shared, and no list is ever in memory but as a mapped file. Raises only what pickles whole:
EnforcerErrors.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, TypeAlias

from enforcer._native import compiler, scanner
from enforcer._native.windows import windows
from enforcer.backends import durable
from enforcer.backends.list_export import Writing, export
from enforcer.backends.list_format import Reading
from enforcer.backends.list_import import normalise
from enforcer.backends.list_report import NormaliseReport
from enforcer.backends.list_split import SplitReport, split
from enforcer.backends.sealed_table import SealedFile, writable
from enforcer.backends.sealing import SALT_OCTETS
from enforcer.core.guard_data import KIND_BYTES, PINNED_BYTES_MAX, check_text, kind_of
from enforcer.core.table import DnsMeasure, OrderRow
from enforcer.core.target import ListKind, ListSummary, parse_line
from enforcer.errors import InputError, IntegrityError, UnavailableError
from enforcer.ports import CompileJob, TableStats

Text: TypeAlias = mmap.mmap | bytes


def check_list(path: Path) -> ListSummary:
    """Check the canonical target list, or the data for guards, at `path`.

    Raises:
        InputError: the first line that is wrong.
        UnavailableError: it cannot be read, or memory has run out.
    """
    with bounded_memory(), ExitStack() as stack:
        text = stack.enter_context(mapped(path))
        if kind_of(text[:KIND_BYTES]) is not ListKind.TARGETS:
            return check_text(text[: PINNED_BYTES_MAX + 1])
        result = scanner.scan(text)
        digest = digest_of(text)
    return ListSummary(digest, result.target_count, result.name_count)


@dataclass(frozen=True, slots=True)
class Place:
    """A file in the memory of another process."""

    path: Path
    inode: int

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Yield a descriptor to read and write it.

        Raises:
            UnavailableError: it is not there any more.
        """
        with durable.reporting(self.path, "open"):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_ino != self.inode:  # the number may mean another file by now
                raise UnavailableError(f"{self.path} was given back", advice="Try again.")
            yield descriptor
        finally:
            os.close(descriptor)


def compile_at(place: Place, job: CompileJob) -> TableStats:
    """Compile a table into a file in the memory of another process.

    Raises:
        UnavailableError: it is not there any more; else as `compile_table`.
    """
    with place.opened() as descriptor:
        return compile_table(descriptor, job)


def compile_here(job: CompileJob) -> tuple[SealedFile, TableStats]:
    """Compile a table into sealed memory of this process; as `compile_table` otherwise."""
    with writable() as fd:
        stats = compile_table(fd, job)
        return SealedFile(fd), stats


def compile_table(fd: int, job: CompileJob) -> TableStats:
    """Compile a base or an overlay into the file `fd`, replacing all of it. Syncs nothing.

    Raises:
        IntegrityError: a list does not have its SHA-256, which is ``expected`` in the data.
        InputError: a list or a field of the job is wrong.
        UnavailableError: a list cannot be read, the table not written, or memory has run out.
    """
    with bounded_memory(), ExitStack() as stack:
        orders = [
            (row, stack.enter_context(_names_of(row, path, job.salted))) for row, path in job.orders
        ]
        core, protected = (
            stack.enter_context(verified(*listed)) if listed is not None else b""
            for listed in (job.protected_core, job.protected_names)
        )
        compile_ = compiler.compile_table
        if job.base_sha256 is not None:
            compile_ = partial(compiler.compile_overlay, base_sha256=job.base_sha256, rows=job.rows)
        try:
            table = compile_(
                fd,
                origin=job.origin,
                ledger_size=job.ledger_size,
                time_floor_ms=job.time_floor_ms,
                table_digest=job.table_digest,
                secret=job.secret,
                register_url=job.register_url,
                register_domain=job.register_domain,
                orders=orders,
                core=core,
                protected=protected,
                overrides=[
                    (row.index, parse_line(line.encode("ascii")))
                    for row, _ in orders
                    for line in row.overrides
                ],
            )
        except OSError as error:
            raise UnavailableError(
                f"cannot write a table: {error.strerror or error}",
                advice="Give this host more memory, or raise the limits of the service.",
            ) from error
    return TableStats(table.name_count, table.total_bytes, table.body_sha256)


def _names_of(
    row: OrderRow, path: Path, salted: frozenset[str]
) -> AbstractContextManager[Text | memoryview]:
    """Map an order's list for a table; without a DNS measure there is nothing of it in there."""
    if row.dns_measure is DnsMeasure.NONE:
        return nullcontext(b"")
    return verified(row.target_list_sha256, path, salted)


def normalise_list(
    path_in: Path, path_out: Path, reading: Reading, report_path: Path | None = None
) -> NormaliseReport:
    """Write the canonical form of the list `path_in` to `path_out`. Syncs nothing.

    The report is written also when the list is refused.

    Raises:
        InputError: no target or over two million, too many bad lines, or an unknown format.
        UnavailableError: a file cannot be read or written, or memory has run out.
    """

    def work(source: IO[bytes], to: IO[bytes], report_to: IO[bytes] | None) -> NormaliseReport:
        return normalise(source, to, reading, spill_directory=path_out.parent, report_to=report_to)

    return _rewritten(path_in, path_out, report_path, work)


def export_list(
    path_in: Path, path_out: Path, writing: Writing, report_path: Path | None = None
) -> NormaliseReport:
    """Write the canonical list `path_in` in another format. Syncs nothing.

    Raises:
        InputError: the list is not canonical, or nothing of it can be said in that format.
        UnavailableError: a file cannot be read or written, or memory has run out.
    """
    check_list(path_in)
    return _rewritten(
        path_in,
        path_out,
        report_path,
        lambda source, to, report_to: export(source, to, writing, report_to),
    )


def split_list(path_in: Path, path_guards: Path, path_out: Path) -> SplitReport:
    """Write the canonical list `path_in` without the lines that a guards' report names.

    Raises:
        InputError: the list is not canonical, the report not of this list, or nothing is left.
        UnavailableError: a file cannot be read or written, or memory has run out.
    """
    check_list(path_in)
    with (
        bounded_memory(),
        durable.reporting(path_guards, "read"),
        path_guards.open("rb") as guards,
        durable.reporting(path_in, "read"),
        path_in.open("rb") as source,
        replacing(durable.temporary_of(path_out), path_out) as to,
    ):
        return split(source, guards, to)


def _rewritten(
    path_in: Path,
    path_out: Path,
    report_path: Path | None,
    work: Callable[[IO[bytes], IO[bytes], IO[bytes] | None], NormaliseReport],
) -> NormaliseReport:
    with bounded_memory(), ExitStack() as stack:
        report_to = None
        if report_path is not None:
            temporary = durable.temporary_of(report_path)
            report_to = stack.enter_context(replacing(temporary, report_path))
        try:
            with (
                durable.reporting(path_in, "read"),
                path_in.open("rb") as source,
                replacing(durable.temporary_of(path_out), path_out) as to,
            ):
                return work(source, to, report_to)
        except InputError as error:
            refusal = error
    raise refusal  # after the report has taken its place: it says why


@contextmanager
def mapped(path: Path | None) -> Iterator[Text]:
    """Map a file to read it; an empty one, and None, are no bytes.

    Raises:
        UnavailableError: it cannot be read.
    """
    if path is None:
        yield b""
        return
    with durable.reporting(path, "read"), path.open("rb") as file:
        is_empty = os.fstat(file.fileno()).st_size == 0
        text = b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # Unmapped with its last reference: closing it could meet a view held by a traceback.
    yield text


def digest_of(text: Text) -> str:
    """Return the SHA-256 of a text in hexadecimal; a mapped one is read part by part."""
    hashed, at = sha256(), 0
    with memoryview(text) as view:
        for end in windows(text):
            hashed.update(view[at:end])
            at = end
    return hashed.hexdigest()


@contextmanager
def verified(
    expected: str, path: Path, salted: frozenset[str] = frozenset()
) -> Iterator[Text | memoryview]:
    """Map the list of that SHA-256; of one of the `salted`, only the text behind the salt.

    Raises:
        IntegrityError: it has another.
        UnavailableError: it cannot be read.
    """
    with mapped(path) as text:
        got = digest_of(text)
        if got != expected:
            raise IntegrityError(
                f"the target list {path.name} hashes to {got}, not to {expected}",
                advice="Fetch the list again; the copy on this disk was altered or cut.",
                problem="other content",
                expected=expected,
                got=got,
            )
        yield memoryview(text)[SALT_OCTETS:] if expected in salted else text


@contextmanager
def replacing(temporary: Path, path: Path) -> Iterator[IO[bytes]]:
    """Open `temporary`, for this user alone, and let it take `path`'s place at the end."""
    with durable.reporting(path, "write"):
        try:
            durable.remove_quietly(temporary)
            descriptor = os.open(
                temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, durable.PRIVATE_MODE
            )
            with open(descriptor, "w+b") as file:
                yield file
            temporary.replace(path)
        finally:
            durable.remove_quietly(temporary)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Report memory that has run out.

    Raises:
        UnavailableError: it has.
    """
    try:
        yield
    except MemoryError as error:
        raise UnavailableError(
            "memory has run out while working on a list",
            advice="Give this host more memory, or raise the limit of the service.",
        ) from error
