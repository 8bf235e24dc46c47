"""The gate's first process: sockets made, rights given up, workers started, control answered.

Fatal at the start: a socket that cannot be had, root without a user to become, a worker that
cannot begin. Later nothing is: a worker that ends is replaced. SIGTERM has the workers drain
what is in flight within two seconds, and ends with 0; SIGHUP has this process become the program
as it is installed now (gate_handover).
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

import structlog

from enforcer import __version__
from enforcer._native.gate import check_options
from enforcer.backends.durable import make_directory
from enforcer.backends.gate_control import ControlSocket, listen
from enforcer.backends.gate_crew import DRAIN_SECONDS_MAX, Crew
from enforcer.backends.gate_handover import (
    CHECK_SECONDS_MAX,
    FORMAT,
    SIGNALS,
    Checking,
    Handed,
    HandedWorker,
    fixed_text,
    hand_over,
    own_command,
    take_over,
)
from enforcer.backends.gate_limits import raise_descriptors
from enforcer.backends.gate_rights import Identity, drop_rights, identity_of
from enforcer.backends.gate_settings import GateSettings, Place, check_settings
from enforcer.backends.gate_sockets import (
    ClientSockets,
    bound_sockets,
    listening_address,
    upstream_address,
)
from enforcer.backends.gate_stats import GateStats
from enforcer.backends.gate_supervisor import Supervisor
from enforcer.backends.gate_worker import gate_options
from enforcer.backends.json_log import log_to_stderr
from enforcer.backends.service_manager import (
    Watchdog,
    notify_ready,
    notify_reloading,
    notify_stopping,
)
from enforcer.backends.watch import Watch
from enforcer.errors import EnforcerError, IntegrityError, UnavailableError

ENDINGS: Final = (signal.SIGTERM, signal.SIGINT)

log: Final = structlog.get_logger()


def check(settings: GateSettings) -> str:
    """Return what a running gate compares before it becomes this program.

    Raises:
        InputError: the settings are wrong.
    """
    check_settings(settings)
    for place in settings.listen:
        listening_address(place, settings.upstreams)
    for upstream in settings.upstreams:
        upstream_address(upstream)
    check_options(gate_options(settings))
    return fixed_text(settings)


def run(settings: GateSettings, on_ready: Callable[[list[Place]], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, in the main thread; return the exit code.

    `on_ready` is told where it listens, once queries are served. On SIGHUP the process becomes
    the program that its command line names now, and serves on.

    Raises:
        InputError: the settings are wrong.
        UnavailableError, ConflictError: a socket or the state directory cannot be had.
    """
    log_to_stderr()
    check(settings)
    raise_descriptors(settings)
    handed = take_over(settings)
    identity = identity_of(settings.user, settings.group)
    if handed is not None:
        listener = socket.socket(fileno=handed.listener)
        sockets = [ClientSockets.of(*fds) for fds in handed.sockets]
        drop_rights(None, owning=())  # they are gone; but a new image can be looked into again
    else:
        make_directory(settings.state_dir)
        listener = listen(settings.control_socket)
        sockets = bound_sockets(settings.listen, settings.upstreams, settings.worker_count)
        drop_rights(identity, owning=(settings.state_dir, settings.control_socket))
    with Watch() as watch:
        stats = adopted_stats(handed.stats) if handed is not None else GateStats.create()
        allowed_uids = _allowed(settings, identity)
        process = _Process(settings, allowed_uids, listener, sockets, stats, watch)
        return process.run(handed, on_ready)


def adopted_stats(fd: int) -> GateStats:
    """Go on counting in a former image's memory, or from zero where it is another release's."""
    try:
        return GateStats.adopt(fd)
    except IntegrityError as error:
        os.close(fd)
        log.warning("counters_begin_anew", problem=error.message)
        return GateStats.create()


