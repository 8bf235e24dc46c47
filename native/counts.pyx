"""How a supervisor reads what its workers count (see stats.pxd), and prepares the memory for it.

Owns the names of all that is counted. Functions take the whole memory as a writable buffer and
trust that `fits` said yes; they read words that other processes write, never half of one.
"""

from hashlib import sha256

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from sockets cimport load_relaxed
from stats cimport *

COUNTER_NAMES = (
    "received", "in_flight",
    "blocked_nxdomain", "blocked_nodata", "blocked_page", "blocked_chain", "blocked_address",
    "chain_broken", "undecided", "cache_hit", "cache_stale", "relayed", "timed_out", "evicted",
    "upstream_unsent", "upstream_none", "lost", "formerr", "notimp", "badvers",
    "refused", "access_refused", "proxy_refused", "dropped_runt", "dropped_response",
    "upstream_received", "upstream_answered", "upstream_probed", "upstream_plain",
    "upstream_malformed", "upstream_unknown_id", "upstream_wrong_question",
    "passed", "shadowed", "bypassed", "cache_miss", "cache_bypassed", "upstream_cut",
    "upstream_tcp", "upstream_retried", "upstream_failed_over", "upstream_down",
    "upstream_errors", "rate_slipped", "rate_dropped", "replies_unsent", "tcp_connections",
    "tcp_closed_idle", "tcp_closed_slow", "tcp_refused_full", "tcp_accept_paused",
    "tcp_malformed",
)  # in the order of Stat, from 1 on
OUTCOME_NAMES = (
    "blocked_nxdomain", "blocked_nodata", "blocked_page", "blocked_chain", "blocked_address",
    "shadowed",
)  # in the order of OrderOutcome, from 1 on
STAGE_NAMES = ("blocked", "cached", "upstream")  # in the order of Stage, from 1 on

FATES = COUNTER_NAMES[FATES_FIRST - 1:FATES_LAST]
UPSTREAM_FATES = COUNTER_NAMES[UPSTREAM_FATES_FIRST - 1:UPSTREAM_FATES_LAST]
BUCKET_BOUNDS_US = tuple([stats_bound_us(bucket) for bucket in range(STATS_BUCKETS - 1)])

MEMORY_OCTETS = stats_octets()
WORKERS_MAX = STATS_WORKERS_MAX
ORDERS_MAX = STATS_ORDERS_MAX

if (
    len(COUNTER_NAMES) != STATS_COUNTED - 1
    or len(OUTCOME_NAMES) != ORDER_OUTCOMES - 1
    or len(STAGE_NAMES) != STAGES - 1
):
    raise ImportError("a counter has no name, or a name no counter")


def begin(uint8_t[::1] memory not None):
    """Write the header of new memory, which is all zeros."""
    cdef StatsHeader header
    check(<size_t> memory.shape[0] == stats_octets())
    memset(&header, 0, sizeof(header))
    memcpy(&header.magic[0], stats_magic(), sizeof(header.magic))
    header.version = STATS_VERSION
    header.region_octets = STATS_REGION_OCTETS
    header.layout = layout_digest()
    memcpy(&memory[0], &header, sizeof(header))


def fits(const uint8_t[::1] memory not None):
    """Tell whether the memory is laid out, and its words mean, as this release has it."""
    cdef StatsHeader header
    if memory.shape[0] == 0 or not stats_fits(&memory[0], memory.shape[0]):
        return False
    memcpy(&header, &memory[0], sizeof(header))
    return header.layout == layout_digest()


def generation(uint8_t[::1] memory not None, uint32_t later=0):
    """Return which supervisor's memory it is, after making it `later` generations later."""
    cdef StatsHeader *header = <StatsHeader *> &memory[0]
    header.generation += later
    return header.generation


def claim(uint8_t[::1] memory not None, uint32_t worker):
    """Note that a worker with this number counts, so that its regions are read from now on."""
    check(worker < STATS_WORKERS_MAX)
    (<StatsHeader *> &memory[0]).claimed[worker] = 1


def claimed(const uint8_t[::1] memory not None):
    """Return the numbers of the workers that count or have counted."""
    cdef const StatsHeader *header = <const StatsHeader *> &memory[0]
    return [worker for worker in range(STATS_WORKERS_MAX) if header.claimed[worker]]


