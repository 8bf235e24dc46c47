# cython: language_level=3
"""What fires at one line of a list: the fast twin of core.guards.check_target.

Reads the index and the line; writes only what it found, for which there is room for each piece
of evidence. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp

from guard_names cimport (
    KEY_BYTES_MAX, NO_NODE, RULE_CORE_EXACT, RULE_CORE_SUBTREE, RULE_ICANN_EXCEPTION,
    RULE_ICANN_PLAIN, RULE_ICANN_WILDCARD, RULE_PRIVATE_EXCEPTION, RULE_PRIVATE_PLAIN,
    RULE_PRIVATE_WILDCARD, RULE_PROTECTED_EXACT, RULE_PROTECTED_SUBTREE, find_near, key_is_begun,
    name_key, name_node_t, near_t,
)
from guard_networks cimport (
    contains, last_network_until, network_node_t, prefix_t, read_prefix,
)
from line cimport NAME_TEXT_BYTES_MAX

# The values of enforcer.core.guard.Guard.
cdef enum:
    PUBLIC_SUFFIX = 1
    PRIVATE_SUFFIX = 2
    PROTECTED_CORE = 3
    PROTECTED_NAME = 4
    PROTECTED_NETWORK = 5
    SPECIAL_NETWORK = 6
    SHARED_RANGE = 7
    EMERGENCY_REPEATED = 9
    ADMINISTRATIVE_TIME = 10
    STOPPED_BEFORE = 11
    HIDDEN_BEFORE = 14
    GUARDS = 16


ctypedef struct index_t:
    name_node_t *names
    int32_t name_count
    network_node_t *networks
    int32_t network_count


ctypedef struct found_t:
    uint32_t guard
    uint32_t evidence


ctypedef struct finds_t:
    # What fires at one line, ascending by guard.
    found_t *found
    uint32_t count


cdef inline void find(finds_t *finds, uint32_t guard, uint32_t evidence) noexcept nogil:
    finds.found[finds.count].guard = guard
    finds.found[finds.count].evidence = evidence
    finds.count += 1


cdef inline int32_t suffix_node(
    const near_t *near, int32_t below, int plain, int wildcard, int exception
) noexcept nogil:
    """Return the rule by which a name is a suffix, or else `below`."""
    if near.at[plain] != NO_NODE:
        return near.at[plain]
    if near.parent[wildcard] != NO_NODE and near.at[exception] == NO_NODE:
        return near.parent[wildcard]
    return near.at[wildcard] if near.at[wildcard] != NO_NODE else below


cdef inline void guard_name(
    finds_t *finds, const index_t *index, const uint8_t *name, size_t size, bint is_subtree
) noexcept nogil:
    """Find what fires at a name of at most 253 octets, as core.guards._check_name says it."""
    cdef uint8_t key[KEY_BYTES_MAX]
    cdef uint16_t key_bytes = name_key(name, size, key)
    cdef const uint8_t *dot = <const uint8_t *> memchr(name, c".", size)
    cdef uint16_t first = <uint16_t> (size if dot == NULL else dot - name)
    cdef const name_node_t *names = index.names
    cdef near_t near
    cdef int32_t at, icann = NO_NODE, private = NO_NODE
    cdef uint8_t rule
    find_near(names, index.name_count, key, key_bytes, key_bytes - first - 1, &near)
    at = near.below
    while at < index.name_count and key_is_begun(names + at, key, key_bytes):
        rule = names[at].rule
        if icann == NO_NODE and (rule == RULE_ICANN_PLAIN or rule == RULE_ICANN_WILDCARD):
            icann = at
        if private == NO_NODE and (rule == RULE_PRIVATE_PLAIN or rule == RULE_PRIVATE_WILDCARD):
            private = at
        at += 1
    at = suffix_node(&near, icann, RULE_ICANN_PLAIN, RULE_ICANN_WILDCARD, RULE_ICANN_EXCEPTION)
    if at != NO_NODE:
        find(finds, PUBLIC_SUFFIX, names[at].evidence)
    at = suffix_node(
        &near, private, RULE_PRIVATE_PLAIN, RULE_PRIVATE_WILDCARD, RULE_PRIVATE_EXCEPTION
    )
    if is_subtree and at != NO_NODE:
        find(finds, PRIVATE_SUFFIX, names[at].evidence)
    at = near.at[RULE_CORE_EXACT]
    if at == NO_NODE:
        at = near.at[RULE_CORE_SUBTREE]
    if at == NO_NODE:
        at = near.above[RULE_CORE_SUBTREE]
    if at != NO_NODE:
        find(finds, PROTECTED_CORE, names[at].evidence)
    if near.at[RULE_PROTECTED_EXACT] != NO_NODE:
        find(finds, PROTECTED_NAME, names[near.at[RULE_PROTECTED_EXACT]].evidence)
    if near.at[RULE_PROTECTED_SUBTREE] != NO_NODE:
        find(finds, PROTECTED_NAME, names[near.at[RULE_PROTECTED_SUBTREE]].evidence)
    elif near.at[RULE_PROTECTED_EXACT] == NO_NODE and near.above[RULE_PROTECTED_SUBTREE] != NO_NODE:
        find(finds, PROTECTED_NAME, names[near.above[RULE_PROTECTED_SUBTREE]].evidence)
    if not is_subtree:
        return
    at = near.below
    while at < index.name_count and key_is_begun(names + at, key, key_bytes):
        if names[at].rule <= RULE_PROTECTED_SUBTREE:
            find(finds, PROTECTED_NAME, names[at].evidence)
        at += 1


cdef inline void guard_network(
    finds_t *finds, const index_t *index, const prefix_t *prefix
) noexcept nogil:
    """Find what fires at an address or a prefix, as core.guards._check_network says it."""
    cdef const network_node_t *nodes = index.networks
    cdef int32_t start = last_network_until(nodes, index.network_count, prefix), at = start
    cdef int32_t around[GUARDS]
    cdef int guard
    for guard in range(GUARDS):
        around[guard] = NO_NODE
    while at != NO_NODE:
        if around[nodes[at].guard] == NO_NODE and contains(&nodes[at].prefix, prefix):
            around[nodes[at].guard] = at
        at = nodes[at].parent
    for guard in range(PROTECTED_CORE, SHARED_RANGE + 1):
        if around[guard] != NO_NODE:
            find(finds, guard, nodes[around[guard]].evidence)
            if guard != PROTECTED_NETWORK:
                continue
        at = start + 1
        while at < index.network_count and contains(prefix, &nodes[at].prefix):
            if nodes[at].guard == guard:
                find(finds, guard, nodes[at].evidence)
                if guard != PROTECTED_NETWORK:
                    break
            at += 1


cdef inline bint guard_line(
    finds_t *finds, const index_t *index, const uint8_t *line, size_t size
) noexcept nogil:
    """Find what the words of a line make fire; False: this is no line of a checked list."""
    cdef prefix_t prefix
    if size > 8 and memcmp(line, b"subtree ", 8) == 0 and size - 8 <= NAME_TEXT_BYTES_MAX:
        guard_name(finds, index, line + 8, size - 8, True)
        return True
    if size > 6 and memcmp(line, b"exact ", 6) == 0 and size - 6 <= NAME_TEXT_BYTES_MAX:
        guard_name(finds, index, line + 6, size - 6, False)
        return True
    if size > 3 and memcmp(line, b"ip ", 3) == 0:
        line += 3
        size -= 3
    elif size > 4 and memcmp(line, b"net ", 4) == 0:
        line += 4
        size -= 4
    else:
        return False
    if not read_prefix(line, size, &prefix):
        return False
    guard_network(finds, index, &prefix)
    return True
