"""Pieces of the address space as elements of nftables sets, and back, without an object a piece.

A piece of one address is an element of a hash set; another is two of an interval set, its first
address and, marked as an end, the one behind its last (none where that would be beyond the family).
Each names the order's counter. Which of 128 sets it is in follows from its measure, its size and
its address alone: dumping a set costs the kernel its size squared, so no set must be large.
"""

from enforcer.errors import InputError, IntegrityError

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset, strlen

from netlink cimport (
    ATTR_HEADER_OCTETS,
    NFGEN_HEADER_OCTETS,
    NLMSG_HEADER_OCTETS,
    aligned,
    attr_t,
    find_attr,
    load32,
    message_t,
    next_attr,
    next_message,
)

cdef enum:
    SHARDS = 16
    BUCKETS = 64  # measure, kind, shard
    WIDE_MAX = 16
    NAME_OCTETS_MAX = 32
    ELEMENT_OCTETS_MAX = 256
    NEST_OCTETS_MAX = 65_000  # an attribute has at most 65,535

    MEASURE_REJECT = 2
    MEASURE_DROP = 3

    NLMSG_ERROR = 2
    NLMSG_DONE = 3
    NLMSG_OVERRUN = 4
    NLM_F_REQUEST = 0x1
    NLM_F_DUMP_INTR = 0x10
    NLM_F_EXCL = 0x200
    NLM_F_CREATE = 0x400
    NFT_MSG_NEWSETELEM = 0xA0C
    NFT_MSG_DELSETELEM = 0xA0E
    NFPROTO_INET = 1

    NLA_F_NESTED = 0x8000
    NFTA_LIST_ELEM = 1
    NFTA_DATA_VALUE = 1
    NFTA_SET_ELEM_KEY = 1
    NFTA_SET_ELEM_FLAGS = 3
    NFTA_SET_ELEM_OBJREF = 9
    NFTA_SET_ELEM_LIST_ELEMENTS = 3
    NFT_SET_ELEM_INTERVAL_END = 1

    DONE_WELL = 0
    WRONG_ORDER = 1
    WRONG_ROW = 2
    WRONG_WIDTH = 3
    NO_MEMORY = 4

    FEED_MORE = 0
    FEED_DONE = 1
    FEED_INTERRUPTED = 2
    FEED_ERROR = 3
    FEED_MALFORMED = 4
    FEED_NO_MEMORY = 5

SHARD_COUNT = SHARDS


cdef struct row_t:
    uint32_t index
    uint32_t measure


cdef struct out_t:
    uint8_t *data
    size_t used
    size_t room
    size_t message_at
    size_t nest_at
    bint is_open
    const uint8_t *head  # the table's and the set's name, as attributes
    size_t head_octets


cdef inline uint32_t shard_of(const uint8_t *address, uint32_t wide) noexcept nogil:
    """A prefix has at least 16 bits in IPv4 and 32 in IPv6, so a piece is in one shard."""
    return (address[1] if wide == 4 else address[3]) & (SHARDS - 1)


cdef inline bint has_room(out_t *out, size_t octets) noexcept nogil:
    cdef size_t room
    cdef void *moved
    if out.room - out.used >= octets:
        return True
    room = 2 * out.room + octets + 4096
    moved = realloc(out.data, room)
    if moved == NULL:
        return False
    out.data = <uint8_t *> moved
    out.room = room
    return True


cdef inline void put_attr(out_t *out, uint16_t kind, uint16_t octets) noexcept nogil:
    """Write an attribute's header; `octets` of content follow."""
    octets += ATTR_HEADER_OCTETS
    memcpy(out.data + out.used, &octets, 2)
    memcpy(out.data + out.used + 2, &kind, 2)
    out.used += ATTR_HEADER_OCTETS


cdef inline void put(out_t *out, const void *octets, size_t count) noexcept nogil:
    """Write octets and what aligns them."""
    memcpy(out.data + out.used, octets, count)
    memset(out.data + out.used + count, 0, aligned(count) - count)
    out.used += aligned(count)


cdef void close_message(out_t *out) noexcept nogil:
    """Write into the open message how long it has become."""
    cdef uint32_t size
    cdef uint16_t nested
    if out.is_open:
        size = <uint32_t> (out.used - out.message_at)
        nested = <uint16_t> (out.used - out.nest_at)
        memcpy(out.data + out.message_at, &size, 4)
        memcpy(out.data + out.nest_at, &nested, 2)
        out.is_open = False


