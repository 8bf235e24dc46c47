# cython: language_level=3
"""Deciding addresses, of answers and of packets: the precedence of enforcer.core.verdict.

Reads tables that were taken with `tables_open` and `tables_lay` of overlay.pxd, and what it is
given; writes the verdict, or rows. Work is bounded by the keys of a bucket, the prefixes around
an address and the orders at one target. Never blocks, allocates, locks or calls Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from overlay cimport *
from prefix cimport *
from verdict cimport *

cdef inline bint row_counts(
    const tables_t *tables, uint32_t row, int64_t t_ms, bint answers
) noexcept nogil:
    """Tell whether an order blocks addresses at `t_ms`: in answers it needs both measures."""
    cdef const order_t *order = tables.orders + row
    if order.ip_measure != IP_REJECT and order.ip_measure != IP_DROP:
        return False
    if answers and order.dns_measure != DNS_NEGATIVE and order.dns_measure != DNS_BLOCK_PAGE:
        return False
    return order.from_ms <= t_ms < order.until_ms


cdef inline uint32_t network_order(
    const tables_t *tables, place_t place, int64_t t_ms, bint answers
) noexcept nogil:
    """Return the earliest row in force that counts at one prefix, or NO_ORDER."""
    cdef const posting_t *old = tables.base.postings + place.base
    cdef const posting_t *new = tables.overlay.postings + place.overlay
    cdef uint32_t at, row, found = NO_ORDER
    for at in range(old.subtree_at, old.subtree_at + old.subtree_count):
        row = tables.base.words[at]
        if tables.base_rows != NULL:
            row = tables.base_rows[row]
        if row != NO_ORDER and row_counts(tables, row, t_ms, answers):
            found = row
            break
    for at in range(new.subtree_at, new.subtree_at + new.subtree_count):
        row = tables.overlay.words[at]
        if row_counts(tables, row, t_ms, answers):
            return min(found, row)
    return found


cdef inline uint32_t core_length(const table_t *table, uint32_t nest) noexcept nogil:
    """Return the length of the longest prefix of the protected core from `nest` on, or 0."""
    while nest:
        if table.postings[table.prefixes.nests[nest].posting].flags & POSTING_CORE_SUBTREE:
            return table.prefixes.nests[nest].length
        nest = table.prefixes.nests[nest].around
    return 0


cdef inline void decide_nests(
    const tables_t *tables,
    uint32_t base,
    uint32_t overlay,
    uint32_t bits,
    int64_t t_ms,
    bint answers,
    verdict_t *verdict,
) noexcept nogil:
    """Decide an address of `bits` that is in these nests of the two tables.

    Without an overlay its nest is 0. Writes every field of `verdict`.
    """
    cdef const nest_t *old
    cdef const nest_t *new
    cdef uint32_t length, order
    cdef uint8_t kind
    cdef place_t place
    verdict_pass(verdict, CAUSE_NO_MATCH, KIND_UNSPECIFIED, NO_ZONE)
    if tables.base.prefixes.nests[base].has_core:  # an overlay has the base's core, or no target
        length = core_length(&tables.base, base)
        if length:
            kind = KIND_IP if length == bits else KIND_NET
            verdict_pass(verdict, CAUSE_PROTECTED_CORE, kind, NO_ZONE)
            verdict.prefix_length = <uint8_t> length
            return
    while base | overlay:
        old = new = tables.base.prefixes.nests + base
        length = old.length
        if overlay:
            new = tables.overlay.prefixes.nests + overlay
            length = max(length, new.length)
        place.base = place.overlay = 0
        if old.length == length:
            place.base = old.posting
            base = old.around
        if overlay and new.length == length:
            place.overlay = new.posting
            overlay = new.around
        kind = KIND_IP if length == bits else KIND_NET
        order = network_order(tables, place, t_ms, answers)
        if order != NO_ORDER:
            verdict_block(
                verdict, kind, DENIAL_NODATA if answers else DENIAL_NOT_BLOCKED, NO_ZONE, order
            )
        elif place_flags(tables, place) & POSTING_PROTECTED_SUBTREE:
            verdict_pass(verdict, CAUSE_PROTECTED_LIST, kind, NO_ZONE)
        else:
            continue
        verdict.prefix_length = <uint8_t> length
        return


cdef inline void decide4(
    const tables_t *tables, uint32_t address, int64_t t_ms, bint answers, verdict_t *verdict
) noexcept nogil:
    cdef uint32_t overlay = 0
    if tables.overlay.header != NULL:
        overlay = nest_of4(&tables.overlay.prefixes, address)
    decide_nests(
        tables, nest_of4(&tables.base.prefixes, address), overlay, 32, t_ms, answers, verdict
    )


cdef inline void decide6(
    const tables_t *tables,
    uint64_t high,
    uint64_t low,
    int64_t t_ms,
    bint answers,
    verdict_t *verdict,
) noexcept nogil:
    cdef uint32_t overlay = 0
    if tables.overlay.header != NULL:
        overlay = nest_of6(&tables.overlay.prefixes, high, low)
    decide_nests(
        tables, nest_of6(&tables.base.prefixes, high, low), overlay, 128, t_ms, answers, verdict
    )


cdef inline void decide_either(
    const tables_t *tables,
    const uint8_t *address,
    uint32_t octets,
    int64_t t_ms,
    bint answers,
    verdict_t *verdict,
) noexcept nogil:
    if octets == OCTETS_6 and not address_is_mapped(address):
        decide6(tables, read6(address), read6(address + 8), t_ms, answers, verdict)
    else:
        decide4(tables, read4(address + octets - OCTETS_4), t_ms, answers, verdict)


cdef inline void tables_decide_address(
    const tables_t *tables,
    const uint8_t *address,
    uint32_t octets,
    int64_t t_ms,
    verdict_t *verdict,
) noexcept nogil:
    """Decide an address of an answer, of 4 or 16 `octets`, as core.verdict.decide_address does.

    Reads those octets; writes every field of `verdict`; its `zone_at` is NO_ZONE.
    """
    decide_either(tables, address, octets, t_ms, True, verdict)


cdef inline void tables_decide_flow(
    const tables_t *tables,
    const uint8_t *address,
    uint32_t octets,
    int64_t t_ms,
    verdict_t *verdict,
) noexcept nogil:
    """Decide packets of an address of 4 or 16 `octets`, as core.verdict.decide_flow does.

    The operator's own networks are not in a table. Reads and writes as `tables_decide_address`.
    """
    decide_either(tables, address, octets, t_ms, False, verdict)
