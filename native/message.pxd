"""Reads one DNS response of an upstream: what is in it, and what can be judged and cached.

After ANSWERED_WHOLE every name up to `octets` is proven: inside the message, at most 255 octets
long when expanded, its compression pointers strictly backwards (RFC 1035 §4.1.4), so that
whoever reads on needs no check of his own. What stands from the OPT on is not counted: an OPT
is of one hop (RFC 6891 §6.1.1). An error or a cut answer (TC=1) keeps no record.
Reads only ``wire[0 .. length)``; no allocation, no lock, work bounded by `length`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from names cimport POINTER_REACH, Proof, prove_name
from rdata cimport TYPE_ANY, TYPE_NS, is_inspected, prove_rdata
from wire cimport (
    FLAG_QR, FLAG_TC, FLAGS_OPCODE, FLAGS_RCODE, HEADER_OCTETS, RCODE_NOERROR, RCODE_NXDOMAIN,
    RCODE_SERVFAIL, RR_FIXED_OCTETS, TYPE_OPT, TYPE_SOA, get16, options_fill,
)

cdef enum:
    RESPONSE_RECORDS_MAX = 512   # a message with more is served, not cached
    RESPONSE_ERRORS_OCTETS_MAX = 128
    RESPONSE_OCTETS_MAX = 65535
    TTL_SECONDS_MAX = 0x7FFFFFFF  # RFC 2181 §8
    ERROR_TTL_SECONDS = 5        # RFC 2308 §7.1, RFC 9520 §3.2
    OPTION_EDE = 15              # RFC 8914 §2


cdef enum Answered:
    """What a message from an upstream turned out to be; 0 never means that it may pass."""

    ANSWERED_UNSPECIFIED = 0
    ANSWERED_WHOLE = 1
    ANSWERED_RUNT = 2        # no whole header
    ANSWERED_QUERY = 3       # QR=0, or an opcode other than QUERY
    ANSWERED_MALFORMED = 4   # not one whole question, or records that do not hold what they say


cdef enum Sort:
    """What a response says of the name and type that were asked."""

    RESPONSE_UNSPECIFIED = 0
    RESPONSE_DATA = 1
    RESPONSE_NODATA = 2
    RESPONSE_NXDOMAIN = 3
    RESPONSE_ERROR = 4       # any other rcode; its records were left off
    RESPONSE_REFERRAL = 5    # no data and no SOA, but NS
    RESPONSE_CUT = 6         # TC=1; its records were left off


cdef struct Response:
    # What read_response found; every offset is into the message.
    uint16_t octets              # up to the OPT, or all: header, question, records
    uint16_t question_octets     # name, type and class, at HEADER_OCTETS
    uint16_t flags               # the header's second word
    uint16_t rcode               # 12 bits, with the OPT's
    uint16_t qtype
    uint16_t qclass
    uint16_t answers             # how many records stand in `octets`, by section
    uint16_t authorities
    uint16_t additionals
    uint16_t answers_at          # where each section starts
    uint16_t authorities_at
    uint16_t additionals_at
    uint16_t ttls                # how many records have their TTL's place in `ttl_at`
    uint16_t ttl_at[RESPONSE_RECORDS_MAX]
    uint32_t ttl_seconds         # how long it may be kept; 0: not at all
    uint8_t sort                 # Sort
    uint8_t is_cacheable         # ttl_seconds > 0 and TTLs can be counted down in place
    uint8_t has_links            # CNAME, DNAME, SVCB, HTTPS, A or AAAA stand there: to be inspected
    uint16_t errors_octets
    uint8_t errors[RESPONSE_ERRORS_OCTETS_MAX]  # the upstream's EDE options, whole


cdef struct Found:
    # What the records amount to, while they are read.
    uint32_t least_seconds       # of all TTLs, and of the SOA's MINIMUM (RFC 2308 §5)
    uint8_t has_data
    uint8_t has_soa
    uint8_t has_ns
    uint8_t is_plain             # every TTL has its place in `ttl_at`


cdef inline uint32_t get32(const uint8_t *at) noexcept nogil:
    return (<uint32_t> get16(at) << 16) | get16(at + 2)


cdef inline bint keep_errors(Response *out, const uint8_t *options, size_t octets) noexcept nogil:
    """Copy the EDE options; one that does not fit keeps its code alone. False if malformed."""
    cdef size_t at = 0
    cdef uint32_t length
    if not options_fill(options, octets):
        return False
    while at < octets:
        length = get16(options + at + 2)
        if get16(options + at) == OPTION_EDE and length >= 2:
            if out.errors_octets + 4 + length > RESPONSE_ERRORS_OCTETS_MAX:
                length = 2
            if out.errors_octets + 4 + length <= RESPONSE_ERRORS_OCTETS_MAX:
                memcpy(out.errors + out.errors_octets, options + at, 4 + length)
                out.errors[out.errors_octets + 2] = 0
                out.errors[out.errors_octets + 3] = <uint8_t> length
                out.errors_octets += <uint16_t> (4 + length)
        at += 4 + get16(options + at + 2)
    return True


cdef inline void drop_records(Response *out) noexcept nogil:
    """Keep the header and the question alone: nothing is left to judge or to pass."""
    out.octets = HEADER_OCTETS + out.question_octets
    out.authorities_at = out.additionals_at = out.answers_at
    out.answers = out.authorities = out.additionals = out.ttls = 0
    out.has_links = 0


cdef inline void drop_additionals(Response *out) noexcept nogil:
    """Leave the additional section off: what it holds can always be asked for by its own name."""
    while out.ttls and out.ttl_at[out.ttls - 1] >= out.additionals_at:
        out.ttls -= 1
    out.octets = out.additionals_at
    out.additionals = 0


cdef inline void note_record(
    const uint8_t *wire, Response *out, Found *found, size_t fixed, uint32_t section
) noexcept nogil:
    """Take what counts from the record whose type stands at `fixed`, in `section` 1 to 3."""
    cdef uint16_t rrtype = get16(wire + fixed)
    cdef uint32_t ttl_seconds = get32(wire + fixed + 4)
    if ttl_seconds >> 31:  # RFC 2181 §8
        ttl_seconds = 0
    found.least_seconds = min(found.least_seconds, ttl_seconds)
    if out.ttls == RESPONSE_RECORDS_MAX:
        found.is_plain = 0
    else:
        out.ttl_at[out.ttls] = <uint16_t> (fixed + 4)
        out.ttls += 1
    if section == 1:
        out.answers += 1
        found.has_data |= rrtype == out.qtype or out.qtype == TYPE_ANY
        out.has_links |= is_inspected(rrtype)
    elif section == 2:
        out.authorities += 1
        found.has_ns |= rrtype == TYPE_NS
        if rrtype == TYPE_SOA:
            found.has_soa = 1
            found.least_seconds = min(
                found.least_seconds,
                get32(wire + fixed + RR_FIXED_OCTETS + get16(wire + fixed + 8) - 4),
            )
    else:
        out.additionals += 1
        out.has_links |= is_inspected(rrtype)


cdef inline bint read_sections(
    const uint8_t *wire, Proof *proof, Response *out, Found *found
) noexcept nogil:
    """Prove the records from `answers_at` on and note them; they must fill the message.

    Those behind the OPT are proven but not noted, and `octets` ends before it.
    """
    cdef size_t length = proof.length, at = out.answers_at, fixed, stop
    cdef uint32_t section, left
    cdef bint has_opt = False
    for section in range(1, 4):
        if section == 2:
            out.authorities_at = <uint16_t> at
        elif section == 3:
            out.additionals_at = <uint16_t> at
        left = get16(wire + 4 + 2 * section)
        while left:
            left -= 1
            fixed = prove_name(proof, at, length)
            if fixed == 0 or fixed + RR_FIXED_OCTETS > length:
                return False
            stop = fixed + RR_FIXED_OCTETS + get16(wire + fixed + 8)
            if stop > length:
                return False
            if get16(wire + fixed) == TYPE_OPT:
                # One, in the additional section, owned by the root (RFC 6891 §6.1.1, §6.1.2).
                if has_opt or section != 3 or wire[at] != 0:
                    return False
                has_opt = True
                out.octets = <uint16_t> at
                out.rcode |= <uint16_t> (wire[fixed + 4] << 4)
                if not keep_errors(out, wire + fixed + RR_FIXED_OCTETS, get16(wire + fixed + 8)):
                    return False
            elif not prove_rdata(
                proof, get16(wire + fixed), get16(wire + fixed + 2), fixed + RR_FIXED_OCTETS, stop
            ):
                return False
            elif not has_opt:
                note_record(wire, out, found, fixed, section)
            at = stop
    if not has_opt:
        out.octets = <uint16_t> at
    return at == length


cdef inline void sort_response(Response *out, const Found *found) noexcept nogil:
    """Say what the records that were found amount to, and how long they may be kept."""
    cdef uint32_t seconds = 0
    if out.rcode == RCODE_NXDOMAIN:
        out.sort = RESPONSE_NXDOMAIN
        seconds = found.least_seconds if found.has_soa else 0  # RFC 2308 §5
    elif out.rcode != RCODE_NOERROR:
        out.sort = RESPONSE_ERROR
        seconds = ERROR_TTL_SECONDS if out.rcode == RCODE_SERVFAIL else 0
        drop_records(out)
    elif found.has_data:
        out.sort = RESPONSE_DATA
        seconds = found.least_seconds
    elif found.has_soa:
        out.sort = RESPONSE_NODATA
        seconds = found.least_seconds
    else:
        out.sort = RESPONSE_REFERRAL if found.has_ns else RESPONSE_NODATA
    out.is_cacheable = seconds > 0 and found.is_plain
    out.ttl_seconds = seconds if out.is_cacheable else 0


cdef inline Answered read_response(
    const uint8_t *wire, size_t length, Response *out
) noexcept nogil:
    """Read a message of `length` octets from an upstream into `out` and say what it is.

    Only for ANSWERED_WHOLE is `out` to be used. That its id and question are those that were
    asked is the caller's to compare. Of a cut answer the question alone is read.
    """
    cdef Proof proof
    cdef Found found
    cdef size_t at
    if length < HEADER_OCTETS:
        return ANSWERED_RUNT
    out.flags = get16(wire + 2)
    if not out.flags & FLAG_QR or out.flags & FLAGS_OPCODE:
        return ANSWERED_QUERY
    if length > RESPONSE_OCTETS_MAX or get16(wire + 4) != 1:
        return ANSWERED_MALFORMED
    proof.wire = wire
    proof.length = length
    proof.is_plain = 1
    memset(proof.starts, 0, min(length, <size_t> POINTER_REACH - 1) // 8 + 1)
    at = prove_name(&proof, HEADER_OCTETS, length)
    if at == 0 or at + 4 > length:
        return ANSWERED_MALFORMED
    out.qtype = get16(wire + at)
    out.qclass = get16(wire + at + 2)
    out.question_octets = <uint16_t> (at + 4 - HEADER_OCTETS)
    out.rcode = out.flags & FLAGS_RCODE
    out.answers_at = <uint16_t> (at + 4)
    out.ttl_seconds = out.errors_octets = 0
    out.is_cacheable = 0
    drop_records(out)
    if out.flags & FLAG_TC:
        out.sort = RESPONSE_CUT
        return ANSWERED_WHOLE
    memset(&found, 0, sizeof(Found))
    found.is_plain = 1
    found.least_seconds = TTL_SECONDS_MAX
    if not read_sections(wire, &proof, out, &found):
        return ANSWERED_MALFORMED
    found.is_plain &= proof.is_plain
    sort_response(out, &found)
    return ANSWERED_WHOLE
