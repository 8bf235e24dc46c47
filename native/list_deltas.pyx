# cython: language_level=3
"""A target list's delta, made and applied, in pieces: no list and no delta is ever in memory whole.

The texts are mapped files that nobody changes meanwhile; what is written goes into a buffer of the
caller's. A list is believed to be sorted, a delta nothing at all. It runs without the GIL.
"""

from enforcer.errors import InputError

from libc.stdint cimport uint8_t

from delta cimport (
    DELTA_LINE_BYTES_MAX,
    WALK_ABSENT,
    WALK_DONE,
    WALK_FULL,
    WALK_LINE,
    WALK_ORDER,
    WALK_PRESENT,
    WALK_SIGN,
    diff_on,
    diff_t,
    patch_on,
    patch_t,
)
from shared_lines cimport list_t

ROOM_BYTES_MIN = DELTA_LINE_BYTES_MAX

cdef dict PROBLEMS = {
    WALK_LINE: "is too long, empty, or without an end",
    WALK_SIGN: "begins with neither - nor +",
    WALK_ORDER: "is not behind the line before it",
    WALK_ABSENT: "takes out what the list does not have",
    WALK_PRESENT: "adds what the list has",
}


cdef list_t list_of(const uint8_t[::1] text) noexcept:
    if text.shape[0] == 0:
        return list_t(text=NULL, size_bytes=0)
    return list_t(text=&text[0], size_bytes=text.shape[0])


cdef int check_room(const uint8_t[::1] out) except -1:
    if out.shape[0] < DELTA_LINE_BYTES_MAX:
        raise ValueError(f"give room for {DELTA_LINE_BYTES_MAX} octets at least")
    return 0


cdef class Diff:
    """The delta from one checked list to another."""

    cdef diff_t diff
    cdef const uint8_t[::1] base
    cdef const uint8_t[::1] following

    def __init__(self, const uint8_t[::1] base not None, const uint8_t[::1] following not None):
        self.base, self.following = base, following
        self.diff = diff_t(base=list_of(base), following=list_of(following), at=0, following_at=0)

    def fill(self, uint8_t[::1] out not None):
        """Write the next lines of the delta to `out`, and return how many octets; 0 at the end.

        Raises:
            InputError: one of the lists has a line that no list has.
            ValueError: `out` has less than `ROOM_BYTES_MIN` octets.
        """
        cdef size_t written = 0
        cdef int said
        check_room(out)
        with nogil:
            said = diff_on(&self.diff, &out[0], out.shape[0], &written)
        if said != WALK_FULL and said != WALK_DONE:
            raise InputError(
                f"a line of a list {PROBLEMS[said]}",
                advice="Check both lists first.",
                field="target_list",
            )
        return written


cdef class Patch:
    """What a checked list becomes by a delta."""

    cdef patch_t patch
    cdef const uint8_t[::1] base
    cdef const uint8_t[::1] delta

    def __init__(self, const uint8_t[::1] base not None, const uint8_t[::1] delta not None):
        self.base, self.delta = base, delta
        self.patch = patch_t(
            base=list_of(base), delta=list_of(delta), at=0, copy_to=0, go_to=0, delta_at=0,
            added=NULL, former=NULL, added_bytes=0, former_bytes=0, line=0,
        )

    def fill(self, uint8_t[::1] out not None):
        """Write the next octets of the list to `out`, and return how many; 0 at the end.

        Raises:
            InputError: the delta's first line that is none of this list (``line``).
            ValueError: `out` has less than `ROOM_BYTES_MIN` octets.
        """
        cdef size_t written = 0
        cdef int said
        check_room(out)
        with nogil:
            said = patch_on(&self.patch, &out[0], out.shape[0], &written)
        if said != WALK_FULL and said != WALK_DONE:
            raise InputError(
                f"line {self.patch.line} of the delta {PROBLEMS[said]}",
                advice="Fetch the whole list; if it comes again, somebody writes into the feed.",
                field="delta",
                line=self.patch.line,
            )
        return written
