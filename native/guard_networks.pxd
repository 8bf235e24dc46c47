# cython: language_level=3
"""Which pinned prefixes an address or a prefix is in, and which are in it: a sorted array.

Prefixes of one family either contain one another or have nothing in common, so what is around
a prefix stands before it and is found by going up, and what is inside stands right behind it.
Reads the index and the text given. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from line cimport ADDRESS_TEXT_BYTES_MAX, AF_INET, AF_INET6, inet_pton, octet_is_digit


ctypedef struct prefix_t:
    uint64_t high  # the first bits; an IPv4 address has 32 of them
    uint64_t low
    uint8_t family  # 4 or 6
    uint8_t length  # bits


ctypedef struct network_node_t:
    prefix_t prefix
    uint8_t guard
    int32_t parent  # the node before of the same prefix, else the nearest around it, else -1
    uint32_t evidence


cdef inline bint contains(const prefix_t *outer, const prefix_t *inner) noexcept nogil:
    """Tell whether `inner` is `outer` or inside it."""
    cdef uint64_t ones = 0xFFFFFFFFFFFFFFFF
    if outer.family != inner.family or outer.length > inner.length:
        return False
    if outer.length == 0:
        return True
    if outer.length <= 64:
        return ((outer.high ^ inner.high) & (ones << (64 - outer.length))) == 0
    if outer.high != inner.high:
        return False
    return ((outer.low ^ inner.low) & (ones << (128 - outer.length))) == 0


cdef inline bint is_until(const prefix_t *one, const prefix_t *other) noexcept nogil:
    """Tell whether `one` sorts before `other` or is the same."""
    if one.family != other.family:
        return one.family < other.family
    if one.high != other.high:
        return one.high < other.high
    if one.low != other.low:
        return one.low < other.low
    return one.length <= other.length


cdef inline int32_t last_network_until(
    const network_node_t *nodes, int32_t count, const prefix_t *prefix
) noexcept nogil:
    """Return the last node that is not behind `prefix`, or -1."""
    cdef int32_t low = 0, high = count, middle
    while low < high:
        middle = low + (high - low) // 2
        if is_until(&nodes[middle].prefix, prefix):
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef inline uint64_t read_big(const uint8_t *octets, uint32_t count) noexcept nogil:
    """Read `count` octets, at most 8, as the first of a big-endian number of 8."""
    cdef uint64_t number = 0
    cdef uint32_t at
    for at in range(count):
        number |= <uint64_t> octets[at] << (56 - 8 * at)
    return number


cdef inline bint read_prefix(const uint8_t *text, size_t size, prefix_t *prefix) noexcept nogil:
    """Read ``ADDRESS`` or ``ADDRESS/LENGTH``; tell whether it is one."""
    cdef const uint8_t *slash = <const uint8_t *> memchr(text, c"/", size)
    cdef size_t at, address_size = size if slash == NULL else slash - text
    cdef char address_text[ADDRESS_TEXT_BYTES_MAX + 1]
    cdef uint8_t octets[16]
    cdef uint32_t bits, length = 0
    cdef bint is_v6
    if address_size > ADDRESS_TEXT_BYTES_MAX:
        return False
    memcpy(address_text, text, address_size)
    address_text[address_size] = 0
    memset(octets, 0, sizeof(octets))
    is_v6 = memchr(text, c":", address_size) != NULL
    if inet_pton(AF_INET6 if is_v6 else AF_INET, address_text, octets) != 1:
        return False
    bits = 128 if is_v6 else 32
    if slash == NULL:
        length = bits
    else:
        if not 1 <= size - address_size - 1 <= 3:
            return False
        for at in range(address_size + 1, size):
            if not octet_is_digit(text[at]):
                return False
            length = length * 10 + (text[at] - c"0")
    if length > bits:
        return False
    prefix.family = 6 if is_v6 else 4
    prefix.length = <uint8_t> length
    prefix.high = read_big(octets, 8 if is_v6 else 4)
    prefix.low = read_big(octets + 8, 8) if is_v6 else 0
    return True
