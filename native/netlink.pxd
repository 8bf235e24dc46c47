# cython: language_level=3
"""Attributes of netlink messages, read within their bounds (rtnetlink(7), struct nlattr).

Nothing is copied or allocated; whoever reads keeps the octets. Lengths are believed only after
they were held against the end of what is read.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    NLMSG_HEADER_OCTETS = 16
    NFGEN_HEADER_OCTETS = 4
    ATTR_HEADER_OCTETS = 4
    ATTR_TYPE_MASK = 0x3FFF


cdef struct attr_t:
    uint32_t type
    uint32_t size
    const uint8_t *data


cdef struct message_t:
    uint32_t type
    uint32_t flags
    const uint8_t *body  # what follows the nlmsghdr
    uint32_t size


cdef inline uint16_t load16(const uint8_t *at) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return value


cdef inline uint32_t load32(const uint8_t *at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline uint32_t aligned(uint32_t size) noexcept nogil:
    """Round up to 4 octets, as messages and attributes are."""
    return (size + 3) & ~<uint32_t> 3


cdef inline const uint8_t *next_attr(
    const uint8_t *at, const uint8_t *end, attr_t *attr
) noexcept nogil:
    """Read the attribute at `at` and return where the next begins; NULL: there is none, whole."""
    cdef uint32_t size
    if end - at < ATTR_HEADER_OCTETS:
        return NULL
    size = load16(at)
    if size < ATTR_HEADER_OCTETS or end - at < size:
        return NULL
    attr.type = load16(at + 2) & ATTR_TYPE_MASK
    attr.size = size - ATTR_HEADER_OCTETS
    attr.data = at + ATTR_HEADER_OCTETS
    return end if end - at < aligned(size) else at + aligned(size)


cdef inline bint find_attr(
    const uint8_t *at, const uint8_t *end, uint32_t kind, attr_t *attr
) noexcept nogil:
    """Find the first attribute of a type; False: there is none."""
    while True:
        at = next_attr(at, end, attr)
        if at == NULL:
            return False
        if attr.type == kind:
            return True


cdef inline const uint8_t *next_message(
    const uint8_t *at, const uint8_t *end, message_t *message
) noexcept nogil:
    """Read the message at `at` and return where the next begins; NULL: there is none, whole."""
    cdef uint32_t size
    if end - at < NLMSG_HEADER_OCTETS:
        return NULL
    size = load32(at)
    if size < NLMSG_HEADER_OCTETS or end - at < size:
        return NULL
    message.type = load16(at + 4)
    message.flags = load16(at + 6)
    message.body = at + NLMSG_HEADER_OCTETS
    message.size = size - NLMSG_HEADER_OCTETS
    return end if end - at < aligned(size) else at + aligned(size)
