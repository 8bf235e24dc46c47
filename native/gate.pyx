"""The gate's two loops, datagrams and streams: verdicts by the tables, answers from here or behind.

Each loop runs in a thread of its own without the GIL; per packet it allocates nothing, takes no
lock and calls no Python. New tables are taken between two batches, and the old ones are given
back only after both loops have left them. Sockets and the statistics' memory are handed in, so
that another process can go on with them. Never kept, counted or shown: a client's address or a
name asked for.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from access cimport Access, access_add, access_open, access_seal
from address cimport FAMILY_IPV4, FAMILY_IPV6, address_from_sockaddr
from batch cimport BATCH, inbox_open, outbox_open
from cache cimport cache_close, cache_open
from slots cimport CACHE_GIBIBYTES_MAX, CACHE_OCTETS_MIN
from engine cimport (
    MODE_BYPASS, MODE_ENFORCE, RANDOM_OCTETS, Engine, Held, Options, engine_begin_batch,
    held_floor_ms,
)
from inflight cimport inflight_close, inflight_open
from judge cimport DNS64_PREFIXES_MAX
from rate cimport RATE_PER_SECOND_MAX, rate_close, rate_open
from serve cimport (
    SOCKETS_MAX, Datagrams, serve_clients, serve_upstream, tend, wait_ms,
)
from serve_stream cimport (
    EVENT_LISTENER, EVENT_SERIAL_BITS, LISTENERS_MAX, STREAMS_EACH_MAX, Streams, accept_client,
    begin_drain, give_up_overdue, serve_due, serve_stream, streams_wait_ms, tend_streams,
    watch_listeners,
)
from sockets cimport (
    CLOCK_BOOTTIME, CLOCK_REALTIME, EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN,
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL,
    PR_GET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG,
    clear_capabilities, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, eventfd,
    eventfd_read, eventfd_write, getpeername, getsockname, load_acquire, load_relaxed, now_ms,
    prctl,
    sockaddr, sockaddr_in6, socklen_t, store_relaxed, store_release, usleep,
)
from stats cimport STAT_IN_FLIGHT, stats_fits, stats_region, stats_set
from stream cimport streams_close, streams_open
from overlay cimport tables_lay, tables_open, tables_t
from table cimport TABLE_OTHER_BASE, TABLE_VALID
from turns cimport take_short_turns
from wire cimport HEADER_OCTETS
from upstream cimport UPSTREAM_SOCKETS_MAX, UPSTREAMS_MAX, Upstreams

import ipaddress
import os
from dataclasses import dataclass

from enforcer.errors import InputError, IntegrityError

cdef enum:
    EVENTS = 64
    INFLIGHT_MAX = 1 << 20
    SINGLE_STREAMS_MAX = 256    # to all upstreams, where each is for one query
    TIMEOUT_MS_MAX = 3600000
    CLOCK_TRUST_MS = 120000     # as far as a node lets the ledger's clock be ahead of its own
    TIME_MS_MAX = 1000000000000000  # floors stop there, so that adding to one never overflows
    EVENT_WAKE = 1 << 20        # epoll data: the eventfd; else a socket's number ...
    EVENT_OTHER_SIDE = 1 << 16  # ... with this: an upstream's

CONNECTIONS_MAX = 60_000  # with those to upstreams, all that EVENT_LISTENER leaves numbers for
DNS64_MAX = DNS64_PREFIXES_MAX
UPSTREAM_COUNT_MAX = UPSTREAMS_MAX
SOCKETS_EACH_MAX = UPSTREAM_SOCKETS_MAX
CACHE_LEAST = CACHE_OCTETS_MIN
CACHE_MOST = (<int64_t> CACHE_GIBIBYTES_MAX << 30) - 1


# --------------------------------------------------------------------------- loops


cdef int run_datagrams(Datagrams *udp) noexcept nogil:
    """Serve until told to stop, then drain what is in flight; return 0, or an errno."""
    cdef epoll_event events[EVENTS]
    cdef uint32_t number
    cdef uint64_t ignored
    cdef int64_t drain_until_ms = 0
    cdef int ready, i
    while True:
        engine_begin_batch(&udp.engine)
        tend(udp)
        if udp.engine.random_error:
            return udp.engine.random_error
        stats_set(udp.engine.stats, STAT_IN_FLIGHT, udp.waiting)
        if drain_until_ms == 0 and load_relaxed(&udp.engine.stop):
            drain_until_ms = udp.engine.tick_ms + udp.drain_ms
            udp.is_draining = 1
            for i in range(<int> udp.client_count):
                epoll_ctl(udp.epoll_fd, EPOLL_CTL_DEL, udp.client_fds[i], NULL)
        if drain_until_ms and (udp.waiting == 0 or udp.engine.tick_ms >= drain_until_ms):
            return 0
        ready = epoll_wait(udp.epoll_fd, events, EVENTS, <int> wait_ms(udp, drain_until_ms))
        if ready < 0 and errno != EINTR:
            return errno
        for i in range(ready):
            number = <uint32_t> events[i].data.u64
            if number == EVENT_WAKE:
                eventfd_read(udp.wake_fd, &ignored)
            elif number & EVENT_OTHER_SIDE:
                serve_upstream(udp, number & ~<uint32_t> EVENT_OTHER_SIDE)
            else:
                serve_clients(udp, number)


cdef int run_streams(Streams *tcp) noexcept nogil:
    """Serve until told to stop, then drain what is in flight; return 0, or an errno."""
    cdef epoll_event events[EVENTS]
    cdef uint32_t number
    cdef uint64_t ignored
    cdef int64_t drain_until_ms = 0
    cdef int ready, i
    while True:
        engine_begin_batch(&tcp.engine)
        give_up_overdue(tcp)
        if tcp.engine.tick_ms >= tcp.tend_ms:
            tend_streams(tcp)
        while tcp.has_due:
            serve_due(tcp)
        if tcp.engine.random_error:
            return tcp.engine.random_error
        stats_set(tcp.engine.stats, STAT_IN_FLIGHT, tcp.waiting)
        if drain_until_ms == 0 and load_relaxed(&tcp.engine.stop):
            drain_until_ms = tcp.engine.tick_ms + tcp.drain_ms
            begin_drain(tcp)
        if drain_until_ms and (tcp.open == 0 or tcp.engine.tick_ms >= drain_until_ms):
            return 0
        ready = epoll_wait(tcp.epoll_fd, events, EVENTS, <int> streams_wait_ms(tcp))
        if ready < 0 and errno != EINTR:
            return errno
        engine_begin_batch(&tcp.engine)
        for i in range(ready):
            number = <uint32_t> events[i].data.u64
            if number == EVENT_WAKE:
                eventfd_read(tcp.wake_fd, &ignored)
            elif number & EVENT_LISTENER:
                accept_client(tcp, tcp.listener_fds[number & ~<uint32_t> EVENT_LISTENER])
            else:
                serve_stream(
                    tcp, number, <uint32_t> (events[i].data.u64 >> EVENT_SERIAL_BITS),
                    events[i].events,
                )


cdef int watch(int epoll_fd, int fd, uint32_t number, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = number
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)


cdef int64_t begun_ms(int64_t floor_ms) noexcept nogil:
    """Return what time it surely is now, given a floor: the wall clock's, if it is near.

    A table is some seconds old when it comes here, and a floor from the disk a minute. Further
    the wall clock is not trusted, for what it says here stays when it is set right later.
    """
    floor_ms = max(<int64_t> 0, min(floor_ms, <int64_t> TIME_MS_MAX))
    return max(floor_ms, min(now_ms(CLOCK_REALTIME), floor_ms + CLOCK_TRUST_MS))


# -------------------------------------------------------------------------- rights


def give_up_rights() -> None:
    """Drop every capability, gain none again, and leave no image of this process's memory.

    Called before there is a second thread: capabilities are each thread's own.

    Raises:
        OSError: the kernel refused.
    """
    if (
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0
        or clear_capabilities() != 0
        or prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        or prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0
    ):
        raise OSError(errno, os.strerror(errno))


def parent_death_signal() -> int:
    """Return the signal that this process is sent when its parent ends, or 0 (prctl(2))."""
    cdef int number = 0
    if prctl(PR_GET_PDEATHSIG, <unsigned long> &number, 0, 0, 0) != 0:
        raise OSError(errno, os.strerror(errno))
    return number


def set_parent_death_signal(int number) -> None:
    """Ask for that signal when the parent ends; a change of user has cleared it."""
    if prctl(PR_SET_PDEATHSIG, <unsigned long> number, 0, 0, 0) != 0:
        raise OSError(errno, os.strerror(errno))


# ------------------------------------------------------------------------ settings


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What a gate does, for as long as it runs; prefixes are texts that ipaddress reads."""

    inflight_max: int = 16_384
    timeout_ms: int = 5_000
    try_ms: int = 500
    drain_ms: int = 2_000
    page4: bytes = b""
    page6: bytes = b""
    cache_octets_max: int = 64 << 20
    stale_seconds_max: int = 86_400
    allow: tuple = ("0.0.0.0/0", "::/0")
    proxy_from: tuple = ()
    proxy_to_upstream: bool = False
    responses_per_second_max: int = 0
    dns64_prefixes: tuple = ("64:ff9b::/96",)
    tcp_connections_max: int = 1_000
    tcp_connections_per_client_max: int = 100
    tcp_idle_ms: int = 10_000
    upstream_idle_ms: int = 5_000
    probe_name: bytes = b"\0"


