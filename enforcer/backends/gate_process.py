"""The gate's process: sockets made, rights given up, the loop in its thread, control answered.

Fatal at the start: a socket that cannot be had, root without a user to become. Never fatal: a
bad table; the gate keeps the one it has, or passes everything and says so. SIGTERM takes no more
queries, drains what is in flight within two seconds, and ends with 0. Time never goes back
behind what the tables and a clock that nobody can set say. No client or query name is written.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from enforcer._native.gate import Gate
from enforcer.backends.durable import make_directory
from enforcer.backends.gate_control import ControlSocket, listen
from enforcer.backends.gate_messages import Check, CheckReport, Load, Overlay, Reply, Request
from enforcer.backends.gate_rights import Identity, drop_rights, identity_of
from enforcer.backends.gate_sockets import bound_sockets, connected_sockets, page_octets
from enforcer.backends.gate_table import HeldTable, LastGood, open_table, refuse_older
from enforcer.backends.gate_time import TimeFloor
from enforcer.core.name import Name
from enforcer.core.verdict import Action, Cause, Denial
from enforcer.errors import EnforcerError, InputError, NotFoundError, RefusedError, UnavailableError
from enforcer.ports import GateMode, GateReport

UPSTREAM_SOCKETS: Final = 32
DRAIN_MS_MAX: Final = 2_000
THREAD_END_SECONDS_MAX: Final = 5.0

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What a gate needs to know to start."""

    origin: str
    listen: tuple[tuple[str, int], ...]
    """Addresses, not names, and no wildcards; port 0 lets the kernel choose."""
    upstream: tuple[str, int]
    state_dir: Path
    control_socket: Path
    user: str | None = None
    group: str | None = None
    """Only with `user`; its own group where this is None."""
    block_page_ipv4: str | None = None
    block_page_ipv6: str | None = None
    allowed_uids: tuple[int, ...] | None = None
    """Who may speak at the control socket; None: this process's user, and root."""
    upstream_timeout_ms: int = 5_000
    inflight_max: int = 16_384
    floor_interval_ms: int = 60_000
    """How often the time floor is kept on disk: a kill takes a restart back by no more."""


@dataclass(slots=True)
class GateProcess:
    """What runs: the loop, the table it uses, and what was done with tables since the start."""

    gate: Gate
    origin: str
    last_good: LastGood
    floor: TimeFloor
    floor_interval_ms: int
    held: HeldTable | None = None
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("tables_loaded", "tables_refused", "tables_unkept", "floors_unkept"), 0
        )
    )
    _body_sha256: str = ""  # of the table held, as it was last hashed
    _floor_at_start_ms: int = 0
    _floor_due_seconds: float = 0.0  # time.monotonic
    _is_floor_kept: bool = True

    def begin(self) -> None:
        """Take the time floor and the last good table from the disk, each if it is good."""
        try:
            self._floor_at_start_ms = self.floor.read()
        except EnforcerError as error:
            log.warning("time_floor_refused", problem=error.message, advice=error.advice)
        try:
            held = self.last_good.open(self.origin)
            self.gate.swap(held.octets, time_floor_ms=self._floor_at_start_ms)
        except NotFoundError:
            log.warning("no_table", consequence="everything passes until the node hands one over")
        except EnforcerError as error:
            self.counts["tables_refused"] += 1
            log.warning("last_good_table_refused", problem=error.message, advice=error.advice)
            log.warning("no_table", consequence="everything passes until the node hands one over")
        else:
            self._hold(held)
            self._floor_at_start_ms = 0
            log.info("last_good_table", **_facts(held))

    def tend(self) -> float:
        """Keep the time floor when that is due; return after how many seconds it is again."""
        now_seconds = time.monotonic()
        if now_seconds >= self._floor_due_seconds:
            self._floor_due_seconds = now_seconds + self.floor_interval_ms / 1_000
            self.keep_floor()
        return self._floor_due_seconds - now_seconds

    def keep_floor(self) -> None:
        """Put the time floor on the disk, if there is one; failing is said and counted."""
        floor_ms = self.gate.time_floor_ms()
        if floor_ms == 0:
            return
        try:
            self.floor.keep(floor_ms)
        except UnavailableError as error:
            self.counts["floors_unkept"] += 1
            if self._is_floor_kept:
                log.warning("time_floor_not_kept", problem=error.message, advice=error.advice)
            self._is_floor_kept = False
        else:
            self._is_floor_kept = True

    def answer(self, request: Request, fd: int | None) -> Reply:
        """Answer one request from the control socket.

        Raises:
            EnforcerError: what is wrong with it; nothing has changed.
        """
        if isinstance(request, Load):
            return Reply(report=self._load(fd))
        if isinstance(request, Check):
            return Reply(check=self._check(request))
        if isinstance(request, Overlay):
            self.counts["tables_refused"] += 1
            raise RefusedError(
                "this gate takes whole tables only", advice="Hand over a base without an overlay."
            )
        if request.verify and self.held is not None:
            self._body_sha256 = self.held.body_sha256()
        return Reply(report=self._report())

    def _load(self, fd: int | None) -> GateReport:
        try:
            if fd is None:
                raise InputError(
                    "no table came with the request",
                    advice="Send the descriptor of a sealed memfd along (SCM_RIGHTS).",
                )
            new = open_table(fd, self.origin)
            refuse_older(new, self.held)
            self.gate.swap(new.octets, time_floor_ms=self._floor_at_start_ms)
        except EnforcerError:
            self.counts["tables_refused"] += 1
            raise
        self._hold(new)
        self._floor_at_start_ms = 0  # the gate's own from here on
        self.counts["tables_loaded"] += 1
        log.info("table", **_facts(new))
        try:
            self.last_good.keep(new)
        except UnavailableError as error:
            # In force all the same: only a restart would begin with an older one.
            self.counts["tables_unkept"] += 1
            log.warning("table_not_kept", problem=error.message, advice=error.advice)
        self._body_sha256 = new.body_sha256()  # read back, last of all
        return self._report()

    def _hold(self, held: HeldTable) -> None:
        self.held = held
        self._body_sha256 = held.table.header.body_sha256  # as it was found a moment ago

    def _report(self) -> GateReport:
        held = self.held
        header = held.table.header if held else None
        return GateReport(
            table_digest=header.table_digest if header else "",
            body_sha256=self._body_sha256,
            ledger_size=header.ledger_size if header else 0,
            name_count=header.name_count if header else 0,
            rows=tuple(held.table.orders()) if held else (),
            counters=self.gate.counters() | self.counts | {"has_table": int(held is not None)},
            order_counters=self.gate.order_counts(),
            mode=GateMode.ENFORCE,
        )

    def _check(self, request: Check) -> CheckReport:
        at_ms = time.time_ns() // 1_000_000
        qname = Name.from_text(request.qname)
        if self.held is None:
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
        at_ms = max(at_ms, self.gate.time_floor_ms())
        verdict = self.held.table.decide(qname.wire, request.qtype, at_ms)
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


