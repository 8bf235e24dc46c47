# cython: language_level=3
"""Hashing IP prefixes for the table, apart from every name's hash.

Names are hashed label by label, and no label that is hashed is empty: what an empty one would
hash to under the secret is the key for prefixes. Pure arithmetic; reads 4 or 16 octets.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from siphash cimport hash128_t, siphash128

cdef enum:
    OCTETS_4 = 4
    OCTETS_6 = 16


cdef inline hash128_t prefix_key(hash128_t secret) noexcept nogil:
    """Return the key of all prefixes under the table's secret."""
    return siphash128(secret, <const uint8_t *> "", 0)


cdef inline hash128_t prefix_hash(
    hash128_t key, const uint8_t *address, uint32_t octets, uint32_t length
) noexcept nogil:
    """Hash the prefix of `length` bits, at most 8 * `octets`, that `address` is in."""
    cdef uint8_t written[1 + OCTETS_6]
    cdef uint32_t at
    written[0] = <uint8_t> length
    memcpy(written + 1, address, octets)
    at = 1 + (length >> 3)
    if length & 7:
        written[at] &= <uint8_t> (0xFF00 >> (length & 7))
        at += 1
    while at <= octets:
        written[at] = 0
        at += 1
    return siphash128(key, written, 1 + octets)  # the two families differ in size


cdef inline bint address_is_mapped(const uint8_t *address) noexcept nogil:
    """Tell whether 16 octets are an IPv4-mapped address (RFC 4291 §2.5.5.2)."""
    return memcmp(address, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0
