# cython: language_level=3
"""Deciding many addresses of packets at once: their searches wait for memory together.

Reads what match.pxd reads, by the same precedence; writes a row for each address, and nothing
else. Bounded as single ones are. Never blocks, allocates, locks or calls Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from match cimport *

cdef enum:
    LANES = 32  # searches that go on together


cdef inline void match_lanes4(
    const tables_t *tables, const uint8_t *octets, uint32_t count, int64_t t_ms, uint32_t *rows
) noexcept nogil:
    """Write the rows of at most LANES addresses of 4 octets, NO_ORDER where they pass."""
    cdef const prefixes_t *prefixes = &tables.base.prefixes
    cdef uint32_t addresses[LANES]
    cdef search_t searches[LANES]
    cdef bint is_begun[LANES]
    cdef uint32_t lane, busy = 0, base, overlay
    cdef verdict_t verdict
    for lane in range(count):
        addresses[lane] = read4(octets + lane * OCTETS_4)
        expect_bucket4(prefixes, addresses[lane])
    for lane in range(count):
        is_begun[lane] = begin4(prefixes, addresses[lane], searches + lane)
        busy |= searches[lane].left
        expect_key4(prefixes, searches + lane)
    while busy:
        busy = 0
        for lane in range(count):
            if searches[lane].left:
                step4(prefixes, addresses[lane], searches + lane)
                busy |= searches[lane].left
    for lane in range(count):
        if is_begun[lane]:
            expect(prefixes.nests + prefixes.keys4[searches[lane].before].nest)
    for lane in range(count):
        base = overlay = 0
        if is_begun[lane]:
            base = found4(prefixes, addresses[lane], searches + lane)
        if tables.overlay.header != NULL:
            overlay = nest_of4(&tables.overlay.prefixes, addresses[lane])
        rows[lane] = NO_ORDER
        if base | overlay:
            decide_nests(tables, base, overlay, 32, t_ms, False, &verdict)
            rows[lane] = verdict.order


cdef inline void match_lanes6(
    const tables_t *tables, const uint8_t *octets, uint32_t count, int64_t t_ms, uint32_t *rows
) noexcept nogil:
    """Write the rows of at most LANES addresses of 16 octets, NO_ORDER where they pass."""
    cdef const prefixes_t *prefixes = &tables.base.prefixes
    cdef uint64_t highs[LANES]
    cdef uint64_t lows[LANES]
    cdef search_t searches[LANES]
    cdef bint is_begun[LANES]
    cdef uint32_t lane, busy = 0, base, overlay
    cdef const uint8_t *address
    cdef verdict_t verdict
    for lane in range(count):
        address = octets + lane * OCTETS_6
        highs[lane] = read6(address)
        lows[lane] = read6(address + 8)
        expect_bucket6(prefixes, highs[lane])
    for lane in range(count):
        is_begun[lane] = begin6(prefixes, highs[lane], lows[lane], searches + lane)
        busy |= searches[lane].left
        expect_key6(prefixes, searches + lane)
    while busy:
        busy = 0
        for lane in range(count):
            if searches[lane].left:
                step6(prefixes, highs[lane], lows[lane], searches + lane)
                busy |= searches[lane].left
    for lane in range(count):
        if is_begun[lane]:
            expect(prefixes.nests + prefixes.keys6[searches[lane].before].nest)
    for lane in range(count):
        address = octets + lane * OCTETS_6
        rows[lane] = NO_ORDER
        if address_is_mapped(address):
            decide4(tables, read4(address + 12), t_ms, False, &verdict)
            rows[lane] = verdict.order
            continue
        base = overlay = 0
        if is_begun[lane]:
            base = found6(prefixes, highs[lane], lows[lane], searches + lane)
        if tables.overlay.header != NULL:
            overlay = nest_of6(&tables.overlay.prefixes, highs[lane], lows[lane])
        if base | overlay:
            decide_nests(tables, base, overlay, 128, t_ms, False, &verdict)
            rows[lane] = verdict.order


cdef inline void tables_match_many(
    const tables_t *tables,
    const uint8_t *addresses,
    uint32_t octets,
    uint64_t count,
    int64_t t_ms,
    uint32_t *rows,
) noexcept nogil:
    """Decide packets of `count` addresses of 4 or 16 `octets` each, one behind the other.

    Writes `count` rows of `tables.orders`, NO_ORDER for what passes.
    """
    cdef uint64_t at = 0
    cdef uint32_t lanes
    while at < count:
        lanes = <uint32_t> min(count - at, <uint64_t> LANES)
        if octets == OCTETS_4:
            match_lanes4(tables, addresses + at * OCTETS_4, lanes, t_ms, rows + at)
        else:
            match_lanes6(tables, addresses + at * OCTETS_6, lanes, t_ms, rows + at)
        at += lanes
