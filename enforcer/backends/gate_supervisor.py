"""What a gate's supervisor does with requests: tables taken, kept, reported; the time floor.

Never fatal: a bad table; the gate keeps the one it has, or passes everything and says so. A
request is answered when every worker has done it. Time never goes back behind what the tables
and a clock that nobody can set say. No client or query name is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from enforcer.backends.gate_channel import Answer, SetMode, Swap
from enforcer.backends.gate_crew import Crew, Worker
from enforcer.backends.gate_handover import Handed
from enforcer.backends.gate_last_good import Keeper, LastGood
from enforcer.backends.gate_messages import Check, CheckReport, Load, Overlay, Reply, Request
from enforcer.backends.gate_messages import Mode as SetGateMode
from enforcer.backends.gate_override import Mode, Overrides
from enforcer.backends.gate_settings import GateSettings
from enforcer.backends.gate_table import Tables, laid_over, refuse_older, tables_of
from enforcer.backends.gate_time import TimeFloor
from enforcer.backends.gate_trial import Trial
from enforcer.backends.watch import Watch
from enforcer.core.name import Name
from enforcer.core.verdict import Action, Cause, Denial
from enforcer.errors import (
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import GateMode, GateReport

COUNTS: Final = (
    "tables_loaded",
    "overlays_loaded",
    "tables_refused",
    "tables_refused_golden",
    "floors_unkept",
)
FINISH_SECONDS_MAX: Final = 10.0
FLOOR_SECONDS_MIN: Final = 0.1
"""Between two writes of the time floor."""

log: Final = structlog.get_logger()


class Supervisor:
    """The tables in use, and what was done with tables since the start; one thread uses it."""

    def __init__(self, settings: GateSettings, watch: Watch) -> None:
        self._settings = settings
        self._watch = watch
        self._last_good = LastGood(settings.state_dir)
        self._keeper = Keeper(self._last_good, watch)
        self._floor = TimeFloor(settings.state_dir, settings.origin)
        self._floor_ms = 0
        """The latest that is known: from the disk, then from the workers."""
        self._floor_due_seconds = 0.0  # time.monotonic
        self._is_floor_kept = True
        self._mode = Mode(GateMode[settings.mode.upper()], Overrides(settings.state_dir))
        self._trial = Trial(settings, watch, self._give_back)
        self._sha256s = ("", "")  # of base and overlay, as they were last hashed
        self.confirmed_at_ms = 0
        self.tables: Tables | None = None
        self.counts = dict.fromkeys(COUNTS, 0)
        self.crew: Crew

    def begin(self) -> None:
        """Take what is on the disk: time floor, last good tables, the mode; each if it is good."""
        try:
            self._floor_ms = self._floor.read()
        except EnforcerError as error:
            log.warning("time_floor_refused", problem=error.message, advice=error.advice)
        try:
            found = self._last_good.open(self._settings.origin)
        except NotFoundError:
            log.warning("no_table", consequence="everything passes until the node hands one over")
        except EnforcerError as error:
            self.counts["tables_refused"] += 1
            log.warning("last_good_table_refused", problem=error.message, advice=error.advice)
            log.warning("no_table", consequence="everything passes until the node hands one over")
        else:
            found = self._with_overlay(found)
            self._hold(found)
            self._trial.warn(found, self._now_ms())
            log.info("last_good_table", **_facts(found))
        self._mode.begin(self._now_ms())

    def resume(self, handed: Handed) -> None:
        """Go on with what a former image of this process held.

        Raises:
            EnforcerError: what it left is no good.
        """
        self._floor_ms = handed.floor_ms
        self.confirmed_at_ms = handed.confirmed_at_ms
        self.counts |= {name: handed.counts.get(name, 0) for name in self.counts}
        if handed.tables:
            found = tables_of(handed.tables, self._settings.origin)
            self._hold(found)
            self._keeper.keep(found)  # again, if a child was at it
            log.info("table_handed_over", **_facts(found))
        self._mode.begin(self._now_ms())

    @property
    def is_writing(self) -> bool:
        """Whether tables are being put on the disk."""
        return self._keeper.is_writing

    def left(self) -> tuple[tuple[int, ...], int]:
        """Return what a successor needs: the descriptors of the tables, and the time floor."""
        self.learn_floor(self.crew.ask())
        return (tuple(self.tables.fds) if self.tables else ()), self._floor_ms

    def present(self, worker: Worker) -> None:
        """Give a worker that does not serve yet what the others have.

        Raises:
            EnforcerError: it refuses.
        """
        if self.tables is not None:
            self._give(self.tables, [worker])
        self.crew.tell(SetMode(self._mode.now), to=[worker])

    def tend(self) -> float:
        """Do what is due besides requests; return the seconds until something is again."""
        now_seconds = time.monotonic()
        if now_seconds >= self._floor_due_seconds:
            self.learn_floor(self.crew.ask())
            self.keep_floor()
            self._floor_due_seconds = now_seconds + self._floor_seconds()
        if self._mode.end_if_over(self._now_ms()):
            self.crew.tell(SetMode(self._mode.now))
        return min(
            self._floor_due_seconds - now_seconds,
            self._keeper.tend(),
            self._trial.tend(),
            self._mode.seconds_left(self._now_ms()),
        )

    def _floor_seconds(self) -> float:
        """Return how long the floor on the disk will do: until the next order begins or ends.

        Else one that has ended would block again, after a kill, by a clock that stands back.
        """
        milliseconds = self._settings.floor_interval_ms
        change_ms = self.tables.table.next_change_ms(self._floor_ms) if self.tables else None
        if change_ms is not None:
            milliseconds = min(milliseconds, change_ms - self._floor_ms + 1)
        return max(milliseconds / 1_000, FLOOR_SECONDS_MIN)

    def learn_floor(self, answers: Sequence[Answer]) -> None:
        """Take the latest time floor that workers vouch for."""
        if floors := [each.time_floor_ms for each in answers if each.time_floor_ms]:
            self._floor_ms = max(floors)

    def keep_floor(self) -> None:
        """Put the time floor on the disk, if there is one; failing is said and counted."""
        if self.tables is None:
            return
        try:
            self._floor.keep(self._floor_ms)
        except UnavailableError as error:
            self.counts["floors_unkept"] += 1
            if self._is_floor_kept:
                log.warning("time_floor_not_kept", problem=error.message, advice=error.advice)
            self._is_floor_kept = False
        else:
            self._is_floor_kept = True

    def finish(self) -> None:
        """Put on the disk what is not there yet."""
        self._trial.end()
        self.keep_floor()
        self._keeper.finish(FINISH_SECONDS_MAX)

    def answer(self, request: Request, fds: Sequence[int]) -> Reply:
        """Answer one request from the control socket.

        Raises:
            EnforcerError: what is wrong with it; nothing has changed.
        """
        if isinstance(request, Load):
            return Reply(report=self._take(fds, self._loaded, "tables_loaded"))
        if isinstance(request, Overlay):
            return Reply(report=self._take(fds, self._laid, "overlays_loaded"))
        if isinstance(request, Check):
            return Reply(check=self._check(request))
        if isinstance(request, SetGateMode):
            self._set_mode(request)
        elif request.verify and self.tables is not None:
            self.confirmed_at_ms = self._now_ms()
            self._sha256s = _hashed(self.tables)
        self.learn_floor(self.crew.ask())
        return Reply(report=self._report())

    def _loaded(self, fds: Sequence[int]) -> Tables:
        return tables_of(fds, self._settings.origin)

    def _laid(self, fds: Sequence[int]) -> Tables:
        if self.tables is None:
            raise IntegrityError(
                "the overlay is refused: there is no base that it could lie over",
                advice="Hand over a base, with the overlay behind it.",
            )
        return laid_over(self.tables.base, fds[0], self._settings.origin)

    def _take(
        self, fds: Sequence[int], make: Callable[[Sequence[int]], Tables], counter: str
    ) -> GateReport:
        """Have every worker judge by what `make` makes of the descriptors.

        Raises:
            EnforcerError: why not; what was in force is in force.
        """
        try:
            if not fds:
                raise InputError(
                    "no table came with the request",
                    advice="Send the descriptor of a sealed memfd along (SCM_RIGHTS).",
                )
            new = make(fds)
            refuse_older(new, self.tables)
            self._trial.judge(new, self._now_ms())
            self._swap(new)
        except EnforcerError as error:
            self.counts["tables_refused"] += 1
            self.counts["tables_refused_golden"] += isinstance(error, RefusedError)
            raise
        self.counts[counter] += 1
        self.confirmed_at_ms = self._now_ms()
        log.info("table", **_facts(new))
        self._keeper.keep(new)
        return self._report()

    def _swap(self, new: Tables) -> None:
        """Have every worker judge by `new`, or all by what they had.

        Raises:
            EnforcerError: a worker refuses it, or it blocks a golden name.
        """
        before = self.tables
        try:
            self._give(new, self.crew.serving)
            self._hold(new)
            if before is not None and self._mode.now is GateMode.ENFORCE and self.crew.serving:
                self._trial.ask(self.crew.sockets[0].places[0], new, before)
        except EnforcerError:
            if before is not None:
                self._give(before, self.crew.serving)
                self._hold(before)
            raise
        # Read back, last of all; a base that stays was read back when it came.
        if before is None or new.base is not before.base:
            self._sha256s = _hashed(new)
        elif new.overlay is not None:
            self._sha256s = self._sha256s[0], new.overlay.body_sha256()

    def _give_back(self, before: Tables, error: RefusedError) -> None:
        """Return to the tables before those in use, which block a golden name after all."""
        self.counts["tables_refused"] += 1
        self.counts["tables_refused_golden"] += 1
        log.critical("table_given_back", problem=error.message, advice=error.advice)
        self._give(before, self.crew.serving)
        self._hold(before)
        self._keeper.keep(before)

    def _set_mode(self, request: SetGateMode) -> None:
        t_ms = self._now_ms()
        mode = GateMode[request.mode.upper()]
        self._mode.set(
            mode, by=request.by, reason=request.reason, t_ms=t_ms, seconds=request.seconds
        )
        self.crew.tell(SetMode(self._mode.now))

    def _with_overlay(self, found: Tables) -> Tables:
        """Return tables from the disk with the overlay beside them, if that is good."""
        try:
            return self._last_good.open_overlay(found.base, self._settings.origin)
        except NotFoundError:
            return found
        except EnforcerError as error:
            self.counts["tables_refused"] += 1
            log.error(  # noqa: TRY400 - a line, not a trace
                "last_good_overlay_refused",
                problem=error.message,
                consequence="the base alone counts until the node comes",
            )
            return found

    def _now_ms(self) -> int:
        """Return the time, never before the floor that is known."""
        return max(time.time_ns() // 1_000_000, self._floor_ms)

    def _give(self, tables: Tables, workers: Sequence[Worker]) -> None:
        # What a worker has reached carries over in itself: the floor is for one that has nothing.
        fresh = [each for each in workers if not each.has_table]
        others = [each for each in workers if each.has_table]
        slots = self.crew.stats.slots(row.index for row in tables.table.orders())
        for some, floor_ms in ((fresh, self._floor_ms), (others, 0)):
            self.learn_floor(self.crew.tell(Swap(floor_ms, slots), tables.fds, to=some))
            for each in some:
                each.has_table = True

    def _hold(self, tables: Tables) -> None:
        self.tables = tables
        due_seconds = time.monotonic() + self._floor_seconds()
        self._floor_due_seconds = min(self._floor_due_seconds, due_seconds)
        self._sha256s = tables.key  # as they were found when they came

    def _report(self) -> GateReport:
        """Say how it stands, by what the workers said last."""
        header = self.tables.header if self.tables else None
        outcomes = self.crew.stats.order_counts()
        rows = tuple(self.tables.table.orders()) if self.tables else ()
        return GateReport(
            table_digest=header.table_digest if header else "",
            body_sha256=self._sha256s[0],
            ledger_size=header.ledger_size if header else 0,
            name_count=header.name_count if header else 0,
            rows=rows,
            counters=self.crew.counters()
            | self.counts
            | {
                "has_table": int(self.tables is not None),
                "tables_unkept": self._keeper.failures,
                "workers": self._settings.worker_count,
            },
            order_counters=dict.fromkeys((row.index for row in rows), 0)
            | {index: blocked(each) for index, each in outcomes.items()},
            order_outcomes=outcomes,
            histograms=self.crew.stats.histograms(),
            overlay_sha256=self._sha256s[1],
            mode=self._mode.now,
            override=self._mode.override,
            upstreams_down=self._upstreams_down(),
            upstreams=tuple(dict.fromkeys(place[0] for place in self._settings.upstreams)),
            confirmed_at_ms=self.confirmed_at_ms,
        )

    def _upstreams_down(self) -> tuple[str, ...]:
        """Return the upstreams that no worker gets an answer from."""
        down = [set(each.said.upstreams_down) for each in self.crew.serving]
        places = self._settings.upstreams
        everywhere = set.intersection(*down) if down else set()
        return tuple(f"{places[at][0]} port {places[at][1]}" for at in sorted(everywhere))

    def _check(self, request: Check) -> CheckReport:
        at_ms = time.time_ns() // 1_000_000
        qname = Name.from_text(request.qname)
        if self.tables is None:
            return CheckReport(
                action=Action.PASS.name,
                cause=Cause.NO_MATCH.name,
                kind="UNSPECIFIED",
                denial=Denial.NOT_BLOCKED.name,
                zone=None,
                order_id=None,
                order_index=None,
                at_ms=at_ms,
                state="NO_TABLE",
            )
        self.learn_floor(self.crew.ask())
        at_ms = self._now_ms()
        verdict = self.tables.table.decide(qname.wire, request.qtype, at_ms)
        return CheckReport(
            action=verdict.action.name,
            cause=verdict.cause.name,
            kind=verdict.kind.name,
            denial=verdict.denial.name,
            zone=verdict.zone.text if verdict.zone else None,
            order_id=verdict.order.order_id if verdict.order else None,
            order_index=verdict.order.index if verdict.order else None,
            at_ms=at_ms,
            state="SERVING",
        )


def blocked(outcomes: dict[str, int]) -> int:
    """Return how many queries an order blocked, of what it did to them by outcome."""
    return sum(count for name, count in outcomes.items() if name.startswith("blocked_"))


def _hashed(tables: Tables) -> tuple[str, str]:
    overlay = tables.overlay
    return tables.base.body_sha256(), overlay.body_sha256() if overlay is not None else ""


def _facts(tables: Tables) -> dict[str, str | int]:
    header = tables.header
    return {
        "table_digest": header.table_digest,
        "ledger_size": header.ledger_size,
        "name_count": header.name_count,
        "order_count": header.order_count,
        "total_bytes": header.total_bytes,
    }
