# cython: language_level=3
"""One line of a checked list, as the table knows it: its hash, and what kind of target it is.

A line that is not what was checked (a file that somebody writes to) is noticed or hashed
wrongly, but nothing outside it is read. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy

from layout cimport KIND_EXACT, KIND_IP, KIND_NET, KIND_SUBTREE, TABLE_LABELS_MAX
from line cimport ADDRESS_TEXT_BYTES_MAX, AF_INET, AF_INET6, inet_pton, octet_is_digit
from prefix cimport OCTETS_4, OCTETS_6, prefix_hash
from siphash cimport hash128_t, siphash128


ctypedef struct keys_t:
    hash128_t secret  # of the table
    hash128_t prefix_key  # under it


ctypedef struct placed_t:
    hash128_t hash
    const uint8_t *name  # text and size of a name
    size_t name_bytes
    uint8_t kind  # KIND_
    uint32_t depth  # labels of a name
    uint32_t family  # 0 IPv4, 1 IPv6
    uint32_t length  # bits of a prefix


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


cdef inline bint place_prefix(
    const uint8_t *text, size_t size, const keys_t *keys, placed_t *placed
) noexcept nogil:
    """Read an address, or a prefix with its length; tell whether it is one."""
    cdef const uint8_t *slash = <const uint8_t *> memchr(text, c"/", size)
    cdef size_t at, address_size = size if slash == NULL else slash - text
    cdef char address_text[ADDRESS_TEXT_BYTES_MAX + 1]
    cdef uint8_t address[OCTETS_6]
    cdef uint32_t octets
    if address_size > ADDRESS_TEXT_BYTES_MAX or (slash != NULL and size - address_size > 4):
        return False
    memcpy(address_text, text, address_size)
    address_text[address_size] = 0
    placed.family = memchr(text, c":", address_size) != NULL
    octets = OCTETS_6 if placed.family else OCTETS_4
    if inet_pton(AF_INET6 if placed.family else AF_INET, address_text, address) != 1:
        return False
    placed.length = octets * 8
    if slash != NULL:
        placed.length = 0
        for at in range(address_size + 1, size):
            if not octet_is_digit(text[at]):
                return False
            placed.length = placed.length * 10 + (text[at] - c"0")
    if not 1 <= placed.length <= octets * 8:
        return False
    placed.hash = prefix_hash(keys.prefix_key, address, octets, placed.length)
    return True


cdef inline bint place_line(
    const uint8_t *line, size_t size, const keys_t *keys, placed_t *placed
) noexcept nogil:
    """Read a line without its LF; tell whether it is one that can be placed."""
    cdef const uint8_t *value = <const uint8_t *> memchr(line, c" ", size)
    cdef size_t value_bytes
    placed.depth = placed.family = placed.length = 0
    if value == NULL:
        return False
    value += 1
    value_bytes = size - (value - line)
    if value_bytes == 0:
        return False
    if line[0] == c"i" or line[0] == c"n":
        placed.kind = KIND_IP if line[0] == c"i" else KIND_NET
        return place_prefix(value, value_bytes, keys, placed)
    if line[0] != c"e" and line[0] != c"s":
        return False
    placed.kind = KIND_EXACT if line[0] == c"e" else KIND_SUBTREE
    placed.name = value
    placed.name_bytes = value_bytes
    placed.depth = name_hash(value, value_bytes, keys.secret, &placed.hash)
    return placed.depth != 0
