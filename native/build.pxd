# cython: language_level=3
"""Placing targets into a table that is being compiled: names into slots, prefixes into runs.

Works on checked lists: every line is canonical and ends with LF. A list that changes while
it is read (a file that somebody writes to) is noticed or placed wrongly, but never read or
written outside its bounds. Until `build_write_postings`, a slot's `posting` is a link of `chains`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr

from chain cimport (
    EVENT_EXACT,
    EVENT_FLAG,
    EVENT_SUBTREE,
    chain_add,
    chain_event,
    chains_t,
    link_t,
)
from layout cimport *
from nests cimport nests_t
from pieces cimport ROLE_CORE, ROLE_PROTECTED, ROLE_ROW, entry_of, run_t
from place cimport label_before, place_line, placed_t
from siphash cimport hash128_t, siphash128
from table cimport table_home

cdef enum:
    PLACE_DONE = 1
    PLACE_ASK = 2  # may this order block a protected name? answer in the cursor, call again
    PLACE_NO_MEMORY = 3
    PLACE_CHANGED = 4

cdef enum:
    ANSWER_NONE = 0
    ANSWER_MAY_BLOCK = 1
    ANSWER_MAY_NOT_BLOCK = 2


ctypedef struct build_t:
    header_t *header  # secret and slot_count are set; counts and depths are kept here
    slot_t *slots
    chains_t chains
    run_t runs[2]  # IPv4, IPv6: not sorted yet
    uint64_t room  # in each of them


ctypedef struct cursor_t:
    const uint8_t *text
    size_t size_bytes
    size_t at
    int answer


cdef inline slot_t *build_slot(build_t *build, hash128_t name, bint insert) noexcept nogil:
    """Return the slot of `name`; a new one when `insert` is set and there is room, else NULL.

    A new one is empty still: whoever writes its posting counts it.
    """
    cdef header_t *header = build.header
    cdef uint32_t at = table_home(name, header.slot_count)
    cdef uint32_t probes = 1
    cdef slot_t *slot
    while True:
        slot = build.slots + at
        if slot.posting == 0:
            break
        if slot.fingerprint_low == name.low and slot.fingerprint_high == <uint32_t> name.high:
            return slot
        at = at + 1 if at + 1 < header.slot_count else 0
        probes += 1
    if not insert or header.name_count + 1 >= header.slot_count:  # one slot stays empty
        return NULL
    slot.fingerprint_low = name.low
    slot.fingerprint_high = <uint32_t> name.high
    if probes > header.probes_max:
        header.probes_max = probes
    return slot


cdef inline void build_note(header_t *header, const placed_t *placed, bint is_new) noexcept nogil:
    """Count a name that is placed, and note where lookups must look for it."""
    cdef uint64_t bit
    header.name_count += is_new
    bit = <uint64_t> 1 << (placed.depth & 63)
    header.depths[placed.depth >> 6] |= bit
    if placed.kind == KIND_SUBTREE:
        header.subtree_depths[placed.depth >> 6] |= bit
    if placed.depth > header.labels_max:
        header.labels_max = placed.depth


cdef inline uint32_t protection_flag(int role, uint32_t event_kind) noexcept nogil:
    """Return the flag of a core or protected-list entry of EVENT_EXACT or EVENT_SUBTREE."""
    cdef uint32_t flag = POSTING_CORE_EXACT if role == ROLE_CORE else POSTING_PROTECTED_EXACT
    return flag << (event_kind - EVENT_EXACT)


cdef inline bint build_gather(
    build_t *build, const placed_t *placed, int role, uint32_t order
) noexcept nogil:
    """Put an address or a prefix into its run; False without room."""
    cdef run_t *run = build.runs + (placed.prefix.family == 6)
    if run.count == build.room:
        return False
    entry_of(run.entries + run.count, &placed.prefix, order, <uint8_t> role)
    run.count += 1
    return True


cdef inline int build_place(
    build_t *build,
    cursor_t *cursor,
    int role,
    uint32_t order,
    bint takes_names,
    bint takes_networks,
) noexcept nogil:
    """Place the targets of a list, in its role; orders must come ascending, after the others.

    Names, or addresses and prefixes, that are not taken are jumped over. Writes slots, chains
    and runs. Returns a PLACE_ code; after PLACE_ASK, `cursor.at` is the line in question.
    """
    cdef const uint8_t *line
    cdef const uint8_t *end
    cdef uint32_t kind, before, event
    cdef placed_t placed
    cdef slot_t *slot
    while cursor.at < cursor.size_bytes:
        line = cursor.text + cursor.at
        end = <const uint8_t *> memchr(line, c"\n", cursor.size_bytes - cursor.at)
        if end == NULL or not place_line(line, end - line, build.header.secret, &placed):
            return PLACE_CHANGED
        if placed.kind == KIND_IP or placed.kind == KIND_NET:
            if takes_networks and not build_gather(build, &placed, role, order):
                return PLACE_CHANGED
            cursor.at = end - cursor.text + 1
            continue
        if not takes_names:
            cursor.at = end - cursor.text + 1
            continue
        slot = build_slot(build, placed.hash, True)
        if slot == NULL:
            return PLACE_CHANGED
        kind = EVENT_EXACT if placed.kind == KIND_EXACT else EVENT_SUBTREE
        before = slot.posting
        event = chain_event(kind, order)
        if role != ROLE_ROW:
            event = chain_event(EVENT_FLAG, protection_flag(role, kind))
        elif build.chains.links[before].flags & protection_flag(ROLE_PROTECTED, kind):
            if cursor.answer == ANSWER_NONE:
                return PLACE_ASK
            if cursor.answer == ANSWER_MAY_NOT_BLOCK:
                event = 0
            cursor.answer = ANSWER_NONE
        if event:
            slot.posting = chain_add(&build.chains, before, event)
            if slot.posting == 0:
                return PLACE_NO_MEMORY
            build_note(build.header, &placed, before == 0)
        cursor.at = end - cursor.text + 1
    return PLACE_DONE


cdef inline bint build_flag_above(build_t *build, const uint8_t *text, size_t size) noexcept nogil:
    """Flag what stands at a name and at its parents; return False without memory."""
    cdef size_t at, label_end = size
    cdef hash128_t name = build.header.secret
    cdef slot_t *slot
    cdef int _depth
    for _depth in range(TABLE_LABELS_MAX):
        at = label_before(text, label_end)
        name = siphash128(name, text + at, label_end - at)
        slot = build_slot(build, name, False)
        if slot != NULL and not build.chains.links[slot.posting].flags & POSTING_PASS_INSIDE:
            slot.posting = chain_add(
                &build.chains, slot.posting, chain_event(EVENT_FLAG, POSTING_PASS_INSIDE)
            )
            if slot.posting == 0:
                return False
        if at == 0:
            break
        label_end = at - 1
    return True


cdef inline int build_pass_inside(build_t *build, cursor_t *cursor) noexcept nogil:
    """Flag every placed name that has a pass rule of this list at it or below it."""
    cdef const uint8_t *line
    cdef const uint8_t *end
    cdef placed_t placed
    while cursor.at < cursor.size_bytes:
        line = cursor.text + cursor.at
        end = <const uint8_t *> memchr(line, c"\n", cursor.size_bytes - cursor.at)
        if end == NULL or not place_line(line, end - line, build.header.secret, &placed):
            return PLACE_CHANGED
        cursor.at = end - cursor.text + 1
        if placed.kind == KIND_EXACT or placed.kind == KIND_SUBTREE:
            if not build_flag_above(build, placed.name, placed.name_bytes):
                return PLACE_NO_MEMORY
    return PLACE_DONE


cdef inline uint64_t build_number_postings(build_t *build, const nests_t *nests) noexcept nogil:
    """Number the chains in use, ascending, in place of links; return the words they take."""
    cdef link_t *links = build.chains.links
    cdef header_t *header = build.header
    cdef uint32_t number, walk
    cdef uint64_t words = 0
    for number in range(header.slot_count):
        links[build.slots[number].posting].posting = 1
    for number in range(1, nests.count):
        links[nests.nests[number].posting].posting = 1
    links[0].posting = 0
    header.posting_count = 0
    for number in range(1, build.chains.count):
        if links[number].posting:
            header.posting_count += 1
            links[number].posting = header.posting_count
            walk = number
            while walk:
                words += links[walk].event & 3 != EVENT_FLAG
                walk = links[walk].before
    return words


cdef inline void build_write_postings(
    build_t *build, nests_t *nests, posting_t *postings, uint32_t *words
) noexcept nogil:
    """Write posting 0 and those in use, with their words; turn the slots and nests to them."""
    cdef link_t *links = build.chains.links
    cdef posting_t *posting = postings
    cdef uint32_t number, walk, kind, exact_end, subtree_end, at = 0
    posting.flags = posting.exact_at = posting.exact_count = 0
    posting.subtree_at = posting.subtree_count = 0
    for number in range(1, build.chains.count):
        if links[number].posting == 0:
            continue
        posting = postings + links[number].posting
        posting.flags = links[number].flags
        posting.exact_count = 0
        posting.subtree_count = 0
        walk = number
        while walk:
            kind = links[walk].event & 3
            posting.exact_count += kind == EVENT_EXACT
            posting.subtree_count += kind == EVENT_SUBTREE
            walk = links[walk].before
        posting.exact_at = at
        posting.subtree_at = exact_end = at + posting.exact_count
        at = subtree_end = exact_end + posting.subtree_count
        walk = number  # a chain is walked from its end: fill backwards
        while walk:
            kind = links[walk].event & 3
            if kind == EVENT_EXACT:
                exact_end -= 1
                words[exact_end] = links[walk].event >> 2
            elif kind == EVENT_SUBTREE:
                subtree_end -= 1
                words[subtree_end] = links[walk].event >> 2
            walk = links[walk].before
    for number in range(build.header.slot_count):
        build.slots[number].posting = links[build.slots[number].posting].posting
    for number in range(1, nests.count):
        nests.nests[number].posting = links[nests.nests[number].posting].posting
