# cython: language_level=3
"""The tables in force: a base, and the overlay of what changed since it was compiled.

The rows that count are `tables.orders`: with an overlay its rows alone, so that a base order
that is not among them no longer counts. Every offset was proven when the two were taken; after
that nothing here reads outside them, blocks, allocates, locks or calls Python. `tables_t` holds
pointers only, into regions that the owner keeps mapped and unchanged: it may be copied.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from table cimport *


ctypedef struct tables_t:
    table_t base
    table_t overlay  # without one: its header is NULL, its postings and words are the base's
    const header_t *header  # the newest: the overlay's, or the base's
    const order_t *orders  # the rows that count: the overlay's, or the base's
    uint32_t order_count
    uint32_t labels_max  # of the deepest name stored in either
    const uint32_t *base_rows  # with an overlay: base order slot -> row in `orders`, or NO_ORDER
    const uint8_t *register_url  # the newest's, as is its length in `header`
    const uint8_t *register_domain


# What stands at one name or prefix: a posting in each table, 0 where there is none.
ctypedef struct place_t:
    uint32_t base
    uint32_t overlay


# ------------------------------------------------------------------------ reading


cdef inline uint32_t place_flags(const tables_t *tables, place_t place) noexcept nogil:
    return (
        tables.base.postings[place.base].flags | tables.overlay.postings[place.overlay].flags
    )


cdef inline bint row_is_in_force(
    const tables_t *tables, uint32_t row, int64_t t_ms
) noexcept nogil:
    return tables.orders[row].from_ms <= t_ms < tables.orders[row].until_ms


cdef inline uint32_t first_of_base(
    const tables_t *tables, uint32_t at, uint32_t count, int64_t t_ms
) noexcept nogil:
    """Return the first row in force at `t_ms` among the base's words[at : at + count]."""
    cdef uint32_t i, row
    for i in range(count):
        row = tables.base.words[at + i]
        if tables.base_rows != NULL:
            row = tables.base_rows[row]
        if row != NO_ORDER and row_is_in_force(tables, row, t_ms):
            return row
    return NO_ORDER


cdef inline uint32_t first_of_overlay(
    const tables_t *tables, uint32_t at, uint32_t count, int64_t t_ms
) noexcept nogil:
    """Return the first row in force at `t_ms` among the overlay's words[at : at + count]."""
    cdef uint32_t i
    for i in range(count):
        if row_is_in_force(tables, tables.overlay.words[at + i], t_ms):
            return tables.overlay.words[at + i]
    return NO_ORDER


cdef inline uint32_t exact_order(
    const tables_t *tables, place_t place, int64_t t_ms
) noexcept nogil:
    """Return the earliest row in force whose EXACT target stands at `place`, or NO_ORDER.

    Rows ascend by ledger index and NO_ORDER is above them all: the lesser is the earlier.
    """
    cdef const posting_t *old = tables.base.postings + place.base
    cdef const posting_t *new = tables.overlay.postings + place.overlay
    return min(
        first_of_base(tables, old.exact_at, old.exact_count, t_ms),
        first_of_overlay(tables, new.exact_at, new.exact_count, t_ms),
    )


cdef inline uint32_t subtree_order(
    const tables_t *tables, place_t place, int64_t t_ms
) noexcept nogil:
    """Return the earliest row in force whose SUBTREE, IP or NET target stands at `place`."""
    cdef const posting_t *old = tables.base.postings + place.base
    cdef const posting_t *new = tables.overlay.postings + place.overlay
    return min(
        first_of_base(tables, old.subtree_at, old.subtree_count, t_ms),
        first_of_overlay(tables, new.subtree_at, new.subtree_count, t_ms),
    )


