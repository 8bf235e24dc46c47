# cython: language_level=3
"""Guards over whole target lists, without a Python object per target: core.guards' fast twin.

A :class:`GuardIndex` is made once of the pinned data; :meth:`GuardIndex.scan` reads one list
without the GIL, and writes its report line by line into memory that is taken beforehand.
Refuses a list with a line that it cannot read; it must have been checked before.
"""

from dataclasses import dataclass

from enforcer._native.windows import windows
from enforcer.errors import InputError

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy

from covers cimport count_lines, fill_wides, mark_covered, wide_t, wides_t
from guard_find cimport (
    EMERGENCY_REPEATED, GUARDS, HIDDEN_BEFORE, SHARED_RANGE, STOPPED_BEFORE, found_t, index_t,
)
from guard_names cimport KEY_BYTES_MAX, NO_NODE, key_begins, name_node_t
from guard_networks cimport contains, network_node_t, prefix_t
from guard_scan cimport GUARD_NAME_BYTES_MAX, guard_scan_t, past_t, scan_all
from shared_lines cimport (
    PART_NET, PART_SUBTREE, PARTS, find_parts, list_t, mark_past, number_on, numbering_t, part_t,
)

cdef enum:
    SLOTS_MIN = 16


@dataclass(frozen=True)
class ScanFound:
    """What was found: by guard, how many lines, and all distinct evidence."""

    counts: dict
    evidence: dict
    report: bytes
    left_out: int


cdef list_t list_of(const uint8_t[::1] text) noexcept:
    cdef list_t made
    made.text = &text[0] if text.shape[0] else NULL
    made.size_bytes = text.shape[0]
    return made


cdef class _Wides:
    """The subtrees and prefixes of one list, whose text must stay where it is."""

    cdef wides_t wides

    cdef int take(self, const list_t *of, const part_t *parts) except -1:
        """Read the list; `parts` may be without line numbers where nobody asks for lines."""
        cdef uint64_t count, slots = SLOTS_MIN
        with nogil:
            count = count_lines(of, parts + PART_NET) + count_lines(of, parts + PART_SUBTREE)
        if count == 0:
            return 0
        while slots < 2 * count:
            slots *= 2
        self.wides.slots = <wide_t *> PyMem_Calloc(slots, sizeof(wide_t))
        if self.wides.slots == NULL:
            raise MemoryError
        self.wides.slot_count = slots
        self.wides.of = of[0]
        with nogil:
            fill_wides(&self.wides, parts)
        return 0

    def __dealloc__(self):
        PyMem_Free(self.wides.slots)


def shared_lines(const uint8_t[::1] text not None, const uint8_t[::1] other not None):
    """Return how many lines of `text` share a target with `other`: one covers the other."""
    names = [b""] * GUARDS
    scan = _Scan(GuardIndex((), ()), text, names, 0)
    return scan.count_shared(other)


cdef class _Texts:
    """Texts one behind the other, by number: with tens of thousands of them no objects are kept."""

    cdef uint8_t *octets
    cdef size_t *ends
    cdef size_t count, room, octets_room

    def __dealloc__(self):
        PyMem_Free(self.octets)
        PyMem_Free(self.ends)

    cdef int add(self, bytes text) except -1:
        """Take a text; it becomes the next number, and what was taken before may move."""
        cdef size_t begin = self.ends[self.count - 1] if self.count else 0
        cdef size_t end = begin + <size_t> len(text)
        self.ends = <size_t *> grown(self.ends, &self.room, self.count + 1, sizeof(size_t))
        self.octets = <uint8_t *> grown(self.octets, &self.octets_room, end + 1, 1)
        memcpy(self.octets + begin, <const char *> text, len(text))
        self.ends[self.count] = end
        self.count += 1
        return 0

    cdef const uint8_t *at(self, size_t number) noexcept:
        return self.octets + (self.ends[number - 1] if number else 0)

    cdef size_t size(self, size_t number) noexcept:
        return self.ends[number] - (self.ends[number - 1] if number else 0)


cdef void *grown(void *block, size_t *room, size_t count, size_t octets) except NULL:
    """Return the block with room for `count` things at least."""
    if count > room[0] or block == NULL:
        room[0] = count + count // 2 + SLOTS_MIN
        block = PyMem_Realloc(block, room[0] * octets)  # what it cannot move stays its owner's
        if block == NULL:
            raise MemoryError
    return block