@dataclass(frozen=True, kw_only=True)
class GateNow:
    """What a gate is doing."""

    in_flight: int
    streams: int
    upstreams_down: tuple


cdef int fill_access(Access *access, prefixes) except -1:
    cdef bytes octets
    access_open(access)
    for prefix in prefixes:
        network = ipaddress.ip_network(prefix)
        octets = network.network_address.packed
        if not access_add(
            access, FAMILY_IPV4 if network.version == 4 else FAMILY_IPV6,
            <const uint8_t *> octets, network.prefixlen,
        ):
            raise InputError(
                "there are too many prefixes",
                advice="Name fewer, shorter ones.",
                prefixes=len(prefixes),
            )
    access_seal(access)
    return 0


cdef int refuse_number(str name, value, least, most) except -1:
    """Raise InputError for a number that is out of its bounds."""
    if not least <= value <= most:
        raise InputError(
            f"{value} is no number for {name}", advice=f"Use {least} to {most}.", field=name
        )
    return 0


cdef int fill_options(Options *to, options) except -1:
    """Fill the engines' options from a GateOptions.

    Raises:
        InputError: what it says cannot be.
    """
    cdef bytes octets
    cdef uint32_t i
    refuse_number("inflight_max", options.inflight_max, BATCH, INFLIGHT_MAX)
    refuse_number("timeout_ms", options.timeout_ms, 1, TIMEOUT_MS_MAX)
    refuse_number("try_ms", options.try_ms, 1, TIMEOUT_MS_MAX)
    refuse_number("tcp_connections_max", options.tcp_connections_max, 1, CONNECTIONS_MAX)
    refuse_number("dns64_prefixes", len(options.dns64_prefixes), 0, DNS64_MAX)
    refuse_number(
        "responses_per_second_max", options.responses_per_second_max, 0, RATE_PER_SECOND_MAX
    )
    if options.cache_octets_max:
        refuse_number("cache_octets_max", options.cache_octets_max, CACHE_LEAST, CACHE_MOST)
    if len(options.page4) not in (0, 4) or len(options.page6) not in (0, 16):
        raise InputError(
            "the block page's address has a wrong length",
            advice="Give 4 octets for IPv4 and 16 for IPv6, or none.",
        )
    if not (1 <= len(options.probe_name) <= 255):
        raise InputError("the probe's name is none", advice="Give a name in wire form.")
    to.has_page4 = len(options.page4) == 4
    to.has_page6 = len(options.page6) == 16
    memcpy(to.page4, <const uint8_t *> <bytes> options.page4, len(options.page4))
    memcpy(to.page6, <const uint8_t *> <bytes> options.page6, len(options.page6))
    # Behind the PROXY protocol an upstream answers by client: nothing of it is for all.
    to.has_cache = options.cache_octets_max > 0 and not options.proxy_to_upstream
    to.stale_seconds_max = options.stale_seconds_max
    fill_access(&to.clients, options.allow)
    fill_access(&to.proxies, options.proxy_from)
    for i, prefix in enumerate(options.dns64_prefixes):
        network = ipaddress.ip_network(prefix)
        if network.version != 6 or network.prefixlen not in (32, 40, 48, 56, 64, 96):
            raise InputError(
                f"{prefix} is no DNS64 prefix",
                advice="Use 32, 40, 48, 56, 64 or 96 bits of IPv6 (RFC 6052).",
                field="dns64_prefixes",
            )
        to.dns64.bits[i] = network.prefixlen
        octets = network.network_address.packed
        memcpy(to.dns64.prefixes[i], <const uint8_t *> octets, 16)
    to.dns64.count = len(options.dns64_prefixes)
    return 0