cdef bint open_message(out_t *out, uint16_t kind, uint16_t flags, uint32_t number) noexcept nogil:
    """Have a message open with room for two more elements."""
    cdef uint8_t header[NLMSG_HEADER_OCTETS + NFGEN_HEADER_OCTETS]
    if out.is_open and out.used - out.nest_at + 2 * ELEMENT_OCTETS_MAX > NEST_OCTETS_MAX:
        close_message(out)
    if not has_room(out, out.head_octets + 64 + 2 * ELEMENT_OCTETS_MAX):
        return False
    if not out.is_open:
        memset(header, 0, sizeof(header))
        memcpy(header + 4, &kind, 2)
        memcpy(header + 6, &flags, 2)
        memcpy(header + 8, &number, 4)
        header[NLMSG_HEADER_OCTETS] = NFPROTO_INET
        out.message_at = out.used
        put(out, header, sizeof(header))
        put(out, out.head, out.head_octets)
        out.nest_at = out.used
        put_attr(out, NLA_F_NESTED | NFTA_SET_ELEM_LIST_ELEMENTS, 0)
        out.is_open = True
    return True


cdef void put_element(
    out_t *out, const uint8_t *key, uint32_t wide, const char *name, bint is_end
) noexcept nogil:
    """Write one element; `name` is its counter's, or NULL."""
    cdef size_t start = out.used
    cdef uint16_t size
    cdef uint8_t flags[4]
    put_attr(out, NLA_F_NESTED | NFTA_LIST_ELEM, 0)
    put_attr(out, NLA_F_NESTED | NFTA_SET_ELEM_KEY, ATTR_HEADER_OCTETS + wide)
    put_attr(out, NFTA_DATA_VALUE, wide)
    put(out, key, wide)
    if is_end:
        memset(flags, 0, 4)
        flags[3] = NFT_SET_ELEM_INTERVAL_END
        put_attr(out, NFTA_SET_ELEM_FLAGS, 4)
        put(out, flags, 4)
    elif name != NULL:
        put_attr(out, NFTA_SET_ELEM_OBJREF, <uint16_t> (strlen(name) + 1))
        put(out, name, strlen(name) + 1)
    size = <uint16_t> (out.used - start)
    memcpy(out.data + start, &size, 2)


cdef inline bint step_up(uint8_t *address, uint32_t wide) noexcept nogil:
    """Go to the next address; False: that was the last of the family."""
    cdef uint32_t at = wide
    while at:
        at -= 1
        address[at] += 1
        if address[at]:
            return True
    return False


cdef inline const row_t *find_row(const row_t *rows, size_t count, uint32_t index) noexcept nogil:
    cdef size_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) >> 1
        if rows[middle].index < index:
            low = middle + 1
        else:
            high = middle
    return rows + low if low < count and rows[low].index == index else NULL


