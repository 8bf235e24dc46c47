"""Python windows on how a response is read, judged and cut, for tests and tools."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from inspect cimport Inspected, inspect_response
from judge cimport DNS64_PREFIXES_MAX, INSPECTION_BLOCK, Dns64, Inspection
from layout cimport DENIAL_NXDOMAIN
from message cimport (
    ANSWERED_WHOLE, RESPONSE_OCTETS_MAX, Answered, Response, drop_additionals, read_response,
)
from overlay cimport tables_open
from reply cimport EDE_CENSORED, Block
from reply_chain cimport write_blocked_chain
from table cimport TABLE_VALID
from tables cimport tables_t
from wire cimport (
    HEADER_OCTETS, RCODE_NOERROR, RCODE_NXDOMAIN, READING_QUERY, UDP_OCTETS_PLAIN, Query,
    read_query,
)

# Octets behind the room for an answer that must stay as they were.
cdef enum:
    GUARD_OCTETS = 64

ANSWERED = ("UNSPECIFIED", "WHOLE", "RUNT", "QUERY", "MALFORMED")
INSPECTIONS = ("UNSPECIFIED", "PASS", "BLOCK", "BROKEN", "TRIM")
SORTS = ("UNSPECIFIED", "DATA", "NODATA", "NXDOMAIN", "ERROR", "REFERRAL", "CUT")


def read(const uint8_t[:] wire not None, *, bint without_additionals=False):
    """Return what an upstream's message is, by name, and its fields if it is whole."""
    cdef Response response
    cdef const uint8_t *octets = &wire[0] if wire.shape[0] else NULL
    cdef Answered answered = read_response(octets, wire.shape[0], &response)
    if answered != ANSWERED_WHOLE:
        return ANSWERED[<int> answered], {}
    if without_additionals:
        drop_additionals(&response)
    return ANSWERED[<int> answered], {
        "octets": response.octets,
        "question_octets": response.question_octets,
        "flags": response.flags,
        "rcode": response.rcode,
        "qtype": response.qtype,
        "qclass": response.qclass,
        "counts": (response.answers, response.authorities, response.additionals),
        "starts": (response.answers_at, response.authorities_at, response.additionals_at),
        "ttl_at": [response.ttl_at[i] for i in range(response.ttls)],
        "ttl_seconds": response.ttl_seconds,
        "sort": SORTS[response.sort],
        "is_cacheable": bool(response.is_cacheable),
        "has_links": bool(response.has_links),
        "errors": response.errors[:response.errors_octets],
    }


cdef class World:
    """One table, and the prefixes of DNS64, by which responses are judged."""

    cdef bytes region
    cdef tables_t tables
    cdef Dns64 dns64

    def __init__(self, bytes region not None, dns64=()):
        self.region = region
        if tables_open(&self.tables, region, len(region)) != TABLE_VALID:
            raise ValueError("not a table")
        if len(dns64) > DNS64_PREFIXES_MAX:
            raise ValueError("too many prefixes")
        self.dns64.count = len(dns64)
        for i, prefix in enumerate(dns64):
            self.dns64.bits[i] = prefix.prefixlen
            packed = prefix.network_address.packed
            memcpy(self.dns64.prefixes[i], <const uint8_t *> packed, 16)

    def inspect(
        self,
        const uint8_t[:] asked not None,
        const uint8_t[:] answered not None,
        int64_t t_ms,
        *,
        room=None,
        bytes page=b"",
    ):
        """Return what becomes of `answered`, and where it is blocked why and what is sent instead.

        `asked` is a client's query; `room` is what the client takes, or what the query says.
        """
        cdef Query query
        cdef Response response
        cdef Inspected found
        cdef Block block
        cdef Inspection inspection
        cdef bytearray out
        cdef uint8_t *octets
        cdef size_t length, room_octets
        if asked.shape[0] == 0 or read_query(&asked[0], asked.shape[0], &query) != READING_QUERY:
            raise ValueError("not a well-formed query")
        if answered.shape[0] == 0 or (
            read_response(&answered[0], answered.shape[0], &response) != ANSWERED_WHOLE
        ):
            raise ValueError("not a whole response")
        memset(&found, 0xA5, sizeof(Inspected))
        inspection = inspect_response(
            &answered[0], &response, &query, &self.tables, &self.dns64, t_ms, &found
        )
        if inspection != INSPECTION_BLOCK:
            return INSPECTIONS[<int> inspection], {}
        memset(&block, 0, sizeof(Block))
        order = &self.tables.orders[found.verdict.order]
        block.rcode = RCODE_NXDOMAIN if found.verdict.denial == DENIAL_NXDOMAIN else RCODE_NOERROR
        if page:
            block.rcode = RCODE_NOERROR
            block.page = page
            block.page_octets = len(page)
            block.is_block_page = 1
        block.zone_at = found.verdict.zone_at
        block.info_code = EDE_CENSORED
        block.order_id = &order.order_id[0]
        block.order_id_octets = order.order_id_bytes
        block.register_domain = self.tables.register_domain
        block.register_domain_octets = self.tables.header.register_domain_bytes
        block.register_url = self.tables.register_url
        block.register_url_octets = self.tables.header.register_url_bytes
        block.ttl_seconds = 30
        block.serial = 7
        room_octets = query.asker.reply_octets_max if room is None else room
        if not UDP_OCTETS_PLAIN <= room_octets <= RESPONSE_OCTETS_MAX:
            raise ValueError("a client takes 512 to 65535 octets")
        out = bytearray(b"\xa5" * (room_octets + GUARD_OCTETS))
        octets = out
        length = write_blocked_chain(
            octets, room_octets, &asked[0] + HEADER_OCTETS, &answered[0], &response, &query,
            &found, &block,
        )
        if length > room_octets or out[room_octets:] != b"\xa5" * GUARD_OCTETS:
            raise AssertionError(f"octets were written beyond the room of {room_octets}")
        return INSPECTIONS[<int> inspection], {
            "order": order.index,
            "links": found.links,
            "name": found.name.name[:found.name.name_octets],
            "zone": found.name.name[found.verdict.zone_at:found.name.name_octets],
            "denial": found.verdict.denial,
            "is_address": bool(found.is_address),
            "answer": bytes(out[:length]),
        }
