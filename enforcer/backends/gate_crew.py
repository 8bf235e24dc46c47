"""The supervisor's side of its workers: started, told, replaced, drained.

Owns which process serves which set of sockets. Always true: a worker serves only after it was
presented with the tables and the mode; one that ends unasked is replaced, ever more slowly; one
that is replaced on purpose drains only when its successor serves. The sockets stay open here,
so what comes meanwhile waits for the successor. One that does not answer is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

import msgspec
import structlog

from enforcer.backends.forked import forked
from enforcer.backends.gate_channel import (
    Answer,
    Ask,
    Begin,
    Channel,
    Drain,
    Serve,
    ToWorker,
)
from enforcer.backends.gate_settings import GateSettings, dump
from enforcer.backends.gate_sockets import ClientSockets
from enforcer.backends.gate_stats import GateStats
from enforcer.backends.gate_worker import run_worker
from enforcer.backends.watch import Watch
from enforcer.errors import EnforcerError, UnavailableError

ANSWER_SECONDS_MAX: Final = 10.0
START_SECONDS_MAX: Final = 30.0
DRAIN_SECONDS_MAX: Final = 5.0
"""A worker drains two seconds at most; what it takes longer is a fault."""
STEADY_SECONDS: Final = 10.0
"""A worker that served so long had a good start."""
PAUSE_SECONDS_MAX: Final = 30.0
FAILURES_LOUD: Final = 3
TURN_SECONDS_MAX: Final = 60.0

log: Final = structlog.get_logger()


class Stage(Enum):
    """Where a worker is in its life."""

    STARTING = auto()
    SERVING = auto()
    DRAINING = auto()
    LOST = auto()
    """Killed, because it failed; the kernel has not said yet that it has ended."""


@dataclass(slots=True, eq=False)
class Worker:
    """One process, as its supervisor sees it."""

    number: int
    """Of the set of sockets that it serves."""
    region: int
    """Where it counts."""
    pid: int
    process: int
    """A pidfd."""
    channel: Channel
    stage: Stage = Stage.STARTING
    since_seconds: float = field(default_factory=time.monotonic)
    """When it began to start, to serve, or to drain."""
    has_table: bool = False
    is_former: bool = False
    """Of the image of this process before an upgrade: to be replaced."""
    said: Answer = field(default_factory=Answer)
    """What it said last."""


class Crew:
    """All workers; use it from one thread."""

    def __init__(
        self,
        settings: GateSettings,
        sockets: Sequence[ClientSockets],
        watch: Watch,
        present: Callable[[Worker], None],
        stats: GateStats,
    ) -> None:
        """Take over the sockets; `present` gives a worker the tables and the mode."""
        self.stats: Final = stats
        self._settings = settings
        self.sockets = sockets
        self._watch = watch
        self._present = present
        self.workers: list[Worker] = []
        self.counts = dict.fromkeys(("workers_started", "workers_died"), 0)
        self.first_error: EnforcerError | None = None
        """Why a worker could not start, while none ever served."""
        self._failures: Counter[int] = Counter()  # by number, in a row
        self._due: dict[int, float] = {}  # number -> when to start another (time.monotonic)
        self._is_ending = False

    @property
    def serving(self) -> list[Worker]:
        """Those that take queries."""
        return [each for each in self.workers if each.stage is Stage.SERVING]

    @property
    def is_complete(self) -> bool:
        """Whether every set of sockets is served."""
        return len({each.number for each in self.serving}) == len(self.sockets)

    def start(self) -> None:
        """Start a worker for every set of sockets, beside those that serve one already."""
        for number in range(len(self.sockets)):
            self._try(number)

    def adopt(self, number: int, region: int, pid: int, channel: int) -> None:
        """Take over a worker of a former image of this process."""
        end = socket.socket(fileno=channel)
        end.settimeout(ANSWER_SECONDS_MAX)
        worker = Worker(number, region, pid, os.pidfd_open(pid), Channel(end), Stage.SERVING)
        worker.has_table = worker.is_former = True
        self._add(worker)

    @property
    def is_steady(self) -> bool:
        """Whether every worker serves and none is to be replaced."""
        return self.is_complete and len(self.serving) == len(self.workers) == len(self.sockets)

    def tell(
        self, message: ToWorker, fds: Sequence[int] = (), *, to: Sequence[Worker] | None = None
    ) -> list[Answer]:
        """Tell every worker that serves, or those named, and return their answers.

        One that is gone or silent is killed, to be replaced: it does not answer and is no error.

        Raises:
            EnforcerError: the first refusal, after all have answered.
        """
        told = [
            each for each in (self.serving if to is None else to) if self._send(each, message, fds)
        ]
        answers = [answer for each in told if (answer := self._receive(each)) is not None]
        for answer in answers:
            if answer.refusal is not None:
                raise answer.refusal.error()
        return answers

    def ask(self) -> list[Answer]:
        """Ask every worker that serves how it is."""
        return self.tell(Ask())

    def counters(self) -> dict[str, int]:
        """Return what all workers counted since the start, and what they do now."""
        return (
            self.stats.counters()
            | self.counts
            | {
                "tcp_open": sum(each.said.streams for each in self.serving),
                "workers_serving": len(self.serving),
            }
        )

    def tend(self) -> float:
        """Start whom it is time to start, kill who is overdue; return the seconds until more is."""
        now_seconds = time.monotonic()
        for number in [each for each, due in self._due.items() if due <= now_seconds]:
            del self._due[number]
            self._try(number)
        deadlines = dict(self._due)
        for each in self.workers:
            if each.stage not in (Stage.STARTING, Stage.DRAINING):
                continue
            allowed = START_SECONDS_MAX if each.stage is Stage.STARTING else DRAIN_SECONDS_MAX
            if each.since_seconds + allowed <= now_seconds:
                self._kill(each, "it takes too long")
            else:
                deadlines[-each.pid] = each.since_seconds + allowed
        return min([TURN_SECONDS_MAX, *(due - now_seconds for due in deadlines.values())])

    def drain(self) -> None:
        """Have every worker finish what is in flight and end; replace none from here on."""
        self._is_ending = True
        self._due.clear()
        for each in self.workers:
            self._drain(each)

    def _try(self, number: int) -> None:
        """Start a worker, or see that it is tried again: the others serve meanwhile."""
        try:
            self._spawn(number)
        except OSError as error:
            refusal = UnavailableError(
                f"a worker cannot be started: {error.strerror or error}",
                advice="Give the gate more processes and descriptors (TasksMax, LimitNOFILE).",
            )
            self.first_error = self.first_error or refusal
            pause_seconds = self._failed(number)
            log.error(  # noqa: TRY400 - a line, not a trace
                "worker_not_started",
                number=number,
                problem=refusal.message,
                advice=refusal.advice,
                pause_seconds=pause_seconds,
            )
            self._due[number] = time.monotonic() + pause_seconds

    def _failed(self, number: int, *, is_steady: bool = False) -> float:
        """Count a failure to serve a set of sockets; return how long to wait before the next."""
        failures = 1 if is_steady else self._failures[number] + 1
        self._failures[number] = failures
        return 0.0 if failures == 1 else min(0.1 * 2**failures, PAUSE_SECONDS_MAX)

    def _spawn(self, number: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = forked(lambda: run_worker(theirs.fileno()), keeping=[theirs.fileno()])
            except OSError:
                ours.close()
                raise
        ours.settimeout(ANSWER_SECONDS_MAX)
        region = self.stats.region_of(number)
        worker = Worker(number, region, pid, os.pidfd_open(pid), Channel(ours))
        self._add(worker)
        self.counts["workers_started"] += 1
        sockets = self.sockets[number]
        settings = msgspec.Raw(dump(self._settings))
        begin = Begin(number, region, settings, len(sockets.udp), len(sockets.tcp))
        fds = [each.fileno() for each in (*sockets.udp, *sockets.tcp)]
        self._send(worker, begin, [*fds, self.stats.fd])

    def _add(self, worker: Worker) -> None:
        self.workers.append(worker)
        self._watch.add(worker.channel, lambda: self._heard(worker))
        self._watch.add(worker.process, lambda: self._ended(worker))

    def _heard(self, worker: Worker) -> None:
        """Take a worker's first answer, and let it serve in place of its predecessor."""
        if worker.stage is not Stage.STARTING:
            self._watch.forget(worker.channel)  # it has closed its end: its process says the rest
            return
        answer = self._receive(worker)
        if answer is None:
            return
        if answer.refusal is not None:
            self._refused(worker, answer.refusal.error())
            return
        try:
            self._present(worker)
            self.tell(Serve(), to=[worker])
        except EnforcerError as error:
            self._refused(worker, error)
            return
        self._enter(worker, Stage.SERVING)
        log.info("worker_serves", number=worker.number, pid=worker.pid)
        for each in self.serving:
            if each.number == worker.number and each is not worker:
                self._drain(each)

    def _refused(self, worker: Worker, error: EnforcerError) -> None:
        self.first_error = self.first_error or error
        self._kill(worker, error.message)

    def _ended(self, worker: Worker) -> None:
        """Account for a process that has ended, and see that its place is filled."""
        _, status = os.waitpid(worker.pid, 0)
        self._watch.forget(worker.process)
        with suppress(KeyError):
            self._watch.forget(worker.channel)
        os.close(worker.process)
        worker.channel.close()
        self.workers.remove(worker)
        self.stats.bury(worker.region)
        if worker.stage is Stage.DRAINING or self._is_ending:
            log.info("worker_ended", number=worker.number, status=status)
            if worker.is_former and self.is_steady:
                log.info("handover_complete", workers=len(self.workers))
            return
        self.counts["workers_died"] += 1
        served_seconds = time.monotonic() - worker.since_seconds
        pause_seconds = self._failed(worker.number, is_steady=served_seconds >= STEADY_SECONDS)
        failures = self._failures[worker.number]
        if not any(each.number == worker.number and not each.is_former for each in self.workers):
            self._due[worker.number] = time.monotonic() + pause_seconds
        log.error(
            "worker_died",
            number=worker.number,
            exit_code=os.waitstatus_to_exitcode(status),
            failures=failures,
            pause_seconds=pause_seconds,
        )
        if failures == FAILURES_LOUD:
            log.critical(
                "worker_cannot_start",
                number=worker.number,
                consequence="the former one goes on"
                if any(each.number == worker.number for each in self.workers)
                else "queries that come to its sockets are lost; the other workers go on",
                advice="See the lines before; it is tried again every half minute at most.",
            )

    def _enter(self, worker: Worker, stage: Stage) -> None:
        worker.stage = stage
        worker.since_seconds = time.monotonic()

    def _drain(self, worker: Worker) -> None:
        if worker.stage is Stage.SERVING:
            self.tell(Ask(), to=[worker])
        if worker.stage in (Stage.STARTING, Stage.SERVING) and self._send(worker, Drain(), ()):
            self._enter(worker, Stage.DRAINING)

    def _send(self, worker: Worker, message: ToWorker, fds: Sequence[int]) -> bool:
        try:
            worker.channel.send(message, fds)
        except UnavailableError as error:
            self._kill(worker, error.message)
            return False
        return True

    def _receive(self, worker: Worker) -> Answer | None:
        try:
            answer = worker.channel.receive_answer()
        except UnavailableError as error:
            self._kill(worker, error.message)
            return None
        if answer.refusal is None:
            worker.said = answer
        return answer

    def _kill(self, worker: Worker, why: str) -> None:
        """End a worker that is of no use; its end is accounted for when the kernel says it."""
        worker.stage = Stage.LOST
        log.error("worker_lost", number=worker.number, pid=worker.pid, why=why)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(worker.process, signal.SIGKILL)
