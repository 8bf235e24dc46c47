"""Writes the answers that the gate gives itself: errors and blocks (RFC 1035, 2308, 6891, 8914).

A reply is a query's header and question, as the client spelled it, then what we add. A block
always fits what the client takes: the register's domain in the SOA stays where it fits (always
if it has at most 140 octets and the answer no links), the EDE text where it fits beside that.
Writes only the octets that it returns, at most the room given; no allocation, no lock.
What stands here is fixed by DESIGN "Answers" and pinned field by field in tests.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from wire cimport (
    CLASS_IN, FLAG_CD, FLAG_QR, FLAG_RA, FLAG_RD, FLAGS_OPCODE, FLAGS_RCODE, HEADER_OCTETS,
    RCODE_NOERROR, RCODE_NXDOMAIN, TYPE_A, TYPE_AAAA, TYPE_OPT, TYPE_SOA, UDP_OCTETS_MAX,
    Asker, Query,
)

cdef enum:
    OPT_OCTETS = 11            # an OPT without options
    EDE_OCTETS = 6             # code, length and info code of one option, without text
    EDNS_OPTION_EDE = 15
    EDE_FORGED_ANSWER = 4      # RFC 8914 §4.5
    EDE_BLOCKED = 15           # §4.16: the operator chose to block
    EDE_CENSORED = 16          # §4.17: someone outside told the operator to block
    EDE_PROHIBITED = 18        # §4.19: this client is not served here
    BLOCK_TTL_SECONDS_MAX = 28  # 30 s after a stop it is gone, with a second each for way and clock
    SOA_REFRESH_SECONDS = 3600
    SOA_RETRY_SECONDS = 600
    SOA_EXPIRE_SECONDS = 86400
    SOA_OCTETS = 45            # without the owner, the order id and the register's domain


cdef struct Block:
    # Everything about one block that the answer shows; pointers stay valid while it is written.
    uint8_t rcode                    # RCODE_NXDOMAIN, or RCODE_NOERROR for NODATA and pages
    uint8_t zone_at                  # where in the denied name the target starts
    uint8_t info_code                # EDE_BLOCKED or EDE_CENSORED
    uint8_t is_block_page            # the measure is BLOCK_PAGE: EDE_FORGED_ANSWER too
    uint8_t page_octets              # 4 or 16: answer with the page's address; 0: deny
    uint8_t order_id_octets          # 1 to 32
    uint16_t register_domain_octets  # wire form, 1 to 222
    uint16_t register_url_octets     # 0 to 200
    uint32_t ttl_seconds
    uint32_t serial
    const uint8_t *page
    const uint8_t *order_id
    const uint8_t *register_domain
    const uint8_t *register_url


cdef inline uint8_t *put8(uint8_t *out, uint8_t value) noexcept nogil:
    out[0] = value
    return out + 1


cdef inline uint8_t *put16(uint8_t *out, uint32_t value) noexcept nogil:
    out[0] = <uint8_t> (value >> 8)
    out[1] = <uint8_t> value
    return out + 2


cdef inline uint8_t *put32(uint8_t *out, uint32_t value) noexcept nogil:
    return put16(put16(out, value >> 16), value & 0xFFFF)


cdef inline uint8_t *put_octets(uint8_t *out, const uint8_t *octets, size_t count) noexcept nogil:
    memcpy(out, octets, count)
    return out + count


cdef inline uint8_t *put_header(
    uint8_t *out, const Asker *asker, uint32_t rcode, uint32_t answers, uint32_t authorities
) noexcept nogil:
    """Write 12 octets: QR and RA set, opcode, RD and CD copied, AA, TC, AD and Z clear."""
    cdef uint32_t flags = asker.flags & (FLAGS_OPCODE | FLAG_RD | FLAG_CD)
    out = put16(out, asker.id)
    out = put16(out, flags | FLAG_QR | FLAG_RA | (rcode & FLAGS_RCODE))
    out = put16(out, 1 if asker.question_octets else 0)
    out = put16(out, answers)
    out = put16(out, authorities)
    return put16(out, asker.has_edns)


cdef inline uint8_t *put_opt(
    uint8_t *out, const Asker *asker, uint32_t rcode, uint32_t rdata_octets
) noexcept nogil:
    """Write our OPT up to its options (RFC 6891 §6.1.2): our size, version 0, DO echoed."""
    out = put8(out, 0)
    out = put16(out, TYPE_OPT)
    out = put16(out, UDP_OCTETS_MAX)
    out = put8(out, <uint8_t> (rcode >> 4))
    out = put8(out, 0)
    out = put16(out, asker.dnssec_ok << 15)
    return put16(out, rdata_octets)


cdef inline uint8_t *put_ede(
    uint8_t *out, uint32_t info_code, uint32_t text_octets
) noexcept nogil:
    """Write one Extended DNS Error up to its text (RFC 8914 §2)."""
    out = put16(out, EDNS_OPTION_EDE)
    out = put16(out, 2 + text_octets)
    return put16(out, info_code)


cdef inline size_t write_error(
    uint8_t *out, const Asker *asker, const uint8_t *question, uint32_t rcode
) noexcept nogil:
    """Write an answer without data: the header, the question if it was read, OPT if there was one.

    `question` has ``asker.question_octets`` octets. At most 282 octets are written.
    """
    cdef uint8_t *end = put_header(out, asker, rcode, 0, 0)
    end = put_octets(end, question, asker.question_octets)
    if asker.has_edns:
        end = put_opt(end, asker, rcode, 0)
    return end - out


cdef inline size_t write_error_ede(
    uint8_t *out, const Asker *asker, const uint8_t *question, uint32_t rcode, uint32_t info_code
) noexcept nogil:
    """Write an answer as write_error does, with one Extended DNS Error: at most 288 octets."""
    cdef uint8_t *end = put_header(out, asker, rcode, 0, 0)
    end = put_octets(end, question, asker.question_octets)
    if asker.has_edns:
        end = put_ede(put_opt(end, asker, rcode, EDE_OCTETS), info_code, 0)
    return end - out


cdef inline uint8_t *put_owner(uint8_t *out, size_t at, bint is_root) noexcept nogil:
    """Write a name as a pointer to `at`, which is below POINTER_REACH; the root as itself."""
    return put8(out, 0) if is_root else put16(out, 0xC000 | <uint32_t> at)


cdef inline uint8_t *put_soa(
    uint8_t *out, const uint8_t *start, const Block *block, bint has_domain
) noexcept nogil:
    """Write the SOA of the empty zone that the target is, from its type on.

    Its TTL equals its MINIMUM (RFC 2308 §5).
    """
    cdef uint8_t *rdata_octets
    cdef size_t domain_at
    out = put16(out, TYPE_SOA)
    out = put16(out, CLASS_IN)
    out = put32(out, block.ttl_seconds)
    rdata_octets = out
    out = put16(out, 0)
    out = put8(out, block.order_id_octets)
    out = put_octets(out, block.order_id, block.order_id_octets)
    domain_at = out - start
    if has_domain:
        out = put_octets(out, block.register_domain, block.register_domain_octets)
    else:
        out = put8(out, 0)
    out = put8(out, 10)
    out = put_octets(out, b"hostmaster", 10)
    out = put16(out, 0xC000 | <uint32_t> domain_at)
    out = put32(out, block.serial)
    out = put32(out, SOA_REFRESH_SECONDS)
    out = put32(out, SOA_RETRY_SECONDS)
    out = put32(out, SOA_EXPIRE_SECONDS)
    out = put32(out, block.ttl_seconds)
    put16(rdata_octets, <uint32_t> (out - rdata_octets - 2))
    return out


cdef inline uint32_t block_opt_octets(const Asker *asker, const Block *block) noexcept nogil:
    """Return how long the OPT is without the text of its Extended DNS Error."""
    if not asker.has_edns:
        return 0
    return OPT_OCTETS + EDE_OCTETS * (2 if block.is_block_page else 1)


cdef inline uint8_t *put_block_opt(
    uint8_t *out, size_t room, const Asker *asker, const Block *block
) noexcept nogil:
    """Write OPT with the Extended DNS Errors; the text only where `room` octets hold it."""
    cdef uint32_t options = block_opt_octets(asker, block) - OPT_OCTETS
    cdef uint32_t text = 2 * block.order_id_octets + 1 + block.register_url_octets
    if OPT_OCTETS + options + text > room:
        text = 0
    out = put_opt(out, asker, 0, options + text)
    out = put_ede(out, block.info_code, text)
    if text:
        out = put_octets(out, block.order_id, block.order_id_octets)
        out = put8(out, 0x20)
        out = put_octets(out, block.register_url, block.register_url_octets)
        out = put_octets(out, block.order_id, block.order_id_octets)
    if block.is_block_page:
        out = put_ede(out, EDE_FORGED_ANSWER, 0)
    return out


cdef inline uint8_t *put_denial(
    uint8_t *out,
    const uint8_t *start,
    size_t room,
    size_t name_at,
    uint32_t name_octets,
    const Asker *asker,
    const Block *block,
) noexcept nogil:
    """Write the end of a block: the page's address or the SOA, and the OPT; NULL if too long.

    The denied name stands written out at `name_at` of the message, which starts at `start`,
    may have `room` octets, and ends below POINTER_REACH.
    """
    cdef bint is_root = block.zone_at + 1 >= <int> name_octets
    cdef uint32_t opt_octets = block_opt_octets(asker, block)
    cdef size_t left = room - (out - start)
    cdef size_t soa_octets = 2 - is_root + SOA_OCTETS + block.order_id_octets
    cdef bint has_domain = soa_octets + block.register_domain_octets + opt_octets <= left
    if block.page_octets:
        if 12 + block.page_octets + opt_octets > left:
            return NULL
        out = put_owner(out, name_at, name_octets == 1)
        out = put16(out, TYPE_A if block.page_octets == 4 else TYPE_AAAA)
        out = put16(out, CLASS_IN)
        out = put32(out, block.ttl_seconds)
        out = put16(out, block.page_octets)
        out = put_octets(out, block.page, block.page_octets)
    else:
        if soa_octets + 1 + opt_octets > left:
            return NULL
        out = put_owner(out, name_at + block.zone_at, is_root)
        out = put_soa(out, start, block, has_domain)
    if asker.has_edns:
        out = put_block_opt(out, room - (out - start), asker, block)
    return out


cdef inline size_t write_block(
    uint8_t *out, size_t room, const uint8_t *wire, const Query *query, const Block *block
) noexcept nogil:
    """Write the answer to a blocked query whose message is `wire`; return its octets.

    It fits `room`, which is at least UDP_OCTETS_PLAIN. With ``page_octets`` it is an A or AAAA
    record, otherwise a negative answer as from an empty zone at the target.
    """
    cdef const Asker *asker = &query.asker
    cdef bint has_page = block.page_octets > 0
    cdef uint8_t *end = put_header(out, asker, block.rcode, has_page, not has_page)
    end = put_octets(end, wire + HEADER_OCTETS, asker.question_octets)
    end = put_denial(end, out, room, HEADER_OCTETS, query.name_octets, asker, block)
    return end - out
