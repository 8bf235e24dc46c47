# cython: language_level=3
"""The networks section of a table: its size, where its parts are, and the check before its use.

`prefixes_are_valid` proves once that every search in it stays inside and ends, whatever the
bytes say. Reads the section, writes what is told. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from layout cimport TABLE_INDEX_BITS_MAX, header_t, key4_t, key6_t, nest_t
from prefix cimport common64, is_until6, prefixes_t


cdef inline uint32_t index_bits_for(uint32_t count) noexcept nogil:
    """Return how many bits index `count` keys: about two keys for a bucket."""
    cdef uint32_t bits = 0
    while bits < TABLE_INDEX_BITS_MAX and <uint64_t> 2 << bits < count:
        bits += 1
    return bits


cdef inline uint64_t prefixes_bytes(const header_t *header) noexcept nogil:
    """Return the size of the networks section, which the header's counts give."""
    cdef uint64_t words = (<uint64_t> 1 << header.index_bits[0]) + 1
    words += (<uint64_t> 1 << header.index_bits[1]) + 1
    return (
        <uint64_t> header.key_counts[1] * sizeof(key6_t)
        + <uint64_t> header.key_counts[0] * sizeof(key4_t)
        + words * sizeof(uint32_t)
        + (<uint64_t> header.nest_count + 1) * sizeof(nest_t)
    )


cdef inline uint32_t shift_for(uint64_t distance, uint32_t bits) noexcept nogil:
    """Return by how much to shift distances up to `distance` to get numbers of `bits`."""
    cdef uint32_t wide = 64 - common64(distance, 0)
    return wide - bits if wide > bits else 0


cdef inline void prefixes_scale(prefixes_t *prefixes) noexcept nogil:
    """Find how far buckets reach, from the first key and the last."""
    prefixes.shift4 = prefixes.shift6 = 0
    if prefixes.count4:
        prefixes.shift4 = shift_for(
            prefixes.keys4[prefixes.count4 - 1].first - prefixes.keys4[0].first, prefixes.bits4
        )
    if prefixes.count6:
        prefixes.shift6 = shift_for(
            prefixes.keys6[prefixes.count6 - 1].high - prefixes.keys6[0].high, prefixes.bits6
        )


cdef inline void prefixes_take(
    prefixes_t *prefixes, const header_t *header, const uint8_t *section
) noexcept nogil:
    """Fill in where the parts of a section of `prefixes_bytes` are; read no part."""
    prefixes.count4 = header.key_counts[0]
    prefixes.count6 = header.key_counts[1]
    prefixes.bits4 = header.index_bits[0]
    prefixes.bits6 = header.index_bits[1]
    prefixes.nest_count = header.nest_count
    prefixes.keys6 = <const key6_t *> section
    prefixes.keys4 = <const key4_t *> (prefixes.keys6 + prefixes.count6)
    prefixes.index6 = <const uint32_t *> (prefixes.keys4 + prefixes.count4)
    prefixes.index4 = prefixes.index6 + (<size_t> 1 << prefixes.bits6) + 1
    prefixes.nests = <const nest_t *> (prefixes.index4 + (<size_t> 1 << prefixes.bits4) + 1)


cdef inline bint index_is_valid(
    const uint32_t *index, uint32_t bits, uint32_t count
) noexcept nogil:
    """Check that buckets follow one another over all keys, and the first has one."""
    cdef uint32_t bucket
    if index[0] != 0 or index[<size_t> 1 << bits] != count or (count and index[1] == 0):
        return False
    for bucket in range(<uint32_t> 1 << bits):
        if index[bucket] > index[bucket + 1]:
            return False
    return True


cdef inline bint prefixes_are_valid(
    prefixes_t *prefixes, uint32_t posting_count
) noexcept nogil:
    """Prove that every search in a section stays inside it and ends; fill in the shifts."""
    cdef const nest_t *nest = prefixes.nests
    cdef uint32_t at
    if nest.posting or nest.around or nest.length or nest.has_core:
        return False
    for at in range(1, prefixes.nest_count + 1):
        nest = prefixes.nests + at
        if not (1 <= nest.posting <= posting_count) or not (1 <= nest.length <= 128):
            return False
        if nest.around >= at or prefixes.nests[nest.around].length >= nest.length:
            return False
    for at in range(prefixes.count4):
        if not (1 <= prefixes.keys4[at].nest <= prefixes.nest_count):
            return False
        if at and prefixes.keys4[at].first <= prefixes.keys4[at - 1].first:
            return False
    for at in range(prefixes.count6):
        if not (1 <= prefixes.keys6[at].nest <= prefixes.nest_count):
            return False
        if at and is_until6(
            prefixes.keys6 + at, prefixes.keys6[at - 1].high, prefixes.keys6[at - 1].low
        ):
            return False
    prefixes_scale(prefixes)
    return index_is_valid(prefixes.index4, prefixes.bits4, prefixes.count4) and index_is_valid(
        prefixes.index6, prefixes.bits6, prefixes.count6
    )