def check_options(options) -> None:
    """Refuse what no gate could be made with.

    Raises:
        InputError: ``data["field"]`` is what is wrong.
    """
    cdef Options *scratch = <Options *> calloc(1, sizeof(Options))
    if scratch is NULL:
        raise MemoryError
    try:
        fill_options(scratch, options)
    finally:
        free(scratch)


def upstream_streams_max(int upstreams, bint proxies_to_upstream) -> int:
    """Return how many streams to upstreams a gate may have open."""
    return SINGLE_STREAMS_MAX if proxies_to_upstream else STREAMS_EACH_MAX * upstreams


cdef int fill_upstreams(Upstreams *to, upstreams, uint32_t inflight_max) except -1:
    cdef sockaddr_in6 place
    cdef socklen_t octets
    cdef uint32_t i, j
    to.inflight_max = (inflight_max + len(upstreams) - 1) // len(upstreams)
    for i, fds in enumerate(upstreams):
        for j, fd in enumerate(fds):
            to.each[i].fds[j] = fd
        to.each[i].fd_count = len(fds)
        octets = sizeof(sockaddr_in6)
        if getpeername(fds[0], <sockaddr *> &place, &octets) != 0:
            raise OSError(errno, os.strerror(errno))
        to.each[i].place = place
        to.each[i].place_octets = octets
    to.count = len(upstreams)
    return 0


