"""The resolvers behind the gate: which of them is asked, and whether it lives.

The first that lives and has room is asked: the order is the operator's. Each is probed once a
second unless it has answered something meanwhile; two probes unanswered, or a refusal by its
host, and it is down until it answers again. When all are down nothing is forwarded.
Ids are random and so are the source ports, of several sockets a resolver (RFC 5452 §9.2).
One thread owns it; it sends nothing itself.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from reply cimport put8, put16, put_octets
from sockets cimport sockaddr_in6, socklen_t
from wire cimport (
    CLASS_IN, FLAG_AD, FLAG_CD, FLAG_RD, QUESTION_OCTETS_MAX, TYPE_OPT, UDP_OCTETS_MAX, Asker,
)

cdef enum:
    UPSTREAMS_MAX = 8
    UPSTREAM_SOCKETS_MAX = 32      # of each
    UPSTREAM_NONE = 255
    PROBE_INTERVAL_MS = 1000
    PROBES_LOST_MAX = 2
    PLAIN_MS = 300000              # one that does not know EDNS is asked so long without it
    FORWARD_OCTETS_MAX = 12 + QUESTION_OCTETS_MAX + 11


cdef struct Upstream:
    int fds[UPSTREAM_SOCKETS_MAX]  # UDP, connected
    uint32_t fd_count
    sockaddr_in6 place             # for TCP
    socklen_t place_octets
    uint32_t inflight
    uint32_t probes_lost
    uint8_t is_down
    uint8_t is_probed              # a probe is in flight
    uint8_t has_answered           # something, since the last probe was due
    int64_t probe_ms               # CLOCK_BOOTTIME: when the next is due
    int64_t plain_until_ms


cdef struct Upstreams:
    Upstream each[UPSTREAMS_MAX]
    uint32_t count
    uint32_t inflight_max          # of each
    uint64_t down                  # bit i: upstream i is down; read by the other threads


cdef inline uint32_t upstreams_choose(const Upstreams *all, uint32_t after) noexcept nogil:
    """Return the first upstream that lives and has room, or UPSTREAM_NONE if none lives.

    With `after` an upstream's number, the search goes round from the next one and ends before
    `after` itself; with UPSTREAM_NONE it begins with the first. Where none has room the first
    that lives is taken: then what has waited longest gives way.
    """
    cdef uint32_t first = 0, left = all.count, full = UPSTREAM_NONE, i
    if after != UPSTREAM_NONE:
        first = after + 1
        left -= 1
    for i in range(left):
        i = (first + i) % all.count
        if all.each[i].is_down:
            continue
        if all.each[i].inflight < all.inflight_max:
            return i
        if full == UPSTREAM_NONE:
            full = i
    return full


cdef inline void upstream_set_down(Upstreams *all, uint32_t i, bint is_down) noexcept nogil:
    all.each[i].is_down = is_down
    if is_down:
        all.down |= <uint64_t> 1 << i
    else:
        all.down &= ~(<uint64_t> 1 << i)


cdef inline bint upstream_refused(Upstreams *all, uint32_t i) noexcept nogil:
    """Hear that its host refuses, or there is no way to it; tell whether it is down by that."""
    if all.each[i].is_down:
        return False
    upstream_set_down(all, i, True)
    return True


cdef inline bint upstream_lost(Upstreams *all, uint32_t i) noexcept nogil:
    """Hear that a probe was lost; tell whether it is down by that."""
    cdef Upstream *upstream = all.each + i
    upstream.probes_lost += 1
    if upstream.is_down or upstream.probes_lost < PROBES_LOST_MAX:
        return False
    upstream_set_down(all, i, True)
    return True


cdef inline void upstream_answered(Upstreams *all, uint32_t i) noexcept nogil:
    """Hear that it has answered something: it lives."""
    cdef Upstream *upstream = all.each + i
    upstream.has_answered = 1
    upstream.probes_lost = 0
    if upstream.is_down:
        upstream_set_down(all, i, False)


cdef inline bint upstream_wants_probe(Upstream *upstream, int64_t tick_ms) noexcept nogil:
    """Tell whether a probe is to be sent now; what has answered since the last needs none."""
    if upstream.is_probed or tick_ms < upstream.probe_ms:
        return False
    upstream.probe_ms = tick_ms + PROBE_INTERVAL_MS
    if upstream.has_answered:
        upstream.has_answered = 0
        return False
    return True


cdef inline size_t write_forward(
    uint8_t *out, const Asker *asker, uint32_t id, const uint8_t *question, bint has_opt
) noexcept nogil:
    """Write the query that goes upstream for `asker`'s question; at most FORWARD_OCTETS_MAX.

    OPT is ours (RFC 6891 §6.1.1: hop by hop), so what the client put there, a subnet (RFC 7871)
    or a cookie, ends here. RD, CD and DO are the client's; AD asks whether data is authentic
    (RFC 6840 §5.7), because a cached answer may be asked that later.
    """
    cdef uint8_t *end = put16(out, id)
    end = put16(end, (asker.flags & (FLAG_RD | FLAG_CD)) | FLAG_AD)
    end = put16(end, 1)
    end = put16(end, 0)
    end = put16(end, 0)
    end = put16(end, has_opt)
    end = put_octets(end, question, asker.question_octets)
    if has_opt:
        end = put8(end, 0)
        end = put16(end, TYPE_OPT)
        end = put16(end, UDP_OCTETS_MAX)
        end = put16(end, 0)
        end = put16(end, asker.dnssec_ok << 15)
        end = put16(end, 0)
    return end - out
