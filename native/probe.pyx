"""Python windows on tables: what they hold and what they decide, for tests, checks and benches.

A :class:`Table` is checked when it is made (checksum, then every offset, id and count) and
answers as the gate does, by the same inlined code. It never changes what it reads.
"""

from dataclasses import dataclass
from hashlib import sha256

from enforcer.core.name import Name
from enforcer.core.network import network_around, plain_address
from enforcer.core.table import Binding, DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import TargetKind
from enforcer.core.verdict import Action, Cause, Denial, Verdict
from enforcer.errors import InputError, IntegrityError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from match cimport tables_decide_address, tables_decide_flow
from match_many cimport tables_match_many
from siphash cimport hash128_t
from siphash cimport siphash128 as sip
from tables cimport (
    ACTION_BLOCK,
    NO_ORDER,
    NO_ZONE,
    TABLE_BAD_COUNT,
    TABLE_BAD_NETWORK,
    TABLE_BAD_ORDER,
    TABLE_BAD_POSTING,
    TABLE_BAD_SECTION,
    TABLE_BAD_SLOT,
    TABLE_BAD_STRING,
    TABLE_FOREIGN,
    TABLE_HEADER_BYTES,
    TABLE_LABELS_MAX,
    TABLE_MISALIGNED,
    TABLE_NOT_BASE,
    TABLE_ORDER_ID_BYTES_MAX,
    TABLE_ORDERS_MAX,
    TABLE_OTHER_BASE,
    TABLE_OTHER_VERSION,
    TABLE_REGISTER_DOMAIN_BYTES_MAX,
    TABLE_REGISTER_URL_BYTES_MAX,
    TABLE_TOO_SHORT,
    TABLE_VALID,
    TABLE_WRONG_SIZE,
    header_t,
    order_t,
    posting_t,
    slot_t,
    table_t,
    tables_decide,
    tables_lay,
    tables_next_change_ms,
    tables_open,
    tables_t,
    verdict_t,
)

HEADER_BYTES = TABLE_HEADER_BYTES
NO_MATCH = 0xFFFFFFFF
BODY_SHA256_AT = 24  # where the checksum of a table stands, 32 octets

FAULTS = {
    TABLE_MISALIGNED: "it is not aligned in memory",
    TABLE_TOO_SHORT: "it is shorter than its header",
    TABLE_FOREIGN: "it does not begin as a table does",
    TABLE_OTHER_VERSION: "it is of another format version",
    TABLE_WRONG_SIZE: "its size is not what its header says",
    TABLE_BAD_COUNT: "a count in its header is out of bounds",
    TABLE_BAD_SECTION: "its sections do not follow one another to its end",
    TABLE_BAD_SLOT: "a slot names a posting that is not there, or the targets are miscounted",
    TABLE_BAD_POSTING: "a posting names words or orders that are not there",
    TABLE_BAD_ORDER: "an order's row is malformed or out of order",
    TABLE_BAD_STRING: "its register URL or domain is malformed",
    TABLE_BAD_NETWORK: "its prefixes are out of order, or lead where there is none",
    TABLE_NOT_BASE: "it is an overlay and lies on no base",
    TABLE_OTHER_BASE: "it lies on another base, or was compiled with other protections",
}


@dataclass(frozen=True)
class TableHeader:
    """The header of a base or an overlay, digests in hex; a base's `base_sha256` is all zero."""

    total_bytes: int
    body_sha256: str
    origin_sha256: str
    ledger_size: int
    time_floor_ms: int
    table_digest: str
    base_sha256: str
    protections_sha256: str
    name_count: int
    network_count: int
    slot_count: int
    probes_max: int
    labels_max: int
    order_count: int
    posting_count: int
    word_count: int
    key_counts: tuple[int, int]
    nest_count: int
    register_url: str
    register_domain: str


