# cython: language_level=3
"""Deciding names: the precedence of enforcer.core.verdict, held to it by tests.

Tables are taken with `tables_open` and `tables_lay` of overlay.pxd. Reads them and what it is
given, writes the verdict and nothing else; work is bounded by the labels of a name and the
orders at one target. Never blocks, allocates, locks or calls Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from siphash cimport hash128_t, siphash128
from overlay cimport *
from verdict cimport *


cdef inline bint table_wants(
    const table_t *table, uint32_t depth, uint32_t label_count
) noexcept nogil:
    """Tell whether a suffix of `depth` labels can decide a name of `label_count`."""
    cdef uint32_t word = depth >> 6
    cdef uint64_t depths = table.header.subtree_depths[word]
    if depth == label_count:  # only at the name itself does EXACT matter
        depths = table.header.depths[word]
    return (depths >> (depth & 63)) & 1


cdef inline void tables_expect(
    const tables_t *tables,
    const uint8_t *qname,
    const uint8_t *label_at,
    uint32_t label_count,
    hash128_t *hashes,
) noexcept nogil:
    """Hash the suffixes of a name, and let what stands at them in the base come nearer.

    Fills `hashes`, which has room for TABLE_LABELS_MAX + 1, for `tables_decide_expected` with
    the same tables and name. A batch expects all its names before it decides the first one, so
    that their cache misses overlap: two of them are most of what a lookup costs.
    """
    cdef uint32_t deepest = min(label_count, tables.labels_max)
    cdef uint32_t depth
    cdef uint8_t at
    hashes[0] = tables.header.secret
    for depth in range(1, deepest + 1):
        at = label_at[label_count - depth]
        hashes[depth] = siphash128(hashes[depth - 1], qname + at + 1, qname[at])
        if table_wants(&tables.base, depth, label_count):
            table_expect(&tables.base, hashes[depth])


cdef inline uint32_t find_suffixes(
    const tables_t *tables, const hash128_t *hashes, uint32_t label_count, place_t *found
) noexcept nogil:
    """Fill `found[depth]` with what stands at each suffix; return 0 when nothing does at any.

    Writes found[1] (the top label) to found[deepest], the lesser of `label_count` and the
    deepest name stored: the root is no target.
    """
    cdef uint32_t deepest = min(label_count, tables.labels_max)
    cdef uint32_t depth, any_found = 0
    for depth in range(1, deepest + 1):
        found[depth].base = found[depth].overlay = 0
        if table_wants(&tables.base, depth, label_count):
            found[depth].base = table_find(&tables.base, hashes[depth])
            any_found |= found[depth].base
    if tables.overlay.header != NULL:
        for depth in range(1, deepest + 1):
            if table_wants(&tables.overlay, depth, label_count):
                found[depth].overlay = table_find(&tables.overlay, hashes[depth])
                any_found |= found[depth].overlay
    return any_found


cdef inline void tables_decide_expected(
    const tables_t *tables,
    const hash128_t *hashes,
    const uint8_t *label_at,
    uint32_t label_count,
    uint16_t qtype,
    int64_t t_ms,
    verdict_t *verdict,
) noexcept nogil:
    """Decide as `tables_decide` does, `hashes` being what `tables_expect` has filled."""
    cdef place_t found[TABLE_LABELS_MAX + 1]
    cdef uint32_t deepest = min(label_count, tables.labels_max)
    cdef uint32_t depth, flags, order
    cdef uint8_t at, denial

    if not find_suffixes(tables, hashes, label_count, found):
        verdict_pass(verdict, CAUSE_NO_MATCH, KIND_UNSPECIFIED, NO_ZONE)
        return

    # Row 1: the protected core, EXACT at the name first, then SUBTREE from the leaf up.
    if deepest == label_count and place_flags(tables, found[deepest]) & POSTING_CORE_EXACT:
        verdict_pass(verdict, CAUSE_PROTECTED_CORE, KIND_EXACT, 0)
        return
    for depth in range(deepest, 0, -1):
        if place_flags(tables, found[depth]) & POSTING_CORE_SUBTREE:
            at = label_at[label_count - depth]
            verdict_pass(verdict, CAUSE_PROTECTED_CORE, KIND_SUBTREE, at)
            return

    # Rows 2 and 3: EXACT at the name, then SUBTREE from the leaf up.
    if deepest == label_count:
        if not qtype_is_of_zones(qtype):
            order = exact_order(tables, found[deepest], t_ms)
            if order != NO_ORDER:
                verdict_block(verdict, KIND_EXACT, DENIAL_NODATA, 0, order)
                return
        if place_flags(tables, found[deepest]) & POSTING_PROTECTED_EXACT:
            verdict_pass(verdict, CAUSE_PROTECTED_LIST, KIND_EXACT, 0)
            return
    for depth in range(deepest, 0, -1):
        flags = place_flags(tables, found[depth])
        order = NO_ORDER
        # DS at the target is its parent zone's.
        if not (flags & POSTING_PASS_INSIDE and qtype_is_of_zones(qtype)) and not (
            depth == label_count and qtype == QTYPE_DS
        ):
            order = subtree_order(tables, found[depth], t_ms)
        if order != NO_ORDER:
            denial = DENIAL_NODATA if flags & POSTING_PASS_INSIDE else DENIAL_NXDOMAIN
            at = label_at[label_count - depth]
            verdict_block(verdict, KIND_SUBTREE, denial, at, order)
            return
        if flags & POSTING_PROTECTED_SUBTREE:
            at = label_at[label_count - depth]
            verdict_pass(verdict, CAUSE_PROTECTED_LIST, KIND_SUBTREE, at)
            return
    verdict_pass(verdict, CAUSE_NO_MATCH, KIND_UNSPECIFIED, NO_ZONE)


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
    `label_count` is at most 127. Reads the labels of `qname`; writes every field of `verdict`.
    """
    cdef hash128_t hashes[TABLE_LABELS_MAX + 1]
    tables_expect(tables, qname, label_at, label_count, hashes)
    tables_decide_expected(tables, hashes, label_at, label_count, qtype, t_ms, verdict)
