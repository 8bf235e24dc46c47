"""Messages over TCP: framed by two octets of length (RFC 1035 §4.2.2), in buffers taken once.

A Stream reads what comes until a frame is whole, and keeps what it could not write yet. What a
peer may send and leave unread is bounded by the buffers; they are given back to the kernel when
a stream ends. Nothing here blocks, and nothing is allocated after `streams_open`.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from address cimport Address
from sockets cimport (
    MADV_DONTNEED, MSG_DONTWAIT, MSG_NOSIGNAL, close, explicit_bzero, madvise, recv, send,
)
from wire cimport get16

cdef enum:
    FRAME_OCTETS_MAX = 2 + 65535
    QUERY_FRAME_OCTETS_MAX = 8192       # a query and a PROXY header; queries are short
    PAGE_OCTETS = 4096
    OUT_OCTETS_MAX = 36 * PAGE_OCTETS   # two frames of any length, and a page

cdef enum:
    STREAM_FREE = 0
    STREAM_CLIENT = 1
    STREAM_UPSTREAM = 2


cdef struct Stream:
    int fd
    uint8_t role
    uint8_t is_connecting   # upstream: connect(2) has not ended yet
    uint8_t is_ending       # nothing more is read; it is closed when all is answered and sent
    uint8_t is_single       # upstream: for one query, which a PROXY header stands before
    uint8_t is_due          # client: whole queries wait in `in_octets`, which may go on now
    uint8_t is_broken       # upstream: it could not be written to, or is dead: it is to be ended
    uint8_t wants_header    # client: a PROXY header must come first
    uint8_t upstream        # upstream: its number
    uint32_t events         # what epoll watches it for
    uint32_t serial         # of the stream in this place: it tells apart who came after whom
    uint32_t inflight       # queries that wait for an answer
    uint32_t heard          # upstream: grows with all that comes
    int64_t active_ms       # CLOCK_BOOTTIME: when a whole message came or went last
    Address address         # client: who asks
    Address local
    uint32_t in_used
    uint32_t in_max
    uint8_t *in_octets
    uint32_t out_at         # what stands before it was sent
    uint32_t out_used
    uint8_t *out_octets


cdef struct Pool:
    Stream *each            # each[0 .. client_max) are clients', the rest upstreams'
    uint32_t client_max
    uint32_t count_max
    uint8_t *octets


cdef inline bint streams_open(
    Pool *pool, uint32_t client_max, uint32_t upstream_max
) noexcept nogil:
    """Take memory for so many streams, or return False; pages that none touches cost nothing."""
    cdef size_t octets = 0
    cdef uint32_t i
    pool.client_max = client_max
    pool.count_max = client_max + upstream_max
    pool.each = <Stream *> calloc(pool.count_max, sizeof(Stream))
    octets = PAGE_OCTETS + <size_t> pool.count_max * OUT_OCTETS_MAX
    octets += <size_t> client_max * QUERY_FRAME_OCTETS_MAX
    octets += <size_t> upstream_max * (17 * PAGE_OCTETS)
    pool.octets = <uint8_t *> calloc(1, octets)
    if pool.each is NULL or pool.octets is NULL:
        return False
    octets = PAGE_OCTETS - (<size_t> pool.octets) % PAGE_OCTETS
    for i in range(pool.count_max):
        pool.each[i].fd = -1
        pool.each[i].out_octets = pool.octets + octets
        octets += OUT_OCTETS_MAX
        pool.each[i].in_octets = pool.octets + octets
        pool.each[i].in_max = QUERY_FRAME_OCTETS_MAX if i < client_max else 17 * PAGE_OCTETS
        octets += pool.each[i].in_max
    return True


cdef inline void streams_close(Pool *pool) noexcept nogil:
    """Close what is open and give back all memory; may be called after a failed open."""
    cdef uint32_t i
    if pool.each is not NULL:
        for i in range(pool.count_max):
            if pool.each[i].fd >= 0:
                close(pool.each[i].fd)
    free(pool.each)
    free(pool.octets)
    memset(pool, 0, sizeof(Pool))


cdef inline void stream_end(Stream *stream) noexcept nogil:
    """Close it and forget everything of it; its place is free."""
    close(stream.fd)
    # The pages come back empty: what stood there is gone, and costs nothing.
    madvise(stream.out_octets, OUT_OCTETS_MAX, MADV_DONTNEED)
    madvise(stream.in_octets, stream.in_max, MADV_DONTNEED)
    explicit_bzero(&stream.address, sizeof(Address))
    explicit_bzero(&stream.local, sizeof(Address))
    stream.fd = -1
    stream.role = STREAM_FREE
    stream.is_connecting = stream.is_ending = stream.is_single = 0
    stream.is_due = stream.is_broken = stream.wants_header = 0
    stream.events = stream.inflight = stream.heard = 0
    stream.in_used = stream.out_at = stream.out_used = 0
    stream.serial += 1


cdef inline int stream_read(Stream *stream) noexcept nogil:
    """Read what is there; return 1 for something, 0 for nothing yet, -1 when its peer is done."""
    cdef ssize_t got
    while stream.in_used < stream.in_max:
        got = recv(
            stream.fd, stream.in_octets + stream.in_used, stream.in_max - stream.in_used,
            MSG_DONTWAIT,
        )
        if got > 0:
            stream.in_used += <uint32_t> got
            return 1
        if got == 0:
            return -1
        if errno != EINTR:
            return 0 if errno == EAGAIN else -1
    return 0


cdef inline size_t stream_frame(const Stream *stream, size_t at) noexcept nogil:
    """Return the octets of the whole frame at `at`, its length's two included, or 0."""
    cdef size_t octets
    if stream.in_used < at + 2:
        return 0
    octets = 2 + <size_t> get16(stream.in_octets + at)
    return octets if at + octets <= stream.in_used else 0


