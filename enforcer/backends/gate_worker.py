"""A gate's worker: the loops on the sockets that the supervisor made, and nothing else.

A copy of the supervisor without rights, files or sockets: it starts with one descriptor, its
channel, and everything else comes over that. When the channel closes, or on SIGTERM, it takes no
more queries, finishes what is in flight, and ends with 0. A loop that fails ends it with 1: the
supervisor starts another on the same sockets, where queries wait meanwhile.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import structlog

from enforcer._native.gate import Gate, GateOptions
from enforcer.backends.gate_channel import (
    Answer,
    Begin,
    Channel,
    Drain,
    Serve,
    SetMode,
    Swap,
    ToWorker,
)
from enforcer.backends.gate_limits import streams_allowed
from enforcer.backends.gate_messages import Refusal
from enforcer.backends.gate_settings import GateSettings, parse
from enforcer.backends.gate_sockets import UPSTREAM_SOCKETS, connected_sockets, page_octets
from enforcer.backends.gate_stats import map_counts
from enforcer.backends.priority import lower_priority
from enforcer.core.name import Name
from enforcer.errors import EnforcerError, UnavailableError

DRAIN_MS_MAX: Final = 2_000
THREAD_END_SECONDS_MAX: Final = 5.0
SEND_SECONDS_MAX: Final = 10.0
MAIN_NICE: Final = 10

log: Final = structlog.get_logger()


class GateWorker:
    """One worker, from its first message to its end."""

    def __init__(self, channel: Channel, wake: socket.socket, waker: socket.socket) -> None:
        self._channel = channel
        self._wake = wake
        self._waker = waker
        self._gate: Gate | None = None
        self._base_in_use: tuple[tuple[int, int], mmap.mmap] | None = None
        self._threads: list[threading.Thread] = []
        self._failures: list[OSError] = []
        self._closing = ExitStack()
        self.is_stopping = False

    def run(self) -> int:
        """Do what the supervisor says until it says no more; return the exit code."""
        while not self.is_stopping and not self._failures:
            ready, _, _ = select.select([self._channel.fileno(), self._wake.fileno()], [], [])
            if self._wake.fileno() in ready:
                self._wake.recv(4_096)
            elif not self._answer_one():
                break
        if self._gate is not None:
            self._gate.stop()
        for thread in self._threads:
            thread.join(THREAD_END_SECONDS_MAX)
        self._closing.close()
        return 1 if self._failures else 0

    def _answer_one(self) -> bool:
        """Take one message and answer it; False when there is nothing more to come."""
        try:
            message, fds = self._channel.receive_message()
        except UnavailableError:
            return False
        with ExitStack() as closing:
            for fd in fds:
                closing.callback(os.close, fd)
            if isinstance(message, Drain):
                return False
            try:
                self._do(message, fds, closing)
                answer = self._state()
            except EnforcerError as error:
                answer = Answer(refusal=Refusal.of(error))
        try:
            self._channel.send(answer)
        except UnavailableError:
            return False
        return True

    def _do(self, message: ToWorker, fds: list[int], closing: ExitStack) -> None:
        """Do what a message says.

        Raises:
            EnforcerError: it cannot be done; nothing has changed.
        """
        if isinstance(message, Begin):
            self._begin(message, fds)
            closing.pop_all()  # they are the gate's from here on
        elif self._gate is None:
            raise UnavailableError("this worker has not begun", advice="Send it Begin first.")
        elif isinstance(message, Swap):
            base, *overlay = fds
            self._gate.swap(
                self._base(base),
                *(_mapped(fd) for fd in overlay),
                time_floor_ms=message.time_floor_ms,
                order_slots=message.order_slots,
            )
        elif isinstance(message, SetMode):
            self._gate.set_mode(message.mode)
        elif isinstance(message, Serve):
            self._serve(self._gate.run_datagrams, self._gate.run_streams)

    def _begin(self, message: Begin, fds: list[int]) -> None:
        settings = parse(bytes(message.settings))
        upstreams = [
            [
                self._closing.enter_context(each).fileno()
                for each in connected_sockets(place, UPSTREAM_SOCKETS)
            ]
            for place in settings.upstreams
        ]
        self._gate = make_gate(
            settings,
            fds[: message.udp],
            fds[message.udp : message.udp + message.tcp],
            upstreams,
            map_counts(fds[message.udp + message.tcp]),
            message.region,
        )

    def _base(self, fd: int) -> mmap.mmap:
        """Map a base, or return the mapping of it that is in use: an overlay lets it lie."""
        status = os.fstat(fd)
        key = (status.st_dev, status.st_ino)
        if self._base_in_use is None or self._base_in_use[0] != key:
            self._base_in_use = (key, _mapped(fd))
        return self._base_in_use[1]

    def _serve(self, *loops: Callable[[], None]) -> None:
        for loop in loops:
            thread = threading.Thread(target=self._watched, args=(loop,), name=loop.__name__)
            self._threads.append(thread)
            thread.start()
        lower_priority(MAIN_NICE)  # what is to be done for an update waits for the loops

    def _watched(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except OSError as error:
            log.error("loop_failed", problem=str(error))  # noqa: TRY400 - a line, not a trace
            self._failures.append(error)
        else:
            if not self.is_stopping:
                self.is_stopping = True
        self._waker.send(b"\0")

    def _state(self) -> Answer:
        if self._gate is None:
            return Answer()
        state = self._gate.state()
        return Answer(
            time_floor_ms=self._gate.time_floor_ms(),
            streams=state.streams,
            upstreams_down=state.upstreams_down,
        )


def make_gate(
    settings: GateSettings,
    udp_fds: list[int],
    tcp_fds: list[int],
    upstreams: list[list[int]],
    counts: mmap.mmap,
    region: int,
) -> Gate:
    """Return the gate that the settings describe, on these sockets, counting in that region.

    Raises:
        InputError: the settings cannot be kept.
    """
    options = gate_options(replace(settings, tcp_connections_max=streams_allowed(settings)))
    return Gate(udp_fds, tcp_fds, upstreams, options, counts, region)


def gate_options(settings: GateSettings) -> GateOptions:
    """Return what the settings say to a gate.

    Raises:
        InputError: a block page's address, or the probe's name, is none.
    """
    page4, page6 = page_octets(settings.block_page_ipv4, settings.block_page_ipv6)
    return GateOptions(
        inflight_max=settings.inflight_max,
        timeout_ms=settings.upstream_timeout_ms,
        try_ms=settings.upstream_try_ms,
        drain_ms=DRAIN_MS_MAX,
        page4=page4,
        page6=page6,
        cache_octets_max=settings.cache_bytes_max,
        stale_seconds_max=settings.serve_stale_seconds_max,
        allow=settings.clients,
        proxy_from=settings.proxy_from,
        proxy_to_upstream=settings.proxy_to_upstream,
        responses_per_second_max=settings.responses_per_second_max,
        dns64_prefixes=settings.dns64_prefixes,
        tcp_connections_max=settings.tcp_connections_max,
        tcp_connections_per_client_max=settings.tcp_connections_per_client_max,
        tcp_idle_ms=settings.tcp_idle_ms,
        probe_name=Name.from_text(settings.probe_name).wire,
    )


def run_worker(channel_fd: int) -> int:
    """Work for the supervisor at the other end of the channel; return the exit code."""
    wake, waker = socket.socketpair()
    wake.setblocking(False)
    waker.setblocking(False)
    with socket.socket(fileno=channel_fd) as end, wake, waker:
        end.settimeout(SEND_SECONDS_MAX)
        worker = GateWorker(Channel(end), wake, waker)

        def stop(*_: object) -> None:
            worker.is_stopping = True

        # The terminal's signals are for the supervisor, which tells its workers.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, stop)
        signal.set_wakeup_fd(waker.fileno())
        code = worker.run()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return code


def _mapped(fd: int) -> mmap.mmap:
    """Map sealed memory; private though read only, for before Linux 6.7 it cannot be shared.

    Its pages are brought in here, so that no query waits for one.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_POPULATE
    return mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ)
