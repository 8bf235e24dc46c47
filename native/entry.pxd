"""One answer as the cache holds it, and how old it is (RFC 2308, RFC 8767).

It is an upstream's message without OPT and with the question in lower case, behind a header of
ours. All its records live as long as the one that ends first. Ages are of CLOCK_BOOTTIME, in
milliseconds. Nobody who asked is in it, and no verdict: `judged_*` says only which table has
let the whole of it pass, and until when.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from message cimport (
    RESPONSE_DATA, RESPONSE_ERROR, RESPONSE_NODATA, RESPONSE_NXDOMAIN, Response,
)
from reply cimport put16
from wire cimport CLASS_IN, FLAG_AD, FLAG_CD, HEADER_OCTETS, Query

cdef enum:
    POSITIVE_SECONDS_MAX = 86400     # RFC 8767 §4 asks for a bound of days
    NEGATIVE_SECONDS_MAX = 10800     # RFC 2308 §5: one to three hours work well
    ERROR_SECONDS_MAX = 5            # RFC 2308 §7.1 allows 300; RFC 9520 §3.2: begin with 5
    STALE_SECONDS_MAX = 604800       # RFC 8767 §5: one to three days; 7 at most
    RECHECK_MS = 30000               # RFC 8767 §5, the failure recheck timer
    ENTRY_MESSAGE_OCTETS_MAX = 8192  # a longer answer is served, not cached
    QTYPE_META_MIN = 128             # RFC 6895 §3.1: types 128 to 255 ask for no records
    QTYPE_META_MAX = 255             # of their own, ANY among them
    RING_UNIT_OCTETS = 16
    KEY_ERROR = 1 << 26              # in the key of an error, which stands beside an answer


cdef struct Entry:
    # What stands before an answer in the ring: behind it the offsets of its TTLs, two octets
    # each, the upstream's EDE options and the message. `judged_*` are the engine's to write.
    uint32_t units                # the whole entry's, in RING_UNIT_OCTETS; 0: the lap ends here
    uint32_t ttl_seconds          # the whole answer's, when it was stored
    uint64_t key                  # entry_key of the query that it answers
    int64_t stored_ms
    int64_t recheck_ms            # until then the upstream is known to fail for it; 0: it does not
    uint64_t judged_serial        # the table that has passed it, 0: none
    int64_t judged_until_ms       # Unix time
    uint16_t octets               # the message's
    uint16_t additionals_at       # where the message's additional section starts
    uint16_t ttls
    uint16_t errors_octets
    uint16_t rcode                # 12 bits
    uint8_t sort                  # message.pxd's Sort
    uint8_t has_links
    uint8_t is_authentic          # the upstream said AD
    uint8_t was_hit               # since it was written, or was given its second chance
    uint8_t spare[2]


cdef inline uint64_t entry_key(const Query *query) noexcept nogil:
    """Return all that changes the answer but the name's octets: type, class, DO and CD."""
    return (
        <uint64_t> query.qtype
        | (<uint64_t> query.name_octets << 16)
        | (<uint64_t> query.asker.dnssec_ok << 24)
        | (<uint64_t> ((query.asker.flags & FLAG_CD) != 0) << 25)
        | (<uint64_t> query.qclass << 32)
    )


cdef inline size_t key_name_octets(uint64_t key) noexcept nogil:
    return <uint8_t> (key >> 16)


cdef inline uint16_t *entry_ttl_at(const Entry *entry) noexcept nogil:
    return <uint16_t *> (<uint8_t *> entry + sizeof(Entry))


cdef inline uint8_t *entry_errors(const Entry *entry) noexcept nogil:
    return <uint8_t *> entry + sizeof(Entry) + 2 * <size_t> entry.ttls


cdef inline uint8_t *entry_message(const Entry *entry) noexcept nogil:
    """Return the message: whole by itself, as `read_response` reads it."""
    return entry_errors(entry) + entry.errors_octets


