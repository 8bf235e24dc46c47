"""Which tracked connections touch an address in some pieces, without an object a connection.

Reads dumps of ctnetlink (linux/netfilter/nfnetlink_conntrack.h). A connection is hit when any of
its four addresses, as first seen or as answered behind NAT, is in a piece. Only for those that are
hit something is made: the attributes that name the connection and no other, to be deleted by.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from netlink cimport (
    ATTR_HEADER_OCTETS,
    NFGEN_HEADER_OCTETS,
    aligned,
    attr_t,
    find_attr,
    message_t,
    next_attr,
    next_message,
)

cdef enum:
    IPCTNL_MSG_CT_NEW = 0x100
    CTA_TUPLE_ORIG = 1
    CTA_TUPLE_REPLY = 2
    CTA_ID = 12
    CTA_ZONE = 18
    CTA_TUPLE_IP = 1


cdef struct pieces_t:
    const uint8_t *at
    size_t count
    size_t wide


cdef bint is_in(const uint8_t *address, const pieces_t *pieces) noexcept nogil:
    """Tell whether an address is in one of the sorted pieces."""
    cdef size_t low = 0, high = pieces.count, middle, size = 2 * pieces.wide + 4
    while low < high:
        middle = (low + high) >> 1
        if memcmp(pieces.at + middle * size, address, pieces.wide) <= 0:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return False
    return memcmp(address, pieces.at + (low - 1) * size + pieces.wide, pieces.wide) <= 0


cdef bint tuple_is_in(
    const attr_t *tuple, const pieces_t *ipv4, const pieces_t *ipv6
) noexcept nogil:
    """Tell whether source or destination of a direction is in one of the pieces."""
    cdef attr_t addresses, address
    cdef const uint8_t *at
    cdef const uint8_t *end
    if not find_attr(tuple.data, tuple.data + tuple.size, CTA_TUPLE_IP, &addresses):
        return False
    at = addresses.data
    end = at + addresses.size
    while True:
        at = next_attr(at, end, &address)
        if at == NULL:
            return False
        if address.size == 4 and is_in(address.data, ipv4):
            return True
        if address.size == 16 and is_in(address.data, ipv6):
            return True


cdef bint message_is_hit(
    const message_t *message, const pieces_t *ipv4, const pieces_t *ipv6
) noexcept nogil:
    cdef const uint8_t *at = message.body + NFGEN_HEADER_OCTETS
    cdef const uint8_t *end = message.body + message.size
    cdef attr_t attr
    while True:
        at = next_attr(at, end, &attr)
        if at == NULL:
            return False
        if attr.type in (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY) and tuple_is_in(&attr, ipv4, ipv6):
            return True


cdef bytes naming(const message_t *message):
    """Return the connection's family, then the attributes that name it."""
    cdef const uint8_t *at = message.body + NFGEN_HEADER_OCTETS
    cdef const uint8_t *end = message.body + message.size
    cdef attr_t attr
    cdef bytes found = PyBytes_FromStringAndSize(<const char *> message.body, 1)
    cdef bytes padding
    while True:
        at = next_attr(at, end, &attr)
        if at == NULL:
            return found
        if attr.type in (CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE):
            padding = bytes(aligned(attr.size) - attr.size)
            found += PyBytes_FromStringAndSize(
                <const char *> attr.data - ATTR_HEADER_OCTETS, ATTR_HEADER_OCTETS + attr.size
            ) + padding


def connections_hit(const uint8_t[::1] dump, const uint8_t[::1] ipv4, const uint8_t[::1] ipv6):
    """Return, for each connection of a dump that touches the pieces, what to delete it by.

    The first octet is its family (AF_INET, AF_INET6), the rest are attributes. What is cut off is
    not read.
    """
    cdef pieces_t four, six
    cdef message_t message
    cdef const uint8_t *at = &dump[0] if dump.shape[0] else NULL
    cdef const uint8_t *end = at + dump.shape[0]
    cdef bint is_hit
    cdef list found = []
    four.at, four.count, four.wide = &ipv4[0] if ipv4.shape[0] else NULL, ipv4.shape[0] // 12, 4
    six.at, six.count, six.wide = &ipv6[0] if ipv6.shape[0] else NULL, ipv6.shape[0] // 36, 16
    while True:
        is_hit = False
        with nogil:
            while not is_hit:
                at = next_message(at, end, &message)
                if at == NULL:
                    break
                if message.type == IPCTNL_MSG_CT_NEW and message.size >= NFGEN_HEADER_OCTETS:
                    is_hit = message_is_hit(&message, &four, &six)
        if not is_hit:
            return found
        found.append(naming(&message))
