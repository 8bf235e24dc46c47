# cython: language_level=3
"""Prefixes laid flat: disjoint, sorted pieces, each with the row that decides there.

Prefixes either contain one another or have nothing in common, so one walk over them, sorted,
with a stack of those that are open, finds every piece: linear, and bounded by the lengths that
an address has. Packed records are those of enforcer.core.firewall. Reads and writes what it is
given, within the counts given. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from guard_networks cimport prefix_t

cdef extern from *:
    """
    typedef unsigned __int128 number_t;
    """
    # 128 bits, whatever Cython takes it for: it must never become a Python object.
    ctypedef unsigned long long number_t
    uint64_t swap64 "__builtin_bswap64" (uint64_t word) noexcept nogil
    uint32_t swap32 "__builtin_bswap32" (uint32_t word) noexcept nogil

cdef enum:
    DEPTH_MAX = 130  # open prefixes at once: one for each length, and what is around all
    NO_ROW = 0xFFFFFFFF

# What an entry does, in the order in which those at one prefix are sorted.
cdef enum:
    ROLE_CORE = 1  # passes, and all inside it
    ROLE_PROTECTED = 2  # passes at its own length
    ROLE_ROW = 3
    ROLE_OVERRIDING = 4  # a row that may block where it is protected; sorts as the others


ctypedef struct entry_t:
    uint64_t high
    uint64_t low  # an IPv4 address stands in the low 32 bits
    uint32_t row
    uint8_t length
    uint8_t role


ctypedef struct run_t:
    # Entries of one family.
    entry_t *entries
    uint64_t count


ctypedef struct open_t:
    number_t last
    uint32_t row  # NO_ROW: it passes
    bint is_core


ctypedef struct walk_t:
    # One walk over sorted entries; with `out` NULL it counts only.
    uint32_t octets  # of an address: 4 or 16
    uint8_t *out
    uint64_t count
    number_t at  # where what is not decided yet begins
    bint is_done  # the last address of all is behind
    uint32_t depth
    open_t open[DEPTH_MAX]


cdef inline number_t whole(uint64_t high, uint64_t low) noexcept nogil:
    return (<number_t> high << 64) | low


cdef inline number_t hosts(uint32_t bits) noexcept nogil:
    """Return the number with the lowest `bits` set, 0 to 128."""
    return ~<number_t> 0 if bits >= 128 else (<number_t> 1 << bits) - 1


cdef inline void entry_of(
    entry_t *entry, const prefix_t *prefix, uint32_t row, uint8_t role
) noexcept nogil:
    """Write an entry for a prefix as guard_networks reads it; host bits are cleared."""
    cdef number_t value = whole(prefix.high, prefix.low)
    value &= ~hosts(128 - prefix.length)
    if prefix.family == 4:
        value >>= 96
    entry.high = <uint64_t> (value >> 64)
    entry.low = <uint64_t> value
    entry.row = row
    entry.length = prefix.length
    entry.role = role


cdef inline int compare_places(const entry_t *one, const entry_t *other) noexcept nogil:
    """Compare two prefixes: by their first address, then the shorter before the longer."""
    if one.high != other.high:
        return -1 if one.high < other.high else 1
    if one.low != other.low:
        return -1 if one.low < other.low else 1
    return <int> one.length - <int> other.length


cdef inline int compare_entries(const void *first, const void *second) noexcept nogil:
    cdef const entry_t *one = <const entry_t *> first
    cdef const entry_t *other = <const entry_t *> second
    cdef int order = compare_places(one, other)
    cdef uint8_t role, other_role
    if order:
        return order
    role, other_role = min(one.role, <uint8_t> ROLE_ROW), min(other.role, <uint8_t> ROLE_ROW)
    if role != other_role:
        return <int> role - <int> other_role
    return (one.row > other.row) - (one.row < other.row)


cdef inline void put_address(uint8_t *out, number_t address, uint32_t octets) noexcept nogil:
    cdef uint64_t high = swap64(<uint64_t> (address >> 64)), low = swap64(<uint64_t> address)
    cdef uint32_t short = swap32(<uint32_t> address)
    if octets == 4:
        memcpy(out, &short, 4)
        return
    memcpy(out, &high, 8)
    memcpy(out + 8, &low, 8)


cdef inline void walk_until(walk_t *walk, number_t last) noexcept nogil:
    """Write the piece from where the walk stands to `last`, if the open prefix blocks there."""
    cdef uint32_t row = walk.open[walk.depth - 1].row
    cdef uint8_t *out
    if walk.is_done or walk.at > last:
        return
    if row != NO_ROW:
        if walk.out != NULL:
            out = walk.out + walk.count * (2 * walk.octets + 4)
            put_address(out, walk.at, walk.octets)
            put_address(out + walk.octets, last, walk.octets)
            memcpy(out + 2 * walk.octets, &row, 4)
        walk.count += 1
    walk.at = last + 1
    walk.is_done = walk.at == 0


cdef inline void walk_close(walk_t *walk) noexcept nogil:
    walk_until(walk, walk.open[walk.depth - 1].last)
    walk.depth -= 1


cdef inline uint32_t deciding_row(
    const entry_t *entries, uint64_t at, uint64_t end
) noexcept nogil:
    """Return the row that decides at one prefix, where the entries [at, end) stand.

    They are sorted by role, then row. What is protected passes, unless a row overrides it.
    """
    cdef bint is_protected = entries[at].role == ROLE_PROTECTED
    if entries[at].role == ROLE_CORE:
        return NO_ROW
    while at < end:
        if entries[at].role == ROLE_OVERRIDING or (
            entries[at].role == ROLE_ROW and not is_protected
        ):
            return entries[at].row
        at += 1
    return NO_ROW


cdef inline void walk_all(walk_t *walk, const entry_t *entries, uint64_t count) noexcept nogil:
    """Walk over `count` sorted entries; `octets` and `out` are set, `count` is what was found."""
    cdef uint64_t at = 0, end
    cdef number_t first
    cdef open_t *opened
    walk.count = walk.depth = 0
    walk.at = 0
    walk.is_done = False
    while at < count:
        end = at + 1
        while end < count and compare_places(entries + at, entries + end) == 0:
            end += 1
        first = whole(entries[at].high, entries[at].low)
        while walk.depth and walk.open[walk.depth - 1].last < first:
            walk_close(walk)
        if not walk.depth or not walk.open[walk.depth - 1].is_core:
            if walk.depth and first:
                walk_until(walk, first - 1)
            walk.at = first
            opened = walk.open + walk.depth
            opened.last = first | hosts(8 * walk.octets - entries[at].length)
            opened.row = deciding_row(entries, at, end)
            opened.is_core = entries[at].role == ROLE_CORE
            walk.depth += 1
        at = end
    while walk.depth:
        walk_close(walk)


cdef inline void run_mark(run_t *run, const entry_t *wanted) noexcept nogil:
    """Let a row block at a protected prefix: its own entry there, in a sorted run, if any."""
    cdef uint64_t low = 0, high = run.count, middle
    while low < high:
        middle = low + (high - low) // 2
        if compare_entries(run.entries + middle, wanted) < 0:
            low = middle + 1
        else:
            high = middle
    if low < run.count and compare_entries(run.entries + low, wanted) == 0:
        run.entries[low].role = ROLE_OVERRIDING


# ------------------------------------------------------------------------ packed


cdef inline uint64_t pieces_left(
    const uint8_t *of,
    uint64_t count,
    const uint8_t *other,
    uint64_t other_count,
    uint32_t octets,
    uint8_t *out,
) noexcept nogil:
    """Write to `out` the pieces that `other` has not, sorted as both are; return how many.

    `octets` is a piece's size; with `out` NULL they are counted only.
    """
    cdef uint64_t at = 0, other_at = 0, left = 0
    cdef const uint8_t *piece
    cdef int order
    while at < count:
        piece = of + at * octets
        order = -1
        if other_at < other_count:
            order = memcmp(piece, other + other_at * octets, octets - 4)
        if order > 0:
            other_at += 1
            continue
        at += 1
        if order == 0:
            other_at += 1
            if memcmp(piece + octets - 4, other + other_at * octets - 4, 4) == 0:
                continue
        if out != NULL:
            memcpy(out + left * octets, piece, octets)
        left += 1
    return left


cdef inline uint32_t piece_row(
    const uint8_t *pieces, uint64_t count, const uint8_t *address, uint32_t octets
) noexcept nogil:
    """Return the row of the piece that an address of 4 or 16 `octets` is in, or NO_ROW."""
    cdef uint32_t size = 2 * octets + 4
    cdef uint64_t low = 0, high = count, middle
    cdef uint32_t row
    while low < high:
        middle = low + (high - low) // 2
        if memcmp(pieces + middle * size, address, octets) <= 0:
            low = middle + 1
        else:
            high = middle
    if low == 0 or memcmp(pieces + (low - 1) * size + octets, address, octets) < 0:
        return NO_ROW
    memcpy(&row, pieces + low * size - 4, 4)
    return row