cdef inline uint32_t split_labels(
    const uint8_t *wire, size_t size, uint8_t *lower, uint8_t *label_at, size_t *used
) noexcept nogil:
    """Copy the name at `wire` in lower case and note its labels; return their number.

    Reads at most `size` octets. Sets `used` to the octets that the name takes, or to 0
    when they are no uncompressed name.
    """
    cdef size_t at = 0, i
    cdef uint32_t count = 0
    cdef uint8_t length
    used[0] = 0
    while at < size:
        length = wire[at]
        lower[at] = length
        if length == 0:
            used[0] = at + 1
            return count
        # The root's octet must still fit behind this label, in the buffer and in a name.
        if length > 63 or at + 1 + length >= size or at + 1 + length >= 255:
            return 0
        label_at[count] = at
        count += 1
        for i in range(at + 1, at + 1 + length):
            lower[i] = wire[i] + 32 if c"A" <= wire[i] <= c"Z" else wire[i]
        at += 1 + length
    return 0


cdef class Table:
    """A base in a buffer, with or without an overlay in another; neither may change meanwhile."""

    cdef const uint8_t[::1] region, overlay_region
    cdef tables_t tables
    cdef uint32_t *base_rows
    cdef readonly object header, overlay_header

    def __cinit__(self, const uint8_t[::1] region, Table base=None):
        """Check the base in `region`, at a multiple of eight in memory.

        Raises:
            IntegrityError: the checksum is wrong, or a lookup could leave the region.
        """
        cdef int found = TABLE_TOO_SHORT
        if base is not None:
            self.region, self.tables, self.header = base.region, base.tables, base.header
            return
        if region is None:
            raise TypeError("a table is in a buffer")
        self.region = region
        if region.shape[0] >= TABLE_HEADER_BYTES:
            with nogil:
                found = tables_open(&self.tables, &region[0], region.shape[0])
        if found != TABLE_VALID:
            raise integrity_error(FAULTS[found])
        check_body(region, self.tables.header)
        self.header = read_header(&self.tables.base)

    def __dealloc__(self):
        free(self.base_rows)

    def with_overlay(self, const uint8_t[::1] region not None):
        """Return this base with the overlay in `region`, and nothing that lay on it before.

        The base is not checked again: this takes the overlay's time, whatever the base's size.

        Raises:
            IntegrityError: the overlay is damaged as a table can be, or for another base.
        """
        cdef Table laid = Table(None, self)
        cdef int found = TABLE_TOO_SHORT
        laid.base_rows = <uint32_t *> malloc(
            (<size_t> self.tables.base.header.order_count + 1) * sizeof(uint32_t)
        )
        if laid.base_rows is NULL:
            raise MemoryError
        if region.shape[0] >= TABLE_HEADER_BYTES:
            with nogil:
                found = tables_lay(&laid.tables, &region[0], region.shape[0], laid.base_rows)
        if found != TABLE_VALID:
            raise integrity_error(FAULTS[found])
        check_body(region, laid.tables.header)
        laid.overlay_region = region
        laid.overlay_header = read_header(&laid.tables.overlay)
        return laid

    def orders(self):
        """Return the OrderRows that count, ascending by entry index."""
        return [self.order(row) for row in range(self.tables.order_count)]

    def next_change_ms(self, int64_t t_ms):
        """Return the first time after `t_ms` when some order begins or ends, or None."""
        cdef int64_t next_ms = tables_next_change_ms(&self.tables, t_ms)
        return None if next_ms == INT64_MAX else next_ms

    cdef object order(self, uint32_t number):
        cdef const order_t *row = self.tables.orders + number
        cdef const uint8_t *order_id = <const uint8_t *> row.order_id
        return OrderRow(
            index=row.index,
            order_id=(<bytes> order_id[:row.order_id_bytes]).decode("ascii"),
            version=row.version,
            target_list_sha256=hex_of(row.list_sha256),
            target_count=row.target_count,
            dns_measure=DnsMeasure(row.dns_measure),
            ip_measure=IpMeasure(row.ip_measure),
            binding=Binding(row.binding),
            from_ms=row.from_ms,
            until_ms=row.until_ms,
        )

    def decide(self, bytes name_wire not None, uint16_t qtype, int64_t t_ms):
        """Decide one query; `name_wire` is an uncompressed name in any case.

        Raises:
            InputError: `name_wire` is no such name.
        """
        cdef uint8_t lower[256]
        cdef uint8_t label_at[128]
        cdef size_t used
        cdef uint32_t label_count
        cdef verdict_t verdict
        label_count = split_labels(name_wire, len(name_wire), lower, label_at, &used)
        if used == 0 or used != <size_t> len(name_wire):
            raise name_error()
        with nogil:
            tables_decide(&self.tables, lower, label_at, label_count, qtype, t_ms, &verdict)
        zone = None
        if verdict.zone_at != NO_ZONE:
            zone = Name(<bytes> lower[verdict.zone_at:used])
        return Verdict(
            action=Action(verdict.action),
            cause=Cause(verdict.cause),
            kind=TargetKind(verdict.kind),
            zone=zone,
            order=self.order(verdict.order) if verdict.order != NO_ORDER else None,
            denial=Denial(verdict.denial),
        )

    def decide_address(self, address, int64_t t_ms):
        """Decide one address of an answer, of the standard library's kinds."""
        return self.address_verdict(address, t_ms, True)

    def decide_flow(self, address, int64_t t_ms):
        """Decide the packets of one address; the operator's own networks are not looked at."""
        return self.address_verdict(address, t_ms, False)

    cdef object address_verdict(self, address, int64_t t_ms, bint answers):
        cdef bytes packed = address.packed
        cdef uint32_t octets = len(packed)
        cdef const uint8_t *given = packed
        cdef verdict_t verdict
        with nogil:
            if answers:
                tables_decide_address(&self.tables, given, octets, t_ms, &verdict)
            else:
                tables_decide_flow(&self.tables, given, octets, t_ms, &verdict)
        network = None
        if verdict.prefix_length:
            network = network_around(plain_address(address), verdict.prefix_length)
        return Verdict(
            action=Action(verdict.action),
            cause=Cause(verdict.cause),
            kind=TargetKind(verdict.kind),
            order=self.order(verdict.order) if verdict.order != NO_ORDER else None,
            denial=Denial(verdict.denial),
            network=network,
        )

    def match(self, bytes packed not None, int64_t t_ms):
        """Return which of `orders()` blocks packets of an address of 4 or 16 octets, or None.

        Raises:
            InputError: there are other octets.
        """
        cdef const uint8_t *given = packed
        cdef verdict_t verdict
        if len(packed) != 4 and len(packed) != 16:
            raise address_error(len(packed), 16)
        tables_decide_flow(&self.tables, given, len(packed), t_ms, &verdict)
        return None if verdict.order == NO_ORDER else verdict.order

    def match_many(self, const uint8_t[::1] addresses not None, uint32_t octets, int64_t t_ms):
        """Match addresses of 4 or 16 `octets`, one behind the other, without the GIL.

        Returns as many native u32: the number in `orders()` of what blocks packets of the
        address, or NO_MATCH.

        Raises:
            InputError: the octets are not those of whole addresses.
        """
        cdef uint64_t count
        cdef bytes found
        cdef uint32_t *rows
        if octets not in (4, 16) or addresses.shape[0] % octets:
            raise address_error(addresses.shape[0], octets)
        count = addresses.shape[0] // octets
        found = PyBytes_FromStringAndSize(NULL, count * sizeof(uint32_t))
        rows = <uint32_t *> PyBytes_AS_STRING(found)
        if count:
            with nogil:
                tables_match_many(&self.tables, &addresses[0], octets, count, t_ms, rows)
        return found

    def decide_many(self, const uint8_t[::1] wires not None, uint16_t qtype, int64_t t_ms):
        """Decide every name in `wires`, uncompressed names one after the other.

        Returns (names, blocked ones, nanoseconds it took without the GIL).

        Raises:
            InputError: the buffer does not end with the end of a name.
        """
        cdef uint8_t lower[256]
        cdef uint8_t label_at[128]
        cdef size_t at = 0, used = 1, size = wires.shape[0]
        cdef uint64_t count = 0, blocked = 0
        cdef uint32_t label_count
        cdef verdict_t verdict
        cdef timespec start, stop
        with nogil:
            clock_gettime(CLOCK_MONOTONIC, &start)
            while at < size and used:
                label_count = split_labels(&wires[at], size - at, lower, label_at, &used)
                if used:
                    tables_decide(&self.tables, lower, label_at, label_count, qtype, t_ms, &verdict)
                    blocked += verdict.action == ACTION_BLOCK
                    count += 1
                    at += used
            clock_gettime(CLOCK_MONOTONIC, &stop)
        if used == 0:
            raise name_error()
        elapsed_ns = (stop.tv_sec - start.tv_sec) * 1_000_000_000 + stop.tv_nsec - start.tv_nsec
        return count, blocked, elapsed_ns


