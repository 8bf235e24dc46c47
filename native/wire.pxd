"""Reads one DNS query: header, question, EDNS (RFC 1035 §4.1, RFC 6891 §6).

Everything is read once, here, and trusted afterwards: what `read_query` accepted has a whole
question, records that fill the message exactly, and at most one OPT. Reads only
``wire[0 .. length)``, writes only the Query; no allocation, no lock, bounded by `length`.
Refuses: compression in the question, pointers that do not point back, octets left over.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    HEADER_OCTETS = 12
    NAME_OCTETS_MAX = 255   # RFC 1035 §2.3.4, the root's octet included
    LABEL_OCTETS_MAX = 63
    LABELS_MAX = 127
    QUESTION_OCTETS_MAX = 259  # a name, a type and a class
    RR_FIXED_OCTETS = 10    # type, class, TTL and length, RFC 1035 §4.1.3
    UDP_OCTETS_PLAIN = 512  # RFC 1035 §4.2.1: what a client without EDNS takes
    UDP_OCTETS_MAX = 1232   # what passes every path without fragments

    FLAG_QR = 0x8000
    FLAGS_OPCODE = 0x7800
    FLAG_AA = 0x0400
    FLAG_TC = 0x0200
    FLAG_RD = 0x0100
    FLAG_RA = 0x0080
    FLAG_AD = 0x0020
    FLAG_CD = 0x0010
    FLAGS_RCODE = 0x000F

    CLASS_IN = 1
    CLASS_ANY = 255

    TYPE_A = 1
    TYPE_SOA = 6
    TYPE_AAAA = 28
    TYPE_OPT = 41
    TYPE_IXFR = 251
    TYPE_AXFR = 252

    RCODE_NOERROR = 0
    RCODE_FORMERR = 1
    RCODE_SERVFAIL = 2
    RCODE_NXDOMAIN = 3
    RCODE_NOTIMP = 4
    RCODE_REFUSED = 5
    RCODE_BADVERS = 16      # RFC 6891 §9; its upper bits are in the OPT


cdef enum Reading:
    """What a datagram from a client turned out to be; 0 never means that it may pass."""

    READING_UNSPECIFIED = 0
    READING_QUERY = 1      # well-formed, to be judged
    READING_RUNT = 2       # no whole header: nothing can be answered
    READING_RESPONSE = 3   # QR=1: answering it could make two servers talk for ever
    READING_FORMERR = 4
    READING_NOTIMP = 5     # an opcode other than QUERY
    READING_BADVERS = 6    # EDNS version above 0
    READING_REFUSED = 7    # a zone transfer, which does not go over UDP here


cdef struct Asker:
    # What a reply must repeat or heed, whoever writes it and however late.
    uint16_t id
    uint16_t flags             # the second word of the query's header
    uint16_t question_octets   # name, type and class as they stood
    uint16_t reply_octets_max  # what the client takes, UDP_OCTETS_PLAIN to UDP_OCTETS_MAX
    uint8_t has_edns
    uint8_t dnssec_ok          # the DO bit


cdef struct Query:
    Asker asker
    uint16_t qtype
    uint16_t qclass
    uint8_t name_octets                # the name's, root included
    uint8_t label_count                # without the root
    uint8_t label_at[LABELS_MAX + 1]   # where each label starts in `name`; the last is the root
    uint8_t name[NAME_OCTETS_MAX + 1]  # lower case (ASCII letters only, RFC 4343 §3)


cdef inline uint16_t get16(const uint8_t *at) noexcept nogil:
    return <uint16_t> ((at[0] << 8) | at[1])


cdef inline uint8_t lower(uint8_t octet) noexcept nogil:
    return octet | 0x20 if 0x41 <= octet <= 0x5A else octet


cdef inline size_t read_question_name(
    const uint8_t *wire, size_t length, Query *query
) noexcept nogil:
    """Read the uncompressed name at offset 12 into `query`; return where it ends, 0 if bad."""
    cdef size_t at = HEADER_OCTETS, size = 0, stop
    cdef int labels = 0
    cdef uint8_t octets
    while at < length:
        octets = wire[at]
        if octets > LABEL_OCTETS_MAX or size + octets + 1 > NAME_OCTETS_MAX:
            return 0
        query.label_at[labels] = <uint8_t> size
        query.name[size] = octets
        if octets == 0:
            query.label_count = <uint8_t> labels
            query.name_octets = <uint8_t> (size + 1)
            return at + 1
        if size + octets + 2 > NAME_OCTETS_MAX:  # the root must still find room
            return 0
        stop = at + 1 + octets
        if stop >= length:
            return 0
        at += 1
        size += 1
        while at < stop:
            query.name[size] = lower(wire[at])
            at += 1
            size += 1
        labels += 1
    return 0


cdef inline size_t skip_name(const uint8_t *wire, size_t length, size_t at) noexcept nogil:
    """Return where the name at `at` ends in the message, 0 if it is malformed.

    A pointer ends the name and is not followed; it must point back (RFC 1035 §4.1.4).
    """
    cdef size_t size = 0
    cdef uint8_t octets
    while at < length:
        octets = wire[at]
        if octets == 0:
            return at + 1
        if octets & 0xC0 == 0xC0:
            if at + 2 > length:
                return 0
            if (get16(wire + at) & 0x3FFF) < HEADER_OCTETS or (get16(wire + at) & 0x3FFF) >= at:
                return 0
            return at + 2
        if octets > LABEL_OCTETS_MAX:
            return 0
        size += octets + 1
        if size + 1 > NAME_OCTETS_MAX:
            return 0
        at += octets + 1
    return 0


cdef inline bint options_fill(const uint8_t *rdata, size_t length) noexcept nogil:
    """Tell whether EDNS options fill `rdata` exactly (RFC 6891 §6.1.2)."""
    cdef size_t at = 0
    while at + 4 <= length:
        at += 4 + get16(rdata + at + 2)
    return at == length


cdef inline Reading read_records(
    const uint8_t *wire, size_t length, size_t at, Query *query
) noexcept nogil:
    """Walk the records after the question, take EDNS from the OPT; they must fill the message."""
    cdef uint32_t before = get16(wire + 6) + get16(wire + 8)
    cdef uint32_t count = before + get16(wire + 10)
    cdef uint32_t number = 0
    cdef uint8_t version = 0
    cdef size_t fixed, rdata_octets
    while number < count:
        fixed = skip_name(wire, length, at)
        if fixed == 0 or fixed + RR_FIXED_OCTETS > length:
            return READING_FORMERR
        rdata_octets = get16(wire + fixed + 8)
        if fixed + RR_FIXED_OCTETS + rdata_octets > length:
            return READING_FORMERR
        if get16(wire + fixed) == TYPE_OPT:
            # One, in the additional section, owned by the root (RFC 6891 §6.1.1, §6.1.2).
            if query.asker.has_edns or number < before or wire[at] != 0:
                return READING_FORMERR
            if not options_fill(wire + fixed + RR_FIXED_OCTETS, rdata_octets):
                return READING_FORMERR
            query.asker.has_edns = 1
            query.asker.reply_octets_max = min(
                max(get16(wire + fixed + 2), UDP_OCTETS_PLAIN), UDP_OCTETS_MAX
            )
            version = wire[fixed + 5]
            query.asker.dnssec_ok = wire[fixed + 6] >> 7
        at = fixed + RR_FIXED_OCTETS + rdata_octets
        number += 1
    if at != length:
        return READING_FORMERR
    return READING_BADVERS if version > 0 else READING_QUERY


cdef inline Reading read_query(const uint8_t *wire, size_t length, Query *query) noexcept nogil:
    """Read a datagram of `length` octets from a client into `query` and say what it is.

    `query.asker.id` and `.flags` are set unless it is a RUNT; `question_octets` stays 0 until
    the question was read whole; the EDNS fields hold only for QUERY, BADVERS and REFUSED.
    """
    cdef size_t at
    cdef Reading reading
    query.asker.question_octets = 0
    query.asker.reply_octets_max = UDP_OCTETS_PLAIN
    query.asker.has_edns = 0
    query.asker.dnssec_ok = 0
    if length < HEADER_OCTETS:
        return READING_RUNT
    query.asker.id = get16(wire)
    query.asker.flags = get16(wire + 2)
    if query.asker.flags & FLAG_QR:
        return READING_RESPONSE
    if query.asker.flags & FLAGS_OPCODE:
        return READING_NOTIMP
    if get16(wire + 4) != 1:
        return READING_FORMERR
    at = read_question_name(wire, length, query)
    if at == 0 or at + 4 > length:
        return READING_FORMERR
    query.qtype = get16(wire + at)
    query.qclass = get16(wire + at + 2)
    query.asker.question_octets = <uint16_t> (at + 4 - HEADER_OCTETS)
    reading = read_records(wire, length, at + 4, query)
    if reading == READING_QUERY and TYPE_IXFR <= query.qtype <= TYPE_AXFR:
        return READING_REFUSED
    return reading
