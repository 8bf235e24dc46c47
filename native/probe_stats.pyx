"""Python windows on how the gate counts, for tests alone: they write as the gate's threads do."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from stats cimport (
    STATS_BUCKETS, STATS_REGION_OCTETS, stats_add, stats_bound_us, stats_bucket, stats_count_order,
    stats_fits, stats_observe, stats_region, stats_set,
)

BUCKETS = STATS_BUCKETS
REGION_OCTETS = STATS_REGION_OCTETS


cdef uint8_t *region_of(uint8_t[::1] memory, uint32_t worker, uint32_t thread) except NULL:
    """Return a thread's region, in memory that must fit."""
    if memory.shape[0] == 0 or not stats_fits(&memory[0], memory.shape[0]):
        raise ValueError("the memory does not fit")
    cdef uint8_t *region = stats_region(&memory[0], worker, thread)
    if region is NULL:
        raise ValueError("there is no such thread")
    return region


def add(uint8_t[::1] memory not None, uint32_t worker, uint32_t thread, uint32_t counter,
        uint64_t count):
    """Count `count` of counter number `counter`."""
    stats_add(region_of(memory, worker, thread), counter, count)


def put(uint8_t[::1] memory not None, uint32_t worker, uint32_t thread, uint32_t counter,
        uint64_t value):
    """Say how much there is of it now."""
    stats_set(region_of(memory, worker, thread), counter, value)


def count_order(uint8_t[::1] memory not None, uint32_t worker, uint32_t thread, uint32_t slot,
                uint32_t outcome):
    """Count one outcome of the order in the slot."""
    stats_count_order(region_of(memory, worker, thread), slot, outcome)


def observe(uint8_t[::1] memory not None, uint32_t worker, uint32_t thread, uint32_t stage,
            int64_t duration_ns, uint64_t times):
    """Note that `times` answers took so long each."""
    stats_observe(region_of(memory, worker, thread), stage, duration_ns, times)


def bucket(uint64_t duration_ns):
    """Return the number of a latency's bucket."""
    return stats_bucket(duration_ns)


def bound_us(uint32_t number):
    """Return the bound of a bucket that has one."""
    return stats_bound_us(number)
