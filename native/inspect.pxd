"""Judges what a response leads to: the names of its chain, TargetNames, addresses.

First every name, in the order of the chain, then every address, in the message's; the first
that is blocked decides, as enforcer.core.response.decide_response says. A record of the answer
section that stands beside the chain is judged as if it stood at its end: clients differ in what
they pick. What cannot be followed is INSPECTION_BROKEN: to be answered SERVFAIL, never passed.
The additional section is only ever left off for what stands there. Names in the data of other
records (MX, SRV, NS) are not judged. No allocation, no lock, bounded by the message.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from judge cimport (
    INSPECTION_BLOCK, INSPECTION_BROKEN, INSPECTION_PASS, INSPECTION_TRIM, Dns64, Inspection,
    Judge, judge_data, judge_name, judge_name_at, judge_target,
)
from links cimport (
    HOP_BROKEN, HOP_NEXT, Chain, Hop, behind_name, behind_record, chain_hop, chain_open,
)
from message cimport Response
from names cimport WireName, expand_name, names_equal
from rdata cimport TYPE_CNAME, TYPE_DNAME, is_inspected
from layout cimport DENIAL_NODATA
from tables cimport tables_t
from verdict cimport verdict_t
from wire cimport CLASS_ANY, CLASS_IN, LABEL_OCTETS_MAX, Query, get16

cdef enum:
    POINTER_TO_QNAME = 0xC00C


cdef struct Inspected:
    # What blocks; to be read after INSPECTION_BLOCK only.
    verdict_t verdict        # `zone_at` is in `name`
    uint32_t links           # how many hops of the chain stand before the negative answer
    uint8_t is_address       # an address or hint is blocked, not a name
    WireName name            # what is denied: where the chain is after `links` hops


cdef inline Inspection judge_chain(
    const Judge *judge, Chain *chain, verdict_t *verdict
) noexcept nogil:
    """Follow the chain to its end, or to the first name that does not pass."""
    cdef Inspection inspection
    cdef Hop hop = chain_hop(chain, judge.wire)
    while hop == HOP_NEXT:
        inspection = judge_name(judge, &chain.name, verdict)
        if inspection != INSPECTION_PASS:
            return inspection
        hop = chain_hop(chain, judge.wire)
    return INSPECTION_BROKEN if hop == HOP_BROKEN else INSPECTION_PASS


cdef inline Inspection judge_names_beside(
    const Judge *judge, const Chain *chain, const Response *response, verdict_t *verdict
) noexcept nogil:
    """Judge the answer section's owners that the chain does not end at, and its TargetNames.

    A DNAME that took no hop leads nowhere from the qname, so nobody follows it.
    """
    cdef size_t at = response.answers_at, fixed
    # A pointer to where the chain ends: the same octets need no expansion.
    cdef uint32_t _number, known = POINTER_TO_QNAME if chain.links == 0 else 0, taken = 0
    cdef uint16_t rrtype
    cdef WireName owner
    cdef Inspection inspection
    for _number in range(response.answers):
        fixed = behind_name(judge.wire, at)
        rrtype = get16(judge.wire + fixed)
        if rrtype == TYPE_CNAME or rrtype == TYPE_DNAME:
            taken += 1
        if is_inspected(rrtype) and rrtype != TYPE_DNAME and not (
            rrtype == TYPE_CNAME and chain.is_taken[taken - 1]
        ):
            if get16(judge.wire + at) != known:
                expand_name(judge.wire, at, &owner)
                if not names_equal(&owner, &chain.name):
                    inspection = judge_name(judge, &owner, verdict)
                    if inspection != INSPECTION_PASS:
                        return inspection
                elif judge.wire[at] > LABEL_OCTETS_MAX:
                    known = get16(judge.wire + at)
            inspection = judge_target(judge, fixed, verdict)
            if inspection != INSPECTION_PASS:
                return inspection
        at = behind_record(judge.wire, fixed)
    return INSPECTION_PASS


cdef inline Inspection judge_given_addresses(
    const Judge *judge, const Response *response, verdict_t *verdict
) noexcept nogil:
    """Judge the addresses and hints of the answer section."""
    cdef size_t at = response.answers_at, fixed
    cdef uint32_t _number
    cdef Inspection inspection
    for _number in range(response.answers):
        fixed = behind_name(judge.wire, at)
        if is_inspected(get16(judge.wire + fixed)):
            inspection = judge_data(judge, fixed, verdict)
            if inspection != INSPECTION_PASS:
                return inspection
        at = behind_record(judge.wire, fixed)
    return INSPECTION_PASS


cdef inline Inspection judge_additionals(
    const Judge *judge, const Response *response
) noexcept nogil:
    """Return INSPECTION_TRIM unless all that the additional section leads to passes."""
    cdef size_t at = response.additionals_at, fixed
    cdef uint32_t _number
    cdef verdict_t verdict
    for _number in range(response.additionals):
        fixed = behind_name(judge.wire, at)
        if is_inspected(get16(judge.wire + fixed)) and not (
            judge_name_at(judge, at, &verdict) == INSPECTION_PASS
            and judge_target(judge, fixed, &verdict) == INSPECTION_PASS
            and judge_data(judge, fixed, &verdict) == INSPECTION_PASS
        ):
            return INSPECTION_TRIM
        at = behind_record(judge.wire, fixed)
    return INSPECTION_PASS


cdef inline Inspection deny_end_of_chain(
    const Chain *chain, bint is_address, Inspected *out
) noexcept nogil:
    """Say that the name where the chain ends has no such data: it exists, and is no target."""
    out.verdict.denial = DENIAL_NODATA
    out.verdict.zone_at = 0
    out.links = chain.links
    out.name = chain.name
    out.is_address = is_address
    return INSPECTION_BLOCK


cdef inline Inspection inspect_response(
    const uint8_t *wire,
    const Response *response,
    const Query *query,
    const tables_t *tables,
    const Dns64 *dns64,
    int64_t t_ms,
    Inspected *out,
) noexcept nogil:
    """Say what is to become of `response`, which read_response read from `wire`, at `t_ms`.

    `query` itself has passed; its question is the response's. Classes other than IN pass, and
    ANY asks for IN too. A blocked link is denied as a query for it would be; for all else that
    is blocked the name where the chain ends is left without data.
    """
    cdef Chain chain
    cdef Judge judge
    cdef Inspection inspection
    if not response.has_links or (query.qclass != CLASS_IN and query.qclass != CLASS_ANY):
        return INSPECTION_PASS
    judge.wire = wire
    judge.tables = tables
    judge.dns64 = dns64
    judge.t_ms = t_ms
    judge.qtype = query.qtype
    if not chain_open(&chain, wire, response, query):
        return INSPECTION_BROKEN
    inspection = judge_chain(&judge, &chain, &out.verdict)
    if inspection == INSPECTION_BLOCK:
        out.links = chain.links
        out.name = chain.name
        out.is_address = 0
    if inspection != INSPECTION_PASS:
        return inspection
    inspection = judge_names_beside(&judge, &chain, response, &out.verdict)
    if inspection == INSPECTION_BLOCK:
        return deny_end_of_chain(&chain, False, out)
    if inspection != INSPECTION_PASS:
        return inspection
    inspection = judge_given_addresses(&judge, response, &out.verdict)
    if inspection == INSPECTION_BLOCK:
        return deny_end_of_chain(&chain, True, out)
    if inspection != INSPECTION_PASS:
        return inspection
    return judge_additionals(&judge, response)