class _Process:
    """What runs, from the rights given up to the end."""

    def __init__(
        self,
        settings: GateSettings,
        allowed_uids: tuple[int, ...],
        listener: socket.socket,
        sockets: list[ClientSockets],
        stats: GateStats,
        watch: Watch,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._supervisor = Supervisor(settings, watch)
        self._stats = stats
        self._crew = Crew(settings, sockets, watch, self._supervisor.present, self._stats)
        self._supervisor.crew = self._crew
        self._control = ControlSocket(listener, allowed_uids, self._supervisor.answer, watch)
        self._is_told_to_end = False
        self._watchdog = Watchdog()
        self._checking: Checking | None = None
        self._is_checked = False

    def run(self, handed: Handed | None, on_ready: Callable[[list[Place]], None] | None) -> int:
        """Start, serve until a signal comes, end; return the exit code."""
        wake, waker = socket.socketpair()
        with wake, waker:
            wake.setblocking(False)
            waker.setblocking(False)
            self._watch.add(wake, lambda: self._signalled(wake.recv(4_096)))
            for number in SIGNALS:  # for good: a second one must not cut us short
                signal.signal(number, lambda *_: None)
            signal.set_wakeup_fd(waker.fileno())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # a former image blocked them
            try:
                if handed is None:
                    self._start()
                else:
                    self._resume(handed)
                self._control.open()
                self._say_ready(on_ready)
                while not self._is_told_to_end:
                    self._watch.turn(self._tend())
            finally:
                self._end()
                signal.set_wakeup_fd(-1)
        return 0

    def _start(self) -> None:
        """Have every worker serve.

        Raises:
            EnforcerError: why one cannot begin.
        """
        self._supervisor.begin()
        self._crew.start()
        while not self._crew.is_complete and not self._is_told_to_end:
            self._watch.turn(self._crew.tend())
            if self._crew.first_error is not None:
                raise self._crew.first_error
            if self._crew.counts["workers_died"]:
                raise UnavailableError(
                    "a worker of the gate ended before it served",
                    advice="See the lines before.",
                )

    def _resume(self, handed: Handed) -> None:
        """Go on where a former image of this process was; its workers serve until others do."""
        self._supervisor.resume(handed)
        for each in handed.workers:
            self._crew.adopt(each.number, each.region, each.pid, each.channel)
        self._crew.counts |= {name: handed.counts.get(name, 0) for name in self._crew.counts}
        for fd in handed.peers:
            self._control.adopt(fd)
        self._crew.start()

    def _say_ready(self, on_ready: Callable[[list[Place]], None] | None) -> None:
        places = self._crew.sockets[0].places
        log.info(
            "serving",
            listen=places,
            upstreams=self._settings.upstreams,
            workers=len(self._crew.serving),
            release=__version__,
        )
        notify_ready(f"serves with {len(self._crew.sockets)} workers, release {__version__}")
        if on_ready is not None:
            on_ready(places)

    def _tend(self) -> float:
        """Do what is due; return after how many seconds something will be."""
        if self._is_checked and not self._supervisor.is_writing:
            self._become()
        if self._watchdog.seconds_left() == 0:
            self._feed_watchdog()
        return min(
            self._crew.tend(),
            self._supervisor.tend(),
            self._watchdog.seconds_left(),
            self._checking.tend() if self._checking is not None else CHECK_SECONDS_MAX,
        )

    def _feed_watchdog(self) -> None:
        """Say that the gate is well while some worker serves and each that does answers."""
        asked = len(self._crew.serving)
        if asked and len(self._crew.ask()) == asked:
            self._watchdog.feed()
        else:
            self._watchdog.skip()

    def _signalled(self, numbers: bytes) -> None:
        if any(number in ENDINGS for number in numbers):
            self._is_told_to_end = True
        elif signal.SIGHUP in numbers:
            self._reload()

    def _reload(self) -> None:
        """Have the new program check itself; what speaks against it is said, no more."""
        if self._checking is not None or self._is_checked or not self._crew.is_steady:
            log.error(
                "reload_refused",
                problem="another reload goes on, or a worker is being replaced",
                advice="Reload again in a moment.",
            )
            return
        log.info("reload_begins", release=__version__)
        try:
            self._checking = Checking(own_command(), self._settings, self._watch, self._checked)
        except EnforcerError as error:
            self._checked(error)

    def _checked(self, error: EnforcerError | None) -> None:
        self._checking = None
        self._is_checked = error is None
        if error is not None:
            log.error("reload_refused", problem=error.message, advice=error.advice)

    def _become(self) -> None:
        """Become the new program; return only if the kernel refuses."""
        self._is_checked = False
        tables, floor_ms = self._supervisor.left()
        handed = Handed(
            format=FORMAT,
            fixed=fixed_text(self._settings),
            listener=self._control.listener.fileno(),
            peers=tuple(self._control.peers),
            sockets=tuple(each.descriptors for each in self._crew.sockets),
            tables=tables,
            stats=self._stats.fd,
            workers=tuple(
                HandedWorker(each.number, each.region, each.pid, each.channel.fileno())
                for each in self._crew.serving
            ),
            floor_ms=floor_ms,
            confirmed_at_ms=self._supervisor.confirmed_at_ms,
            counts=self._crew.counts | self._supervisor.counts,
        )
        notify_reloading()
        try:
            hand_over(handed, own_command())
        except EnforcerError as error:
            self._checked(error)
            notify_ready("serves; a reload was refused")

    def _end(self) -> None:
        """Drain, keep, and give everything back; in this order, whatever fails."""
        notify_stopping()
        self._control.close()
        self._supervisor.learn_floor(self._crew.ask())
        self._crew.drain()
        until_seconds = time.monotonic() + DRAIN_SECONDS_MAX + 1
        while self._crew.workers and time.monotonic() < until_seconds:
            self._watch.turn(min(self._crew.tend(), 1.0))
        self._supervisor.finish()
        log.info("stopped", **self._crew.counters())
        self._stats.close()
        for each in self._crew.sockets:
            each.close()
        # Python gives signals back to the kernel before it ends: a second one would kill us then.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        try:
            self._settings.control_socket.unlink(missing_ok=True)
        except OSError:  # its directory is no longer ours: the next gate puts its own in place
            log.info("control_socket_left", path=str(self._settings.control_socket))


def _allowed(settings: GateSettings, identity: Identity | None) -> tuple[int, ...]:
    if settings.allowed_uids is not None:
        return settings.allowed_uids
    return (0, identity.uid if identity else os.getuid())