cdef int compare_names(const void *one, const void *other) noexcept nogil:
    """Compare by key, rule and evidence."""
    cdef const name_node_t *a = <const name_node_t *> one
    cdef const name_node_t *b = <const name_node_t *> other
    cdef int order = memcmp(
        a.key, b.key, a.key_bytes if a.key_bytes < b.key_bytes else b.key_bytes
    )
    if order:
        return order
    if a.key_bytes != b.key_bytes:
        return -1 if a.key_bytes < b.key_bytes else 1
    if a.rule != b.rule:
        return -1 if a.rule < b.rule else 1
    return (a.evidence > b.evidence) - (a.evidence < b.evidence)


cdef int compare_networks(const void *one, const void *other) noexcept nogil:
    """Compare by prefix, the wider first, guard and evidence."""
    cdef const network_node_t *a = <const network_node_t *> one
    cdef const network_node_t *b = <const network_node_t *> other
    if a.prefix.family != b.prefix.family:
        return -1 if a.prefix.family < b.prefix.family else 1
    if a.prefix.high != b.prefix.high:
        return -1 if a.prefix.high < b.prefix.high else 1
    if a.prefix.low != b.prefix.low:
        return -1 if a.prefix.low < b.prefix.low else 1
    if a.prefix.length != b.prefix.length:
        return -1 if a.prefix.length < b.prefix.length else 1
    if a.guard != b.guard:
        return -1 if a.guard < b.guard else 1
    return (a.evidence > b.evidence) - (a.evidence < b.evidence)


cdef class GuardIndex:
    """The pinned data, compiled; it never changes, so any number of scans may read it."""

    cdef index_t index
    cdef _Texts lines  # the evidence
    cdef _Texts keys  # the nodes point into them
    cdef size_t name_room, network_room

    def __cinit__(self, names, networks):
        """Compile names (key, RULE, line) and networks (family, high, low, length, guard, line).

        The lines are the evidence. Both are taken one by one, and no object of them is kept.
        """
        self.lines = _Texts()
        self.keys = _Texts()
        self.index.names = <name_node_t *> grown(NULL, &self.name_room, 1, sizeof(name_node_t))
        self.index.networks = <network_node_t *> grown(
            NULL, &self.network_room, 1, sizeof(network_node_t)
        )
        for key, rule, line in names:
            self._add_name(key, rule, line)
        for family, high, low, length, guard, line in networks:
            self._add_network(family, high, low, length, guard, line)
        self._link_names()
        self._link_networks()

    def __dealloc__(self):
        PyMem_Free(self.index.names)
        PyMem_Free(self.index.networks)

    cdef int _add_name(self, bytes key, uint8_t rule, bytes line) except -1:
        cdef name_node_t *node
        if not 0 < len(key) <= KEY_BYTES_MAX:
            raise ValueError("a name of the index is wrong")
        self.index.names = <name_node_t *> grown(
            self.index.names, &self.name_room, self.index.name_count + 1, sizeof(name_node_t)
        )
        node = self.index.names + self.index.name_count
        node.key_bytes = <uint16_t> len(key)
        node.rule = rule
        node.evidence = <uint32_t> self.lines.count
        self.keys.add(key)
        self.lines.add(line)
        self.index.name_count += 1
        return 0

    cdef int _add_network(
        self, uint8_t family, uint64_t high, uint64_t low, uint8_t length, uint8_t guard,
        bytes line,
    ) except -1:
        cdef network_node_t *node
        if guard > SHARED_RANGE:
            raise ValueError("a network of the index is wrong")
        self.index.networks = <network_node_t *> grown(
            self.index.networks, &self.network_room, self.index.network_count + 1,
            sizeof(network_node_t),
        )
        node = self.index.networks + self.index.network_count
        node.prefix = prefix_t(high=high, low=low, family=family, length=length)
        node.guard = guard
        node.evidence = <uint32_t> self.lines.count
        self.lines.add(line)
        self.index.network_count += 1
        return 0

    cdef void _link_names(self):
        """Sort the names, and find what is above each; keys do not move any more."""
        cdef name_node_t *names = self.index.names
        cdef int32_t at, parent
        for at in range(self.index.name_count):
            names[at].key = self.keys.at(at)
        qsort(names, self.index.name_count, sizeof(name_node_t), compare_names)
        for at in range(self.index.name_count):
            parent = at - 1
            while parent != NO_NODE and not key_begins(
                names + parent, names[at].key, names[at].key_bytes
            ):
                parent = names[parent].parent
            names[at].parent = parent

    cdef void _link_networks(self):
        """Sort the networks, and find what is around each."""
        cdef network_node_t *networks = self.index.networks
        cdef int32_t at, parent
        qsort(networks, self.index.network_count, sizeof(network_node_t), compare_networks)
        for at in range(self.index.network_count):
            parent = at - 1
            while parent != NO_NODE and not contains(
                &networks[parent].prefix, &networks[at].prefix
            ):
                parent = networks[parent].parent
            networks[at].parent = parent

    def scan(
        self,
        const uint8_t[::1] text not None,
        *,
        guard_names,
        emergencies=(),
        stops=(),
        hidden=(),
        administrative=(),
        int64_t administrative_ms=0,
        int64_t administrative_ms_max=0,
        administrative_evidence=b"",
        size_t report_bytes_max=0,
    ):
        """Scan a checked list; `guard_names` are octets by guard, for the report.

        `emergencies`, `stops` and `hidden` are (evidence, list text), `administrative`
        (milliseconds, list text); with `administrative_ms` 0 the latter are not looked at.

        Raises:
            InputError: a line is none of a checked list (``line``).
            MemoryError: not enough for a few octets a line.
        """
        scan = _Scan(self, text, guard_names, report_bytes_max)
        for evidence, past in emergencies:
            scan.follow(EMERGENCY_REPEATED, evidence, past)
        for evidence, past in stops:
            scan.follow(STOPPED_BEFORE, evidence, past)
        for evidence, past in hidden:
            scan.follow(HIDDEN_BEFORE, evidence, past)
        if administrative_ms:
            scan.limit(administrative_evidence, administrative_ms, administrative_ms_max)
            for in_force_ms, past in administrative:
                scan.add_time(in_force_ms, past)
        return scan.run()


