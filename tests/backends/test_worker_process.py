"""A worker process: it answers in order, has in memory what its calls need, and ends with us."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from enforcer.backends import list_tasks
from enforcer.backends.worker_process import WorkerDiedError, WorkerProcess
from enforcer.errors import InputError
from tests.tables import target_list
from tests.waiting import until

MODULES = "sorted(__import__('sys').modules)"
SECONDS_MAX = 30


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    made = WorkerProcess()
    yield made
    made.close()


def children() -> set[int]:
    found: set[int] = set()
    for each in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that just ended
            found |= set(map(int, each.read_text().split()))
    return found


def test_calls_are_answered_in_order_by_one_process_and_nobody_else_is_started(worker):
    before = children()
    futures = [worker.submit(divmod, number, 7) for number in range(100)]
    assert [each.result(SECONDS_MAX) for each in futures] == [divmod(n, 7) for n in range(100)]
    assert children() - before == {worker.pid}
    assert worker.submit(os.getpid).result(SECONDS_MAX) == worker.pid != os.getpid()


def test_a_worker_imports_nothing_of_the_program_that_has_it(worker, tmp_path):
    path = tmp_path / "list"
    path.write_bytes(target_list("exact www.example.com"))
    assert worker.submit(list_tasks.check_list, path).result(SECONDS_MAX).target_count == 1
    loaded = set(worker.submit(eval, MODULES).result(SECONDS_MAX))
    assert "enforcer._native.scanner" in loaded
    strange = {"__mp_main__", "asyncio", "grpc", "multiprocessing", "pytest", "structlog", "typer"}
    assert not loaded & strange


def test_what_a_call_raises_is_raised_here_whole_and_the_next_call_is_answered(worker, tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"no target\n")
    with pytest.raises(InputError) as caught:
        worker.submit(list_tasks.check_list, path).result(SECONDS_MAX)
    assert caught.value.data == {"line": 1, "column": 1}
    with pytest.raises(ZeroDivisionError) as unexpected:
        worker.submit(divmod, 1, 0).result(SECONDS_MAX)
    assert "worker_calls.py" in unexpected.value.__notes__[0]
    assert worker.submit(divmod, 1, 1).result(SECONDS_MAX) == (1, 0)


def test_a_worker_that_dies_fails_the_call_at_hand_and_those_behind(worker):
    pid = worker.submit(os.getpid).result(SECONDS_MAX)
    os.kill(pid, signal.SIGSTOP)
    waiting = [worker.submit(os.getpid) for _ in range(3)]
    os.kill(pid, signal.SIGKILL)
    for future in waiting:
        with pytest.raises(WorkerDiedError):
            future.result(SECONDS_MAX)
    worker.retire()
    worker.retire()


class UnsendableError(Exception):
    """It cannot be made again of what pickle keeps of it."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)


def fail_unsendably() -> None:
    raise UnsendableError("one", "other")


class LastingError(Exception):
    """It cannot be pickled at all."""

    def __reduce__(self) -> str:
        raise TypeError("never")


def fail_lastingly() -> None:
    raise LastingError("so it is")


def test_an_answer_that_cannot_be_taken_is_never_taken_for_the_next_calls(worker):
    with pytest.raises(WorkerDiedError):
        worker.submit(fail_unsendably).result(SECONDS_MAX)
    with pytest.raises(WorkerDiedError):
        worker.submit(divmod, 1, 1).result(SECONDS_MAX)


def test_an_error_that_cannot_be_sent_is_told_in_words(worker):
    with pytest.raises(RuntimeError, match="so it is"):
        worker.submit(fail_lastingly).result(SECONDS_MAX)
    assert worker.submit(divmod, 1, 1).result(SECONDS_MAX) == (1, 0)


def test_one_that_is_being_closed_can_be_told_to_retire(worker):
    worker.submit(os.getpid).result(SECONDS_MAX)
    worker.close()
    worker.retire()


def test_a_worker_runs_nothing_that_its_surroundings_bring_in(worker, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert worker.submit(divmod, 1, 1).result(SECONDS_MAX) == (1, 0)


async def test_a_worker_that_retires_answers_what_it_was_asked_and_is_gone():
    worker = WorkerProcess()
    asked = [worker.submit(os.getpid) for _ in range(3)]
    worker.retire()
    (pid,) = {each.result(SECONDS_MAX) for each in asked}
    await until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_worker_that_was_never_called_was_never_started():
    before = children()
    worker = WorkerProcess()
    assert worker.pid is None
    worker.close()
    assert children() == before
