# cython: language_level=3
"""Laying prefixes into a table that is being compiled: sorted keys, and the nests around them.

Takes runs of entries, turns them into one key for each first address, and writes what
prefix.pxd reads. Nests are shared by way of a small memory of those made before: it may forget,
and then there is one more. Allocates with malloc; never blocks on anything else.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memset

from chain cimport EVENT_FLAG, EVENT_SUBTREE, chain_add, chain_event, chains_t
from layout cimport (
    POSTING_CORE_SUBTREE, POSTING_PROTECTED_SUBTREE, header_t, key4_t, key6_t, nest_t,
)
from pieces cimport (
    DEPTH_MAX, ROLE_CORE, ROLE_OVERRIDING, ROLE_PROTECTED, compare_entries, compare_places,
    entry_t, hosts, number_t, run_t, whole,
)
from prefix cimport bucket4, bucket6, prefixes_t
from prefix_section cimport prefixes_scale, prefixes_take

cdef enum:
    MEMO_NESTS = 8192
    FAMILIES = 2


ctypedef struct nests_t:
    nest_t *nests  # posting is a link of `chains` until postings are numbered
    uint32_t count  # nest 0 included
    uint64_t prefix_count
    uint32_t *memo


ctypedef struct opened_t:
    number_t last
    uint32_t nest


cdef inline void nests_free(nests_t *nests) noexcept nogil:
    free(nests.nests)
    free(nests.memo)
    nests.nests = NULL
    nests.memo = NULL


cdef inline bint nests_open(nests_t *nests, uint64_t entry_count) noexcept nogil:
    """Begin with nest 0; there cannot be more than one for each entry. False without memory."""
    nests_free(nests)
    nests.count = 1
    nests.prefix_count = 0
    nests.nests = <nest_t *> malloc((entry_count + 1) * sizeof(nest_t))
    nests.memo = <uint32_t *> calloc(MEMO_NESTS, sizeof(uint32_t))
    if nests.nests == NULL or nests.memo == NULL:
        return False
    memset(nests.nests, 0, sizeof(nest_t))
    return True


cdef inline void runs_sort(run_t *runs) noexcept nogil:
    cdef int family
    for family in range(FAMILIES):
        qsort(runs[family].entries, runs[family].count, sizeof(entry_t), compare_entries)


cdef inline uint32_t nest_for(
    nests_t *nests, uint32_t link, uint32_t around, uint8_t length, bint is_core
) noexcept nogil:
    """Return a nest of these words, one that is there already if it is remembered."""
    cdef uint64_t mixed = (<uint64_t> around << 32 | link) ^ <uint64_t> length << 56
    cdef uint32_t *memo = nests.memo + (
        (mixed * <uint64_t> 0x9E3779B97F4A7C15 >> 32) & (MEMO_NESTS - 1)
    )
    cdef nest_t *nest = nests.nests + memo[0]
    if memo[0] and nest.posting == link and nest.around == around and nest.length == length:
        return memo[0]
    memo[0] = nests.count
    nest = nests.nests + nests.count
    nest.posting = link
    nest.around = around
    nest.length = length
    nest.has_core = is_core or nests.nests[around].has_core
    nest.unused = 0
    nests.count += 1
    return memo[0]


cdef inline uint32_t chain_of(
    chains_t *chains, const entry_t *entries, uint64_t at, uint64_t end
) noexcept nogil:
    """Return the chain of the sorted entries [at, end) of one prefix; 0: no memory.

    Where it is protected, only rows that override that count.
    """
    cdef uint32_t link = 0, event
    cdef bint is_protected = False
    while at < end:
        if entries[at].role == ROLE_CORE:
            event = chain_event(EVENT_FLAG, POSTING_CORE_SUBTREE)
        elif entries[at].role == ROLE_PROTECTED:
            event = chain_event(EVENT_FLAG, POSTING_PROTECTED_SUBTREE)
            is_protected = True
        else:
            event = chain_event(EVENT_SUBTREE, entries[at].row)
        if not is_protected or entries[at].role in (ROLE_PROTECTED, ROLE_OVERRIDING):
            link = chain_add(chains, link, event)
            if link == 0:
                return 0
        at += 1
    return link


cdef inline bint lay_run(
    nests_t *nests, chains_t *chains, run_t *run, uint32_t bits
) noexcept nogil:
    """Turn a sorted run into its keys: the last prefix at each first address, its nest as row."""
    cdef opened_t opened[DEPTH_MAX]
    cdef entry_t *entries = run.entries
    cdef uint64_t at = 0, end, keys = 0
    cdef uint32_t depth = 0, link, nest
    cdef number_t first
    while at < run.count:
        end = at + 1
        while end < run.count and compare_places(entries + at, entries + end) == 0:
            end += 1
        first = whole(entries[at].high, entries[at].low)
        while depth and opened[depth - 1].last < first:
            depth -= 1
        link = chain_of(chains, entries, at, end)
        if link == 0:
            return False
        nest = nest_for(
            nests, link, opened[depth - 1].nest if depth else 0, entries[at].length,
            entries[at].role == ROLE_CORE,
        )
        opened[depth].last = first | hosts(bits - entries[at].length)
        opened[depth].nest = nest
        depth += 1
        nests.prefix_count += 1
        if keys == 0 or first != whole(entries[keys - 1].high, entries[keys - 1].low):
            keys += 1
        entries[keys - 1] = entries[at]
        entries[keys - 1].row = nest
        at = end
    run.count = keys
    return True


cdef inline bint nests_lay(nests_t *nests, chains_t *chains, run_t *runs) noexcept nogil:
    """Lay both runs; False without memory."""
    return lay_run(nests, chains, runs, 32) and lay_run(nests, chains, runs + 1, 128)


cdef inline void write_index4(const prefixes_t *prefixes) noexcept nogil:
    cdef uint32_t *index = <uint32_t *> prefixes.index4
    cdef uint32_t at, bucket = 0
    for at in range(prefixes.count4):
        while bucket <= bucket4(prefixes, prefixes.keys4[at].first):
            index[bucket] = at
            bucket += 1
    while bucket <= <uint32_t> 1 << prefixes.bits4:
        index[bucket] = prefixes.count4
        bucket += 1


cdef inline void write_index6(const prefixes_t *prefixes) noexcept nogil:
    cdef uint32_t *index = <uint32_t *> prefixes.index6
    cdef uint32_t at, bucket = 0
    for at in range(prefixes.count6):
        while bucket <= bucket6(prefixes, prefixes.keys6[at].high):
            index[bucket] = at
            bucket += 1
    while bucket <= <uint32_t> 1 << prefixes.bits6:
        index[bucket] = prefixes.count6
        bucket += 1


cdef inline void nests_write(
    const nests_t *nests, const run_t *runs, const header_t *header, uint8_t *section
) noexcept nogil:
    """Write a section of `prefixes_bytes`; the header has its counts, the nests their postings."""
    cdef prefixes_t prefixes
    cdef key4_t *keys4
    cdef key6_t *keys6
    cdef nest_t *out
    cdef uint32_t at
    prefixes_take(&prefixes, header, section)
    keys4 = <key4_t *> prefixes.keys4
    keys6 = <key6_t *> prefixes.keys6
    out = <nest_t *> prefixes.nests
    for at in range(prefixes.count4):
        keys4[at].first = <uint32_t> runs[0].entries[at].low
        keys4[at].nest = runs[0].entries[at].row
    for at in range(prefixes.count6):
        keys6[at].high = runs[1].entries[at].high
        keys6[at].low = runs[1].entries[at].low
        keys6[at].nest = runs[1].entries[at].row
        keys6[at].unused = 0
    for at in range(nests.count):
        out[at] = nests.nests[at]
    prefixes_scale(&prefixes)
    write_index4(&prefixes)
    write_index6(&prefixes)