cdef class _Scan:
    """One scan's memory."""

    cdef guard_scan_t scan
    cdef past_t past
    cdef part_t parts[PARTS]
    cdef uint64_t lines
    cdef GuardIndex index
    cdef _Wides wides  # of this list, once somebody asks
    cdef list evidence  # beside the index's, whose numbers come first
    cdef object guard_names
    cdef const uint8_t[::1] text
    cdef list blocks  # addresses of what the pointers above lead to
    cdef uint32_t added  # past orders whose time was added

    def __cinit__(
        self,
        GuardIndex index,
        const uint8_t[::1] text,
        guard_names,
        size_t report_bytes_max,
    ):
        cdef numbering_t numbering = numbering_t(at=0, line=0, part=0)
        self.index = index
        self.evidence = []
        self.guard_names = guard_names
        self.text = text
        self.blocks = []
        self.scan.text = list_of(text)
        find_parts(&self.scan.text, self.parts)
        for self.scan.text.size_bytes in windows(text.base):
            with nogil:
                number_on(&self.scan.text, self.parts, &numbering)
        self.lines = numbering.line
        self.scan.report = <uint8_t *> self._room(report_bytes_max, 1)
        self.scan.report_bytes_max = report_bytes_max
        for guard, name in enumerate(guard_names):
            if guard >= GUARDS or len(name) > GUARD_NAME_BYTES_MAX:
                raise ValueError("a guard's name is wrong")
            self.scan.guard_names[guard] = <const char *> <bytes> name
            self.scan.guard_name_bytes[guard] = <uint8_t> len(name)

    cdef void *_room(self, size_t count, size_t octets) except NULL:
        """Return zeroed room for `count` things, given back with this object."""
        cdef void *room = PyMem_Calloc(count + 1, octets)
        if room == NULL:
            raise MemoryError
        self.blocks.append(<size_t> room)
        return room

    def __dealloc__(self):
        for room in self.blocks or ():
            PyMem_Free(<void *> <size_t> room)

    cdef uint32_t _evidence_count(self):
        return <uint32_t> self.index.lines.count + <uint32_t> len(self.evidence)

    cdef int _mark(
        self, const uint8_t[::1] past, uint32_t *marks, int64_t *in_force_ms, uint32_t mark,
        int64_t added_ms,
    ) except -1:
        """Mark each line that shares a target with a past list: one covers the other."""
        cdef list_t other = list_of(past)
        cdef part_t parts[PARTS]
        cdef _Wides others = _Wides()
        find_parts(&other, parts)
        if self.wides is None:
            self.wides = _Wides()
            self.wides.take(&self.scan.text, self.parts)
        others.take(&other, parts)
        with nogil:
            mark_past(&self.scan.text, self.parts, &other, marks, in_force_ms, mark, added_ms)
            mark_covered(
                &others.wides, &self.scan.text, self.parts, False, marks, in_force_ms, mark,
                added_ms,
            )
            mark_covered(
                &self.wides.wides, &other, parts, True, marks, in_force_ms, mark, added_ms
            )
        return 0

    def count_shared(self, const uint8_t[::1] past not None):
        """Return how many lines share a target with a past list."""
        cdef uint32_t *marks = <uint32_t *> self._room(self.lines, sizeof(uint32_t))
        cdef uint64_t line, count = 0
        self._mark(past, marks, NULL, 1, 0)
        for line in range(self.lines):
            count += marks[line]
        return count

    def follow(self, int guard, bytes evidence, const uint8_t[::1] past not None):
        """Let a guard fire at the targets of a past order's list."""
        cdef uint32_t **marks
        cdef uint32_t mark = self._evidence_count() + 1
        if guard == EMERGENCY_REPEATED:
            marks = &self.past.emergency
        elif guard == STOPPED_BEFORE:
            marks = &self.past.stopped
        else:
            marks = &self.past.hidden
        if marks[0] == NULL:
            marks[0] = <uint32_t *> self._room(self.lines, sizeof(uint32_t))
        self.evidence.append(evidence)
        self._mark(past, marks[0], NULL, mark, 0)

    def limit(self, bytes evidence, int64_t in_force_ms, int64_t in_force_ms_max):
        """Let ADMINISTRATIVE_TIME fire where it comes to over `in_force_ms_max`."""
        cdef uint64_t line
        self.past.in_force_ms = <int64_t *> self._room(self.lines, sizeof(int64_t))
        self.past.latest = <uint32_t *> self._room(self.lines, sizeof(uint32_t))
        self.past.in_force_ms_max = in_force_ms_max
        self.past.evidence = self._evidence_count()
        self.evidence.append(evidence)
        for line in range(self.lines):
            self.past.in_force_ms[line] = in_force_ms

    def add_time(self, int64_t in_force_ms, const uint8_t[::1] past not None):
        """Add what a past order has blocked its targets for."""
        self.added += 1
        self._mark(past, self.past.latest, self.past.in_force_ms, self.added, in_force_ms)

    def run(self):
        """Scan, and return what was found."""
        cdef size_t at, known = self.index.lines.count, count = self._evidence_count()
        cdef size_t size
        cdef bint is_done
        cdef uint16_t *sizes = <uint16_t *> self._room(count, sizeof(uint16_t))
        self.scan.evidence = <const uint8_t **> self._room(count, sizeof(uint8_t *))
        self.scan.evidence_bytes = sizes
        self.scan.seen = <uint16_t *> self._room(count, sizeof(uint16_t))
        self.scan.finds.found = <found_t *> self._room(count + GUARDS, sizeof(found_t))
        for at in range(count):
            if at < known:
                self.scan.evidence[at] = self.index.lines.at(at)
                size = self.index.lines.size(at)
            else:
                line = self.evidence[at - known]
                self.scan.evidence[at] = <const uint8_t *> <bytes> line
                size = len(line)
            if size > 0xFFFF:
                raise ValueError("a line of evidence is too long")
            sizes[at] = <uint16_t> size
        for self.scan.text.size_bytes in windows(self.text.base):
            with nogil:
                is_done = scan_all(&self.scan, &self.index.index, &self.past)
            if not is_done:
                raise InputError(
                    f"line {self.scan.line + 1} is no target",
                    advice="Check the list before guards read it.",
                    line=self.scan.line + 1,
                )
        evidence = {guard: [] for guard in range(GUARDS) if self.scan.counts[guard]}
        for at in range(count):
            if self.scan.seen[at]:
                for guard in evidence:
                    if self.scan.seen[at] >> <int> guard & 1:
                        evidence[guard].append(self.scan.evidence[at][:sizes[at]])
        return ScanFound(
            counts={guard: self.scan.counts[guard] for guard in evidence},
            evidence=evidence,
            report=self.scan.report[:self.scan.report_bytes],
            left_out=self.scan.left_out,
        )
