# cython: language_level=3
"""One flow as exporters tell of it: which fields are read, and how a record becomes a flow.

Fields are those of NetFlow v9 (RFC 3954 §8) and IPFIX (RFC 7012, the IANA registry); all others
are left alone, so that nothing else of a subscriber's traffic is ever in memory. Reads exactly
`size` octets of a field, writes one flow and its draft. Never blocks, allocates or fails.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    REVERSE_PEN = 29305      # RFC 5103 §6.1: the same fields, of the way back
    NTP_UNIX_SECONDS = 2208988800

    FLAG_TCP = 1             # the TCP flags are known
    FLAG_DENIED = 2          # the exporter says that it dropped it
    FLAG_TIMED = 4           # the times are the record's own, not the message's
    FLAG_EGRESS = 8          # seen when it left the exporter
    FLAG_BACK = 16           # the way back is counted in the same record


cdef enum Kind:
    KIND_SKIP = 0
    KIND_OCTETS, KIND_OCTETS_TOTAL, KIND_OCTETS_OUT
    KIND_PACKETS, KIND_PACKETS_TOTAL, KIND_PACKETS_OUT
    KIND_OCTETS_BACK, KIND_PACKETS_BACK, KIND_FLAGS_BACK
    KIND_PROTOCOL, KIND_FLAGS, KIND_SOURCE_PORT, KIND_TARGET_PORT
    KIND_SOURCE, KIND_TARGET, KIND_SOURCE6, KIND_TARGET6
    KIND_FIRST_UP, KIND_LAST_UP, KIND_BOOT_MS
    KIND_FIRST_S, KIND_LAST_S, KIND_FIRST_MS, KIND_LAST_MS
    KIND_FIRST_NTP, KIND_LAST_NTP, KIND_FIRST_AGO_US, KIND_LAST_AGO_US
    KIND_SEEN_S, KIND_SEEN_MS, KIND_SEEN_NTP
    KIND_SAMPLING, KIND_SAMPLE_OF, KIND_SAMPLE_SPACE
    KIND_DIRECTION, KIND_FORWARDING, KIND_EVENT


cdef struct flow_t:
    # What callers get, as it lies here: little-endian, 96 octets, see _native/flows.pyi.
    uint8_t source[16]       # IPv4 as ::ffff:a.b.c.d; all zero: the record has none
    uint8_t target[16]
    uint64_t first_ms        # Unix time
    uint64_t last_ms
    uint64_t octets
    uint64_t packets
    uint64_t octets_back
    uint64_t packets_back
    uint32_t sampling        # one packet of so many was looked at; 1: all, or nobody says
    uint16_t source_port
    uint16_t target_port
    uint8_t protocol
    uint8_t tcp_flags
    uint8_t tcp_flags_back
    uint8_t marks            # FLAG_…
    uint8_t unused[4]


cdef struct draft_t:
    # What a record says that becomes part of its flow only when all of it is read.
    uint64_t octets_total
    uint64_t packets_total
    uint64_t octets_out
    uint64_t packets_out
    uint64_t boot_ms
    uint64_t seen_ms
    uint32_t first_up
    uint32_t last_up
    uint32_t sample_of
    uint32_t sample_space
    uint8_t has_first_up
    uint8_t has_last_up
    uint8_t has_address


cdef struct moment_t:
    # When and where a message was sent.
    uint64_t sent_ms
    uint32_t uptime_ms
    uint8_t has_uptime
    uint32_t sampling        # as the exporter's options have said, 0: they have not


cdef inline uint64_t get_number(const uint8_t *at, uint32_t size) noexcept nogil:
    """Return a big-endian number of up to 8 octets (RFC 7011 §6.2: fewer than its type has)."""
    cdef uint64_t number = 0
    cdef uint32_t i
    for i in range(size):
        number = (number << 8) | at[i]
    return number


cdef inline uint64_t ntp_ms(const uint8_t *at) noexcept nogil:
    """Return the Unix time of 8 octets of NTP time (RFC 7011 §6.1.9), 0 before 1970."""
    cdef uint64_t seconds = get_number(at, 4)
    if seconds < NTP_UNIX_SECONDS:
        return 0
    return (seconds - NTP_UNIX_SECONDS) * 1000 + ((get_number(at + 4, 4) * 1000) >> 32)


cdef inline Kind kind_of(uint16_t number, uint32_t enterprise) noexcept nogil:
    """Return what a field of a template is to us; `enterprise` is 0 for the registry's own."""
    if enterprise == REVERSE_PEN:
        if number == 1 or number == 85:
            return KIND_OCTETS_BACK
        if number == 2 or number == 86:
            return KIND_PACKETS_BACK
        return KIND_FLAGS_BACK if number == 6 else KIND_SKIP
    if enterprise != 0:
        return KIND_SKIP
    if number == 1 or number == 231:
        return KIND_OCTETS
    if number == 2 or number == 298:
        return KIND_PACKETS
    if number == 4:
        return KIND_PROTOCOL
    if number == 6:
        return KIND_FLAGS
    if number == 7:
        return KIND_SOURCE_PORT
    if number == 8:
        return KIND_SOURCE
    if number == 11:
        return KIND_TARGET_PORT
    if number == 12:
        return KIND_TARGET
    if number == 21:
        return KIND_LAST_UP
    if number == 22:
        return KIND_FIRST_UP
    if number == 23:
        return KIND_OCTETS_OUT
    if number == 24:
        return KIND_PACKETS_OUT
    if number == 27:
        return KIND_SOURCE6
    if number == 28:
        return KIND_TARGET6
    if number == 34 or number == 50:
        return KIND_SAMPLING
    if number == 61:
        return KIND_DIRECTION
    if number == 85:
        return KIND_OCTETS_TOTAL
    if number == 86:
        return KIND_PACKETS_TOTAL
    if number == 89:
        return KIND_FORWARDING
    if number == 150:
        return KIND_FIRST_S
    if number == 151:
        return KIND_LAST_S
    if number == 152:
        return KIND_FIRST_MS
    if number == 153:
        return KIND_LAST_MS
    if number == 154 or number == 156:
        return KIND_FIRST_NTP
    if number == 155 or number == 157:
        return KIND_LAST_NTP
    if number == 158:
        return KIND_FIRST_AGO_US
    if number == 159:
        return KIND_LAST_AGO_US
    if number == 160:
        return KIND_BOOT_MS
    if number == 232:
        return KIND_OCTETS_BACK
    if number == 233 or number == 40005:
        return KIND_EVENT
    if number == 299:
        return KIND_PACKETS_BACK
    if number == 305:
        return KIND_SAMPLE_OF
    if number == 306:
        return KIND_SAMPLE_SPACE
    if number == 322:
        return KIND_SEEN_S
    if number == 323:
        return KIND_SEEN_MS
    if number == 324 or number == 325:
        return KIND_SEEN_NTP
    return KIND_SKIP


