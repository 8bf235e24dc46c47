# cython: language_level=3
"""Judging names and addresses by the tables in force: a base, and the changes laid over it.

The rows that count are `tables.orders`; a verdict names one of them. Everything that a region
can say was proven once, by `tables_open`; after it nothing here reads outside the regions,
blocks, allocates, locks or calls Python.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from table cimport *


# Checked tables: pointers into regions that the owner keeps mapped and unchanged. May be copied.
ctypedef struct tables_t:
    table_t base
    table_t overlay  # its header is NULL when there is none
    const header_t *header  # the newest: the overlay's, or the base's
    const order_t *orders  # the rows that count: the overlay's, or the base's
    uint32_t order_count
    const uint32_t *base_rows  # with an overlay: base order slot -> row in `orders`, or NO_ORDER
    const uint8_t *register_url  # the newest's, as is its length in `header`
    const uint8_t *register_domain


cdef inline int tables_open(
    tables_t *tables, const uint8_t *base, uint64_t base_bytes
) noexcept nogil:
    """Check a base and fill `tables` with it alone; return TABLE_VALID or what is wrong."""
    cdef int found
    memset(tables, 0, sizeof(tables_t))
    found = table_open(base, base_bytes, &tables.base)
    tables.header = tables.base.header
    tables.orders = tables.base.orders
    tables.register_url = tables.base.register_url
    tables.register_domain = tables.base.register_domain
    if found == TABLE_VALID:
        tables.order_count = tables.header.order_count
    return found


cdef inline void tables_decide(
    const tables_t *tables,
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
    `label_count` is at most 127. Writes every field of `verdict` and nothing else.
    """
    table_decide(&tables.base, qname, label_at, label_count, qtype, t_ms, verdict)


cdef inline void tables_decide_address(
    const tables_t *tables,
    const uint8_t *address,
    uint32_t octets,
    int64_t t_ms,
    verdict_t *verdict,
) noexcept nogil:
    """Decide an address of 4 or 16 `octets` at `t_ms`; other lengths match nothing.

    Writes every field of `verdict` and nothing else; its `zone_at` is NO_ZONE.
    """
    verdict_pass(verdict, CAUSE_NO_MATCH, KIND_UNSPECIFIED, NO_ZONE)


cdef inline int64_t tables_next_change_ms(const tables_t *tables, int64_t t_ms) noexcept nogil:
    """Return the first time after `t_ms` when some row begins or ends, or INT64_MAX.

    Walks all rows: once for a table and a change, not for a query.
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
