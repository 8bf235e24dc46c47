"""The chain of CNAME and DNAME records that an answer section leads along from its qname.

The order of the records does not matter. A hop that two records would take to different names,
a name of over 255 octets, and a chain of over CHAIN_LINKS_MAX hops (so a loop too) is
HOP_BROKEN, never an end. Reads what `read_response` has proven; no allocation, no lock; at most
CHAIN_RECORDS_MAX records are looked at for each hop.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from message cimport Response
from names cimport WireName, expand_name, name_is_below, names_equal, replace_suffix
from rdata cimport TYPE_CNAME, TYPE_DNAME
from wire cimport LABEL_OCTETS_MAX, RR_FIXED_OCTETS, Query, get16

cdef enum:
    CHAIN_LINKS_MAX = 16
    CHAIN_RECORDS_MAX = 64   # CNAME and DNAME records of one answer
    NO_RECORD = 0xFF


cdef enum Hop:
    """Where the chain leads from a name; 0 never means that it ends well."""

    HOP_UNSPECIFIED = 0
    HOP_NEXT = 1
    HOP_END = 2
    HOP_BROKEN = 3


cdef struct Chain:
    uint32_t links                        # hops taken
    uint32_t count                        # of the records below
    uint8_t cname                         # which record took the last hop, or NO_RECORD
    uint8_t dname                         # the same: both, where a CNAME was synthesised
    uint8_t is_taken[CHAIN_RECORDS_MAX]   # by some hop
    uint16_t owner_at[CHAIN_RECORDS_MAX]
    uint16_t fixed_at[CHAIN_RECORDS_MAX]  # where the type stands
    WireName name                         # where the chain is now


cdef inline size_t behind_name(const uint8_t *wire, size_t at) noexcept nogil:
    """Return where the proven name at `at` ends in the message."""
    while wire[at]:
        if wire[at] > LABEL_OCTETS_MAX:
            return at + 2
        at += wire[at] + 1
    return at + 1


cdef inline size_t behind_record(const uint8_t *wire, size_t fixed) noexcept nogil:
    return fixed + RR_FIXED_OCTETS + get16(wire + fixed + 8)


cdef inline bint chain_open(
    Chain *chain, const uint8_t *wire, const Response *response, const Query *query
) noexcept nogil:
    """Begin at the qname; False if there are too many records to follow."""
    cdef size_t at = response.answers_at, fixed
    cdef uint32_t _number
    cdef uint16_t rrtype
    chain.links = chain.count = 0
    chain.cname = chain.dname = NO_RECORD
    chain.name.name_octets = query.name_octets
    chain.name.label_count = query.label_count
    memcpy(chain.name.label_at, query.label_at, query.label_count + 1)
    memcpy(chain.name.name, query.name, query.name_octets)
    for _number in range(response.answers):
        fixed = behind_name(wire, at)
        rrtype = get16(wire + fixed)
        if rrtype == TYPE_CNAME or rrtype == TYPE_DNAME:
            if chain.count == CHAIN_RECORDS_MAX:
                return False
            chain.is_taken[chain.count] = 0
            chain.owner_at[chain.count] = <uint16_t> at
            chain.fixed_at[chain.count] = <uint16_t> fixed
            chain.count += 1
        at = behind_record(wire, fixed)
    return True


cdef inline Hop chain_hop(Chain *chain, const uint8_t *wire) noexcept nogil:
    """Go one link on, to the one name that all records for this name agree on."""
    cdef WireName owner, target, next_name
    cdef const WireName *found
    cdef bint is_found = False
    cdef uint32_t i
    chain.cname = chain.dname = NO_RECORD
    for i in range(chain.count):
        expand_name(wire, chain.owner_at[i], &owner)
        if get16(wire + chain.fixed_at[i]) == TYPE_CNAME:
            if not names_equal(&owner, &chain.name):
                continue
            expand_name(wire, chain.fixed_at[i] + RR_FIXED_OCTETS, &target)
            chain.cname = <uint8_t> i
            found = &target
        else:
            if not name_is_below(&chain.name, &owner):
                continue
            expand_name(wire, chain.fixed_at[i] + RR_FIXED_OCTETS, &target)
            if not replace_suffix(&chain.name, &owner, &target, &owner):
                return HOP_BROKEN
            chain.dname = <uint8_t> i
            found = &owner
        chain.is_taken[i] = 1
        if is_found and not names_equal(found, &next_name):
            return HOP_BROKEN
        next_name = found[0]
        is_found = True
    if not is_found:
        return HOP_END
    if chain.links == CHAIN_LINKS_MAX:
        return HOP_BROKEN
    chain.links += 1
    chain.name = next_name
    return HOP_NEXT
