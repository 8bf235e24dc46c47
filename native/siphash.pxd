# cython: language_level=3
"""SipHash-2-4 with 128 bits of output, SipHash-1-3 with 64 (Aumasson, Bernstein; 2012, 2014).

The first is for where a hash stands for a name, the second for where names are compared as well.
Pure arithmetic on its arguments: reads exactly `size` octets of `data`, never blocks,
allocates or fails. A 128-bit value is two words, `low` being the first eight octets of
the reference's output, little-endian.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "tables and hashes are read in place, as little-endian words"
    #endif
    """


ctypedef struct hash128_t:
    uint64_t low
    uint64_t high


ctypedef struct sip_t:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t sip_rotate(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(sip_t *state) noexcept nogil:
    state.v0 += state.v1
    state.v1 = sip_rotate(state.v1, 13) ^ state.v0
    state.v0 = sip_rotate(state.v0, 32)
    state.v2 += state.v3
    state.v3 = sip_rotate(state.v3, 16) ^ state.v2
    state.v0 += state.v3
    state.v3 = sip_rotate(state.v3, 21) ^ state.v0
    state.v2 += state.v1
    state.v1 = sip_rotate(state.v1, 17) ^ state.v2
    state.v2 = sip_rotate(state.v2, 32)


cdef inline void sip_block(sip_t *state, uint64_t block) noexcept nogil:
    state.v3 ^= block
    sip_round(state)
    sip_round(state)
    state.v0 ^= block


cdef inline uint64_t sip_final(sip_t *state) noexcept nogil:
    sip_round(state)
    sip_round(state)
    sip_round(state)
    sip_round(state)
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3


cdef inline uint64_t sip_tail(const uint8_t *data, size_t size) noexcept nogil:
    """Read the last `size` (0 to 7) octets as a little-endian word, and not one more."""
    cdef uint32_t head, last
    if size >= 4:  # two reads that may overlap: no loop over octets in the hot path
        memcpy(&head, data, 4)
        memcpy(&last, data + size - 4, 4)
        return <uint64_t> head | (<uint64_t> last << (8 * (size - 4)))
    if size == 0:
        return 0
    return (
        <uint64_t> data[0]
        | (<uint64_t> data[size >> 1] << (8 * (size >> 1)))
        | (<uint64_t> data[size - 1] << (8 * (size - 1)))
    )


cdef inline hash128_t siphash128(
    hash128_t key, const uint8_t *data, size_t size
) noexcept nogil:
    """Return SipHash-2-4-128 of `size` octets of `data` under `key`."""
    cdef sip_t state
    cdef hash128_t digest
    cdef uint64_t block
    cdef size_t at = 0
    state.v0 = key.low ^ <uint64_t> 0x736F6D6570736575
    state.v1 = key.high ^ <uint64_t> 0x646F72616E646F6D ^ 0xEE
    state.v2 = key.low ^ <uint64_t> 0x6C7967656E657261
    state.v3 = key.high ^ <uint64_t> 0x7465646279746573
    while size - at >= 8:
        memcpy(&block, data + at, 8)
        sip_block(&state, block)
        at += 8
    sip_block(&state, (<uint64_t> size << 56) | sip_tail(data + at, size - at))
    state.v2 ^= 0xEE
    digest.low = sip_final(&state)
    state.v1 ^= 0xDD
    digest.high = sip_final(&state)
    return digest


cdef inline uint64_t siphash13(
    hash128_t key, uint64_t first, const uint8_t *data, size_t size
) noexcept nogil:
    """Return SipHash-1-3 under `key` of `first`, as eight octets, and `size` octets of `data`."""
    cdef sip_t state
    cdef uint64_t block
    cdef size_t at = 0
    state.v0 = key.low ^ <uint64_t> 0x736F6D6570736575
    state.v1 = key.high ^ <uint64_t> 0x646F72616E646F6D
    state.v2 = key.low ^ <uint64_t> 0x6C7967656E657261
    state.v3 = key.high ^ <uint64_t> 0x7465646279746573 ^ first
    sip_round(&state)
    state.v0 ^= first
    while size - at >= 8:
        memcpy(&block, data + at, 8)
        state.v3 ^= block
        sip_round(&state)
        state.v0 ^= block
        at += 8
    block = (<uint64_t> (size + 8) << 56) | sip_tail(data + at, size - at)
    state.v3 ^= block
    sip_round(&state)
    state.v0 ^= block
    state.v2 ^= 0xFF
    sip_round(&state)
    sip_round(&state)
    sip_round(&state)
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3