cdef inline uint32_t entry_units(const Response *response) noexcept nogil:
    """Return how much room an entry for `response` takes, in RING_UNIT_OCTETS."""
    cdef size_t octets = sizeof(Entry) + 2 * <size_t> response.ttls
    octets += response.errors_octets + response.octets
    return <uint32_t> ((octets + RING_UNIT_OCTETS - 1) // RING_UNIT_OCTETS)


cdef inline void entry_fill(
    Entry *entry, const Query *query, const Response *response, const uint8_t *wire
) noexcept nogil:
    """Write the entry for an answer, but for its times, into `entry_units` of room."""
    cdef uint8_t *message
    memset(entry, 0, sizeof(Entry))
    entry.units = entry_units(response)
    entry.key = entry_key(query)
    if response.sort == RESPONSE_ERROR:
        entry.key |= KEY_ERROR
    entry.octets = response.octets
    entry.additionals_at = response.additionals_at
    entry.ttls = response.ttls
    entry.errors_octets = response.errors_octets
    entry.rcode = response.rcode
    entry.sort = response.sort
    entry.has_links = response.has_links
    entry.is_authentic = (response.flags & FLAG_AD) != 0
    memcpy(entry_ttl_at(entry), response.ttl_at, 2 * <size_t> response.ttls)
    memcpy(entry_errors(entry), response.errors, response.errors_octets)
    message = entry_message(entry)
    memcpy(message, wire, response.octets)
    put16(put16(put16(message + 6, response.answers), response.authorities), response.additionals)
    memcpy(message + HEADER_OCTETS, query.name, query.name_octets)


cdef inline uint32_t response_seconds(const Response *response) noexcept nogil:
    """Return how long the whole of `response` holds; 0: it must not be kept.

    Never longer than any of its records or than RFC 2308 §5 allows, which `ttl_seconds` says.
    """
    cdef uint32_t seconds = 0
    if not response.is_cacheable or response.qclass != CLASS_IN:
        return 0
    if QTYPE_META_MIN <= response.qtype <= QTYPE_META_MAX:
        return 0
    if response.sort == RESPONSE_DATA:
        seconds = POSITIVE_SECONDS_MAX
    elif response.sort == RESPONSE_NODATA or response.sort == RESPONSE_NXDOMAIN:
        seconds = NEGATIVE_SECONDS_MAX
    elif response.sort == RESPONSE_ERROR:  # SERVFAIL: no other error is cacheable
        seconds = ERROR_SECONDS_MAX
    return min(seconds, response.ttl_seconds)


cdef inline int64_t entry_age_ms(const Entry *entry, int64_t now_ms) noexcept nogil:
    return max(now_ms - entry.stored_ms, <int64_t> 0)


cdef inline int64_t entry_left_ms(const Entry *entry, int64_t now_ms) noexcept nogil:
    """Return for how long the answer still holds; 0 or less: it has expired."""
    return <int64_t> entry.ttl_seconds * 1000 - entry_age_ms(entry, now_ms)


cdef inline bint entry_is_fresh(const Entry *entry, int64_t now_ms) noexcept nogil:
    return entry_left_ms(entry, now_ms) > 0


cdef inline bint entry_may_serve_stale(
    const Entry *entry, uint32_t stale_seconds_max, int64_t now_ms
) noexcept nogil:
    """Tell whether an expired answer is better than none (RFC 8767 §4).

    The engine asks when the upstream has failed or is slow. Errors are never served stale.
    """
    cdef int64_t left_ms = entry_left_ms(entry, now_ms)
    return (
        left_ms <= 0
        and -left_ms < <int64_t> stale_seconds_max * 1000
        and entry.sort != RESPONSE_ERROR
    )


cdef inline void entry_note_failure(Entry *entry, int64_t now_ms) noexcept nogil:
    """Note that the upstream could not refresh this answer just now."""
    entry.recheck_ms = now_ms + RECHECK_MS


cdef inline bint entry_is_failing(const Entry *entry, int64_t now_ms) noexcept nogil:
    """Tell whether asking the upstream again is not yet due: a stale answer may go out at once."""
    return now_ms < entry.recheck_ms
