"""Python windows on the gate's packet code, for tests and tools; the gate calls none of them."""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from reply cimport Block, write_block, write_error, write_error_ede
from wire cimport (
    HEADER_OCTETS, READING_BADVERS, READING_QUERY, READING_REFUSED, UDP_OCTETS_MAX,
    UDP_OCTETS_PLAIN, Query, Reading, read_query,
)

READINGS = (
    "UNSPECIFIED", "QUERY", "RUNT", "RESPONSE", "FORMERR", "NOTIMP", "BADVERS", "REFUSED",
)
# Octets behind the reply that must stay as they were.
cdef enum:
    GUARD_OCTETS = 64


def read(const uint8_t[:] wire not None):
    """Return what a client's datagram is, by name, and its fields as far as they were read."""
    cdef Query query
    cdef const uint8_t *octets = &wire[0] if wire.shape[0] else NULL
    memset(&query, 0, sizeof(Query))
    cdef Reading reading = read_query(octets, wire.shape[0], &query)
    fields = {"id": query.asker.id, "flags": query.asker.flags}
    if reading == READING_QUERY or reading == READING_BADVERS or reading == READING_REFUSED:
        fields |= {
            "qtype": query.qtype,
            "qclass": query.qclass,
            "name": query.name[:query.name_octets],
            "label_at": list(query.label_at[:query.label_count + 1]),
            "question_octets": query.asker.question_octets,
            "reply_octets_max": query.asker.reply_octets_max,
            "has_edns": bool(query.asker.has_edns),
            "dnssec_ok": bool(query.asker.dnssec_ok),
        }
    return READINGS[<int> reading], fields


def error(const uint8_t[:] wire not None, int rcode, *, info_code=None):
    """Return the reply with `rcode` to a client's datagram of at least 12 octets.

    `info_code` is that of the Extended DNS Error in it, if there is one.
    """
    cdef Query query
    cdef uint8_t out[UDP_OCTETS_MAX + GUARD_OCTETS]
    if wire.shape[0] < HEADER_OCTETS:
        raise ValueError("no whole header: nothing can be answered")
    memset(out, 0xA5, sizeof(out))
    read_query(&wire[0], wire.shape[0], &query)
    cdef const uint8_t *question = &wire[0] + HEADER_OCTETS
    cdef size_t length
    if info_code is None:
        length = write_error(out, &query.asker, question, rcode)
    else:
        length = write_error_ede(out, &query.asker, question, rcode, info_code)
    return guarded(out[:UDP_OCTETS_MAX + GUARD_OCTETS], length)


def block(
    const uint8_t[:] wire not None,
    *,
    int rcode,
    int zone_at,
    int info_code,
    bint is_block_page,
    bytes page,
    bytes order_id,
    bytes register_domain,
    bytes register_url,
    ttl_seconds,
    serial,
    room=None,
):
    """Return the reply that blocks a well-formed query; the arguments are reply.pxd's Block."""
    cdef Query query
    cdef Block block
    cdef uint8_t out[UDP_OCTETS_MAX + GUARD_OCTETS]
    if wire.shape[0] == 0 or read_query(&wire[0], wire.shape[0], &query) != READING_QUERY:
        raise ValueError("not a well-formed query")
    if not (1 <= len(order_id) <= 32 and 1 <= len(register_domain) <= 222):
        raise ValueError("an order id has 1 to 32 octets, a register domain 1 to 222")
    if len(register_url) > 200 or len(page) not in (0, 4, 16):
        raise ValueError("a register URL has at most 200 octets, a page 0, 4 or 16")
    memset(out, 0xA5, sizeof(out))
    block.rcode = rcode
    block.zone_at = zone_at
    block.info_code = info_code
    block.is_block_page = is_block_page
    block.page = page
    block.page_octets = len(page)
    block.order_id = order_id
    block.order_id_octets = len(order_id)
    block.register_domain = register_domain
    block.register_domain_octets = len(register_domain)
    block.register_url = register_url
    block.register_url_octets = len(register_url)
    block.ttl_seconds = ttl_seconds
    block.serial = serial
    cdef size_t octets = query.asker.reply_octets_max if room is None else room
    if not UDP_OCTETS_PLAIN <= octets <= UDP_OCTETS_MAX:
        raise ValueError("a client takes at least 512 octets, this window at most 1232")
    cdef size_t length = write_block(out, octets, &wire[0], &query, &block)
    return guarded(out[:UDP_OCTETS_MAX + GUARD_OCTETS], length)


cdef bytes guarded(bytes out, size_t length):
    if length > UDP_OCTETS_MAX or out[length:] != b"\xa5" * (len(out) - length):
        raise AssertionError(f"octets were written beyond the reply's {length}")
    return out[:length]
