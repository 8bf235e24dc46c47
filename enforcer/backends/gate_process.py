"""The gate's first process: sockets made, rights given up, workers started, control answered.

Fatal at the start: a socket that cannot be had, root without a user to become, a worker that
cannot begin. Later nothing is: a worker that ends is replaced. SIGTERM has the workers drain
what is in flight within two seconds, and ends with 0.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

import structlog

from enforcer.backends.durable import make_directory
from enforcer.backends.gate_control import ControlSocket, listen
from enforcer.backends.gate_crew import DRAIN_SECONDS_MAX, Crew
from enforcer.backends.gate_rights import Identity, drop_rights, identity_of
from enforcer.backends.gate_settings import GateSettings, Place, check_settings
from enforcer.backends.gate_sockets import (
    ClientSockets,
    bound_sockets,
    page_octets,
    upstream_address,
)
from enforcer.backends.gate_supervisor import Supervisor
from enforcer.backends.json_log import log_to_stderr
from enforcer.backends.watch import Watch
from enforcer.errors import UnavailableError

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

log: Final = structlog.get_logger()


def run(settings: GateSettings, on_ready: Callable[[list[Place]], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, in the main thread; return the exit code.

    `on_ready` is told where it listens, once queries are served.

    Raises:
        InputError: the settings are wrong.
        UnavailableError, ConflictError: a socket or the state directory cannot be had.
    """
    log_to_stderr()
    check_settings(settings)
    for upstream in settings.upstreams:
        upstream_address(upstream)
    page_octets(settings.block_page_ipv4, settings.block_page_ipv6)
    identity = identity_of(settings.user, settings.group)
    make_directory(settings.state_dir)
    listener = listen(settings.control_socket)
    sockets = bound_sockets(settings.listen, settings.upstreams, settings.worker_count)
    drop_rights(identity, owning=(settings.state_dir, settings.control_socket))
    with Watch() as watch:
        return _Process(settings, identity, listener, sockets, watch).run(on_ready)


class _Process:
    """What runs, from the rights given up to the end."""

    def __init__(
        self,
        settings: GateSettings,
        identity: Identity | None,
        listener: socket.socket,
        sockets: list[ClientSockets],
        watch: Watch,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._supervisor = Supervisor(settings, watch)
        self._crew = Crew(settings, sockets, watch, self._supervisor.present)
        self._supervisor.crew = self._crew
        self._allowed = _allowed(settings, identity)
        self._listener = listener
        self._control: ControlSocket | None = None
        self._is_told_to_end = False

    def run(self, on_ready: Callable[[list[Place]], None] | None) -> int:
        """Start, serve until a signal comes, end; return the exit code."""
        wake, waker = socket.socketpair()
        with wake, waker:
            wake.setblocking(False)
            waker.setblocking(False)
            self._watch.add(wake, lambda: self._signalled(wake.recv(4_096)))
            for number in SIGNALS:  # for good: a second one must not cut us short
                signal.signal(number, lambda *_: None)
            signal.set_wakeup_fd(waker.fileno())
            try:
                self._start(on_ready)
                while not self._is_told_to_end:
                    self._watch.turn(min(self._crew.tend(), self._supervisor.tend()))
            finally:
                self._end()
                signal.set_wakeup_fd(-1)
        return 0

    def _start(self, on_ready: Callable[[list[Place]], None] | None) -> None:
        """Have every worker serve, then take requests.

        Raises:
            EnforcerError: why a worker cannot begin.
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
        self._control = ControlSocket(
            self._listener, self._allowed, self._supervisor.answer, self._watch
        )
        places = self._crew.sockets[0].places
        log.info(
            "serving",
            listen=places,
            upstreams=self._settings.upstreams,
            workers=len(self._crew.serving),
        )
        if on_ready is not None:
            on_ready(places)

    def _signalled(self, numbers: bytes) -> None:
        if any(number in SIGNALS for number in numbers):
            self._is_told_to_end = True

    def _end(self) -> None:
        """Drain, keep, and give everything back; in this order, whatever fails."""
        if self._control is not None:
            self._control.close()
        self._supervisor.learn_floor(self._crew.ask())
        self._crew.drain()
        until_seconds = time.monotonic() + DRAIN_SECONDS_MAX + 1
        while self._crew.workers and time.monotonic() < until_seconds:
            self._watch.turn(min(self._crew.tend(), 1.0))
        self._supervisor.finish()
        log.info("stopped", **self._crew.counters())
        self._listener.close()
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
