# cython: language_level=3
"""Packed pieces of the address space compared, and addresses looked up in them.

Pieces are sorted and disjoint, as enforcer.core.firewall packs them; nobody checks that here.
The work is done without the GIL, on octets that do not change.
"""

from enforcer.core.firewall import Pieces
from enforcer.errors import InputError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from address cimport is_mapped
from pieces cimport piece_row, pieces_left

NO_PIECE = 0xFFFFFFFF


def diff(old, new):
    """Return the Pieces to take out of `old` and those to bring, so that it becomes `new`."""
    return (
        Pieces(left(old.ipv4, new.ipv4, 12), left(old.ipv6, new.ipv6, 36)),
        Pieces(left(new.ipv4, old.ipv4, 12), left(new.ipv6, old.ipv6, 36)),
    )


cdef bytes left(bytes of, bytes other, uint32_t octets):
    cdef const uint8_t *pieces = of
    cdef const uint8_t *others = other
    cdef uint64_t count = len(of) // octets, other_count = len(other) // octets, found
    cdef uint8_t *out
    cdef bytes packed
    with nogil:
        found = pieces_left(pieces, count, others, other_count, octets, NULL)
    packed = PyBytes_FromStringAndSize(NULL, found * octets)
    out = <uint8_t *> PyBytes_AS_STRING(packed)
    with nogil:
        pieces_left(pieces, count, others, other_count, octets, out)
    return packed


def find_rows(pieces, const uint8_t[::1] addresses not None, uint32_t octets):
    """Return the row of the piece that each of many addresses is in, as native u32.

    `addresses` are packed one behind the other, of 4 or 16 `octets`; IPv4-mapped ones are IPv4.
    NO_PIECE stands where there is none.

    Raises:
        InputError: the octets are not those of whole addresses.
    """
    cdef bytes ipv4 = pieces.ipv4, ipv6 = pieces.ipv6, found
    cdef const uint8_t *short = ipv4
    cdef const uint8_t *long_ = ipv6
    cdef uint64_t short_count = len(ipv4) // 12, long_count = len(ipv6) // 36
    cdef uint64_t at, count
    cdef const uint8_t *address
    cdef uint32_t *out
    if octets not in (4, 16) or addresses.shape[0] % octets:
        raise InputError(
            f"{addresses.shape[0]} octets are not whole addresses of {octets}",
            advice="Pack IPv4 addresses into 4 octets each, or IPv6 ones into 16.",
        )
    count = addresses.shape[0] // octets
    found = PyBytes_FromStringAndSize(NULL, count * sizeof(uint32_t))
    out = <uint32_t *> PyBytes_AS_STRING(found)
    if count:
        address = &addresses[0]
        with nogil:
            for at in range(count):
                if octets == 16 and not is_mapped(address):
                    out[at] = piece_row(long_, long_count, address, 16)
                else:
                    out[at] = piece_row(short, short_count, address + octets - 4, 4)
                address += octets
    return found
