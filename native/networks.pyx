# cython: language_level=3
"""Addresses of many orders as disjoint pieces: what a firewall is to hold.

:class:`Networks` keeps the targets of the orders in force, sorted, without a Python object per
target, so that an order that begins is read once and one that ends is not read again. The
pieces agree with core.verdict.decide_flow: who decides at an address has it in a piece, and
what passes is in none. Not to be used by two threads at once: the work is done without the GIL.
"""

from enforcer._native.scanner import scan
from enforcer.core.firewall import PIECES_MAX, ROW_INDEX_MAX, Pieces
from enforcer.core.target import NAME_KINDS
from enforcer.core.verdict import CUTTING
from enforcer.errors import InputError, IntegrityError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort

from guard_networks cimport prefix_t, read_prefix
from pieces cimport *
from shared_lines cimport PART_IP, PART_NET, PARTS, find_parts, line_end, list_t, part_t

cdef enum:
    FAMILIES = 2
    MAPPED_LENGTH = 96  # IPv4-mapped addresses: they are IPv4 ones (RFC 4291 §2.5.5.2)


cdef bint read_runs(
    const list_t *text, uint32_t row, uint8_t role, run_t *runs
) noexcept nogil:
    """Read the addresses and prefixes of a list into runs with room for them; sort them."""
    cdef part_t parts[PARTS]
    cdef prefix_t prefix
    cdef size_t at, end
    cdef run_t *run
    cdef int part
    find_parts(text, parts)
    for part in range(PART_IP, PART_NET + 1):
        at = parts[part].at
        while at < parts[part].end:
            end = line_end(text, at)
            at += parts[part].word_bytes
            if at >= end or not read_prefix(text.text + at, end - at, &prefix):
                return False
            run = runs + (prefix.family == 6)
            entry_of(run.entries + run.count, &prefix, row, role)
            run.count += 1
            at = end + 1
    for part in range(FAMILIES):
        qsort(runs[part].entries, runs[part].count, sizeof(entry_t), compare_entries)
    return True


cdef void merge_runs(const run_t *one, const run_t *other, run_t *out) noexcept nogil:
    """Merge two sorted runs into one with room for both."""
    cdef uint64_t at = 0, other_at = 0
    out.count = 0
    while at < one.count or other_at < other.count:
        if other_at == other.count or (
            at < one.count
            and compare_entries(one.entries + at, other.entries + other_at) <= 0
        ):
            out.entries[out.count] = one.entries[at]
            at += 1
        else:
            out.entries[out.count] = other.entries[other_at]
            other_at += 1
        out.count += 1


cdef uint64_t drop_row(run_t *run, uint32_t row) noexcept nogil:
    """Take what stands under `row` out of a run; return how many entries that were."""
    cdef uint64_t at, left = 0, dropped
    for at in range(run.count):
        if run.entries[at].role < ROLE_ROW or run.entries[at].row != row:
            run.entries[left] = run.entries[at]
            left += 1
    dropped = run.count - left
    run.count = left
    return dropped


