"""Which clients are served: a set of prefixes, built once and then only read.

A set that holds nothing serves nobody, and an address of no family is in no set. Prefixes become
ranges, sorted and joined when the set is sealed, so a look-up is one binary search of at most
13 steps. Nothing allocates: the set is as large as it can ever be.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memset

from address cimport FAMILY_IPV4, FAMILY_IPV6, Address

cdef enum:
    ACCESS_PREFIXES_MAX = 4096


cdef struct Wide:
    # 128 bits as a number; IPv4 addresses are the low 32.
    uint64_t high
    uint64_t low


cdef struct Range:
    Wide first
    Wide last                  # the last address that is in, too
    uint64_t family


cdef struct Access:
    Range ranges[ACCESS_PREFIXES_MAX]  # once sealed: IPv4, then IPv6, ascending and disjoint
    uint32_t count
    uint32_t ipv4_count
    uint32_t is_sealed


cdef inline uint64_t wide_word(const uint8_t *octets, uint32_t count) noexcept nogil:
    """Read `count` octets, at most eight, as a number in network order."""
    cdef uint64_t word = 0
    cdef uint32_t i
    for i in range(count):
        word = word << 8 | octets[i]
    return word


cdef inline Wide wide_of(const uint8_t *octets, uint32_t family) noexcept nogil:
    cdef Wide wide
    if family == FAMILY_IPV4:
        wide.high = 0
        wide.low = wide_word(octets, 4)
    else:
        wide.high = wide_word(octets, 8)
        wide.low = wide_word(octets + 8, 8)
    return wide


cdef inline bint wide_is_less(Wide one, Wide other) noexcept nogil:
    return one.high < other.high or (one.high == other.high and one.low < other.low)


cdef inline uint64_t ones(uint32_t count) noexcept nogil:
    """Return a word whose lowest `count` (0 to 64) bits are set."""
    return ~<uint64_t> 0 if count >= 64 else (<uint64_t> 1 << count) - 1


cdef inline void access_open(Access *access) noexcept nogil:
    """Make the set empty and not yet sealed."""
    memset(access, 0, sizeof(Access))


cdef inline bint access_add(
    Access *access, uint32_t family, const uint8_t *octets, uint32_t bits
) noexcept nogil:
    """Add the prefix of `bits` bits at ``octets[0 .. 4 or 16)``.

    False, and nothing is added, when the set is full or sealed, the family is none, `bits` is too
    large, or the address has a bit set behind the prefix.
    """
    cdef uint32_t width = 32 if family == FAMILY_IPV4 else 128
    cdef uint32_t host_bits
    cdef uint64_t high = 0, low
    cdef Range *added
    if access.is_sealed or access.count == ACCESS_PREFIXES_MAX:
        return False
    if (family != FAMILY_IPV4 and family != FAMILY_IPV6) or bits > width:
        return False
    host_bits = width - bits
    low = ones(min(host_bits, <uint32_t> 64))
    if host_bits > 64:
        high = ones(host_bits - 64)
    added = &access.ranges[access.count]
    added.family = family
    added.first = wide_of(octets, family)
    if added.first.high & high or added.first.low & low:
        return False
    added.last.high = added.first.high | high
    added.last.low = added.first.low | low
    access.count += 1
    return True


cdef inline int compare_ranges(const void *one, const void *other) noexcept nogil:
    cdef const Range *a = <const Range *> one
    cdef const Range *b = <const Range *> other
    if a.family != b.family:
        return -1 if a.family < b.family else 1
    if wide_is_less(a.first, b.first):
        return -1
    return 1 if wide_is_less(b.first, a.first) else 0


cdef inline void access_seal(Access *access) noexcept nogil:
    """Sort the ranges and join those that overlap; from now on the set answers."""
    cdef uint32_t i, kept = 0
    cdef Range *last
    cdef Range *each
    qsort(access.ranges, access.count, sizeof(Range), compare_ranges)
    for i in range(access.count):
        each = &access.ranges[i]
        last = &access.ranges[kept - 1] if kept else NULL
        # Two prefixes either lie in one another or are apart.
        if last is NULL or last.family != each.family or wide_is_less(last.last, each.first):
            access.ranges[kept] = each[0]
            kept += 1
        elif wide_is_less(last.last, each.last):
            last.last = each.last
    access.count = kept
    access.ipv4_count = 0
    for i in range(kept):
        access.ipv4_count += access.ranges[i].family == FAMILY_IPV4
    access.is_sealed = 1


cdef inline bint access_allows(const Access *access, const Address *address) noexcept nogil:
    """Tell whether the address is in the set."""
    cdef uint32_t first, low, high, middle
    cdef Wide wanted
    if not access.is_sealed:
        return False
    if address.family == FAMILY_IPV4:
        first, high = 0, access.ipv4_count
    elif address.family == FAMILY_IPV6:
        first, high = access.ipv4_count, access.count
    else:
        return False
    wanted = wide_of(address.octets, address.family)
    low = first
    while low < high:  # everything before `low` begins at or before it, nothing from `high` on
        middle = (low + high) // 2
        if wide_is_less(wanted, access.ranges[middle].first):
            high = middle
        else:
            low = middle + 1
    return low > first and not wide_is_less(access.ranges[low - 1].last, wanted)
