"""The list worker: results and errors come back whole, and a worker that dies is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer._native.probe import Table
from enforcer.backends import list_tasks
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.gate_messages import is_sealed, seal
from enforcer.backends.list_format import Reading
from enforcer.backends.sealed_table import writable
from enforcer.core.name import Name
from enforcer.core.target import TargetKind
from enforcer.core.verdict import Cause
from enforcer.errors import InputError, IntegrityError, UnavailableError
from enforcer.ports import CompileJob, SealedTable
from tests.descriptors import open_files, place_of
from tests.tables import SECRET, order_row, target_list
from tests.waiting import WAIT_SECONDS, eventually, until

LIST = target_list("exact www.example.com", "subtree example.org")
CORE = target_list("subtree safe.example.org")


@pytest.fixture
def job(tmp_path: Path) -> CompileJob:
    (tmp_path / "list").write_bytes(LIST)
    (tmp_path / "core").write_bytes(CORE)
    (tmp_path / "protected").write_bytes(b"")
    return CompileJob(
        origin="example.org/ledger",
        ledger_size=7,
        time_floor_ms=900,
        table_digest="ab" * 32,
        secret=SECRET,
        register_url="https://register.example.org/o/",
        register_domain="register.example.org",
        orders=((order_row(5, LIST), tmp_path / "list"),),
        protected_core=(sha256(CORE).hexdigest(), tmp_path / "core"),
        protected_names=(sha256(b"").hexdigest(), tmp_path / "protected"),
    )


def octets_of(table: SealedTable) -> bytes:
    return os.pread(table.fileno(), os.fstat(table.fileno()).st_size, 0)


def worker_pid(worker: ListWorker) -> int:
    assert worker._process is not None
    assert worker._process.pid is not None
    return worker._process.pid


async def test_a_worker_checks_normalises_compiles_and_survives_errors(
    tmp_path: Path, job: CompileJob
):
    (tmp_path / "loose").write_bytes(b"Example.ORG\n*.example.net\nexact www.example.com.\n")
    async with ListWorker() as worker:
        report = await worker.normalise(
            tmp_path / "loose", tmp_path / "list", Reading(kind=TargetKind.SUBTREE)
        )
        assert (report.target_count, report.fault_count) == (2, 1)
        assert report.faults[0].line == 2
        assert (tmp_path / "list").read_bytes() == LIST

        summary = await worker.check_list(tmp_path / "list")
        assert summary.sha256 == sha256(LIST).hexdigest()
        assert (summary.target_count, summary.name_count) == (2, 2)

        with pytest.raises(InputError) as caught:
            await worker.check_list(tmp_path / "loose")
        assert caught.value.data == {"line": 1, "column": 1}
        assert "line 1, column 1" in caught.value.diagnostics()

        pid = worker_pid(worker)
        sealed, stats = await worker.compile(job)
        assert worker_pid(worker) == pid

    table = Table(octets_of(sealed))
    assert stats.body_sha256 == table.header.body_sha256
    assert stats.bytes == table.header.total_bytes
    assert stats.name_count == 3
    wire = Name.from_text("a.safe.example.org").wire
    assert table.decide(wire, 1, 1500).cause is Cause.PROTECTED_CORE
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_killed_worker_is_an_error_now_and_a_new_worker_next(job: CompileJob):
    async with ListWorker() as worker:
        await worker.compile(job)
        first = worker_pid(worker)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(UnavailableError, match="died"):
            await worker.compile(job)
        await worker.compile(job)
        assert worker_pid(worker) != first


async def test_every_job_that_waited_for_a_killed_worker_is_told(job: CompileJob):
    async with ListWorker() as worker:
        await worker.compile(job)
        waiting = [asyncio.ensure_future(worker.compile(job)) for _ in range(200)]
        await asyncio.sleep(0)
        os.kill(worker_pid(worker), signal.SIGKILL)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[-1], UnavailableError)
        assert await worker.compile(job)


async def test_a_worker_that_has_nothing_to_do_ends_and_comes_back(job: CompileJob):
    async with ListWorker(idle_seconds=0.05) as worker:
        *_, pid = await asyncio.gather(
            worker.compile(job), worker.compile(job), worker._run(os.getpid)
        )
        await until(lambda: not Path(f"/proc/{pid}").exists())
        assert worker._process is None
        _, another = await asyncio.gather(worker.compile(job), worker._run(os.getpid))
        assert another != pid


async def test_a_worker_that_is_needed_again_stays(job: CompileJob):
    async with ListWorker(idle_seconds=60.0) as worker:
        await worker.compile(job)
        pid, due = worker_pid(worker), worker._resting
        await worker.compile(job)
        assert worker_pid(worker) == pid
        assert due.cancelled()


async def test_a_short_list_needs_no_process(tmp_path: Path):
    (tmp_path / "list").write_bytes(LIST)
    async with ListWorker() as worker:
        assert (await worker.check_list(tmp_path / "list")).target_count == 2
        with pytest.raises(UnavailableError):
            await worker.check_list(tmp_path / "absent")
        assert worker._process is not None  # for the one that could not be looked at


async def test_an_overlay_does_not_wait_for_threads_that_wait_for_a_disk(job: CompileJob):
    disk = threading.Event()
    waiting = [asyncio.ensure_future(asyncio.to_thread(disk.wait)) for _ in range(64)]
    try:
        async with ListWorker() as worker, asyncio.timeout(WAIT_SECONDS):
            _, stats = await worker.compile_overlay(replace(job, base_sha256="ab" * 32, orders=()))
            assert stats.name_count == 1
    finally:
        disk.set()
        await asyncio.gather(*waiting)


PARENT = """
import asyncio, signal
from enforcer.backends.compile_worker import ListWorker