# ---------------------------------------------------------------------------- gate


cdef class Gate:
    """The loops with their buffers.

    `run_datagrams` in one thread, `run_streams` in another, everything else from a third.
    """

    cdef Options options
    cdef Datagrams *udp
    cdef Streams *tcp
    cdef const Held *held       # the last published; owned here
    cdef Py_buffer base         # what `held` points into
    cdef tables_t opened        # `base` alone, checked: overlays are laid over a copy
    cdef Py_buffer overlay
    cdef Py_buffer stats
    cdef bint has_stats
    cdef bint is_udp_running    # changed with the GIL held
    cdef bint is_tcp_running

    def __cinit__(self, udp_fds, tcp_fds, upstreams, options, stats, uint32_t worker=0):
        if not (1 <= len(udp_fds) <= SOCKETS_MAX) or len(tcp_fds) > LISTENERS_MAX:
            raise InputError(
                f"{len(udp_fds)} UDP and {len(tcp_fds)} TCP sockets",
                advice=f"Use 1 to {SOCKETS_MAX} of the first and at most as many of the other.",
            )
        if not (1 <= len(upstreams) <= UPSTREAMS_MAX) or not all(
            1 <= len(fds) <= UPSTREAM_SOCKETS_MAX for fds in upstreams
        ):
            raise InputError(
                f"{len(upstreams)} upstreams",
                advice=f"Use 1 to {UPSTREAMS_MAX} of them, each with 1 to "
                f"{UPSTREAM_SOCKETS_MAX} sockets.",
            )
        fill_options(&self.options, options)
        self.udp = <Datagrams *> calloc(1, sizeof(Datagrams))
        self.tcp = <Streams *> calloc(1, sizeof(Streams))
        if self.udp is NULL or self.tcp is NULL:
            raise MemoryError
        self.udp.epoll_fd = self.udp.wake_fd = self.tcp.epoll_fd = self.tcp.wake_fd = -1
        PyObject_GetBuffer(stats, &self.stats, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.has_stats = True
        if not stats_fits(<const uint8_t *> self.stats.buf, self.stats.len):
            raise IntegrityError(
                "the statistics' memory is of another release",
                advice="Have the supervisor make it anew.",
            )
        self._open_engine(&self.udp.engine, options, worker, 0, options.cache_octets_max)
        self._open_engine(
            &self.tcp.engine, options, worker, 1,
            max(options.cache_octets_max // 8, CACHE_OCTETS_MIN),
        )
        self._open_datagrams(udp_fds, upstreams, options)
        self._open_streams(tcp_fds, upstreams, options)

    cdef _open_engine(self, Engine *engine, options, worker, thread, cache_octets):
        cdef bytes secret = os.urandom(16)
        engine.options = &self.options
        engine.mode = MODE_ENFORCE
        engine.now = &engine.own
        engine.random_at = RANDOM_OCTETS
        engine.stats = stats_region(<uint8_t *> self.stats.buf, worker, thread)
        if engine.stats is NULL:
            raise InputError(f"worker {worker} has no statistics", advice="Start fewer workers.")
        if self.options.has_cache and not cache_open(
            &engine.cache, cache_octets, options.stale_seconds_max, <const uint8_t *> secret
        ):
            raise InputError(
                f"a cache of {cache_octets} octets cannot be had",
                advice="Give it less than what memory is free, or 0 for none.",
                field="cache_octets_max",
            )
        secret = os.urandom(16)
        if not rate_open(
            &engine.rate, 0 if thread else options.responses_per_second_max,
            <const uint8_t *> secret,
        ):
            raise MemoryError

    cdef _open_datagrams(self, udp_fds, upstreams, options):
        cdef Datagrams *udp = self.udp
        cdef sockaddr_in6 place
        cdef socklen_t octets
        cdef uint32_t i, j, way
        cdef int result
        cdef bytes probe
        inbox_open(&udp.clients, True)
        inbox_open(&udp.answers, False)
        outbox_open(&udp.outbox)
        outbox_open(&udp.queries)
        udp.timeout_ms = options.timeout_ms
        udp.try_ms = options.try_ms
        udp.drain_ms = options.drain_ms
        udp.proxies_to_upstream = options.proxy_to_upstream
        probe = options.probe_name + b"\0\2\0\1"  # its NS, class IN
        udp.probe_octets = HEADER_OCTETS + len(probe)
        memcpy(udp.probe + HEADER_OCTETS, <const uint8_t *> probe, len(probe))
        if not inflight_open(&udp.inflight, options.inflight_max):
            raise MemoryError
        fill_upstreams(&udp.upstreams, upstreams, options.inflight_max)
        udp.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        udp.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        result = watch(udp.epoll_fd, udp.wake_fd, EVENT_WAKE, EPOLLIN)
        for i in range(<uint32_t> len(udp_fds)):
            udp.client_fds[i] = udp_fds[i]
            octets = sizeof(sockaddr_in6)
            result |= getsockname(udp.client_fds[i], <sockaddr *> &place, &octets)
            address_from_sockaddr(&udp.client_places[i], &place, octets)
            result |= watch(udp.epoll_fd, udp.client_fds[i], i, EPOLLIN)
        for i in range(udp.upstreams.count):
            for j in range(udp.upstreams.each[i].fd_count):
                way = i * UPSTREAM_SOCKETS_MAX + j
                udp.way_fds[way] = udp.upstreams.each[i].fds[j]
                result |= watch(udp.epoll_fd, udp.way_fds[way], EVENT_OTHER_SIDE | way, EPOLLIN)
        if result != 0:
            raise OSError(errno, os.strerror(errno))
        udp.client_count = len(udp_fds)

    cdef _open_streams(self, tcp_fds, upstreams, options):
        cdef Streams *tcp = self.tcp
        cdef uint32_t i
        cdef uint32_t upstream_max = upstream_streams_max(
            len(upstreams), options.proxy_to_upstream
        )
        tcp.timeout_ms = options.timeout_ms
        tcp.try_ms = options.try_ms
        tcp.idle_ms = options.tcp_idle_ms
        tcp.upstream_idle_ms = options.upstream_idle_ms
        tcp.drain_ms = options.drain_ms
        tcp.each_client_max = options.tcp_connections_per_client_max
        tcp.proxies_to_upstream = options.proxy_to_upstream
        tcp.down = &self.udp.upstreams.down
        if not inflight_open(&tcp.inflight, options.inflight_max) or not streams_open(
            &tcp.pool, options.tcp_connections_max, upstream_max
        ):
            raise MemoryError
        fill_upstreams(&tcp.upstreams, upstreams, options.inflight_max)
        tcp.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        tcp.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        for i in range(<uint32_t> len(tcp_fds)):
            tcp.listener_fds[i] = tcp_fds[i]
        tcp.listener_count = len(tcp_fds)
        if (
            watch(tcp.epoll_fd, tcp.wake_fd, EVENT_WAKE, EPOLLIN) != 0
            or watch_listeners(tcp) != 0
        ):
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.udp is not NULL:
            if self.udp.epoll_fd >= 0:
                close(self.udp.epoll_fd)
            if self.udp.wake_fd >= 0:
                close(self.udp.wake_fd)
            inflight_close(&self.udp.inflight)
            cache_close(&self.udp.engine.cache)
            rate_close(&self.udp.engine.rate)
            free(self.udp)
        if self.tcp is not NULL:
            if self.tcp.epoll_fd >= 0:
                close(self.tcp.epoll_fd)
            if self.tcp.wake_fd >= 0:
                close(self.tcp.wake_fd)
            inflight_close(&self.tcp.inflight)
            cache_close(&self.tcp.engine.cache)
            rate_close(&self.tcp.engine.rate)
            streams_close(&self.tcp.pool)
            free(self.tcp)
        if self.held is not NULL:
            release_held(self.held, &self.base, &self.overlay)
        if self.has_stats:
            PyBuffer_Release(&self.stats)

    def run_datagrams(self) -> None:
        """Serve UDP until `stop`, without the GIL, in the calling thread.

        Raises:
            OSError: epoll or the source of randomness has failed; queries are not served.
        """
        cdef Datagrams *udp = self.udp
        cdef int error
        self.is_udp_running = True
        with nogil:
            take_short_turns()
            error = run_datagrams(udp)
        self.is_udp_running = False
        if error != 0:
            raise OSError(error, os.strerror(error))

    def run_streams(self) -> None:
        """Serve TCP until `stop`, without the GIL, in the calling thread.

        Raises:
            OSError: epoll has failed; streams are not served.
        """
        cdef Streams *tcp = self.tcp
        cdef int error
        self.is_tcp_running = True
        with nogil:
            take_short_turns()
            error = run_streams(tcp)
        self.is_tcp_running = False
        if error != 0:
            raise OSError(error, os.strerror(error))

    def stop(self) -> None:
        """Ask the loops to take no more queries, drain and return; does not wait."""
        store_relaxed(&self.udp.engine.stop, 1)
        store_relaxed(&self.tcp.engine.stop, 1)
        self._wake()

    cdef _wake(self):
        eventfd_write(self.udp.wake_fd, 1)
        eventfd_write(self.tcp.wake_fd, 1)

    def set_mode(self, uint64_t mode) -> None:
        """Enforce (1), shadow (2) or bypass (3), from the next batch on."""
        if not MODE_ENFORCE <= mode <= MODE_BYPASS:
            raise InputError(f"there is no mode {mode}", advice="Use 1, 2 or 3.")
        store_relaxed(&self.udp.engine.mode, mode)
        store_relaxed(&self.tcp.engine.mode, mode)
        self._wake()

    def swap(self, table, overlay=None, *, int64_t time_floor_ms=0, order_slots=None) -> None:
        """Publish `table` with what `overlay` changes; return when nothing is judged by others.

        Queries are judged by a time of at least the newest's own floor and `time_floor_ms`
        (Unix), both moving on from now, and never before what the tables before had reached.
        `order_slots` says where each order, by its ledger index, is counted; else it is in 0.

        A `table` that is the one in use is not checked again, so that an overlay costs what it
        is long. The buffers' octets must never change; they are held until the next swap. Who calls
        has checked origin, age and checksum: here only that every lookup stays inside.

        Raises:
            IntegrityError: a structure is broken, or the overlay is another table's; the ones
                before stay.
        """
        cdef Held *held = <Held *> calloc(1, sizeof(Held))
        cdef Py_buffer base, over
        cdef const Held *before = self.held
        cdef Py_buffer base_before = self.base, over_before = self.overlay
        if held is NULL:
            raise MemoryError
        memset(&base, 0, sizeof(Py_buffer))
        memset(&over, 0, sizeof(Py_buffer))
        try:
            PyObject_GetBuffer(table, &base, PyBUF_SIMPLE)
            if overlay is not None:
                PyObject_GetBuffer(overlay, &over, PyBUF_SIMPLE)
            self._read(held, &base, &over, time_floor_ms, order_slots or {})
        except BaseException:
            release_held(held, &base, &over)
            raise
        self.held = held
        self.base = base
        self.overlay = over
        store_release(&self.udp.engine.published, held)
        store_release(&self.tcp.engine.published, held)
        self._wake()
        while self._is_in_use(held):
            with nogil:
                usleep(50)
        if before is not NULL:
            release_held(before, &base_before, &over_before)

    cdef bint _is_in_use(self, const Held *held):
        """Tell whether a loop still judges by other tables than `held`."""
        return (
            self.is_udp_running
            and load_acquire(&self.udp.engine.in_use) != <const void *> held
        ) or (
            self.is_tcp_running
            and load_acquire(&self.tcp.engine.in_use) != <const void *> held
        )

    cdef int _read(
        self, Held *held, Py_buffer *base, Py_buffer *over, int64_t floor_ms, order_slots
    ) except -1:
        """Fill `held` from the tables, giving every order its counter."""
        cdef int opened = TABLE_VALID
        cdef uint32_t row
        cdef tables_t alone
        if self.held is not NULL and base.buf == self.base.buf and base.len == self.base.len:
            held.tables = self.opened  # the very same, and held: what was proven stays so
        else:
            with nogil:
                opened = tables_open(&held.tables, <const uint8_t *> base.buf, base.len)
        alone = held.tables
        if opened == TABLE_VALID and over.buf is not NULL:
            held.base_rows = <uint32_t *> calloc(
                held.tables.order_count + 1, sizeof(uint32_t)
            )
            if held.base_rows is NULL:
                raise MemoryError
            with nogil:
                opened = tables_lay(
                    &held.tables, <const uint8_t *> over.buf, over.len, held.base_rows
                )
        if opened == TABLE_OTHER_BASE:
            raise IntegrityError(
                "the overlay was compiled for another table",
                advice="Hand over the table that it is for first.",
            )
        if opened != TABLE_VALID:
            raise IntegrityError(
                "the table's structure is broken",
                advice="Compile the table anew; the gate keeps the one that it has.",
            )
        held.slot_of = <uint32_t *> calloc(held.tables.order_count + 1, sizeof(uint32_t))
        if held.slot_of is NULL:
            raise MemoryError
        held.begun_ms = begun_ms(max(held.tables.header.time_floor_ms, floor_ms))
        held.begun_tick_ms = now_ms(CLOCK_BOOTTIME)
        held.serial = <uint32_t> held.tables.header.ledger_size
        for row in range(held.tables.order_count):
            held.slot_of[row] = order_slots.get(held.tables.orders[row].index, 0)
        self.opened = alone  # nothing can fail any more
        return 0

    def time_floor_ms(self) -> int:
        """Return the time (Unix) before which no query is judged from now on; 0 without a table."""
        cdef int64_t tick_ms = now_ms(CLOCK_BOOTTIME)
        if self.held is NULL:
            return 0
        return max(
            held_floor_ms(&self.udp.engine, self.held, tick_ms),
            held_floor_ms(&self.tcp.engine, self.held, tick_ms),
        )

    def state(self) -> GateNow:
        """Return what is so now."""
        cdef uint64_t down = load_relaxed(&self.udp.upstreams.down)
        return GateNow(
            in_flight=self.udp.waiting + self.tcp.waiting,
            streams=self.tcp.open,
            upstreams_down=tuple(i for i in range(self.udp.upstreams.count) if down >> i & 1),
        )


cdef void release_held(const Held *held, Py_buffer *base, Py_buffer *over):
    free(<void *> held.base_rows)
    free(held.slot_of)
    free(<void *> held)
    PyBuffer_Release(base)
    PyBuffer_Release(over)
