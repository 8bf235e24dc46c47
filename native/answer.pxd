"""Writes to a client what an upstream said, fresh or from the cache (RFC 6840, 6891, 8767, 8914).

The message's records, behind the client's id, flags and question as the client spelled it, and
before an OPT of our own. Pointers into the question stay right: it has the same octets in lower
or upper case. What does not fit goes in this order: the upstream's error texts, the additional
section (RFC 2181 §9), then everything, with TC=1. Writes only ``out[0 .. room)``; no
allocation, no lock.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from entry cimport (
    Entry, entry_errors, entry_left_ms, entry_message, entry_ttl_at, response_seconds,
)
from message cimport RESPONSE_CUT, Response
from reply cimport EDE_OCTETS, OPT_OCTETS, put16, put32, put_ede, put_header, put_octets, put_opt
from wire cimport (
    FLAG_AD, FLAG_CD, FLAG_QR, FLAG_RA, FLAG_RD, FLAG_TC, FLAGS_RCODE, HEADER_OCTETS,
    RCODE_NXDOMAIN, RCODE_SERVFAIL, Asker, get16,
)

cdef enum:
    STALE_TTL_SECONDS = 30          # RFC 8767 §5
    EDE_STALE_ANSWER = 3            # RFC 8914 §4.4
    EDE_STALE_NXDOMAIN_ANSWER = 19  # §4.20


cdef struct Answer:
    # What one answer is written from; the pointers stay valid while it is written.
    const uint8_t *message
    const uint16_t *ttl_at
    const uint8_t *errors        # the upstream's EDE options, whole
    uint32_t ttl_seconds         # of each record; 0: as each of them came
    uint16_t octets              # of the message, without OPT
    uint16_t additionals_at
    uint16_t answers             # how many records of each section are in `octets`
    uint16_t authorities
    uint16_t additionals
    uint16_t ttls
    uint16_t errors_octets
    uint16_t rcode               # 12 bits
    uint16_t stale_error         # the EDE code that says so, or 0
    uint8_t is_authentic
    uint8_t is_cut


cdef inline void answer_of_response(
    Answer *answer, const Response *response, const uint8_t *wire
) noexcept nogil:
    """Point to an upstream's message as it came; what can be cached shows the cache's TTL."""
    answer.message = wire
    answer.ttl_at = &response.ttl_at[0]
    answer.errors = &response.errors[0]
    answer.ttl_seconds = response_seconds(response)
    answer.octets = response.octets
    answer.additionals_at = response.additionals_at
    answer.answers = response.answers
    answer.authorities = response.authorities
    answer.additionals = response.additionals
    answer.ttls = response.ttls
    answer.errors_octets = response.errors_octets
    answer.rcode = response.rcode
    answer.stale_error = 0
    answer.is_authentic = (response.flags & FLAG_AD) != 0
    answer.is_cut = response.sort == RESPONSE_CUT


cdef inline void answer_of_entry(
    Answer *answer, const Entry *entry, int64_t now_ms, bint is_stale
) noexcept nogil:
    """Point to what the cache holds: fresh with what is left of its TTL, or stale.

    Stale, nothing is authentic: the signatures' time may have run out.
    """
    answer.message = entry_message(entry)
    answer.ttl_at = entry_ttl_at(entry)
    answer.errors = entry_errors(entry)
    answer.octets = entry.octets
    answer.additionals_at = entry.additionals_at
    answer.answers = get16(answer.message + 6)
    answer.authorities = get16(answer.message + 8)
    answer.additionals = get16(answer.message + 10)
    answer.ttls = entry.ttls
    answer.errors_octets = entry.errors_octets
    answer.rcode = entry.rcode
    answer.is_cut = 0
    if is_stale:
        answer.ttl_seconds = STALE_TTL_SECONDS
        answer.stale_error = (
            EDE_STALE_NXDOMAIN_ANSWER if entry.rcode == RCODE_NXDOMAIN else EDE_STALE_ANSWER
        )
        answer.is_authentic = 0
    else:
        answer.ttl_seconds = <uint32_t> max(
            entry_left_ms(entry, now_ms) // 1000, <int64_t> 1
        )
        answer.stale_error = 0
        answer.is_authentic = entry.is_authentic


cdef inline uint32_t answer_flags(const Asker *asker, const Answer *answer) noexcept nogil:
    """Return the header's flags without rcode.

    AD only where the upstream has validated and the client would understand (RFC 6840 §5.8).
    """
    cdef uint32_t flags = FLAG_QR | FLAG_RA | (asker.flags & (FLAG_RD | FLAG_CD))
    if answer.is_authentic and (asker.dnssec_ok or asker.flags & FLAG_AD):
        flags |= FLAG_AD
    return flags


cdef inline void set_ttls(uint8_t *out, size_t octets, const Answer *answer) noexcept nogil:
    """Write the TTLs of the records in ``out[0 .. octets)``."""
    cdef uint32_t i
    for i in range(<uint32_t> answer.ttls):
        if answer.ttl_at[i] >= octets:
            return
        put32(out + answer.ttl_at[i], answer.ttl_seconds)


cdef inline size_t answer_write(
    uint8_t *out, size_t room, const Asker *asker, const uint8_t *question, const Answer *answer
) noexcept nogil:
    """Write `answer` for `asker` into at most `room` octets; return how many.

    `question` has ``asker.question_octets`` octets and differs from the message's in case alone.
    `room` is at least UDP_OCTETS_PLAIN, which holds any question with OPT and errors.
    """
    cdef uint32_t rcode = answer.rcode, errors_octets = 0, additionals = answer.additionals
    cdef uint32_t flags = answer_flags(asker, answer)
    cdef size_t octets = answer.octets, opt_octets = 0
    cdef uint8_t *end
    if asker.has_edns:
        errors_octets = answer.errors_octets
        opt_octets = OPT_OCTETS + (EDE_OCTETS if answer.stale_error else 0)
    elif rcode > FLAGS_RCODE:
        rcode = RCODE_SERVFAIL  # its upper bits have no place: the lower ones would say otherwise
    if octets + opt_octets + errors_octets > room:
        errors_octets = 0
        if octets + opt_octets > room:
            octets = answer.additionals_at
            additionals = 0
    if answer.is_cut or octets + opt_octets > room:
        end = put_header(out, asker, rcode, 0, 0)
        put16(out + 2, (flags & ~(<uint32_t> FLAG_AD)) | FLAG_TC | (rcode & FLAGS_RCODE))
        end = put_octets(end, question, asker.question_octets)
    else:
        memcpy(out, answer.message, octets)
        put_header(out, asker, rcode, answer.answers, answer.authorities)
        put16(out + 2, flags | (rcode & FLAGS_RCODE))
        put16(out + 10, additionals + asker.has_edns)
        memcpy(out + HEADER_OCTETS, question, asker.question_octets)
        if answer.ttl_seconds:
            set_ttls(out, octets, answer)
        end = out + octets
    if asker.has_edns:
        end = put_opt(
            end, asker, rcode, errors_octets + (EDE_OCTETS if answer.stale_error else 0)
        )
        if answer.stale_error:
            end = put_ede(end, answer.stale_error, 0)
        end = put_octets(end, answer.errors, errors_octets)
    return end - out
