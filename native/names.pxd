"""Names inside a message: proven where they come in, expanded where they are judged.

`prove_name` refuses what is no name; `expand_name` reads only names that it let through. A
compression pointer must lead before the run of labels that it ends (RFC 1035 §4.1.4): so each
one leads further back and every name ends. No allocation, no lock; work per name is bounded.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from wire cimport (
    HEADER_OCTETS, LABEL_OCTETS_MAX, LABELS_MAX, NAME_OCTETS_MAX, get16, lower,
)

cdef enum:
    NAME_POINTERS_MAX = 127  # followed for one name: one for each label it can have
    POINTER_REACH = 0x4000   # offsets that a compression pointer can name
    STARTS_OCTETS = 0x800    # a bit for each of them


cdef struct WireName:
    # A name expanded, in the shape of Query's.
    uint8_t name_octets                # the root included
    uint8_t label_count                # without the root
    uint8_t label_at[LABELS_MAX + 1]   # where each label starts; the last is the root
    uint8_t name[NAME_OCTETS_MAX + 1]  # lower case


cdef struct Proof:
    # What is carried along while a message is read.
    const uint8_t *wire
    size_t length
    uint8_t is_plain             # all pointers lead to where a name or a label was seen to start
    uint8_t starts[STARTS_OCTETS]  # those places, one bit each


cdef inline size_t prove_name(Proof *proof, size_t at, size_t stop) noexcept nogil:
    """Return where the name at `at` ends, at most `stop`; 0 if it is no name.

    Pointers must lead before the run of labels that they end, so each one leads further back;
    the expanded name must have at most 255 octets.
    """
    cdef const uint8_t *wire = proof.wire
    cdef size_t end = 0, size = 0, run = at, target
    cdef uint32_t pointers = 0
    cdef uint8_t octets
    while at < stop:
        octets = wire[at]
        if end == 0 and at < POINTER_REACH:
            proof.starts[at >> 3] |= <uint8_t> (1 << (at & 7))
        if octets == 0:
            return end if end else at + 1
        if octets & 0xC0 == 0xC0:
            if at + 2 > stop or pointers == NAME_POINTERS_MAX:
                return 0
            target = get16(wire + at) & 0x3FFF
            if target < HEADER_OCTETS or target >= run:
                return 0
            if not (proof.starts[target >> 3] >> (target & 7)) & 1:
                proof.is_plain = 0
            if end == 0:
                end = at + 2
                stop = end  # what is pointed to lies before
            at = run = target
            pointers += 1
            continue
        size += octets + 1
        if octets > LABEL_OCTETS_MAX or size + 1 > NAME_OCTETS_MAX:
            return 0
        at += octets + 1
    return 0


cdef inline bint is_written_out(const uint8_t *wire, size_t at) noexcept nogil:
    """Tell whether the proven name at `at` has no pointer, as a TargetName must (RFC 9460 §2.2)."""
    while wire[at]:
        if wire[at] > LABEL_OCTETS_MAX:
            return False
        at += wire[at] + 1
    return True


cdef inline void expand_name(const uint8_t *wire, size_t at, WireName *out) noexcept nogil:
    """Write the proven name at `at` into `out`, in lower case."""
    cdef uint32_t size = 0, labels = 0, left
    while wire[at]:
        if wire[at] > LABEL_OCTETS_MAX:
            at = get16(wire + at) & 0x3FFF
            continue
        out.label_at[labels] = <uint8_t> size
        labels += 1
        left = wire[at]
        out.name[size] = <uint8_t> left
        size += 1
        at += 1
        while left:
            out.name[size] = lower(wire[at])
            size += 1
            at += 1
            left -= 1
    out.label_at[labels] = <uint8_t> size
    out.name[size] = 0
    out.label_count = <uint8_t> labels
    out.name_octets = <uint8_t> (size + 1)


cdef inline bint names_equal(const WireName *one, const WireName *other) noexcept nogil:
    return (
        one.name_octets == other.name_octets
        and memcmp(one.name, other.name, one.name_octets) == 0
    )


cdef inline bint name_is_below(const WireName *name, const WireName *zone) noexcept nogil:
    """Tell whether `name` has more labels than `zone` and ends in it."""
    if name.label_count <= zone.label_count:
        return False
    cdef uint8_t at = name.label_at[name.label_count - zone.label_count]
    return (
        name.name_octets - at == zone.name_octets
        and memcmp(name.name + at, zone.name, zone.name_octets) == 0
    )


cdef inline bint replace_suffix(
    const WireName *name, const WireName *zone, const WireName *target, WireName *out
) noexcept nogil:
    """Put `target` in the place of `zone`, which `name` is below (RFC 6672 §2.2).

    False if that has over 255 octets: then `out` is no name.
    """
    cdef uint32_t kept = name.label_count - zone.label_count
    cdef uint8_t at = name.label_at[kept]
    cdef uint32_t i
    if at + target.name_octets > NAME_OCTETS_MAX:
        return False
    memcpy(out.name, name.name, at)
    memcpy(out.name + at, target.name, target.name_octets)
    memcpy(out.label_at, name.label_at, kept)
    for i in range(target.label_count + 1):
        out.label_at[kept + i] = at + target.label_at[i]
    out.label_count = <uint8_t> (kept + target.label_count)
    out.name_octets = at + target.name_octets
    return True