cdef object read_header(const table_t *table):
    cdef const header_t *header = table.header
    cdef const uint8_t *url = table.register_url
    cdef const uint8_t *domain = table.register_domain
    return TableHeader(
        total_bytes=header.total_bytes,
        body_sha256=hex_of(header.body_sha256),
        origin_sha256=hex_of(header.origin_sha256),
        ledger_size=header.ledger_size,
        time_floor_ms=header.time_floor_ms,
        table_digest=hex_of(header.table_digest),
        base_sha256=hex_of(header.base_sha256),
        protections_sha256=hex_of(header.protections_sha256),
        name_count=header.name_count,
        network_count=header.network_count,
        slot_count=header.slot_count,
        probes_max=header.probes_max,
        labels_max=header.labels_max,
        order_count=header.order_count,
        posting_count=header.posting_count,
        word_count=header.word_count,
        key_counts=(header.key_counts[0], header.key_counts[1]),
        nest_count=header.nest_count,
        register_url=(<bytes> url[:header.register_url_bytes]).decode("ascii"),
        register_domain=Name(<bytes> domain[:header.register_domain_bytes]).text,
    )


cdef int check_body(const uint8_t[::1] region, const header_t *header) except -1:
    if body_sha256(region) != hex_of(header.body_sha256):
        raise integrity_error("its checksum does not match")
    return 0