async def main():
    worker = ListWorker()
    await worker.start()
    print(worker._process.pid, flush=True)
    signal.pause()

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as parent:
        assert parent.stdout is not None
        worker = Path("/proc") / str(int(parent.stdout.readline()))
        assert worker.is_dir()
        parent.kill()
    eventually(lambda: has_ended(worker))


def has_ended(process: Path) -> bool:
    """Tell whether a process is gone, though nobody may have waited for it."""
    try:
        return "\nState:\tZ" in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("name", ["list", "core"])
def test_a_list_of_another_hash_is_refused_by_its_own(job: CompileJob, tmp_path: Path, name: str):
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole.replace(b"example.org", b"example.net"))
    with pytest.raises(IntegrityError, match="hashes to") as caught:
        list_tasks.compile_here(job)
    assert caught.value.data["expected"] == sha256(whole).hexdigest()


def test_a_file_that_was_given_back_is_not_written_into(job: CompileJob, tmp_path: Path):
    other = tmp_path / "other"
    other.write_bytes(b"the ledger")
    with pytest.raises(UnavailableError, match="given back"):
        list_tasks.compile_at(list_tasks.Place(other, other.stat().st_ino + 1), job)
    assert other.read_bytes() == b"the ledger"


async def test_an_overlay_is_compiled_while_a_base_is(job: CompileJob):
    async with ListWorker() as worker:
        base, stats = await worker.compile(job)
        pid = worker_pid(worker)
        os.kill(pid, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(worker.compile(job))
            new = replace(job, base_sha256=stats.body_sha256, rows=(job.orders[0][0],), orders=())
            overlay, _ = await worker.compile_overlay(new)
            assert not waiting.done()
        finally:
            os.kill(pid, signal.SIGCONT)
        await waiting
    table = Table(octets_of(base)).with_overlay(octets_of(overlay))
    assert table.orders() == [job.orders[0][0]]


async def test_a_table_is_sealed_and_a_refused_one_leaves_no_descriptor(job: CompileJob):
    async with ListWorker() as worker:
        sealed, _ = await worker.compile(job)
        assert is_sealed(sealed.fileno())
        before = open_files()
        for _ in range(3):
            with pytest.raises(InputError):
                await worker.compile(replace(job, register_url="no URL"))
        assert not open_files() - before
        held = place_of(sealed.fileno())
        sealed.close()
        sealed.close()
        assert held in before - open_files()
        with pytest.raises(ValueError, match="given back"):
            sealed.fileno()


def test_memory_that_cannot_be_had_is_told(job: CompileJob):
    with writable() as fd:
        seal(fd)  # it cannot grow
        with pytest.raises(UnavailableError, match="cannot write a table") as caught:
            list_tasks.compile_table(fd, job)
        os.close(fd)
    assert "memory" in caught.value.advice


def test_a_file_that_is_away_is_told_by_its_path(job: CompileJob, tmp_path: Path):
    with pytest.raises(UnavailableError, match="absent"):
        list_tasks.check_list(tmp_path / "absent")
    with pytest.raises(UnavailableError, match="absent"):
        list_tasks.compile_at(list_tasks.Place(tmp_path / "absent", 0), job)
    with pytest.raises(UnavailableError, match="absent"):
        list_tasks.compile_here(replace(job, protected_core=("ab" * 32, tmp_path / "absent")))
    with pytest.raises(UnavailableError, match="absent"):
        list_tasks.normalise_list(tmp_path / "absent", tmp_path / "out", Reading())


def test_an_empty_list_is_no_canonical_list(tmp_path: Path):
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="empty"):
        list_tasks.check_list(tmp_path / "empty")