def run(
    settings: GateSettings, on_ready: Callable[[list[tuple[str, int]]], None] | None = None
) -> int:
    """Serve until SIGTERM or SIGINT, in the main thread; return the exit code.

    `on_ready` is told where it listens, once queries are served.

    Raises:
        InputError: the settings are wrong.
        UnavailableError, ConflictError: a socket or the state directory cannot be had.
    """
    _log_to_stderr()
    identity = identity_of(settings.user, settings.group)
    page4, page6 = page_octets(settings.block_page_ipv4, settings.block_page_ipv6)
    make_directory(settings.state_dir)
    clients = bound_sockets(settings.listen, settings.upstream)
    upstreams = connected_sockets(settings.upstream, UPSTREAM_SOCKETS)
    listener = listen(settings.control_socket)
    drop_rights(identity, owning=(settings.state_dir, settings.control_socket))
    gate = Gate(
        [each.fileno() for each in clients],
        [each.fileno() for each in upstreams],
        inflight_max=settings.inflight_max,
        timeout_ms=settings.upstream_timeout_ms,
        drain_ms=DRAIN_MS_MAX,
        page4=page4,
        page6=page6,
    )
    process = GateProcess(
        gate,
        settings.origin,
        LastGood(settings.state_dir),
        TimeFloor(settings.state_dir, settings.origin),
        settings.floor_interval_ms,
    )
    process.begin()
    control = ControlSocket(listener, _allowed(settings, identity), process.answer)
    addresses = [each.getsockname()[:2] for each in clients]

    def say_ready() -> None:
        log.info("serving", listen=addresses, upstream=settings.upstream)
        if on_ready is not None:
            on_ready(addresses)

    try:
        return _serve(gate, control, process.tend, say_ready)
    finally:
        process.keep_floor()
        log.info("stopped", **gate.counters())
        listener.close()
        for each in (*clients, *upstreams):
            each.close()
        # Python gives signals back to the kernel before it ends: a second one would kill us then.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        try:
            settings.control_socket.unlink(missing_ok=True)
        except OSError:  # its directory is no longer ours: the next gate puts its own in place
            log.info("control_socket_left", path=str(settings.control_socket))


def _serve(
    gate: Gate,
    control: ControlSocket,
    tend: Callable[[], float],
    say_ready: Callable[[], None],
) -> int:
    """Run the loop in its thread and the control socket here, until a signal or the loop's end."""
    wake, waker = socket.socketpair()
    wake.setblocking(False)
    waker.setblocking(False)
    stopping = threading.Event()
    failures: list[OSError] = []

    def loop() -> None:
        try:
            gate.run()
        except OSError as error:
            failures.append(error)
        stopping.set()
        waker.send(b"\0")

    thread = threading.Thread(target=loop, name="gate-loop")
    for number in (signal.SIGTERM, signal.SIGINT):  # for good: a second one must not cut us short
        signal.signal(number, lambda *_: stopping.set())
    signal.set_wakeup_fd(waker.fileno())
    thread.start()
    say_ready()
    try:
        control.serve(stopping.is_set, wake, tend)
    finally:
        gate.stop()
        thread.join(THREAD_END_SECONDS_MAX)
        signal.set_wakeup_fd(-1)
        wake.close()
        waker.close()
    if failures:
        log.error("loop_failed", problem=str(failures[0]))
        raise UnavailableError(
            f"the gate's loop has failed: {failures[0].strerror}",
            advice="Start it again; see the kernel's log if it fails again.",
        ) from failures[0]
    return 0


def _log_to_stderr() -> None:
    """Write each event as one line of JSON, unless whoever runs this process has decided."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )


def _allowed(settings: GateSettings, identity: Identity | None) -> tuple[int, ...]:
    if settings.allowed_uids is not None:
        return settings.allowed_uids
    return (0, identity.uid if identity else os.getuid())


def _facts(held: HeldTable) -> dict[str, str | int]:
    header = held.table.header
    return {
        "table_digest": header.table_digest,
        "ledger_size": header.ledger_size,
        "name_count": header.name_count,
        "order_count": header.order_count,
        "total_bytes": header.total_bytes,
    }
