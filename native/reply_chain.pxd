"""Writes the answer to a query whose response leads to something blocked.

The links that stand before the blocked one, then what the blocked name itself would be answered
(RFC 6604 §3: the rcode is that of the chain's end). Where that does not fit, the answer is cut
(TC=1), never passed. The links' TTLs are at most the block's, so that all of it is asked for
again when the order has ended. Writes at most the room given; no allocation, no lock.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from inspect cimport Inspected
from links cimport (
    HOP_NEXT, NO_RECORD, Chain, behind_name, behind_record, chain_hop, chain_open,
)
from message cimport Response, get32
from names cimport POINTER_REACH, WireName, expand_name, is_written_out, names_equal
from rdata cimport TYPE_CNAME, TYPE_DNAME, TYPE_RRSIG
from reply cimport (
    Block, put16, put32, put_block_opt, put_denial, put_header, put_octets,
    put_opt, put_owner,
)
from wire cimport (
    CLASS_IN, FLAG_TC, HEADER_OCTETS, RR_FIXED_OCTETS, Asker, Query, get16,
)

cdef struct ChainWriter:
    # A message being written, and the response whose links it repeats.
    uint8_t *start
    size_t at                # how much is written
    size_t room
    size_t name_at           # where the name that the chain is at stands written out
    uint32_t answers
    uint32_t ttl_seconds_max
    const uint8_t *wire
    const Response *response


cdef inline bint put_link(
    ChainWriter *writer, size_t owner_at, size_t fixed, uint16_t rrtype, const WireName *target
) noexcept nogil:
    """Write one record that leads to `target`, with the TTL of that at `fixed`; False if full."""
    cdef uint8_t *out = writer.start + writer.at
    if writer.at + 2 + RR_FIXED_OCTETS + target.name_octets > writer.room:
        return False
    out = put_owner(out, owner_at, False)
    out = put16(out, rrtype)
    out = put16(out, CLASS_IN)
    out = put32(out, min(get32(writer.wire + fixed + 4), writer.ttl_seconds_max))
    out = put16(out, target.name_octets)
    out = put_octets(out, target.name, target.name_octets)
    writer.at = out - writer.start
    writer.answers += 1
    return True


cdef inline bint put_signatures(
    ChainWriter *writer, size_t owner_at, uint16_t rrtype, const WireName *owner
) noexcept nogil:
    """Write the RRSIGs that cover `rrtype` at `owner`; False if full.

    One whose signer is compressed, as it must not be (RFC 4034 §3.1.7), is left out.
    """
    cdef size_t at = writer.response.answers_at, fixed, rdata_octets
    cdef const uint8_t *wire = writer.wire
    cdef uint8_t *out
    cdef uint32_t _number
    cdef WireName name
    for _number in range(writer.response.answers):
        fixed = behind_name(wire, at)
        if get16(wire + fixed) == TYPE_RRSIG and get16(wire + fixed + RR_FIXED_OCTETS) == rrtype:
            expand_name(wire, at, &name)
            if names_equal(&name, owner) and is_written_out(wire, fixed + RR_FIXED_OCTETS + 18):
                rdata_octets = get16(wire + fixed + 8)
                if writer.at + 2 + RR_FIXED_OCTETS + rdata_octets > writer.room:
                    return False
                out = put_owner(writer.start + writer.at, owner_at, False)
                out = put16(out, TYPE_RRSIG)
                out = put16(out, CLASS_IN)
                out = put32(out, min(get32(wire + fixed + 4), writer.ttl_seconds_max))
                out = put_octets(out, wire + fixed + 8, 2 + rdata_octets)
                writer.at = out - writer.start
                writer.answers += 1
        at = behind_record(wire, fixed)
    return True


cdef inline bint put_dname(
    ChainWriter *writer, const Chain *chain, const WireName *name, bint has_signatures
) noexcept nogil:
    """Write the DNAME that took the chain's last hop, from `name`; False if full."""
    cdef size_t fixed = chain.fixed_at[chain.dname], owner_at
    cdef WireName owner, target
    expand_name(writer.wire, chain.owner_at[chain.dname], &owner)
    expand_name(writer.wire, fixed + RR_FIXED_OCTETS, &target)
    owner_at = writer.name_at + name.label_at[name.label_count - owner.label_count]
    if not put_link(writer, owner_at, fixed, TYPE_DNAME, &target):
        return False
    return not has_signatures or put_signatures(writer, owner_at, TYPE_DNAME, &owner)


cdef inline bint put_links(
    ChainWriter *writer, const Query *query, uint32_t links
) noexcept nogil:
    """Write the first `links` hops of the chain; False if there is no room for them.

    A CNAME is written for a DNAME even where the response has none (RFC 6672 §3.1).
    """
    cdef Chain chain
    cdef WireName name
    cdef size_t fixed, next_at
    cdef bint has_signatures = query.asker.dnssec_ok
    if not chain_open(&chain, writer.wire, writer.response, query):
        return False
    while chain.links < links:
        name = chain.name
        if chain_hop(&chain, writer.wire) != HOP_NEXT:
            return False
        fixed = chain.fixed_at[chain.cname if chain.cname != NO_RECORD else chain.dname]
        if chain.dname != NO_RECORD and not put_dname(writer, &chain, &name, has_signatures):
            return False
        if not put_link(writer, writer.name_at, fixed, TYPE_CNAME, &chain.name):
            return False
        next_at = writer.at - chain.name.name_octets
        if has_signatures and chain.cname != NO_RECORD and not put_signatures(
            writer, writer.name_at, TYPE_CNAME, &name
        ):
            return False
        writer.name_at = next_at
    return True


cdef inline size_t write_cut_block(
    uint8_t *out, size_t room, const uint8_t *question, const Asker *asker, const Block *block
) noexcept nogil:
    """Write the question alone with TC=1, and why: the client is to ask over TCP."""
    cdef uint8_t *end = put_header(out, asker, 0, 0, 0)
    out[2] |= FLAG_TC >> 8
    end = put_octets(end, question, asker.question_octets)
    if asker.has_edns:
        end = put_block_opt(end, room - (end - out), asker, block)
    return end - out


cdef inline size_t write_blocked_chain(
    uint8_t *out,
    size_t room,
    const uint8_t *question,
    const uint8_t *wire,
    const Response *response,
    const Query *query,
    const Inspected *inspected,
    const Block *block,
) noexcept nogil:
    """Write the answer to a query whose response, in `wire`, `inspected` has found blocked.

    `question` is the query's as the client spelled it; `room` is at least UDP_OCTETS_PLAIN.
    Returns its octets; it fits `room`.
    """
    cdef const Asker *asker = &query.asker
    cdef ChainWriter writer
    cdef bint has_page = block.page_octets > 0
    cdef uint8_t *end
    writer.start = out
    writer.room = min(room, <size_t> POINTER_REACH)  # what is written can be pointed to
    writer.name_at = HEADER_OCTETS
    writer.answers = 0
    writer.ttl_seconds_max = block.ttl_seconds
    writer.wire = wire
    writer.response = response
    end = put_header(out, asker, block.rcode, 0, 0)
    end = put_octets(end, question, asker.question_octets)
    writer.at = end - out
    if not put_links(&writer, query, inspected.links):
        return write_cut_block(out, room, question, asker, block)
    put_header(out, asker, block.rcode, writer.answers + has_page, not has_page)
    end = put_denial(
        out + writer.at, out, writer.room, writer.name_at, inspected.name.name_octets, asker,
        block,
    )
    if end is NULL:
        return write_cut_block(out, room, question, asker, block)
    return end - out
