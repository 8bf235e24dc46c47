# cython: language_level=3
"""Which pinned names stand at, above and below a name: a sorted array, searched by halves.

A key is a name's labels from the top, a zero octet behind each: a name's key begins the key of
each name below it, and of no other. Reads the index and the name given; writes only what it
found. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from place cimport label_before

cdef enum:
    KEY_BYTES_MAX = 254  # 253 of the text, and the zero octet that it has one dot less for
    NO_NODE = -1

# What a node says of its name, in the order of core.guards where several say something.
cdef enum:
    RULE_CORE_EXACT = 1
    RULE_PROTECTED_EXACT = 2
    RULE_CORE_SUBTREE = 3
    RULE_PROTECTED_SUBTREE = 4
    RULE_ICANN_PLAIN = 5
    RULE_ICANN_WILDCARD = 6
    RULE_ICANN_EXCEPTION = 7
    RULE_PRIVATE_PLAIN = 8
    RULE_PRIVATE_WILDCARD = 9
    RULE_PRIVATE_EXCEPTION = 10
    RULES = 11


ctypedef struct name_node_t:
    const uint8_t *key
    uint16_t key_bytes
    uint8_t rule  # RULE_
    int32_t parent  # the node before at the same name, else the nearest above it, else NO_NODE
    uint32_t evidence


ctypedef struct near_t:
    # Nodes by RULE_, or NO_NODE.
    int32_t at[RULES]  # at the name
    int32_t above[RULES]  # nearest above it
    int32_t parent[RULES]  # one label above it
    int32_t below  # the first below it, if it is below


cdef inline uint16_t name_key(const uint8_t *name, size_t size, uint8_t *key) noexcept nogil:
    """Write the key of a canonical name of at most 253 octets; return its octets."""
    cdef size_t at, end = size
    cdef uint16_t written = 0
    while True:
        at = label_before(name, end)
        memcpy(key + written, name + at, end - at)
        written += <uint16_t> (end - at)
        key[written] = 0
        written += 1
        if at == 0:
            return written
        end = at - 1


cdef inline bint key_begins(
    const name_node_t *node, const uint8_t *key, uint16_t key_bytes
) noexcept nogil:
    """Tell whether the node is at or above the name of `key`."""
    return node.key_bytes <= key_bytes and memcmp(node.key, key, node.key_bytes) == 0


cdef inline bint key_is_begun(
    const name_node_t *node, const uint8_t *key, uint16_t key_bytes
) noexcept nogil:
    """Tell whether the node is at or below the name of `key`."""
    return node.key_bytes >= key_bytes and memcmp(node.key, key, key_bytes) == 0


cdef inline int32_t last_until(
    const name_node_t *nodes, int32_t count, const uint8_t *key, uint16_t key_bytes
) noexcept nogil:
    """Return the last node whose key is not behind `key`, or NO_NODE."""
    cdef int32_t low = 0, high = count, middle
    cdef int order
    cdef uint16_t common
    while low < high:
        middle = low + (high - low) // 2
        common = nodes[middle].key_bytes
        common = common if common < key_bytes else key_bytes
        order = memcmp(nodes[middle].key, key, common)
        if order < 0 or (order == 0 and nodes[middle].key_bytes <= key_bytes):
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef inline void find_near(
    const name_node_t *nodes,
    int32_t count,
    const uint8_t *key,
    uint16_t key_bytes,
    uint16_t parent_bytes,
    near_t *near,
) noexcept nogil:
    """Fill `near`; `parent_bytes` is how much of the key is the name one label above."""
    cdef int32_t at = last_until(nodes, count, key, key_bytes)
    cdef int rule
    for rule in range(RULES):
        near.at[rule] = near.above[rule] = near.parent[rule] = NO_NODE
    near.below = at + 1
    while at != NO_NODE:
        rule = nodes[at].rule
        if key_begins(nodes + at, key, key_bytes):
            if nodes[at].key_bytes == key_bytes:
                near.at[rule] = at
            else:
                if near.above[rule] == NO_NODE:
                    near.above[rule] = at
                if nodes[at].key_bytes == parent_bytes:
                    near.parent[rule] = at
        at = nodes[at].parent
