"""The PROXY protocol, version 2: who a proxy in front speaks for, and telling one behind.

As the HAProxy project's proxy-protocol.txt §2.2 has it. A header is at most PROXY_OCTETS_MAX
long here; its TLVs are skipped. Whether a peer may send one at all is for the caller to know.
Reads only ``octets[0 .. length)``, never allocates, and keeps nothing.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from address cimport (
    ADDRESS_OCTETS_MAX, FAMILY_IPV4, FAMILY_IPV6, FAMILY_NONE, MAPPED_OCTETS, Address,
    address_set4, address_set6,
)

cdef enum:
    PROXY_FIXED_OCTETS = 16     # signature, version and command, family, length
    PROXY_OCTETS_MAX = 1024
    PROXY_WRITTEN_OCTETS_MAX = PROXY_FIXED_OCTETS + 36
    PROXY_SIGNATURE_OCTETS = 12
    PROXY_VERSION = 0x20
    PROXY_COMMAND_LOCAL = 0
    PROXY_COMMAND_PROXY = 1
    # The high half of the family octet, and how long its addresses are.
    PROXY_UNSPEC = 0x00
    PROXY_INET = 0x10
    PROXY_INET6 = 0x20
    PROXY_UNIX = 0x30
    PROXY_INET_OCTETS = 12
    PROXY_INET6_OCTETS = 36
    PROXY_UNIX_OCTETS = 216
    PROXY_STREAM = 0x01
    PROXY_DGRAM = 0x02


cdef enum Proxied:
    """What the octets turned out to be; 0 never means that they may be taken."""

    PROXY_UNSPECIFIED = 0
    PROXY_NONE = 1      # no header of this protocol
    PROXY_PARTIAL = 2   # the beginning of one; in a datagram that is as bad as BAD
    PROXY_BAD = 3       # it begins as one and is none; the connection must be dropped
    PROXY_LOCAL = 4     # the peer speaks for itself, as it does to look whether we live
    PROXY_PROXY = 5     # the peer speaks for `client`, who had asked `local`


cdef inline void proxy_signature(uint8_t *out) noexcept nogil:
    """Write the 12 octets that no DNS message, HTTP request or TLS hello begins with."""
    cdef const char *signature = b"\r\n\r\n\0\r\nQUIT\n"
    memcpy(out, signature, PROXY_SIGNATURE_OCTETS)


cdef inline uint16_t proxy_get16(const uint8_t *octets) noexcept nogil:
    return <uint16_t> (octets[0] << 8 | octets[1])


cdef inline uint32_t proxy_addresses_octets(uint8_t family) noexcept nogil:
    """Return how long the addresses of a family octet are; 0 for one that the standard lacks."""
    cdef uint32_t transport = family & 0x0F
    if transport != PROXY_STREAM and transport != PROXY_DGRAM:
        return 0
    if family & 0xF0 == PROXY_INET:
        return PROXY_INET_OCTETS
    if family & 0xF0 == PROXY_INET6:
        return PROXY_INET6_OCTETS
    return PROXY_UNIX_OCTETS if family & 0xF0 == PROXY_UNIX else 0


cdef inline Proxied proxy_read(
    const uint8_t *octets, size_t length, Address *client, Address *local,
    size_t *header_octets,
) noexcept nogil:
    """Read the header that `octets` may begin with.

    PROXY and LOCAL set `header_octets`, behind which the payload stands; the other outcomes set
    it to 0. Both addresses are written for PROXY alone. What neither is an address of the Internet
    nor forbidden (an UNSPEC family, a Unix socket) is LOCAL, as the standard asks.
    """
    cdef uint8_t signature[PROXY_SIGNATURE_OCTETS]
    cdef uint32_t command, body_octets, addresses_octets
    cdef const uint8_t *body = octets + PROXY_FIXED_OCTETS
    header_octets[0] = 0
    proxy_signature(signature)
    if memcmp(octets, signature, min(length, <size_t> PROXY_SIGNATURE_OCTETS)) != 0:
        return PROXY_NONE
    if length < PROXY_FIXED_OCTETS:
        return PROXY_PARTIAL
    command = octets[12] & 0x0F
    body_octets = proxy_get16(octets + 14)
    addresses_octets = 0
    if octets[12] & 0xF0 != PROXY_VERSION or command > PROXY_COMMAND_PROXY:
        return PROXY_BAD
    if PROXY_FIXED_OCTETS + body_octets > PROXY_OCTETS_MAX:
        return PROXY_BAD
    if command == PROXY_COMMAND_PROXY and octets[13] != PROXY_UNSPEC:
        addresses_octets = proxy_addresses_octets(octets[13])
        if addresses_octets == 0:
            return PROXY_BAD
    if body_octets < addresses_octets:
        return PROXY_BAD
    if length < PROXY_FIXED_OCTETS + body_octets:
        return PROXY_PARTIAL
    header_octets[0] = PROXY_FIXED_OCTETS + body_octets
    if addresses_octets == PROXY_INET_OCTETS:
        address_set4(client, body, proxy_get16(body + 8))
        address_set4(local, body + 4, proxy_get16(body + 10))
        return PROXY_PROXY
    if addresses_octets == PROXY_INET6_OCTETS:
        address_set6(client, body, proxy_get16(body + 32))
        address_set6(local, body + 16, proxy_get16(body + 34))
        return PROXY_PROXY
    return PROXY_LOCAL


cdef inline void proxy_put16(uint8_t *out, uint16_t number) noexcept nogil:
    out[0] = <uint8_t> (number >> 8)
    out[1] = <uint8_t> number


cdef inline void proxy_put6(uint8_t *out, const Address *address) noexcept nogil:
    """Write 16 octets of an address of either family, an IPv4 one mapped into IPv6."""
    if address.family == FAMILY_IPV6:
        memcpy(out, address.octets, ADDRESS_OCTETS_MAX)
        return
    memset(out, 0, MAPPED_OCTETS)
    out[10] = out[11] = 0xFF
    memcpy(out + MAPPED_OCTETS, address.octets, 4)


cdef inline size_t proxy_write(
    uint8_t *out, const Address *client, const Address *local, bint is_stream
) noexcept nogil:
    """Write the header that says `client` asked `local`; return its length.

    At most PROXY_WRITTEN_OCTETS_MAX octets. Where one of the two is none the header says that
    the gate speaks for itself; where their families differ both are written as IPv6.
    """
    cdef uint8_t *body = out + PROXY_FIXED_OCTETS
    proxy_signature(out)
    if client.family == FAMILY_NONE or local.family == FAMILY_NONE:
        out[12] = PROXY_VERSION | PROXY_COMMAND_LOCAL
        out[13] = PROXY_UNSPEC
        proxy_put16(out + 14, 0)
        return PROXY_FIXED_OCTETS
    out[12] = PROXY_VERSION | PROXY_COMMAND_PROXY
    out[13] = PROXY_STREAM if is_stream else PROXY_DGRAM
    if client.family == FAMILY_IPV4 and local.family == FAMILY_IPV4:
        out[13] |= PROXY_INET
        proxy_put16(out + 14, PROXY_INET_OCTETS)
        memcpy(body, client.octets, 4)
        memcpy(body + 4, local.octets, 4)
        proxy_put16(body + 8, client.port)
        proxy_put16(body + 10, local.port)
        return PROXY_FIXED_OCTETS + PROXY_INET_OCTETS
    out[13] |= PROXY_INET6
    proxy_put16(out + 14, PROXY_INET6_OCTETS)
    proxy_put6(body, client)
    proxy_put6(body + 16, local)
    proxy_put16(body + 32, client.port)
    proxy_put16(body + 34, local.port)
    return PROXY_FIXED_OCTETS + PROXY_INET6_OCTETS
