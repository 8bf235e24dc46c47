# cython: language_level=3
"""Looking up names in a table, and the check that comes before it.

`table_open` proves every offset, id and count of a region once; after it, `table_decide`
reads only inside the region, whatever the bytes say. Neither blocks, allocates, locks nor
calls Python. `body_sha256` is not compared here: that is the loader's part.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from layout cimport *
from siphash cimport hash128_t, siphash128

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


# A checked table: pointers into a region that the owner keeps mapped and unchanged.
ctypedef struct table_t:
    const header_t *header
    const slot_t *slots
    const posting_t *postings
    const uint32_t *words
    const order_t *orders
    const uint8_t *register_url
    const uint8_t *register_domain


ctypedef struct verdict_t:
    uint8_t action
    uint8_t cause
    uint8_t kind
    uint8_t denial
    uint8_t zone_at  # octet of the qname where the deciding suffix begins, or NO_ZONE
    uint8_t prefix_length  # of the network that decided; 0 where a name did, or nothing
    uint32_t order  # slot in table_t.orders, or NO_ORDER


# ----------------------------------------------------------------------- lookups


cdef inline bint table_wants(
    const table_t *table, uint32_t depth, uint32_t label_count
) noexcept nogil:
    """Tell whether a suffix of `depth` labels can decide a name of `label_count`."""
    cdef uint32_t word = depth >> 6
    cdef uint64_t depths = table.header.subtree_depths[word]
    if depth == label_count:  # only at the name itself does EXACT matter
        depths = table.header.depths[word]
    return (depths >> (depth & 63)) & 1


cdef inline uint32_t table_home(hash128_t name, uint32_t slot_count) noexcept nogil:
    """Return the slot where looking for `name` begins, from bits that are not compared."""
    return <uint32_t> (((name.high >> 32) * slot_count) >> 32)


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


cdef inline uint32_t table_deepest(const table_t *table, uint32_t label_count) noexcept nogil:
    """Return how many labels, from the top, of a name of `label_count` can be stored."""
    return label_count if label_count < table.header.labels_max else table.header.labels_max


cdef inline bint table_find_suffixes(
    const table_t *table,
    const uint8_t *qname,
    const uint8_t *label_at,
    uint32_t label_count,
    uint32_t *found,
) noexcept nogil:
    """Fill `found[depth]` with the posting of each suffix; tell whether there is any.

    Writes found[1] (the top label) to found[table_deepest(...)]: the root is no target. All
    suffixes are hashed before the first slot is read, so that their cache misses overlap.
    """
    cdef hash128_t hashes[TABLE_LABELS_MAX + 1]
    cdef uint32_t deepest = table_deepest(table, label_count)
    cdef uint32_t depth, any_found = 0
    cdef uint8_t at
    hashes[0] = table.header.secret
    for depth in range(1, deepest + 1):
        at = label_at[label_count - depth]
        hashes[depth] = siphash128(hashes[depth - 1], qname + at + 1, qname[at])
        if table_wants(table, depth, label_count):
            table_prefetch(table.slots + table_home(hashes[depth], table.header.slot_count))
    for depth in range(1, deepest + 1):
        found[depth] = 0
        if table_wants(table, depth, label_count):
            found[depth] = table_find(table, hashes[depth])
            any_found |= found[depth]
    return any_found != 0


cdef inline uint32_t table_first_in_force(
    const table_t *table, uint32_t at, uint32_t count, int64_t t_ms
) noexcept nogil:
    """Return the first order in force at `t_ms` among words[at : at + count], or NO_ORDER."""
    cdef const order_t *order
    cdef uint32_t i
    for i in range(count):
        order = table.orders + table.words[at + i]
        if order.from_ms <= t_ms < order.until_ms:
            return table.words[at + i]
    return NO_ORDER


cdef inline void verdict_pass(
    verdict_t *verdict, uint8_t cause, uint8_t kind, uint8_t zone_at
) noexcept nogil:
    verdict.action = ACTION_PASS
    verdict.cause = cause
    verdict.kind = kind
    verdict.denial = DENIAL_NOT_BLOCKED
    verdict.zone_at = zone_at
    verdict.prefix_length = 0
    verdict.order = NO_ORDER


cdef inline void verdict_block(
    verdict_t *verdict, uint8_t kind, uint8_t denial, uint8_t zone_at, uint32_t order
) noexcept nogil:
    verdict.action = ACTION_BLOCK
    verdict.cause = CAUSE_ORDER
    verdict.kind = kind
    verdict.denial = denial
    verdict.zone_at = zone_at
    verdict.prefix_length = 0
    verdict.order = order


cdef inline bint qtype_is_of_zones(uint16_t qtype) noexcept nogil:
    """Tell whether validating what passes below a name needs `qtype` at that name."""
    return qtype in (QTYPE_NS, QTYPE_SOA, QTYPE_DS, QTYPE_DNSKEY)


cdef inline void table_decide(
    const table_t *table,
    const uint8_t *qname,
    const uint8_t *label_at,
    uint32_t label_count,
    uint16_t qtype,
    int64_t t_ms,
    verdict_t *verdict,
) noexcept nogil:
    """Decide one query of class IN at `t_ms`, as enforcer.core.verdict.decide does.

    `qname` is an uncompressed wire name in lower case; `label_at[i]`, for i from 0 (the
    leaf) to `label_count` - 1, is the octet of `qname` where a label's length stands;
    `label_count` is at most 127. Reads the labels of `qname` and the table; writes
    every field of `verdict` and nothing else.
    """
    cdef uint32_t found[TABLE_LABELS_MAX + 1]
    cdef uint32_t deepest = table_deepest(table, label_count)
    cdef const posting_t *posting
    cdef uint32_t depth, order
    cdef uint8_t at, denial

    if not table_find_suffixes(table, qname, label_at, label_count, found):
        verdict_pass(verdict, CAUSE_NO_MATCH, KIND_UNSPECIFIED, NO_ZONE)
        return

    # Row 1: the protected core, EXACT at the name first, then SUBTREE from the leaf up.
    if deepest == label_count and table.postings[found[deepest]].flags & POSTING_CORE_EXACT:
        verdict_pass(verdict, CAUSE_PROTECTED_CORE, KIND_EXACT, 0)
        return
    for depth in range(deepest, 0, -1):
        if table.postings[found[depth]].flags & POSTING_CORE_SUBTREE:
            at = label_at[label_count - depth]
            verdict_pass(verdict, CAUSE_PROTECTED_CORE, KIND_SUBTREE, at)
            return

    # Rows 2 and 3: EXACT at the name, then SUBTREE from the leaf up.
    if deepest == label_count:
        posting = table.postings + found[deepest]
        if not qtype_is_of_zones(qtype):
            order = table_first_in_force(table, posting.exact_at, posting.exact_count, t_ms)
            if order != NO_ORDER:
                verdict_block(verdict, KIND_EXACT, DENIAL_NODATA, 0, order)
                return
        if posting.flags & POSTING_PROTECTED_EXACT:
            verdict_pass(verdict, CAUSE_PROTECTED_LIST, KIND_EXACT, 0)
            return
    for depth in range(deepest, 0, -1):
        posting = table.postings + found[depth]
        order = NO_ORDER
        if not (posting.flags & POSTING_PASS_INSIDE and qtype_is_of_zones(qtype)):
            order = table_first_in_force(table, posting.subtree_at, posting.subtree_count, t_ms)
        if order != NO_ORDER:
            denial = DENIAL_NODATA if posting.flags & POSTING_PASS_INSIDE else DENIAL_NXDOMAIN
            at = label_at[label_count - depth]
            verdict_block(verdict, KIND_SUBTREE, denial, at, order)
            return
        if posting.flags & POSTING_PROTECTED_SUBTREE:
            at = label_at[label_count - depth]
            verdict_pass(verdict, CAUSE_PROTECTED_LIST, KIND_SUBTREE, at)
            return
    verdict_pass(verdict, CAUSE_NO_MATCH, KIND_UNSPECIFIED, NO_ZONE)


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
    cdef uint64_t string_bytes, posting_rows
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
    if header.order_count > TABLE_ORDERS_MAX or header.posting_count > header.slot_count:
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
        and section_follows(&header.networks, &end, 0, 1, size_bytes)
        and section_follows(
            &header.postings, &end, posting_rows, sizeof(posting_t), size_bytes
        )
        and section_follows(&header.words, &end, header.word_count, sizeof(uint32_t), size_bytes)
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
    if not slots_are_valid(table):
        return TABLE_BAD_SLOT
    if not postings_are_valid(table):
        return TABLE_BAD_POSTING
    if not orders_are_valid(table):
        return TABLE_BAD_ORDER
    if not strings_are_valid(table):
        return TABLE_BAD_STRING
    return TABLE_VALID
