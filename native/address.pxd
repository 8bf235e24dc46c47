"""An IP address with its port, in one shape for both families.

An IPv4 address that comes mapped into IPv6 (RFC 4291 §2.5.5.2) is an IPv4 address here, so that
nobody gets around a prefix by spelling. Octets that a family does not use are always zero, so
equal addresses are equal memory. Pure: reads and writes its arguments only.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from sockets cimport AF_INET, AF_INET6, sockaddr_in, sockaddr_in6, socklen_t

cdef enum:
    FAMILY_NONE = 0
    FAMILY_IPV4 = 4
    FAMILY_IPV6 = 6
    ADDRESS_OCTETS_MAX = 16
    MAPPED_OCTETS = 12         # what stands before a mapped IPv4 address


cdef struct Address:
    uint8_t octets[ADDRESS_OCTETS_MAX]  # IPv4: the first four
    uint32_t scope             # the interface of a link-local address, else 0
    uint16_t port
    uint8_t family             # FAMILY_*; NONE is an address of nobody
    uint8_t unused


cdef inline void address_clear(Address *out) noexcept nogil:
    memset(out, 0, sizeof(Address))


cdef inline void address_set4(Address *out, const uint8_t *octets, uint16_t port) noexcept nogil:
    """Make `out` the IPv4 address at ``octets[0 .. 4)``."""
    address_clear(out)
    memcpy(out.octets, octets, 4)
    out.port = port
    out.family = FAMILY_IPV4


cdef inline bint is_mapped(const uint8_t *octets) noexcept nogil:
    """Tell whether ``octets[0 .. 16)`` are in ::ffff:0:0/96."""
    cdef uint32_t i
    for i in range(10):
        if octets[i]:
            return False
    return octets[10] == 0xFF and octets[11] == 0xFF


cdef inline void address_set6(Address *out, const uint8_t *octets, uint16_t port) noexcept nogil:
    """Make `out` the address at ``octets[0 .. 16)``, an IPv4 one where it is mapped."""
    if is_mapped(octets):
        address_set4(out, octets + MAPPED_OCTETS, port)
        return
    address_clear(out)
    memcpy(out.octets, octets, 16)
    out.port = port
    out.family = FAMILY_IPV6


cdef inline uint32_t address_octets(const Address *address) noexcept nogil:
    """Return how many octets the address has: 4, 16, or 0 for none."""
    if address.family == FAMILY_IPV4:
        return 4
    return 16 if address.family == FAMILY_IPV6 else 0


cdef inline bint address_equals(const Address *one, const Address *other) noexcept nogil:
    return memcmp(one, other, sizeof(Address)) == 0


cdef inline uint16_t swap16(uint16_t number) noexcept nogil:
    """Turn a port between network order and the machine's, which is little-endian."""
    return <uint16_t> (number << 8 | number >> 8)


cdef inline bint address_from_sockaddr(
    Address *out, const sockaddr_in6 *from_kernel, socklen_t octets
) noexcept nogil:
    """Read what the kernel wrote in `octets` octets; False, and NONE, for any other family."""
    cdef const sockaddr_in *from_kernel4 = <const sockaddr_in *> from_kernel
    if octets >= sizeof(sockaddr_in6) and from_kernel.sin6_family == AF_INET6:
        address_set6(
            out, &from_kernel.sin6_addr.s6_addr[0], swap16(from_kernel.sin6_port)
        )
        if out.family == FAMILY_IPV6:
            out.scope = from_kernel.sin6_scope_id
        return True
    if octets >= sizeof(sockaddr_in) and from_kernel4.sin_family == AF_INET:
        address_set4(
            out, <const uint8_t *> &from_kernel4.sin_addr, swap16(from_kernel4.sin_port)
        )
        return True
    address_clear(out)
    return False


cdef inline socklen_t address_to_sockaddr(
    const Address *address, sockaddr_in6 *out
) noexcept nogil:
    """Write it as a socket of its own family takes it; return the octets written, 0 for none.

    The flow label of a client is not kept, so none is written.
    """
    cdef sockaddr_in *out4 = <sockaddr_in *> out
    memset(out, 0, sizeof(sockaddr_in6))
    if address.family == FAMILY_IPV4:
        out4.sin_family = AF_INET
        out4.sin_port = swap16(address.port)
        memcpy(&out4.sin_addr, address.octets, 4)
        return sizeof(sockaddr_in)
    if address.family == FAMILY_IPV6:
        out.sin6_family = AF_INET6
        out.sin6_port = swap16(address.port)
        memcpy(&out.sin6_addr, address.octets, 16)
        out.sin6_scope_id = address.scope
        return sizeof(sockaddr_in6)
    return 0
