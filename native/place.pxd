# cython: language_level=3
"""One line of a checked list, as the table knows it: a name's hash, or a prefix.

A line that is not what was checked (a file that somebody writes to) is noticed or hashed
wrongly, but nothing outside it is read. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memset

from guard_networks cimport prefix_t, read_prefix
from layout cimport KIND_EXACT, KIND_IP, KIND_NET, KIND_SUBTREE, TABLE_LABELS_MAX
from siphash cimport hash128_t, siphash128


ctypedef struct placed_t:
    hash128_t hash
    const uint8_t *name  # text and size of a name
    size_t name_bytes
    uint8_t kind  # KIND_
    uint32_t depth  # labels of a name
    prefix_t prefix  # of an address or a network


cdef inline size_t label_before(const uint8_t *text, size_t end) noexcept nogil:
    """Return where the label that ends before `end` begins."""
    while end and text[end - 1] != c".":
        end -= 1
    return end


cdef inline uint32_t name_hash(
    const uint8_t *text, size_t size, hash128_t secret, hash128_t *name
) noexcept nogil:
    """Hash a canonical name from the top down; return its labels, 0 when it has too many."""
    cdef size_t at, end = size
    cdef uint32_t depth = 0
    name[0] = secret
    while depth < TABLE_LABELS_MAX:
        at = label_before(text, end)
        name[0] = siphash128(name[0], text + at, end - at)
        depth += 1
        if at == 0:
            return depth
        end = at - 1
    return 0


cdef inline bint place_line(
    const uint8_t *line, size_t size, hash128_t secret, placed_t *placed
) noexcept nogil:
    """Read a line without its LF; tell whether it is one that can be placed."""
    cdef const uint8_t *value = <const uint8_t *> memchr(line, c" ", size)
    cdef size_t value_bytes
    memset(placed, 0, sizeof(placed_t))
    if value == NULL:
        return False
    value += 1
    value_bytes = size - (value - line)
    if value_bytes == 0:
        return False
    if line[0] == c"i" or line[0] == c"n":
        placed.kind = KIND_IP if line[0] == c"i" else KIND_NET
        return read_prefix(value, value_bytes, &placed.prefix) and placed.prefix.length > 0
    if line[0] != c"e" and line[0] != c"s":
        return False
    placed.kind = KIND_EXACT if line[0] == c"e" else KIND_SUBTREE
    placed.name = value
    placed.name_bytes = value_bytes
    placed.depth = name_hash(value, value_bytes, secret, &placed.hash)
    return placed.depth != 0
