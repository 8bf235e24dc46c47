# cython: language_level=3
"""What was decided about a name or an address, in the words of enforcer.core.verdict."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from layout cimport *


ctypedef struct verdict_t:
    uint8_t action
    uint8_t cause
    uint8_t kind
    uint8_t denial
    uint8_t zone_at  # octet of the qname where the deciding suffix begins, or NO_ZONE
    uint8_t prefix_length  # of the network that decided; 0 where a name did, or nothing
    uint32_t order  # row in tables_t.orders, or NO_ORDER


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