def body_sha256(const uint8_t[::1] region not None):
    """Return the checksum, in hex, that a table of these octets must carry."""
    digest = sha256(region[:BODY_SHA256_AT])
    digest.update(bytes(32))
    digest.update(region[BODY_SHA256_AT + 32:])
    return digest.hexdigest()


def siphash128(bytes key not None, bytes data not None):
    """Return SipHash-2-4-128 of `data` under a `key` of 16 octets, as 16 octets."""
    cdef hash128_t words
    cdef uint8_t digest[16]
    if len(key) != 16:
        raise ValueError("a SipHash key has 16 octets")
    memcpy(&words, <const uint8_t *> key, 16)
    words = sip(words, data, len(data))
    memcpy(digest, &words, 16)
    return <bytes> digest[:16]


def layout():
    """Return the sizes and limits that others repeat, for the test that holds them equal."""
    return {
        "header_bytes": sizeof(header_t),
        "slot_bytes": sizeof(slot_t),
        "posting_bytes": sizeof(posting_t),
        "order_bytes": sizeof(order_t),
        "labels_max": TABLE_LABELS_MAX,
        "orders_max": TABLE_ORDERS_MAX,
        "order_id_bytes_max": TABLE_ORDER_ID_BYTES_MAX,
        "register_url_bytes_max": TABLE_REGISTER_URL_BYTES_MAX,
        "register_domain_bytes_max": TABLE_REGISTER_DOMAIN_BYTES_MAX,
    }


cdef str hex_of(const uint8_t *digest):
    return (<bytes> digest[:32]).hex()


cdef object integrity_error(what):
    return IntegrityError(
        f"the table is refused: {what}",
        advice="Keep the table in use, and compile this one again from the ledger.",
    )


cdef object name_error():
    return InputError(
        "these octets are no uncompressed domain name",
        advice="Send labels of 1 to 63 octets, 255 octets in all, ended by a zero octet.",
    )


cdef object address_error(size, octets):
    return InputError(
        f"{size} octets are not whole addresses of {octets}",
        advice="Pack IPv4 addresses into 4 octets each, or IPv6 ones into 16.",
    )
