"""The gate's loop: UDP queries in, verdicts by the table, answers or the upstream's out.

One thread runs it without the GIL; per packet it allocates nothing, takes no lock and calls no
Python. It writes the counters and `in_use`; the other thread writes `published` and `stop`.
A new table is taken between two batches, and the old one is given back only after that.
It owns no socket: descriptors are handed in, so that another process can go on with them.
Never kept, counted or shown: a client's address or a name asked for.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from batch cimport BATCH, inbox_open, outbox_open
from inflight cimport inflight_close, inflight_open
from serve cimport (
    COUNTERS, RANDOM_OCTETS, SOCKETS_MAX, Held, Loop, begin_batch, expire, held_floor_ms,
    serve_clients, serve_upstream, wait_ms,
)
from sockets cimport (
    CLOCK_BOOTTIME, CLOCK_REALTIME, EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN, EPOLL_CLOEXEC,
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_GET_PDEATHSIG,
    PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, add_relaxed, clear_capabilities,
    close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, eventfd, eventfd_read,
    eventfd_write, load_acquire, load_relaxed, now_ms, prctl, store_release, usleep,
)
from tables cimport TABLE_VALID, tables_open

import os

from enforcer.errors import InputError, IntegrityError

cdef enum:
    EVENTS = 64
    INFLIGHT_MAX = 1 << 20
    ORDERS_COUNTED_MAX = 1 << 20
    CLOCK_TRUST_MS = 120000     # as far as a node lets the ledger's clock be ahead of its own
    TIME_MS_MAX = 1000000000000000  # floors stop there, so that adding to one never overflows
    EVENT_WAKE = 0xFFFFFFFF     # epoll data: the eventfd; else the socket's number
    EVENT_UPSTREAM = 0x10000    # added to an upstream socket's number

# In the order of serve.pxd's counters.
COUNTER_NAMES = (
    "received", "blocked_nxdomain", "blocked_nodata", "blocked_page", "passed", "formerr",
    "notimp", "badvers", "refused", "undecided", "dropped_runt", "dropped_response", "relayed",
    "timed_out", "evicted", "upstream_unsent", "upstream_received", "upstream_malformed",
    "upstream_unknown_id", "upstream_wrong_question", "upstream_cut", "upstream_errors",
    "replies_unsent",
)
assert len(COUNTER_NAMES) == COUNTERS


cdef int run_loop(Loop *loop) noexcept nogil:
    """Serve until told to stop, then drain what is in flight; return 0, or an errno."""
    cdef epoll_event events[EVENTS]
    cdef uint32_t number
    cdef uint64_t ignored
    cdef int64_t drain_until_ms = 0
    cdef int ready, i
    while True:
        begin_batch(loop)
        expire(loop)
        if drain_until_ms == 0 and load_relaxed(&loop.stop):
            drain_until_ms = loop.tick_ms + loop.drain_ms
            for i in range(<int> loop.client_count):
                epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, loop.client_fds[i], NULL)
        if drain_until_ms and (loop.inflight.taken == 0 or loop.tick_ms >= drain_until_ms):
            return 0
        ready = epoll_wait(loop.epoll_fd, events, EVENTS, <int> wait_ms(loop, drain_until_ms))
        if ready < 0 and errno != EINTR:
            return errno
        for i in range(ready):
            number = events[i].data.u32
            if number == EVENT_WAKE:
                eventfd_read(loop.wake_fd, &ignored)
            elif number >= EVENT_UPSTREAM:
                serve_upstream(loop, number - EVENT_UPSTREAM)
            elif not serve_clients(loop, number):
                return errno


cdef int watch(Loop *loop, int fd, uint32_t number) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.u32 = number
    return epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, fd, &event)


cdef int64_t begun_ms(int64_t floor_ms) noexcept nogil:
    """Return what time it surely is now, given a floor: the wall clock's, if it is near.

    A table is some seconds old when it comes here, and a floor from the disk a minute. Further
    the wall clock is not trusted, for what it says here stays when it is set right later.
    """
    floor_ms = max(<int64_t> 0, min(floor_ms, <int64_t> TIME_MS_MAX))
    return max(floor_ms, min(now_ms(CLOCK_REALTIME), floor_ms + CLOCK_TRUST_MS))


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


cdef class Gate:
    """The loop with its buffers; `run` in one thread, everything else from one other thread."""

    cdef Loop *loop
    cdef const Held *held      # the last published; owned here
    cdef Py_buffer region       # what `held` points into
    cdef bint is_running        # changed with the GIL held
    cdef dict counted           # order's ledger index -> its place in order_counts

    def __cinit__(
        self,
        client_fds,
        upstream_fds,
        *,
        uint32_t inflight_max,
        uint32_t timeout_ms,
        uint32_t drain_ms,
        bytes page4=b"",
        bytes page6=b"",
    ):
        if not (1 <= len(client_fds) <= SOCKETS_MAX and 1 <= len(upstream_fds) <= SOCKETS_MAX):
            raise InputError(
                f"{len(client_fds)} listening and {len(upstream_fds)} upstream sockets",
                advice=f"Use 1 to {SOCKETS_MAX} of each.",
            )
        if not (BATCH <= inflight_max <= INFLIGHT_MAX) or timeout_ms == 0:
            raise InputError(
                f"{inflight_max} queries in flight, each for {timeout_ms} ms",
                advice=f"Allow {BATCH} to {INFLIGHT_MAX} queries and at least a millisecond.",
            )
        if len(page4) not in (0, 4) or len(page6) not in (0, 16):
            raise InputError(
                "the block page's address has a wrong length",
                advice="Give 4 octets for IPv4 and 16 for IPv6, or none.",
            )
        self.counted = {}
        self.loop = <Loop *> calloc(1, sizeof(Loop))
        if self.loop is NULL:
            raise MemoryError
        self.loop.epoll_fd = self.loop.wake_fd = -1
        self.loop.order_counts = <uint64_t *> calloc(ORDERS_COUNTED_MAX, sizeof(uint64_t))
        if self.loop.order_counts is NULL or not inflight_open(&self.loop.inflight, inflight_max):
            raise MemoryError
        self.loop.timeout_ms = timeout_ms
        self.loop.drain_ms = drain_ms
        self.loop.random_at = RANDOM_OCTETS
        self.loop.has_page4 = len(page4) == 4
        self.loop.has_page6 = len(page6) == 16
        memcpy(self.loop.page4, <const uint8_t *> page4, len(page4))
        memcpy(self.loop.page6, <const uint8_t *> page6, len(page6))
        self._open_buffers()
        self._open_sockets(client_fds, upstream_fds)

    cdef _open_buffers(self):
        cdef uint32_t i
        inbox_open(&self.loop.clients, True)
        inbox_open(&self.loop.answers, False)
        outbox_open(&self.loop.outbox)
        for i in range(<uint32_t> BATCH):
            self.loop.out.messages[i].msg_hdr.msg_iov = &self.loop.out.vectors[i]
            self.loop.out.messages[i].msg_hdr.msg_iovlen = 1

    cdef _open_sockets(self, client_fds, upstream_fds):
        cdef int result
        cdef uint32_t i
        self.loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        self.loop.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        result = watch(self.loop, self.loop.wake_fd, EVENT_WAKE)
        for i in range(<uint32_t> len(client_fds)):
            self.loop.client_fds[i] = client_fds[i]
            result |= watch(self.loop, self.loop.client_fds[i], i)
        for i in range(<uint32_t> len(upstream_fds)):
            self.loop.upstream_fds[i] = upstream_fds[i]
            result |= watch(self.loop, self.loop.upstream_fds[i], EVENT_UPSTREAM + i)
        if result != 0:
            raise OSError(errno, os.strerror(errno))
        self.loop.client_count = len(client_fds)
        self.loop.upstream_count = len(upstream_fds)

    def __dealloc__(self):
        if self.loop is not NULL:
            if self.loop.epoll_fd >= 0:
                close(self.loop.epoll_fd)
            if self.loop.wake_fd >= 0:
                close(self.loop.wake_fd)
            inflight_close(&self.loop.inflight)
            free(self.loop.order_counts)
            free(self.loop)
        if self.held is not NULL:
            free(self.held.counted_at)
            free(<void *> self.held)
            PyBuffer_Release(&self.region)

    def run(self) -> None:
        """Serve until `stop`, without the GIL, in the calling thread.

        Raises:
            OSError: epoll or the source of randomness has failed; queries are not served.
        """
        cdef Loop *loop = self.loop
        cdef int error
        self.is_running = True
        with nogil:
            error = run_loop(loop)
        self.is_running = False
        if error != 0:
            raise OSError(error, os.strerror(error))

    def stop(self) -> None:
        """Ask the loop to take no more queries, drain and return; does not wait."""
        add_relaxed(&self.loop.stop, 1)
        eventfd_write(self.loop.wake_fd, 1)

    def swap(self, table, *, int64_t time_floor_ms=0) -> None:
        """Publish `table`, a buffer, and return when no query is judged by the one before.

        Queries are judged by a time of at least its own floor and `time_floor_ms` (Unix), both
        moving on from now, and never before what the table before it had reached.

        The buffer's octets must never change; it is held until the next swap. Whoever calls
        has checked origin, age and checksum: here only that every lookup stays inside.

        Raises:
            IntegrityError: the table's structure is broken; the one before stays.
        """
        cdef Held *held = <Held *> calloc(1, sizeof(Held))
        cdef Py_buffer region
        cdef const Held *before = self.held
        cdef Py_buffer region_before = self.region
        if held is NULL:
            raise MemoryError
        try:
            PyObject_GetBuffer(table, &region, PyBUF_SIMPLE)
        except BaseException:
            free(held)
            raise
        if not self._read(held, <const uint8_t *> region.buf, region.len, time_floor_ms):
            free(held)
            PyBuffer_Release(&region)
            raise IntegrityError(
                "the table's structure is broken",
                advice="Compile the table anew; the gate keeps the one that it has.",
            )
        self.held = held
        self.region = region
        store_release(&self.loop.published, held)
        eventfd_write(self.loop.wake_fd, 1)
        while self.is_running and load_acquire(&self.loop.in_use) != <const void *> held:
            with nogil:
                usleep(100)
        if before is not NULL:
            free(before.counted_at)
            free(<void *> before)
            PyBuffer_Release(&region_before)

    cdef bint _read(
        self, Held *held, const uint8_t *octets, Py_ssize_t size, int64_t floor_ms
    ) except -1:
        """Fill `held` from a table, giving every order its counter; False if it is broken."""
        cdef int opened
        cdef uint32_t slot
        with nogil:
            opened = tables_open(&held.tables, octets, size)
        if opened != TABLE_VALID:
            return False
        held.counted_at = <uint32_t *> calloc(held.tables.order_count + 1, sizeof(uint32_t))
        if held.counted_at is NULL:
            return False
        held.begun_ms = begun_ms(max(held.tables.header.time_floor_ms, floor_ms))
        held.begun_tick_ms = now_ms(CLOCK_BOOTTIME)
        held.serial = <uint32_t> held.tables.header.ledger_size
        for slot in range(held.tables.order_count):
            held.counted_at[slot] = self._place(held.tables.orders[slot].index)
        return True

    cdef uint32_t _place(self, uint64_t index) except? 0:
        place = self.counted.get(index)
        if place is None:
            place = len(self.counted) + 1
            if place >= ORDERS_COUNTED_MAX:
                return 0
            self.counted[index] = place
        return place

    def time_floor_ms(self) -> int:
        """Return the time (Unix) before which no query is judged from now on; 0 without a table."""
        if self.held is NULL:
            return 0
        return held_floor_ms(self.loop, self.held, now_ms(CLOCK_BOOTTIME))

    def counters(self) -> dict:
        """Return every outcome's count since the start, and how many are in flight now."""
        cdef uint32_t i
        counts = {}
        for i in range(<uint32_t> COUNTERS):
            counts[COUNTER_NAMES[i]] = load_relaxed(&self.loop.counters[i])
        counts["in_flight"] = self.loop.inflight.taken
        return counts

    def order_counts(self) -> dict:
        """Return blocked queries by the order's ledger index, since the start."""
        return {
            index: load_relaxed(&self.loop.order_counts[<uint32_t> place])
            for index, place in self.counted.items()
        }
