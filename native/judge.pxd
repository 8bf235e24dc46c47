"""Judges one name, one address or one record of a response by the tables in force.

A record leads to a name (CNAME, SVCB and HTTPS) and gives addresses (A, AAAA, hints). An IPv6
address is judged as it stands, then as the IPv4 address behind each prefix of DNS64 that it is
in. Reads what `read_response` has proven; no allocation, no lock, bounded by the record.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp

from links cimport behind_name, behind_record
from names cimport WireName, expand_name
from rdata cimport TYPE_CNAME, TYPE_DNAME
from layout cimport ACTION_BLOCK, ACTION_PASS
from match cimport tables_decide_address
from tables cimport tables_decide, tables_t
from verdict cimport verdict_t
from wire cimport RR_FIXED_OCTETS, TYPE_A, TYPE_AAAA, get16

cdef enum:
    DNS64_PREFIXES_MAX = 8
    PARAM_IPV4HINT = 4       # RFC 9460 §14.3.2
    PARAM_IPV6HINT = 6


cdef enum Inspection:
    """What is to become of a response; 0 never means that it may pass."""

    INSPECTION_UNSPECIFIED = 0
    INSPECTION_PASS = 1
    INSPECTION_BLOCK = 2     # Inspected says by what
    INSPECTION_BROKEN = 3    # it cannot be followed
    INSPECTION_TRIM = 4      # it passes without its additional section, see drop_additionals


cdef struct Dns64:
    # The prefixes behind which resolvers here put IPv4 addresses (RFC 6052 §2.2).
    uint32_t count
    uint8_t bits[DNS64_PREFIXES_MAX]  # 32, 40, 48, 56, 64 or 96
    uint8_t prefixes[DNS64_PREFIXES_MAX][16]


cdef struct Judge:
    # What stays the same while one response is judged.
    const uint8_t *wire
    const tables_t *tables
    const Dns64 *dns64
    int64_t t_ms
    uint16_t qtype


cdef inline Inspection judged(const verdict_t *verdict) noexcept nogil:
    if verdict.action == ACTION_PASS:
        return INSPECTION_PASS
    return INSPECTION_BLOCK if verdict.action == ACTION_BLOCK else INSPECTION_BROKEN


cdef inline Inspection judge_name(
    const Judge *judge, const WireName *name, verdict_t *verdict
) noexcept nogil:
    verdict.action = 0
    tables_decide(
        judge.tables, name.name, name.label_at, name.label_count, judge.qtype, judge.t_ms, verdict
    )
    return judged(verdict)


cdef inline Inspection judge_name_at(
    const Judge *judge, size_t at, verdict_t *verdict
) noexcept nogil:
    cdef WireName name
    expand_name(judge.wire, at, &name)
    return judge_name(judge, &name, verdict)


cdef inline bint embedded4(
    const uint8_t *address, const uint8_t *prefix, uint32_t bits, uint8_t *out
) noexcept nogil:
    """Write the IPv4 address that `address` carries behind `prefix`; False if it is not in it.

    Octet 8 is never part of it (RFC 6052 §2.2).
    """
    cdef uint32_t at = bits // 8, i
    if memcmp(address, prefix, at) != 0:
        return False
    for i in range(4):
        if at == 8:
            at = 9
        out[i] = address[at]
        at += 1
    return True


cdef inline Inspection judge_address(
    const Judge *judge, const uint8_t *address, uint32_t octets, verdict_t *verdict
) noexcept nogil:
    """Judge an address of 4 or 16 octets, then the IPv4 addresses that it carries."""
    cdef uint8_t carried[4]
    cdef Inspection inspection
    cdef uint32_t i
    verdict.action = 0
    tables_decide_address(judge.tables, address, octets, judge.t_ms, verdict)
    inspection = judged(verdict)
    if inspection != INSPECTION_PASS or octets == 4:
        return inspection
    for i in range(judge.dns64.count):
        if not embedded4(address, judge.dns64.prefixes[i], judge.dns64.bits[i], carried):
            continue
        verdict.action = 0
        tables_decide_address(judge.tables, carried, 4, judge.t_ms, verdict)
        inspection = judged(verdict)
        if inspection != INSPECTION_PASS:
            return inspection
    return INSPECTION_PASS


cdef inline Inspection judge_addresses(
    const Judge *judge, size_t at, size_t stop, uint32_t octets, verdict_t *verdict
) noexcept nogil:
    """Judge the addresses of `octets` each in ``wire[at .. stop)``."""
    cdef Inspection inspection
    while at + octets <= stop:
        inspection = judge_address(judge, judge.wire + at, octets, verdict)
        if inspection != INSPECTION_PASS:
            return inspection
        at += octets
    return INSPECTION_PASS


cdef inline Inspection judge_data(
    const Judge *judge, size_t fixed, verdict_t *verdict
) noexcept nogil:
    """Judge the addresses that the record whose type stands at `fixed` gives.

    SvcParams are taken in any order and whatever the priority: clients may be careless.
    """
    cdef uint16_t rrtype = get16(judge.wire + fixed), key
    cdef size_t stop = behind_record(judge.wire, fixed), at = fixed + RR_FIXED_OCTETS, value
    cdef Inspection inspection
    if rrtype == TYPE_A:
        return judge_addresses(judge, at, stop, 4, verdict)
    if rrtype == TYPE_AAAA:
        return judge_addresses(judge, at, stop, 16, verdict)
    if rrtype == TYPE_CNAME or rrtype == TYPE_DNAME:
        return INSPECTION_PASS
    at = behind_name(judge.wire, at + 2)
    while at < stop:
        key = get16(judge.wire + at)
        value = at + 4
        at = value + get16(judge.wire + at + 2)
        inspection = INSPECTION_PASS
        if key == PARAM_IPV4HINT:
            inspection = judge_addresses(judge, value, at, 4, verdict)
        elif key == PARAM_IPV6HINT:
            inspection = judge_addresses(judge, value, at, 16, verdict)
        if inspection != INSPECTION_PASS:
            return inspection
    return INSPECTION_PASS


cdef inline Inspection judge_target(
    const Judge *judge, size_t fixed, verdict_t *verdict
) noexcept nogil:
    """Judge the name that the record whose type stands at `fixed` leads to.

    A TargetName of "." is the owner or nothing (RFC 9460 §2.5): no other name.
    """
    cdef uint16_t rrtype = get16(judge.wire + fixed)
    cdef size_t at = fixed + RR_FIXED_OCTETS
    if rrtype == TYPE_A or rrtype == TYPE_AAAA:
        return INSPECTION_PASS
    if rrtype == TYPE_CNAME or rrtype == TYPE_DNAME:
        return judge_name_at(judge, at, verdict)
    return judge_name_at(judge, at + 2, verdict)