cdef inline void put_address(uint8_t *place, const uint8_t *at, uint32_t size) noexcept nogil:
    """Write an address of 4 or 16 octets as 16; one of no octet but zeros is none."""
    if size == 4:
        memset(place, 0, 10)
        place[10] = 0xFF
        place[11] = 0xFF
        memcpy(place + 12, at, 4)
    else:
        memcpy(place, at, 16)


cdef inline bint says_something(const uint8_t *at, uint32_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(size):
        if at[i]:
            return True
    return False


cdef inline void put_number(
    flow_t *flow, draft_t *draft, Kind kind, uint64_t number, const moment_t *moment
) noexcept nogil:
    if kind == KIND_OCTETS:
        flow.octets += number
    elif kind == KIND_PACKETS:
        flow.packets += number
    elif kind == KIND_PROTOCOL:
        flow.protocol = <uint8_t> number
    elif kind == KIND_FLAGS:
        flow.tcp_flags = <uint8_t> number
        flow.marks |= FLAG_TCP
    elif kind == KIND_SOURCE_PORT:
        flow.source_port = <uint16_t> number
    elif kind == KIND_TARGET_PORT:
        flow.target_port = <uint16_t> number
    elif kind == KIND_FIRST_UP:
        draft.first_up = <uint32_t> number
        draft.has_first_up = True
    elif kind == KIND_LAST_UP:
        draft.last_up = <uint32_t> number
        draft.has_last_up = True
    elif kind == KIND_FIRST_MS or kind == KIND_FIRST_S:
        flow.first_ms = number if kind == KIND_FIRST_MS else number * 1000
    elif kind == KIND_LAST_MS or kind == KIND_LAST_S:
        flow.last_ms = number if kind == KIND_LAST_MS else number * 1000
    elif kind == KIND_FIRST_AGO_US:
        flow.first_ms = moment.sent_ms - number // 1000
    elif kind == KIND_LAST_AGO_US:
        flow.last_ms = moment.sent_ms - number // 1000
    elif kind == KIND_SEEN_MS or kind == KIND_SEEN_S:
        draft.seen_ms = number if kind == KIND_SEEN_MS else number * 1000
    elif kind == KIND_BOOT_MS:
        draft.boot_ms = number
    elif kind == KIND_OCTETS_TOTAL:
        draft.octets_total = number
    elif kind == KIND_PACKETS_TOTAL:
        draft.packets_total = number
    elif kind == KIND_OCTETS_OUT:
        draft.octets_out = number
    elif kind == KIND_PACKETS_OUT:
        draft.packets_out = number
    elif kind == KIND_OCTETS_BACK:
        flow.octets_back += number
        flow.marks |= FLAG_BACK
    elif kind == KIND_PACKETS_BACK:
        flow.packets_back += number
        flow.marks |= FLAG_BACK
    elif kind == KIND_FLAGS_BACK:
        flow.tcp_flags_back = <uint8_t> number
    elif kind == KIND_SAMPLING:
        flow.sampling = <uint32_t> number
    elif kind == KIND_SAMPLE_OF:
        draft.sample_of = <uint32_t> number
    elif kind == KIND_SAMPLE_SPACE:
        draft.sample_space = <uint32_t> number
    elif kind == KIND_DIRECTION:
        if number == 1:
            flow.marks |= FLAG_EGRESS
    elif kind == KIND_FORWARDING:
        if (number & 0xC0) == 0x80:  # RFC 7270 §4.12: dropped
            flow.marks |= FLAG_DENIED
    elif kind == KIND_EVENT:
        if number == 3:  # flow denied
            flow.marks |= FLAG_DENIED


cdef inline void put(
    flow_t *flow, draft_t *draft, Kind kind, const uint8_t *at, uint32_t size,
    const moment_t *moment,
) noexcept nogil:
    """Take one field in; one whose size its type cannot have is left out."""
    if KIND_SOURCE <= kind <= KIND_TARGET6:
        if size != (4 if kind <= KIND_TARGET else 16) or not says_something(at, size):
            return
        if kind == KIND_SOURCE or kind == KIND_SOURCE6:
            put_address(flow.source, at, size)
        else:
            put_address(flow.target, at, size)
        draft.has_address = True
    elif kind == KIND_FIRST_NTP or kind == KIND_LAST_NTP or kind == KIND_SEEN_NTP:
        if size != 8:
            return
        if kind == KIND_FIRST_NTP:
            flow.first_ms = ntp_ms(at)
        elif kind == KIND_LAST_NTP:
            flow.last_ms = ntp_ms(at)
        else:
            draft.seen_ms = ntp_ms(at)
    elif size <= 8:
        put_number(flow, draft, kind, get_number(at, size), moment)


cdef inline uint64_t since_boot(
    const moment_t *moment, const draft_t *draft, uint32_t up
) noexcept nogil:
    """Return the Unix time of an uptime; it is of 32 bits, and begins again after 49 days."""
    if moment.has_uptime:
        return moment.sent_ms - <uint64_t> <int32_t> (moment.uptime_ms - up)
    return draft.boot_ms + up if draft.boot_ms else 0


cdef inline void finish(flow_t *flow, draft_t *draft, const moment_t *moment) noexcept nogil:
    """Make the flow whole: its times, its counts, its sampling."""
    if flow.octets == 0:
        flow.octets = draft.octets_total if draft.octets_total else draft.octets_out
    if flow.packets == 0:
        flow.packets = draft.packets_total if draft.packets_total else draft.packets_out
    if flow.first_ms == 0 and draft.has_first_up:
        flow.first_ms = since_boot(moment, draft, draft.first_up)
    if flow.last_ms == 0 and draft.has_last_up:
        flow.last_ms = since_boot(moment, draft, draft.last_up)
    if flow.last_ms == 0:
        flow.last_ms = draft.seen_ms if draft.seen_ms else flow.first_ms
    if flow.first_ms == 0:
        flow.first_ms = flow.last_ms
    if flow.last_ms:
        flow.marks |= FLAG_TIMED
    else:
        flow.first_ms = moment.sent_ms
        flow.last_ms = moment.sent_ms
    if flow.last_ms < flow.first_ms:
        flow.last_ms = flow.first_ms
    if draft.sample_of and draft.sample_space:
        flow.sampling = (draft.sample_of + draft.sample_space) // draft.sample_of
    if flow.sampling == 0:
        flow.sampling = moment.sampling if moment.sampling else 1