cdef int pack_all(
    const uint8_t *pieces, size_t count, uint32_t wide, const row_t *rows, size_t row_count,
    bint is_new, uint32_t number, out_t *outs, size_t *wrong_at,
) noexcept nogil:
    """Write every piece into its set's messages."""
    cdef size_t at, size = 2 * wide + 4
    cdef const uint8_t *first
    cdef const uint8_t *last
    cdef const row_t *row = NULL
    cdef uint32_t index
    cdef char name[NAME_OCTETS_MAX]
    cdef uint8_t behind[WIDE_MAX]
    cdef bint is_net
    cdef out_t *out
    cdef int bucket
    cdef uint16_t kind = NFT_MSG_NEWSETELEM if is_new else NFT_MSG_DELSETELEM
    cdef uint16_t flags = NLM_F_REQUEST | (NLM_F_CREATE | NLM_F_EXCL if is_new else 0)
    for at in range(count):
        wrong_at[0] = at
        first = pieces + at * size
        last = first + wide
        is_net = memcmp(first, last, wide) != 0
        if memcmp(first, last, wide) > 0 or (at and memcmp(first - wide - 4, first, wide) >= 0):
            return WRONG_ORDER
        if memcmp(first, last, wide // (2 if wide == 4 else 4)):
            return WRONG_WIDTH
        index = load32(last + wide)
        if row == NULL or row.index != index:
            row = find_row(rows, row_count, index)
            if row == NULL:
                return WRONG_ROW
            snprintf(
                name, NAME_OCTETS_MAX, b"%s%u",
                <const char *> b"drop" if row.measure == MEASURE_DROP else <const char *> b"reject",
                index,
            )
        out = outs + (row.measure == MEASURE_DROP) * 2 * SHARDS + is_net * SHARDS
        out += shard_of(first, wide)
        if not open_message(out, kind, flags, number):
            return NO_MEMORY
        put_element(out, first, wide, name if is_new else NULL, False)
        if is_net:
            memcpy(behind, last, wide)
            if step_up(behind, wide):
                put_element(out, behind, wide, NULL, True)
    for bucket in range(BUCKETS):
        close_message(outs + bucket)
    return DONE_WELL


def encode(
    const uint8_t[::1] pieces, uint32_t version, rows, heads, *, bint is_new, uint32_t number
):
    """Return the messages that add or take out `pieces` of one family, for one batch, in parts.

    `rows` have `index` and `measure`, ascending; `heads` are the 64 sets' names as attributes,
    with the table's before, by measure (REJECT, DROP), kind (host, net) and shard.

    Raises:
        InputError: pieces are not whole, sorted, disjoint, of the rows; ``index`` says which.
    """
    cdef uint32_t wide = 4 if version == 4 else 16
    cdef size_t size = 2 * wide + 4, count = pieces.shape[0] // size, row_count = len(rows)
    cdef size_t wrong_at = 0
    cdef row_t *table = <row_t *> malloc((row_count + 1) * sizeof(row_t))
    cdef out_t *outs = <out_t *> calloc(BUCKETS, sizeof(out_t))
    cdef const uint8_t *start = &pieces[0] if count else NULL
    cdef const uint8_t[::1] head
    cdef list made = []
    cdef int result, bucket
    try:
        if table == NULL or outs == NULL:
            raise MemoryError
        if pieces.shape[0] % size:
            raise refusal(f"IPv{version} pieces are not of {size} octets", count)
        for row in rows:
            table[wrong_at].index = row.index
            table[wrong_at].measure = row.measure
            wrong_at += 1
        for bucket in range(BUCKETS):
            head = heads[bucket]
            outs[bucket].head = &head[0]
            outs[bucket].head_octets = head.shape[0]
        with nogil:
            result = pack_all(
                start, count, wide, table, row_count, is_new, number, outs, &wrong_at
            )
        if result == NO_MEMORY:
            raise MemoryError
        if result == WRONG_ORDER:
            raise refusal(f"IPv{version} pieces are not sorted and disjoint", wrong_at)
        if result == WRONG_WIDTH:
            raise refusal(f"an IPv{version} piece is wider than any target", wrong_at)
        if result == WRONG_ROW:
            raise refusal(f"an IPv{version} piece names no row", wrong_at)
        for bucket in range(BUCKETS):
            if outs[bucket].used:
                made.append(PyBytes_FromStringAndSize(
                    <const char *> outs[bucket].data, outs[bucket].used
                ))
                free(outs[bucket].data)
                outs[bucket].data = NULL
        return made
    finally:
        for bucket in range(BUCKETS if outs != NULL else 0):
            free(outs[bucket].data)
        free(outs)
        free(table)


def refusal(what, index):
    """Return the error for pieces that are wrong."""
    return InputError(what, advice="Report this: the node makes what it sends.", index=index)


cdef struct mark_t:
    # An element as read. Keys are padded with zeros, so that both families sort alike.
    uint8_t key[WIDE_MAX]
    uint32_t row
    uint32_t is_start  # an end sorts before the start at the same address


cdef int by_key(const void *one, const void *other) noexcept nogil:
    cdef int order = memcmp((<mark_t *> one).key, (<mark_t *> other).key, WIDE_MAX)
    if order:
        return order
    return <int> (<mark_t *> one).is_start - <int> (<mark_t *> other).is_start


cdef struct part_t:
    # One piece as read, of either family.
    uint8_t first[WIDE_MAX]
    uint8_t last[WIDE_MAX]
    uint32_t row


cdef int by_first(const void *one, const void *other) noexcept nogil:
    return memcmp((<part_t *> one).first, (<part_t *> other).first, WIDE_MAX)


cdef uint32_t row_named(const attr_t *attr, const char *prefix) noexcept nogil:
    """Read the order's entry index out of a counter's name; 0: it is not one of this measure."""
    cdef uint32_t skip = <uint32_t> strlen(prefix), at
    cdef uint64_t row = 0
    cdef uint8_t digit
    if attr.size < skip + 2 or attr.size > skip + 11 or attr.data[attr.size - 1]:
        return 0
    if memcmp(attr.data, prefix, skip) or attr.data[skip] == <uint8_t> c"0":
        return 0
    for at in range(skip, attr.size - 1):
        digit = attr.data[at]
        if digit < <uint8_t> c"0" or digit > <uint8_t> c"9":
            return 0
        row = 10 * row + (digit - <uint8_t> c"0")
    if row >> 32:
        return 0
    return <uint32_t> row


cdef class SetReader:
    """Reads the dumps of one family's sets, one after the other, and makes pieces of them.

    For each set `begin`, `feed` until it says that it is done, `end`; then `pieces`. A set that
    was interrupted is begun again. What cannot be a piece of ours is counted in `strange`.
    """

    cdef uint32_t wide
    cdef mark_t *marks
    cdef size_t mark_count, mark_room
    cdef part_t *parts
    cdef size_t part_count, part_room
    cdef bint is_drop, is_net, is_interrupted
    cdef uint32_t shard
    cdef readonly uint64_t strange
    cdef readonly int error  # the kernel's, where `feed` says that there is one: -errno

    def __cinit__(self, uint32_t version):
        self.wide = 4 if version == 4 else 16

    def __dealloc__(self):
        free(self.marks)
        free(self.parts)

    def begin(self, uint32_t bucket):
        """Expect the dump of a set, by its number among the 64."""
        self.mark_count = 0
        self.error = 0
        self.is_interrupted = False
        self.is_drop = bucket >= 2 * SHARDS
        self.is_net = bucket // SHARDS % 2 == 1
        self.shard = bucket % SHARDS

    def feed(self, const uint8_t[::1] octets):
        """Read some messages; True: the set's last was among them, None: and it was interrupted.

        Raises:
            IntegrityError: these are no messages, or the kernel's error (in ``error``).
        """
        cdef int result
        cdef const uint8_t *start = &octets[0] if octets.shape[0] else NULL
        with nogil:
            result = self.read(start, start + octets.shape[0])
        if result == FEED_NO_MEMORY:
            raise MemoryError
        if result in (FEED_ERROR, FEED_MALFORMED):
            raise IntegrityError(
                "the kernel's dump of a set cannot be read",
                advice="Report this, with the version of the kernel.",
                error=self.error,
            )
        return None if result == FEED_INTERRUPTED else result == FEED_DONE

    def end(self):
        """Make pieces of the set's elements and return how many there are."""
        cdef size_t before = self.part_count
        cdef bint is_well
        with nogil:
            is_well = self.pair()
        if not is_well:
            raise MemoryError
        return self.part_count - before

    def pieces(self):
        """Return the pieces of all sets that were read, packed and sorted."""
        cdef size_t size = 2 * self.wide + 4, at
        cdef bytes made = PyBytes_FromStringAndSize(NULL, self.part_count * size)
        cdef uint8_t *to = made
        with nogil:
            if self.part_count:
                qsort(self.parts, self.part_count, sizeof(part_t), by_first)
            for at in range(self.part_count):
                if at and memcmp(self.parts[at].first, self.parts[at - 1].last, WIDE_MAX) <= 0:
                    self.strange += 1
                memcpy(to, self.parts[at].first, self.wide)
                memcpy(to + self.wide, self.parts[at].last, self.wide)
                memcpy(to + 2 * self.wide, &self.parts[at].row, 4)
                to += size
        return made

    cdef int read(self, const uint8_t *at, const uint8_t *end) noexcept nogil:
        cdef message_t message
        cdef attr_t attr
        while at < end:
            at = next_message(at, end, &message)
            if at == NULL:
                return FEED_MALFORMED
            if message.flags & NLM_F_DUMP_INTR:
                self.is_interrupted = True
            if message.type == NLMSG_ERROR or message.type == NLMSG_DONE:
                if message.size < 4:
                    return FEED_MALFORMED
                self.error = <int> load32(message.body)
                if self.error:
                    return FEED_ERROR
                return FEED_INTERRUPTED if self.is_interrupted else FEED_DONE
            if message.type == NLMSG_OVERRUN:
                self.is_interrupted = True
                continue
            if message.type != NFT_MSG_NEWSETELEM or message.size < NFGEN_HEADER_OCTETS:
                return FEED_MALFORMED
            if find_attr(
                message.body + NFGEN_HEADER_OCTETS, message.body + message.size,
                NFTA_SET_ELEM_LIST_ELEMENTS, &attr,
            ) and not self.read_elements(&attr):
                return FEED_NO_MEMORY
        return FEED_MORE

    cdef bint read_elements(self, const attr_t *nest) noexcept nogil:
        cdef const uint8_t *at = nest.data
        cdef const uint8_t *end = at + nest.size
        cdef attr_t element
        while True:
            at = next_attr(at, end, &element)
            if at == NULL:
                return True
            if self.mark_count == self.mark_room and not self.more_marks():
                return False
            if self.read_element(&element, self.marks + self.mark_count):
                self.mark_count += 1
            else:
                self.strange += 1

    cdef bint read_element(self, const attr_t *element, mark_t *mark) noexcept nogil:
        cdef const uint8_t *at = element.data
        cdef const uint8_t *end = at + element.size
        cdef attr_t attr, value
        cdef bint has_key = False
        memset(mark, 0, sizeof(mark_t))
        mark.is_start = True
        while True:
            at = next_attr(at, end, &attr)
            if at == NULL:
                return has_key and (mark.row != 0 or not mark.is_start)
            if attr.type == NFTA_SET_ELEM_KEY:
                has_key = find_attr(attr.data, attr.data + attr.size, NFTA_DATA_VALUE, &value)
                has_key = has_key and value.size == self.wide
                if has_key:
                    memcpy(mark.key, value.data, self.wide)
            elif attr.type == NFTA_SET_ELEM_OBJREF:
                mark.row = row_named(&attr, b"drop" if self.is_drop else b"reject")
            elif attr.type == NFTA_SET_ELEM_FLAGS and attr.size == 4:
                mark.is_start = not attr.data[3] & NFT_SET_ELEM_INTERVAL_END

    cdef bint pair(self) noexcept nogil:
        """Make a piece of each start and the end behind it."""
        cdef size_t at = 0
        cdef mark_t *mark
        cdef part_t *part
        cdef uint32_t back
        if self.mark_count:
            qsort(self.marks, self.mark_count, sizeof(mark_t), by_key)
        while at < self.mark_count:
            mark = self.marks + at
            at += 1
            if self.part_count == self.part_room and not self.more_parts():
                return False
            part = self.parts + self.part_count
            memset(part, 0, sizeof(part_t))
            memcpy(part.first, mark.key, WIDE_MAX)
            memcpy(part.last, mark.key, WIDE_MAX)
            part.row = mark.row
            if not mark.is_start or shard_of(mark.key, self.wide) != self.shard:
                self.strange += 1
                continue
            if self.is_net:
                if at == self.mark_count:
                    memset(part.last, 0xFF, self.wide)
                elif self.marks[at].is_start:
                    self.strange += 1
                    continue
                else:
                    memcpy(part.last, self.marks[at].key, WIDE_MAX)
                    at += 1
                    back = self.wide
                    while back:  # the address before: an end is never at the family's first
                        back -= 1
                        part.last[back] -= 1
                        if part.last[back] != 0xFF:
                            break
            self.part_count += 1
        return True

    cdef bint more_marks(self) noexcept nogil:
        cdef size_t room = 2 * self.mark_room + 4096
        cdef void *moved = realloc(self.marks, room * sizeof(mark_t))
        if moved == NULL:
            return False
        self.marks = <mark_t *> moved
        self.mark_room = room
        return True

    cdef bint more_parts(self) noexcept nogil:
        cdef size_t room = 2 * self.part_room + 4096
        cdef void *moved = realloc(self.parts, room * sizeof(part_t))
        if moved == NULL:
            return False
        self.parts = <part_t *> moved
        self.part_room = room
        return True
