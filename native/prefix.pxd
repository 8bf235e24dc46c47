# cython: language_level=3
"""Longest-prefix match in one table: sorted first addresses, and what is around each of them.

Prefixes contain one another or have nothing in common, so every prefix around an address is
around the last key that is not behind it, or is that key's own: one search finds them all. An
index over the distance from the first key makes it short. What `prefixes_are_valid` of
prefix_section.pxd has proven is read and nothing else. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from layout cimport key4_t, key6_t, nest_t

cdef extern from *:
    int zeros64 "__builtin_clzll" (uint64_t word) noexcept nogil
    int zeros32 "__builtin_clz" (uint32_t word) noexcept nogil
    uint64_t big64 "__builtin_bswap64" (uint64_t word) noexcept nogil
    uint32_t big32 "__builtin_bswap32" (uint32_t word) noexcept nogil
    void expect "__builtin_prefetch" (const void *address) noexcept nogil  # it may be anywhere

cdef enum:
    OCTETS_4 = 4
    OCTETS_6 = 16


ctypedef struct prefixes_t:
    const key4_t *keys4
    const key6_t *keys6
    const uint32_t *index4  # index[b]: keys before bucket b; 2**bits buckets and one more
    const uint32_t *index6
    const nest_t *nests
    uint32_t count4
    uint32_t count6
    uint32_t bits4
    uint32_t bits6
    uint32_t shift4  # a bucket is a distance from the first key, without so many low bits
    uint32_t shift6  # of the first 64 bits
    uint32_t nest_count


# Where one search stands: the key sought is among those behind `before`, at most `left`.
ctypedef struct search_t:
    uint32_t before
    uint32_t left


cdef inline uint32_t common32(uint32_t one, uint32_t other) noexcept nogil:
    """Return how many first bits two numbers have in common."""
    return 32 if one == other else zeros32(one ^ other)


cdef inline uint32_t common64(uint64_t one, uint64_t other) noexcept nogil:
    return 64 if one == other else zeros64(one ^ other)


cdef inline uint32_t bucket4(const prefixes_t *prefixes, uint32_t address) noexcept nogil:
    """Return the bucket of an address from the first key to the last."""
    cdef uint64_t distance = address - prefixes.keys4[0].first  # a shift may be by all 32 bits
    return <uint32_t> (distance >> prefixes.shift4)


cdef inline uint32_t bucket6(const prefixes_t *prefixes, uint64_t high) noexcept nogil:
    cdef uint64_t distance = high - prefixes.keys6[0].high
    return <uint32_t> (distance >> prefixes.shift6) if prefixes.shift6 < 64 else 0


cdef inline bint is_until6(const key6_t *key, uint64_t high, uint64_t low) noexcept nogil:
    # No branch: half of those in a search would be mispredicted.
    return (key.high < high) | ((key.high == high) & (key.low <= low))


cdef inline void expect_bucket4(const prefixes_t *prefixes, uint32_t address) noexcept nogil:
    """Let the memory come nearer that `begin4` will read."""
    if prefixes.count4:
        expect(prefixes.index4 + bucket4(prefixes, address))


cdef inline void expect_bucket6(const prefixes_t *prefixes, uint64_t high) noexcept nogil:
    if prefixes.count6:
        expect(prefixes.index6 + bucket6(prefixes, high))


cdef inline void expect_key4(const prefixes_t *prefixes, const search_t *search) noexcept nogil:
    """Let the key come nearer that the next step will read."""
    cdef uint32_t middle = search.before + ((search.left + 1) >> 1)
    expect(prefixes.keys4 + middle)


cdef inline void expect_key6(const prefixes_t *prefixes, const search_t *search) noexcept nogil:
    cdef uint32_t middle = search.before + ((search.left + 1) >> 1)
    expect(prefixes.keys6 + middle)


cdef inline bint begin4(
    const prefixes_t *prefixes, uint32_t address, search_t *search
) noexcept nogil:
    """Begin a search; False: every key is behind the address, and nothing is left to search."""
    cdef uint32_t bucket
    search.before = search.left = 0
    if prefixes.count4 == 0 or address < prefixes.keys4[0].first:
        return False
    search.before = prefixes.count4 - 1
    if address < prefixes.keys4[search.before].first:
        bucket = bucket4(prefixes, address)
        search.before = prefixes.index4[bucket] - 1  # the first bucket has the first key
        search.left = prefixes.index4[bucket + 1] - prefixes.index4[bucket]
    return True


cdef inline void step4(
    const prefixes_t *prefixes, uint32_t address, search_t *search
) noexcept nogil:
    """Halve what is left, which is not nothing, without a branch that depends on it."""
    cdef uint32_t half = (search.left + 1) >> 1
    cdef uint32_t middle = search.before + half
    search.before += half * (prefixes.keys4[middle].first <= address)
    search.left -= half
    expect_key4(prefixes, search)


cdef inline bint begin6(
    const prefixes_t *prefixes, uint64_t high, uint64_t low, search_t *search
) noexcept nogil:
    cdef uint32_t bucket
    search.before = search.left = 0
    if prefixes.count6 == 0 or not is_until6(prefixes.keys6, high, low):
        return False
    search.before = prefixes.count6 - 1
    if not is_until6(prefixes.keys6 + search.before, high, low):
        bucket = bucket6(prefixes, high)
        search.before = prefixes.index6[bucket] - 1
        search.left = prefixes.index6[bucket + 1] - prefixes.index6[bucket]
    return True


cdef inline void step6(
    const prefixes_t *prefixes, uint64_t high, uint64_t low, search_t *search
) noexcept nogil:
    cdef uint32_t half = (search.left + 1) >> 1
    cdef uint32_t middle = search.before + half
    search.before += half * is_until6(prefixes.keys6 + middle, high, low)
    search.left -= half
    expect_key6(prefixes, search)


cdef inline uint32_t nest_at(
    const prefixes_t *prefixes, uint32_t nest, uint32_t common
) noexcept nogil:
    """Return the nest of the longest prefix that is no longer than `common` bits, or 0."""
    while prefixes.nests[nest].length > common:
        nest = prefixes.nests[nest].around
    return nest


cdef inline uint32_t found4(
    const prefixes_t *prefixes, uint32_t address, const search_t *search
) noexcept nogil:
    cdef const key4_t *key = prefixes.keys4 + search.before
    return nest_at(prefixes, key.nest, common32(key.first, address))


cdef inline uint32_t found6(
    const prefixes_t *prefixes, uint64_t high, uint64_t low, const search_t *search
) noexcept nogil:
    cdef const key6_t *key = prefixes.keys6 + search.before
    cdef uint32_t common = common64(key.high, high)
    if common == 64:
        common += common64(key.low, low)
    return nest_at(prefixes, key.nest, common)


cdef inline uint32_t nest_of4(const prefixes_t *prefixes, uint32_t address) noexcept nogil:
    """Return the nest of the longest prefix that an IPv4 address is in, or 0."""
    cdef search_t search
    if not begin4(prefixes, address, &search):
        return 0
    while search.left:
        step4(prefixes, address, &search)
    return found4(prefixes, address, &search)


cdef inline uint32_t nest_of6(
    const prefixes_t *prefixes, uint64_t high, uint64_t low
) noexcept nogil:
    """Return the nest of the longest prefix that an IPv6 address is in, or 0."""
    cdef search_t search
    if not begin6(prefixes, high, low, &search):
        return 0
    while search.left:
        step6(prefixes, high, low, &search)
    return found6(prefixes, high, low, &search)


cdef inline uint32_t read4(const uint8_t *octets) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, octets, 4)
    return big32(word)


cdef inline uint64_t read6(const uint8_t *octets) noexcept nogil:
    """Read half an address, in network order."""
    cdef uint64_t word
    memcpy(&word, octets, 8)
    return big64(word)


cdef inline bint address_is_mapped(const uint8_t *address) noexcept nogil:
    """Tell whether 16 octets are an IPv4-mapped address (RFC 4291 §2.5.5.2)."""
    return memcmp(address, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0
