"""What the gate counts, in memory that its supervisor reads: the layout and how it is written.

A header with the directory of orders, then a region for each thread of each worker; every word of
a region has one writer, so no add needs a lock and no reader sees half a number. Nothing here
names a client or a query: counters are for the whole gate, or for an order. What a crashed worker
has counted stays. The memory is never trusted across releases: see `stats_fits`.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from sockets cimport add_relaxed, load_relaxed, store_relaxed

cdef extern from * nogil:
    """
    #define highest_bit(word) (63 - __builtin_clzll(word))
    """
    uint32_t highest_bit(uint64_t word)  # of a word that is not 0

cdef enum:
    STATS_VERSION = 2           # to be raised with every change of what is below
    STATS_WORKERS_MAX = 256     # of a supervisor and its successor together
    STATS_THREADS = 2           # of a worker: 0 serves datagrams, 1 streams
    STATS_ORDERS_MAX = 65536    # slots; slot 0 takes the orders that found none
    STATS_WORDS = 128
    STATS_STAGES = 8
    STATS_STAGE_WORDS = 64
    STATS_ORDER_WORDS = 8       # a cache line

    STATS_STAGES_AT = STATS_WORDS * 8
    STATS_ORDERS_AT = 8192
    STATS_REGION_OCTETS = STATS_ORDERS_AT + STATS_ORDERS_MAX * STATS_ORDER_WORDS * 8
    STATS_DIRECTORY_AT = 4096   # for each slot its order's ledger index + 1, by the supervisor
    STATS_HEADER_OCTETS = STATS_DIRECTORY_AT + STATS_ORDERS_MAX * 8

    # Buckets of a latency in µs, two to an octave: 1, 2, 3, 4, 6, 8, 12, 16, 24 … and above.
    STATS_BUCKETS = 48
    STATS_SUM_NS = STATS_BUCKETS  # the word behind them

# Every message from a client is `received` and has exactly one fate, or is `in_flight` or on its
# way between the two: received = the sum of FATES_FIRST .. FATES_LAST + in_flight.
# Every datagram from an upstream is `upstream_received` and one of UPSTREAM_FATES_FIRST .. _LAST.
# The rest is told beside these and is in no sum.
cdef enum Stat:
    STAT_UNSPECIFIED
    STAT_RECEIVED
    STAT_IN_FLIGHT              # now, not since the start
    # -- what becomes of a message
    STAT_BLOCKED_NXDOMAIN
    STAT_BLOCKED_NODATA
    STAT_BLOCKED_PAGE
    STAT_BLOCKED_CHAIN          # its name passes; a link of the answer does not
    STAT_BLOCKED_ADDRESS        # ... or an address in it
    STAT_CHAIN_BROKEN           # the answer's links cannot be judged: SERVFAIL
    STAT_UNDECIDED              # the table gave no verdict: SERVFAIL
    STAT_CACHE_HIT              # answered from the cache
    STAT_CACHE_STALE            # ... because no upstream answered (RFC 8767)
    STAT_RELAYED                # answered as an upstream did
    STAT_TIMED_OUT              # no upstream answered in time: SERVFAIL
    STAT_EVICTED                # gave way to newer queries: SERVFAIL
    STAT_UPSTREAM_UNSENT        # the kernel did not take it for the upstream: SERVFAIL
    STAT_UPSTREAM_NONE          # no upstream was to be asked: SERVFAIL
    STAT_LOST                   # its worker died before the answer came
    STAT_FORMERR
    STAT_NOTIMP
    STAT_BADVERS
    STAT_REFUSED                # a zone transfer
    STAT_ACCESS_REFUSED         # from an address that is not served
    STAT_PROXY_REFUSED          # from a proxy that does not say for whom
    STAT_DROPPED_RUNT
    STAT_DROPPED_RESPONSE
    # -- what becomes of an upstream's datagram
    STAT_UPSTREAM_RECEIVED
    STAT_UPSTREAM_ANSWERED      # it answers what waits, or waited, for it
    STAT_UPSTREAM_PROBED        # it answers a look whether the upstream lives
    STAT_UPSTREAM_PLAIN         # it does not know EDNS: asked again without
    STAT_UPSTREAM_MALFORMED
    STAT_UPSTREAM_UNKNOWN_ID
    STAT_UPSTREAM_WRONG_QUESTION
    # -- told beside
    STAT_PASSED                 # handed to an upstream, once for each query
    STAT_SHADOWED               # would have been blocked; passed, in shadow mode
    STAT_BYPASSED               # passed without being judged, by the operator's bypass
    STAT_CACHE_MISS             # looked for in the cache, and nothing fresh was there
    STAT_CACHE_BYPASSED         # not looked for: RD=0, another class, or no cache
    STAT_UPSTREAM_CUT           # answers with TC=1, or longer than is read
    STAT_UPSTREAM_TCP           # queries asked again over TCP
    STAT_UPSTREAM_RETRIED
    STAT_UPSTREAM_FAILED_OVER   # ... of another upstream
    STAT_UPSTREAM_DOWN          # times that an upstream was found dead
    STAT_UPSTREAM_ERRORS        # of the kernel, on an upstream's socket
    STAT_RATE_SLIPPED           # answers cut to TC=1, as too many went to that network
    STAT_RATE_DROPPED           # ... and those not sent
    STAT_REPLIES_UNSENT         # answers that the kernel did not take, or whose client was gone
    STAT_TCP_CONNECTIONS
    STAT_TCP_CLOSED_IDLE
    STAT_TCP_CLOSED_SLOW        # the client did not take its answers
    STAT_TCP_REFUSED_FULL       # ... and were closed at once: too many are open
    STAT_TCP_ACCEPT_PAUSED      # times that none was taken for a moment: no descriptor was left
    STAT_TCP_MALFORMED          # closed for what came over them
    STATS_COUNTED

cdef enum:
    FATES_FIRST = STAT_BLOCKED_NXDOMAIN
    FATES_LAST = STAT_DROPPED_RESPONSE
    UPSTREAM_FATES_FIRST = STAT_UPSTREAM_ANSWERED
    UPSTREAM_FATES_LAST = STAT_UPSTREAM_WRONG_QUESTION

cdef enum OrderOutcome:
    ORDER_UNSPECIFIED
    ORDER_BLOCKED_NXDOMAIN
    ORDER_BLOCKED_NODATA
    ORDER_BLOCKED_PAGE
    ORDER_BLOCKED_CHAIN
    ORDER_BLOCKED_ADDRESS
    ORDER_SHADOWED
    ORDER_OUTCOMES

# Latencies, from the query's arrival in the gate to its answer's leaving.
cdef enum Stage:
    STAGE_UNSPECIFIED
    STAGE_BLOCKED
    STAGE_CACHED
    STAGE_UPSTREAM
    STAGES


cdef struct StatsHeader:
    # Written when the memory is made, and `generation` when a successor takes it over.
    uint8_t magic[8]
    uint32_t version
    uint32_t generation        # of the supervisor: it and its successor use different workers
    uint64_t region_octets
    uint64_t layout            # a digest of all names, in order
    uint8_t claimed[STATS_WORKERS_MAX]  # 1 for each worker that has counted, by the supervisor


cdef inline size_t stats_octets() noexcept nogil:
    """Return how long the memory is."""
    return STATS_HEADER_OCTETS + (
        <size_t> STATS_WORKERS_MAX * STATS_THREADS * STATS_REGION_OCTETS
    )


cdef inline const char *stats_magic() noexcept nogil:
    return b"ENFSTATS"


cdef inline bint stats_fits(const uint8_t *base, size_t octets) noexcept nogil:
    """Tell whether memory of `octets` octets is laid out as it is here.

    Another release may have made it: what does not fit must be replaced, not read.
    """
    cdef StatsHeader header
    if octets != stats_octets():
        return False
    memcpy(&header, base, sizeof(header))
    return (
        memcmp(header.magic, stats_magic(), sizeof(header.magic)) == 0
        and header.version == STATS_VERSION
        and header.region_octets == STATS_REGION_OCTETS
    )


cdef inline uint8_t *stats_region(uint8_t *base, uint32_t worker, uint32_t thread) noexcept nogil:
    """Return where thread `thread` of `worker` counts; NULL beyond what there is."""
    if worker >= STATS_WORKERS_MAX or thread >= STATS_THREADS:
        return NULL
    return base + STATS_HEADER_OCTETS + (
        (<size_t> worker * STATS_THREADS + thread) * STATS_REGION_OCTETS
    )


cdef inline uint64_t *stats_word(uint8_t *region, uint32_t counter) noexcept nogil:
    return <uint64_t *> region + counter % STATS_WORDS


cdef inline void stats_count(uint8_t *region, uint32_t counter) noexcept nogil:
    add_relaxed(stats_word(region, counter), 1)


cdef inline void stats_add(uint8_t *region, uint32_t counter, uint64_t count) noexcept nogil:
    if count:
        add_relaxed(stats_word(region, counter), count)


cdef inline void stats_set(uint8_t *region, uint32_t counter, uint64_t value) noexcept nogil:
    """Say how much of something there is now."""
    store_relaxed(stats_word(region, counter), value)


cdef inline uint64_t *stats_order(
    uint8_t *region, uint32_t slot, uint32_t outcome
) noexcept nogil:
    """Return the word of an order's outcome; a slot that is not there is slot 0."""
    if slot >= STATS_ORDERS_MAX:
        slot = 0
    return (
        <uint64_t *> (region + STATS_ORDERS_AT)
        + <size_t> slot * STATS_ORDER_WORDS + outcome % STATS_ORDER_WORDS
    )