def directory(const uint8_t[::1] memory not None):
    """Return the ledger indices of the orders that have slots, that of slot 1 first."""
    cdef const uint64_t *entries = <const uint64_t *> (&memory[0] + STATS_DIRECTORY_AT)
    cdef uint32_t slot = 1
    indices = []
    while slot < <uint32_t> STATS_ORDERS_MAX and entries[slot]:
        indices.append(entries[slot] - 1)
        slot += 1
    return indices


def enter(uint8_t[::1] memory not None, uint32_t slot, uint64_t index):
    """Note that the order with this ledger index has the slot."""
    check(1 <= slot < STATS_ORDERS_MAX)
    (<uint64_t *> (&memory[0] + STATS_DIRECTORY_AT))[slot] = index + 1


def counters(const uint8_t[::1] memory not None, workers):
    """Return every counter, summed over both threads of the workers with these numbers."""
    sums = summed_list(memory, workers, 8, STATS_COUNTED - 1)
    return dict(zip(COUNTER_NAMES, sums, strict=True))


def orders(const uint8_t[::1] memory not None, workers, uint32_t slots):
    """Return for each slot below `slots` its outcomes by name, without what is 0."""
    cdef uint64_t *sums
    cdef uint32_t slot, outcome
    cdef uint64_t *words
    check(slots <= STATS_ORDERS_MAX)
    sums = summed(memory, workers, STATS_ORDERS_AT, <size_t> slots * STATS_ORDER_WORDS)
    found = {}
    try:
        for slot in range(slots):
            words = sums + <size_t> slot * STATS_ORDER_WORDS
            for outcome in range(1, <uint32_t> ORDER_OUTCOMES):
                if words[outcome]:
                    found.setdefault(slot, {})[OUTCOME_NAMES[outcome - 1]] = words[outcome]
    finally:
        free(sums)
    return found


def stage(const uint8_t[::1] memory not None, workers, str name not None):
    """Return a stage's counts, one for each bucket, and the nanoseconds spent in all."""
    cdef size_t number = STAGE_NAMES.index(name) + 1
    sums = summed_list(
        memory, workers, STATS_STAGES_AT + number * STATS_STAGE_WORDS * 8, STATS_BUCKETS + 1
    )
    return tuple(sums[:STATS_BUCKETS]), sums[STATS_SUM_NS]


def bury(uint8_t[::1] memory not None, uint32_t worker):
    """Count what a worker that has died had in flight as lost; return how much that was."""
    cdef uint32_t thread
    cdef uint8_t *region
    cdef uint64_t lost = 0
    check(worker < STATS_WORKERS_MAX)
    for thread in range(<uint32_t> STATS_THREADS):
        region = stats_region(&memory[0], worker, thread)
        lost += load_relaxed(stats_word(region, STAT_IN_FLIGHT))
        stats_add(region, STAT_LOST, load_relaxed(stats_word(region, STAT_IN_FLIGHT)))
        stats_set(region, STAT_IN_FLIGHT, 0)
    return lost


cdef uint64_t *summed(
    const uint8_t[::1] memory, workers, size_t at, size_t words
) except NULL:
    """Sum `words` words at `at` octets into the regions of `workers`; the caller frees them."""
    cdef uint32_t worker, thread
    cdef size_t i
    cdef const uint8_t *region
    cdef uint64_t *sums
    check(<size_t> memory.shape[0] == stats_octets())
    numbers = list(workers)
    check(all(0 <= number < STATS_WORKERS_MAX for number in numbers))
    sums = <uint64_t *> calloc(words, sizeof(uint64_t))
    if sums is NULL:
        raise MemoryError
    for worker in numbers:
        for thread in range(<uint32_t> STATS_THREADS):
            region = stats_region(<uint8_t *> &memory[0], worker, thread) + at
            for i in range(words):
                sums[i] += stats_read(region + i * 8)
    return sums


cdef list summed_list(const uint8_t[::1] memory, workers, size_t at, size_t words):
    """Return what `summed` does as Python's numbers."""
    cdef uint64_t *sums = summed(memory, workers, at, words)
    cdef size_t i
    try:
        return [sums[i] for i in range(words)]
    finally:
        free(sums)


cdef int check(bint holds) except -1:
    if not holds:
        raise ValueError("there is no such place in the memory")
    return 0


cdef uint64_t layout_digest():
    """Return a digest of what every word means: a name added in the middle changes it."""
    names = repr((COUNTER_NAMES, OUTCOME_NAMES, STAGE_NAMES, BUCKET_BOUNDS_US))
    return int.from_bytes(sha256(names.encode("ascii")).digest()[:8], "little")
