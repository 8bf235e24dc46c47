"""Record data that holds names or addresses: what must hold of it before anybody reads it."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from names cimport Proof, is_written_out, prove_name
from wire cimport CLASS_IN, TYPE_A, TYPE_AAAA, TYPE_SOA, get16

cdef enum:
    TYPE_NS = 2
    TYPE_MD = 3
    TYPE_MF = 4
    TYPE_CNAME = 5
    TYPE_MB = 7
    TYPE_MG = 8
    TYPE_MR = 9
    TYPE_PTR = 12
    TYPE_MINFO = 14
    TYPE_MX = 15
    TYPE_RP = 17
    TYPE_AFSDB = 18
    TYPE_RT = 21
    TYPE_SRV = 33
    TYPE_KX = 36
    TYPE_DNAME = 39
    TYPE_RRSIG = 46
    TYPE_NSEC = 47
    TYPE_SVCB = 64
    TYPE_HTTPS = 65
    TYPE_ANY = 255


cdef inline bint is_inspected(uint16_t rrtype) noexcept nogil:
    """Tell whether records of this type lead to a name or give an address."""
    return rrtype in (TYPE_CNAME, TYPE_DNAME, TYPE_SVCB, TYPE_HTTPS, TYPE_A, TYPE_AAAA)


cdef inline bint params_fill(const uint8_t *wire, size_t at, size_t stop) noexcept nogil:
    """Tell whether SvcParams fill ``wire[at .. stop)`` exactly (RFC 9460 §2.2)."""
    while at + 4 <= stop:
        at += 4 + get16(wire + at + 2)
    return at == stop


cdef inline bint prove_rdata(
    Proof *proof, uint16_t rrtype, uint16_t rrclass, size_t at, size_t stop
) noexcept nogil:
    """Tell whether ``wire[at .. stop)`` is rdata of `rrtype`, as far as it has names to read.

    Types that are not listed here have none that may be compressed (RFC 3597 §4).
    """
    cdef uint32_t names = 1
    cdef size_t start = at
    if rrtype == TYPE_A:
        return rrclass != CLASS_IN or stop - at == 4
    if rrtype == TYPE_AAAA:
        return rrclass != CLASS_IN or stop - at == 16
    if rrtype in (
        TYPE_CNAME, TYPE_NS, TYPE_PTR, TYPE_DNAME, TYPE_NSEC, TYPE_MD, TYPE_MF, TYPE_MB, TYPE_MG,
        TYPE_MR,
    ):
        pass
    elif rrtype in (TYPE_SOA, TYPE_MINFO, TYPE_RP):
        names = 2
    elif rrtype in (TYPE_MX, TYPE_AFSDB, TYPE_RT, TYPE_KX, TYPE_SVCB, TYPE_HTTPS):
        start = at + 2
    elif rrtype == TYPE_SRV:
        start = at + 6
    elif rrtype == TYPE_RRSIG:
        start = at + 18
    else:
        return True
    at = start
    while names:
        at = prove_name(proof, at, stop)
        if at == 0:
            return False
        names -= 1
    if rrtype == TYPE_SOA:
        return stop - at == 20
    if rrtype in (TYPE_SVCB, TYPE_HTTPS):
        return is_written_out(proof.wire, start) and params_fill(proof.wire, at, stop)
    return at == stop or rrtype in (TYPE_RRSIG, TYPE_NSEC)