cdef inline void stats_count_order(
    uint8_t *region, uint32_t slot, uint32_t outcome
) noexcept nogil:
    add_relaxed(stats_order(region, slot, outcome), 1)


cdef inline uint32_t stats_bucket(uint64_t duration_ns) noexcept nogil:
    """Return the first bucket whose bound is not below the duration; the last has no bound."""
    cdef uint64_t above_us = (duration_ns + 999) // 1000  # rounded up, then one less:
    cdef uint32_t octave, at
    above_us -= above_us > 0
    if above_us < 2:
        return <uint32_t> above_us
    octave = highest_bit(above_us)
    at = 2 * octave + <uint32_t> (above_us >> (octave - 1) & 1)
    return min(at, <uint32_t> STATS_BUCKETS - 1)


cdef inline uint64_t stats_bound_us(uint32_t bucket) noexcept nogil:
    """Return the bound of a bucket but the last: a latency of just as much is in it."""
    if bucket < 2:
        return bucket + 1
    return (<uint64_t> 1 << (bucket // 2)) + (<uint64_t> (1 + bucket % 2) << (bucket // 2 - 1))


cdef inline void stats_observe(
    uint8_t *region, uint32_t stage, int64_t duration_ns, uint64_t times
) noexcept nogil:
    """Note `times` answers of a stage that took so long each; a negative time took none."""
    cdef uint64_t *words = <uint64_t *> (region + STATS_STAGES_AT)
    cdef uint64_t spent_ns = max(duration_ns, <int64_t> 0)
    if times == 0:
        return
    words += stage % STATS_STAGES * STATS_STAGE_WORDS
    add_relaxed(words + stats_bucket(spent_ns), times)
    add_relaxed(words + STATS_SUM_NS, spent_ns * times)


cdef inline uint64_t stats_read(const uint8_t *at) noexcept nogil:
    """Read one word that another process may be writing."""
    return load_relaxed(<const uint64_t *> at)
