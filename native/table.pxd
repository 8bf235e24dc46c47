# cython: language_level=3
"""One table: the check that comes before its use, and finding what stands at a hash.

`table_open` proves every offset, id and count of a region once; after it, `table_find`
and whoever follows a posting read only inside the region, whatever the bytes say. Neither
blocks, allocates, locks nor calls Python. `body_sha256` is not compared here: that is the
loader's part.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from layout cimport *
from prefix cimport prefixes_t
from prefix_section cimport prefixes_are_valid, prefixes_bytes, prefixes_take
from siphash cimport hash128_t

cdef extern from *:
    void table_prefetch "__builtin_prefetch" (const void *address) noexcept nogil


# What table_open found; everything but TABLE_VALID refuses the table.
cdef enum:
    TABLE_UNCHECKED = 0
    TABLE_VALID = 1
    TABLE_MISALIGNED = 2
    TABLE_TOO_SHORT = 3
    TABLE_FOREIGN = 4
    TABLE_OTHER_VERSION = 5
    TABLE_WRONG_SIZE = 6
    TABLE_BAD_SECTION = 7
    TABLE_BAD_COUNT = 8
    TABLE_BAD_SLOT = 9
    TABLE_BAD_POSTING = 10
    TABLE_BAD_ORDER = 11
    TABLE_BAD_STRING = 12
    TABLE_NOT_BASE = 13  # an overlay where a base belongs
    TABLE_OTHER_BASE = 14  # an overlay for another base, ledger, secret or protections
    TABLE_BAD_NETWORK = 15


# A checked table: pointers into a region that the owner keeps mapped and unchanged.
ctypedef struct table_t:
    const header_t *header
    const slot_t *slots
    const posting_t *postings
    const uint32_t *words
    const order_t *orders
    const uint8_t *register_url
    const uint8_t *register_domain
    prefixes_t prefixes


# ----------------------------------------------------------------------- lookups


cdef inline uint32_t table_home(hash128_t name, uint32_t slot_count) noexcept nogil:
    """Return the slot where looking for `name` begins, from bits that are not compared."""
    return <uint32_t> (((name.high >> 32) * slot_count) >> 32)


cdef inline void table_expect(const table_t *table, hash128_t name) noexcept nogil:
    """Let the memory where looking for `name` begins come nearer."""
    table_prefetch(table.slots + table_home(name, table.header.slot_count))


cdef inline uint32_t table_find(const table_t *table, hash128_t name) noexcept nogil:
    """Return the posting of `name`, or 0; reads at most `probes_max` slots."""
    cdef uint32_t slot_count = table.header.slot_count
    cdef uint32_t left = table.header.probes_max
    cdef uint32_t at = table_home(name, slot_count)
    cdef const slot_t *slot
    while left:
        slot = table.slots + at
        if slot.posting == 0:
            return 0
        if slot.fingerprint_low == name.low and slot.fingerprint_high == <uint32_t> name.high:
            return slot.posting
        at += 1
        if at == slot_count:
            at = 0
        left -= 1
    return 0


# ------------------------------------------------------------------- validity check


cdef inline bint section_follows(
    const section_t *section, uint64_t *end, uint64_t count, uint64_t row_bytes, uint64_t total
) noexcept nogil:
    """Check that `section` holds `count` rows right after `end`, and move `end` behind it."""
    cdef uint64_t start = (end[0] + TABLE_ALIGNMENT - 1) & ~<uint64_t> (TABLE_ALIGNMENT - 1)
    cdef uint64_t size_bytes = count * row_bytes  # at most 2**32 rows of 104: no overflow
    if section.offset != start or section.size_bytes != size_bytes:
        return False
    if start > total or size_bytes > total - start:
        return False
    end[0] = start + size_bytes
    return True


cdef inline bint slots_are_valid(const table_t *table) noexcept nogil:
    cdef uint32_t at, used = 0
    for at in range(table.header.slot_count):
        if table.slots[at].posting > table.header.posting_count:
            return False
        used += table.slots[at].posting != 0
    return used == table.header.name_count


cdef inline bint postings_are_valid(const table_t *table) noexcept nogil:
    cdef uint32_t words = table.header.word_count
    cdef const posting_t *posting
    cdef uint32_t i
    posting = table.postings  # posting 0 stands for "nothing here": it must be all zero
    if posting.flags | posting.exact_count | posting.subtree_count:
        return False
    for i in range(table.header.posting_count + 1):
        posting = table.postings + i
        if posting.flags & ~<uint32_t> POSTING_FLAGS:
            return False
        if posting.exact_at > words or posting.exact_count > words - posting.exact_at:
            return False
        if posting.subtree_at > words or posting.subtree_count > words - posting.subtree_at:
            return False
    for i in range(words):
        if table.words[i] >= table.header.order_count:
            return False
    return True


cdef inline bint orders_are_valid(const table_t *table) noexcept nogil:
    cdef const order_t *order
    cdef uint32_t i, j
    for i in range(table.header.order_count):
        order = table.orders + i
        if i and order.index <= table.orders[i - 1].index:
            return False
        if not (1 <= order.dns_measure <= 3 and 1 <= order.ip_measure <= 3):
            return False
        if not (1 <= order.binding <= 2):
            return False
        if not (1 <= order.order_id_bytes <= TABLE_ORDER_ID_BYTES_MAX):
            return False
        for j in range(order.order_id_bytes):
            if not (0x21 <= order.order_id[j] <= 0x7E):
                return False
    return True


cdef inline bint strings_are_valid(const table_t *table) noexcept nogil:
    cdef uint32_t size = table.header.register_domain_bytes
    cdef uint32_t at
    for at in range(table.header.register_url_bytes):
        if not (0x21 <= table.register_url[at] <= 0x7E):
            return False
    at = 0
    while at < size and 0 < table.register_domain[at] <= 63:
        at += 1 + table.register_domain[at]
    return at + 1 == size and table.register_domain[at] == 0


cdef inline int table_open(
    const uint8_t *region, uint64_t size_bytes, table_t *table
) noexcept nogil:
    """Prove that every lookup in `region` stays inside it; fill `table`.

    Reads only `size_bytes` octets at `region`, which must not change afterwards. Returns
    TABLE_VALID, or what is wrong: `table` is then not to be used.
    """
    cdef const header_t *header = <const header_t *> region
    cdef uint64_t end = TABLE_HEADER_BYTES
    cdef uint64_t string_bytes, posting_rows, networks
    if <size_t> region & 7:
        return TABLE_MISALIGNED
    if size_bytes < TABLE_HEADER_BYTES:
        return TABLE_TOO_SHORT
    if memcmp(header.magic, b"ENFTABLE", 8) != 0:
        return TABLE_FOREIGN
    if header.version != TABLE_VERSION or header.header_bytes != TABLE_HEADER_BYTES:
        return TABLE_OTHER_VERSION
    if header.total_bytes != size_bytes:
        return TABLE_WRONG_SIZE

    if header.slot_count == 0 or not (1 <= header.probes_max <= header.slot_count):
        return TABLE_BAD_COUNT
    if header.labels_max > TABLE_LABELS_MAX or header.name_count >= header.slot_count:
        return TABLE_BAD_COUNT
    if header.order_count > TABLE_ORDERS_MAX:
        return TABLE_BAD_COUNT
    networks = <uint64_t> header.key_counts[0] + header.key_counts[1]
    if networks > header.network_count or (networks == 0) != (header.network_count == 0):
        return TABLE_BAD_COUNT
    if (header.nest_count == 0) != (header.network_count == 0):
        return TABLE_BAD_COUNT
    if max(header.index_bits[0], header.index_bits[1]) > TABLE_INDEX_BITS_MAX:
        return TABLE_BAD_COUNT
    if header.register_url_bytes > TABLE_REGISTER_URL_BYTES_MAX:
        return TABLE_BAD_COUNT
    if not (1 <= header.register_domain_bytes <= TABLE_REGISTER_DOMAIN_BYTES_MAX):
        return TABLE_BAD_COUNT

    string_bytes = header.register_url_bytes + header.register_domain_bytes
    posting_rows = <uint64_t> header.posting_count + 1
    if not (
        section_follows(&header.slots, &end, header.slot_count, sizeof(slot_t), size_bytes)
        and section_follows(&header.orders, &end, header.order_count, sizeof(order_t), size_bytes)
        and section_follows(&header.strings, &end, string_bytes, 1, size_bytes)
        and section_follows(
            &header.postings, &end, posting_rows, sizeof(posting_t), size_bytes
        )
        and section_follows(&header.words, &end, header.word_count, sizeof(uint32_t), size_bytes)
        and section_follows(&header.networks, &end, prefixes_bytes(header), 1, size_bytes)
        and end == size_bytes
    ):
        return TABLE_BAD_SECTION

    table.header = header
    table.slots = <const slot_t *> (region + header.slots.offset)
    table.orders = <const order_t *> (region + header.orders.offset)
    table.register_url = region + header.strings.offset
    table.register_domain = table.register_url + header.register_url_bytes
    table.postings = <const posting_t *> (region + header.postings.offset)
    table.words = <const uint32_t *> (region + header.words.offset)
    prefixes_take(&table.prefixes, header, region + header.networks.offset)
    if not slots_are_valid(table):
        return TABLE_BAD_SLOT
    if not postings_are_valid(table):
        return TABLE_BAD_POSTING
    if not orders_are_valid(table):
        return TABLE_BAD_ORDER
    if not strings_are_valid(table):
        return TABLE_BAD_STRING
    if not prefixes_are_valid(&table.prefixes, header.posting_count):
        return TABLE_BAD_NETWORK
    return TABLE_VALID
