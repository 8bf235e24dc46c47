# cython: language_level=3
"""One line of a target list: the fast twin of enforcer.core.target.parse_line.

`line_kind` says yes, or that it cannot tell; the Python twin then decides and finds the words.
So a doubt costs time and never a wrong list. Reads exactly the octets given; never
blocks, allocates or calls Python.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, strlen

# The values of enforcer.core.target.TargetKind; 0 is a doubt.
cdef enum:
    LINE_UNSURE = 0
    LINE_EXACT = 1
    LINE_SUBTREE = 2
    LINE_IP = 3
    LINE_NET = 4

cdef enum:
    NAME_TEXT_BYTES_MAX = 253
    LINE_BYTES_MAX = 261  # "subtree " and the longest name
    ADDRESS_TEXT_BYTES_MAX = 45  # INET6_ADDRSTRLEN of POSIX, its NUL taken off

# enforcer.core.network.PREFIX_LENGTH_MIN
cdef enum:
    PREFIX_LENGTH_MIN_4 = 16
    PREFIX_LENGTH_MIN_6 = 32

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    int inet_pton(int family, const char *text, void *address) noexcept
    const char *inet_ntop(int family, const void *address, char *text, uint32_t size) noexcept


cdef inline bint octet_is_digit(uint8_t octet) noexcept nogil:
    return c"0" <= octet <= c"9"


cdef inline bint octet_is_of_name(uint8_t octet) noexcept nogil:
    return (
        c"a" <= octet <= c"z" or octet_is_digit(octet) or octet == c"-" or octet == c"_"
    )


cdef inline bint name_is_canonical(const uint8_t *text, size_t size) noexcept nogil:
    """Tell whether `text` is two labels or more of [a-z0-9_-], the last not all digits."""
    cdef size_t at, label_at = 0
    cdef bint is_number = True
    if size == 0 or size > NAME_TEXT_BYTES_MAX:
        return False
    for at in range(size):
        if text[at] == c".":
            if not (1 <= at - label_at <= 63):
                return False
            label_at = at + 1
            is_number = True
        elif not octet_is_of_name(text[at]):
            return False
        elif not octet_is_digit(text[at]):
            is_number = False
    return label_at > 0 and 1 <= size - label_at <= 63 and not is_number


cdef inline int address_bytes(const uint8_t *text, size_t size, uint8_t *address) noexcept nogil:
    """Fill `address` (16 octets of room); return 4 or 16, or 0 unless surely canonical.

    The C library writes RFC 5952 as Python does, but for IPv6 addresses that hold an
    IPv4 one, which it writes with dots: they stay in doubt.
    """
    cdef char given[ADDRESS_TEXT_BYTES_MAX + 1]
    cdef char written[ADDRESS_TEXT_BYTES_MAX + 1]
    cdef bint is_v6
    cdef int family
    if size == 0 or size > ADDRESS_TEXT_BYTES_MAX or memchr(text, 0, size) != NULL:
        return 0
    is_v6 = memchr(text, c":", size) != NULL
    if is_v6 and memchr(text, c".", size) != NULL:
        return 0
    memcpy(given, text, size)
    given[size] = 0
    family = AF_INET6 if is_v6 else AF_INET
    if inet_pton(family, given, address) != 1:
        return 0
    if inet_ntop(family, address, written, sizeof(written)) == NULL:
        return 0
    if strlen(written) != size or memcmp(given, written, size) != 0:
        return 0
    return 16 if is_v6 else 4


cdef inline bint bits_are_zero(const uint8_t *address, int bytes_, int from_bit) noexcept nogil:
    cdef int at = from_bit >> 3
    if from_bit & 7:
        if address[at] & (0xFF >> (from_bit & 7)):
            return False
        at += 1
    while at < bytes_:
        if address[at]:
            return False
        at += 1
    return True


cdef inline bint network_is_canonical(const uint8_t *text, size_t size) noexcept nogil:
    """Tell whether `text` is surely a canonical prefix, neither too short nor one address."""
    cdef const uint8_t *slash = <const uint8_t *> memchr(text, c"/", size)
    cdef uint8_t address[16]
    cdef size_t at, digits
    cdef int bytes_, bits = 0
    if slash == NULL:
        return False
    bytes_ = address_bytes(text, slash - text, address)
    digits = size - (slash - text) - 1
    if bytes_ == 0 or not (1 <= digits <= 3) or slash[1] == c"0":
        return False
    for at in range(1, digits + 1):
        if not octet_is_digit(slash[at]):
            return False
        bits = bits * 10 + (slash[at] - c"0")
    if bits < (PREFIX_LENGTH_MIN_4 if bytes_ == 4 else PREFIX_LENGTH_MIN_6):
        return False
    return bits < bytes_ * 8 and bits_are_zero(address, bytes_, bits)


cdef inline bint line_has_word(
    const uint8_t *line, size_t size, const char *word, size_t word_bytes
) noexcept nogil:
    return size > word_bytes and memcmp(line, word, word_bytes) == 0


cdef inline int line_kind(const uint8_t *line, size_t size) noexcept nogil:
    """Return the kind of a line without its LF, or LINE_UNSURE."""
    cdef uint8_t address[16]
    if line_has_word(line, size, b"exact ", 6):
        return LINE_EXACT if name_is_canonical(line + 6, size - 6) else LINE_UNSURE
    if line_has_word(line, size, b"subtree ", 8):
        return LINE_SUBTREE if name_is_canonical(line + 8, size - 8) else LINE_UNSURE
    if line_has_word(line, size, b"ip ", 3):
        return LINE_IP if address_bytes(line + 3, size - 3, address) else LINE_UNSURE
    if line_has_word(line, size, b"net ", 4):
        return LINE_NET if network_is_canonical(line + 4, size - 4) else LINE_UNSURE
    return LINE_UNSURE