cdef class Networks:
    """The targets of orders in force that are addresses, and what passes whatever they say."""

    cdef run_t runs[FAMILIES]
    cdef object measures  # by row
    cdef bint is_working

    def __cinit__(
        self,
        *,
        const uint8_t[::1] core=None,
        const uint8_t[::1] protected=None,
        local=(),
    ):
        """Begin with no order. `core` and `protected` are list texts; `local` networks.

        Raises:
            InputError: a text is not canonical.
        """
        self.measures = {}
        if core is not None:
            self.read(core, 0, ROLE_CORE, ())
        if protected is not None:
            self.read(protected, 0, ROLE_PROTECTED, ())
        self.pass_networks(local)

    def __dealloc__(self):
        free(self.runs[0].entries)
        free(self.runs[1].entries)

    @property
    def rows(self):
        """The rows that are held and their measures, ascending."""
        return dict(sorted(self.measures.items()))

    @property
    def entry_count(self):
        """How many addresses and prefixes are held, protections included."""
        return self.runs[0].count + self.runs[1].count

    def add(self, row, measure, const uint8_t[::1] text not None, *, overrides=()):
        """Add the addresses and prefixes of one order; its names are not looked at.

        `row` is its ledger index, `overrides` the protected Targets that it goes beyond.

        Raises:
            InputError: the text is not canonical, the measure is none of packets, or the row is
                out of bounds or here already. Nothing was changed.
            IntegrityError: the text changed while it was read; the same.
        """
        if measure not in CUTTING:
            raise input_error(f"the measure of row {row} is none of packets", row)
        if not 0 < row <= ROW_INDEX_MAX - 1 or row in self.measures:
            raise input_error(f"there is a row {row} already, or it is out of bounds", row)
        self.read(text, row, ROLE_ROW, overrides)
        self.measures[row] = measure

    def remove(self, row):
        """Take one order out, without its list; tell whether it was here."""
        cdef uint32_t number
        if self.measures.pop(row, None) is None:
            return False
        number = row
        self.begin()
        with nogil:
            drop_row(&self.runs[0], number)
            drop_row(&self.runs[1], number)
        self.is_working = False
        return True

    def pieces(self):
        """Return the Pieces of all that is held.

        Raises:
            InputError: there are over PIECES_MAX.
        """
        self.begin()
        try:
            return Pieces(self.flat(0, 4), self.flat(1, 16))
        finally:
            self.is_working = False

    cdef int begin(self) except -1:
        if self.is_working:
            raise RuntimeError("two threads use these networks at once")
        self.is_working = True
        return 0

    cdef bytes flat(self, int family, uint32_t octets):
        cdef walk_t walk
        cdef const run_t *run = self.runs + family
        cdef bytes packed
        walk.octets = octets
        walk.out = NULL
        with nogil:
            walk_all(&walk, run.entries, run.count)
        if walk.count > <uint64_t> PIECES_MAX:
            raise InputError(
                f"the orders cut one another into {walk.count} pieces, over {PIECES_MAX}",
                advice="Let large orders end, or put their targets into one order.",
                pieces=walk.count,
                pieces_max=PIECES_MAX,
            )
        packed = PyBytes_FromStringAndSize(NULL, walk.count * (2 * octets + 4))
        walk.out = <uint8_t *> PyBytes_AS_STRING(packed)
        with nogil:
            walk_all(&walk, run.entries, run.count)
        return packed

    cdef int read(self, const uint8_t[::1] text, row, uint8_t role, overrides) except -1:
        """Read a list and merge what it holds into the runs."""
        cdef list_t of
        cdef run_t fresh[FAMILIES]
        cdef uint32_t number = row
        cdef uint64_t room
        cdef bint is_read = False
        room = scan(text, allow_empty=True).address_count
        if room == 0:
            return 0
        of = list_t(text=&text[0], size_bytes=text.shape[0])
        self.begin()
        take_runs(fresh, room)
        try:
            with nogil:
                is_read = read_runs(&of, number, role, fresh)
            if not is_read or fresh[0].count + fresh[1].count != room:
                raise IntegrityError(
                    "a target list changed while it was read",
                    advice="Find what writes to the lists of the ledger, and try again.",
                )
            for target in overrides:
                if target.kind not in NAME_KINDS:
                    mark_overriding(fresh, number, target.value.encode("ascii"))
            self.merge(fresh)
        finally:
            free(fresh[0].entries)
            free(fresh[1].entries)
            self.is_working = False
        return 0

    cdef int pass_networks(self, local) except -1:
        """Let the operator's own networks pass, and IPv4-mapped addresses, which are none."""
        cdef run_t fresh[FAMILIES]
        cdef prefix_t prefix
        cdef run_t *run
        networks = list(local)
        take_runs(fresh, len(networks) + 1)
        for network in networks:
            value = int(network.network_address) << (128 - network.max_prefixlen)
            prefix.high = value >> 64
            prefix.low = value & 0xFFFFFFFFFFFFFFFF
            prefix.length = network.prefixlen
            prefix.family = network.version
            run = fresh + (prefix.family == 6)
            entry_of(run.entries + run.count, &prefix, 0, ROLE_CORE)
            run.count += 1
        prefix = prefix_t(high=0, low=<uint64_t> 0xFFFF << 32, length=MAPPED_LENGTH, family=6)
        entry_of(fresh[1].entries + fresh[1].count, &prefix, 0, ROLE_CORE)
        fresh[1].count += 1
        try:
            for at in range(FAMILIES):
                qsort(fresh[at].entries, fresh[at].count, sizeof(entry_t), compare_entries)
            self.merge(fresh)
        finally:
            free(fresh[0].entries)
            free(fresh[1].entries)
        return 0

    cdef int merge(self, run_t *fresh) except -1:
        cdef run_t merged[FAMILIES]
        cdef int family
        for family in range(FAMILIES):
            merged[family].entries = <entry_t *> malloc(
                (self.runs[family].count + fresh[family].count + 1) * sizeof(entry_t)
            )
        if merged[0].entries == NULL or merged[1].entries == NULL:
            free(merged[0].entries)
            free(merged[1].entries)
            raise MemoryError
        with nogil:
            for family in range(FAMILIES):
                merge_runs(&self.runs[family], &fresh[family], &merged[family])
                free(self.runs[family].entries)
                self.runs[family] = merged[family]
        return 0


cdef int take_runs(run_t *runs, uint64_t room) except -1:
    """Take memory for empty runs, `room` entries in each: untouched pages cost nothing."""
    runs[0].count = runs[1].count = 0
    runs[0].entries = <entry_t *> malloc((room + 1) * sizeof(entry_t))
    runs[1].entries = <entry_t *> malloc((room + 1) * sizeof(entry_t))
    if runs[0].entries == NULL or runs[1].entries == NULL:
        free(runs[0].entries)
        free(runs[1].entries)
        raise MemoryError
    return 0


cdef int mark_overriding(run_t *runs, uint32_t row, bytes value) except -1:
    """Note that the row goes beyond the protection of this very target, if it has it."""
    cdef prefix_t prefix
    cdef entry_t wanted
    if read_prefix(value, len(value), &prefix):
        entry_of(&wanted, &prefix, row, ROLE_ROW)
        run_mark(runs + (prefix.family == 6), &wanted)
    return 0


def flatten(orders, *, core=None, protected=None, local=(), overrides=()):
    """Return the Pieces of orders in force: (row, measure, list text), in any order.

    `overrides` are (row, Target), as core.verdict.Rules takes them; the rest as Networks does.

    Raises:
        InputError, IntegrityError: as Networks does.
    """
    networks = Networks(core=core, protected=protected, local=local)
    beyond = {}
    for row, target in overrides:
        beyond.setdefault(row, []).append(target)
    for row, measure, text in orders:
        networks.add(row, measure, text, overrides=beyond.get(row, ()))
    return networks.pieces()


cdef object input_error(what, row):
    return InputError(what, advice="Report this: the node makes what it sends.", row=row)