cdef inline int64_t tables_next_change_ms(const tables_t *tables, int64_t t_ms) noexcept nogil:
    """Return the first time after `t_ms` when some row begins or ends, or INT64_MAX.

    Walks all rows: once for a table and for a change, not for a query.
    """
    cdef int64_t next_ms = INT64_MAX
    cdef const order_t *order
    cdef uint32_t row
    for row in range(tables.order_count):
        order = tables.orders + row
        if t_ms < order.from_ms < next_ms:
            next_ms = order.from_ms
        if t_ms < order.until_ms < next_ms:
            next_ms = order.until_ms
    return next_ms


# ------------------------------------------------------------------------- taking


cdef inline int tables_open(
    tables_t *tables, const uint8_t *base, uint64_t base_bytes
) noexcept nogil:
    """Check a base and let `tables` be it alone; return TABLE_VALID or what is wrong.

    `tables` is to be used only when it is TABLE_VALID.
    """
    cdef uint8_t none[32]
    cdef int found
    memset(tables, 0, sizeof(tables_t))
    memset(none, 0, sizeof(none))
    found = table_open(base, base_bytes, &tables.base)
    if found != TABLE_VALID:
        return found
    if memcmp(tables.base.header.base_sha256, none, sizeof(none)) != 0:
        return TABLE_NOT_BASE
    tables.overlay.postings = tables.base.postings
    tables.overlay.words = tables.base.words
    tables.header = tables.base.header
    tables.orders = tables.base.orders
    tables.order_count = tables.header.order_count
    tables.labels_max = tables.header.labels_max
    tables.register_url = tables.base.register_url
    tables.register_domain = tables.base.register_domain
    return TABLE_VALID


cdef inline bint overlay_fits(const header_t *base, const header_t *overlay) noexcept nogil:
    """Tell whether the overlay was compiled to lie on this very base.

    One that adds no target only ends orders: it needs nothing that protects.
    """
    cdef bint adds_nothing = overlay.name_count == 0 and overlay.network_count == 0
    return (
        memcmp(overlay.base_sha256, base.body_sha256, 32) == 0
        and memcmp(overlay.origin_sha256, base.origin_sha256, 32) == 0
        and (
            adds_nothing
            or memcmp(overlay.protections_sha256, base.protections_sha256, 32) == 0
        )
        and overlay.secret.low == base.secret.low
        and overlay.secret.high == base.secret.high
    )


cdef inline bint rows_are_one(const order_t *one, const order_t *other) noexcept nogil:
    """Tell whether two rows are of one order with the same targets and measures."""
    return (
        one.index == other.index
        and one.dns_measure == other.dns_measure
        and one.ip_measure == other.ip_measure
        and memcmp(one.list_sha256, other.list_sha256, 32) == 0
    )


cdef inline int tables_lay(
    tables_t *tables, const uint8_t *overlay, uint64_t overlay_bytes, uint32_t *base_rows
) noexcept nogil:
    """Check an overlay and lay it over the base of `tables`, in place of one that lay there.

    `base_rows` has room for as many rows as the base has, is written here, and must stay as
    long as `tables`. Returns TABLE_VALID; or what is wrong, and `tables` is as it was.
    """
    cdef table_t laid
    cdef uint32_t slot, row = 0
    cdef int found = table_open(overlay, overlay_bytes, &laid)
    if found != TABLE_VALID:
        return found
    if not overlay_fits(tables.base.header, laid.header):
        return TABLE_OTHER_BASE
    for slot in range(tables.base.header.order_count):
        while row < laid.header.order_count and (
            laid.orders[row].index < tables.base.orders[slot].index
        ):
            row += 1
        base_rows[slot] = NO_ORDER
        if row < laid.header.order_count and rows_are_one(
            laid.orders + row, tables.base.orders + slot
        ):
            base_rows[slot] = row
    tables.overlay = laid
    tables.base_rows = base_rows
    tables.header = laid.header
    tables.orders = laid.orders
    tables.order_count = laid.header.order_count
    tables.labels_max = max(tables.base.header.labels_max, laid.header.labels_max)
    tables.register_url = laid.register_url
    tables.register_domain = laid.register_domain
    return TABLE_VALID