cdef inline bint stream_is_stuck(const Stream *stream, size_t at) noexcept nogil:
    """Tell whether the frame at `at` is longer than will ever fit."""
    return (
        stream.in_used >= at + 2
        and 2 + <size_t> get16(stream.in_octets + at) > stream.in_max
    )


cdef inline void stream_consume(Stream *stream, size_t octets) noexcept nogil:
    """Forget the first `octets` that came."""
    stream.in_used -= <uint32_t> octets
    memmove(stream.in_octets, stream.in_octets + octets, stream.in_used)


cdef inline bint stream_has_room(const Stream *stream) noexcept nogil:
    """Tell whether an answer of any length can be queued."""
    return stream.out_used - stream.out_at + FRAME_OCTETS_MAX <= OUT_OCTETS_MAX


cdef inline void stream_write(
    Stream *stream, const uint8_t *octets, size_t count, bint is_framed
) noexcept nogil:
    """Queue `count` octets; a frame's length goes first if it `is_framed`. There is room."""
    cdef uint8_t *out
    if stream.out_at and stream.out_used + count + 2 > OUT_OCTETS_MAX:
        stream.out_used -= stream.out_at
        memmove(stream.out_octets, stream.out_octets + stream.out_at, stream.out_used)
        stream.out_at = 0
    out = stream.out_octets + stream.out_used
    if is_framed:
        out[0] = <uint8_t> (count >> 8)
        out[1] = <uint8_t> count
        out += 2
    memcpy(out, octets, count)
    stream.out_used = <uint32_t> (out - stream.out_octets + count)


cdef inline bint stream_flush(Stream *stream) noexcept nogil:
    """Send what is queued as far as the kernel takes it; False when the stream is broken."""
    cdef ssize_t sent
    while stream.out_at < stream.out_used:
        sent = send(
            stream.fd, stream.out_octets + stream.out_at, stream.out_used - stream.out_at,
            MSG_DONTWAIT | MSG_NOSIGNAL,
        )
        if sent > 0:
            stream.out_at += <uint32_t> sent
        elif errno != EINTR:
            return errno == EAGAIN
    stream.out_at = stream.out_used = 0
    return True
