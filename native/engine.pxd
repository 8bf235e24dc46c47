"""One query's way, whatever carried it: read, judged, answered here, or to be forwarded.

Always true: the verdict is taken when answering, so what is cached is truth and a new table
holds at once. An answer is inspected before it is cached or sent. What cannot be judged is
SERVFAIL, never a pass. All state is one Engine, owned by the thread that runs it but for the
words marked otherwise. Sends and receives nothing; nothing here allocates, locks, blocks or
calls Python; the clocks are read once a batch.
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from access cimport Access, access_allows
from address cimport Address
from answer cimport Answer, answer_of_entry, answer_of_response, answer_write
from cache cimport (
    Cache, cache_find, cache_find_answer, cache_hash, cache_prefetch, cache_prefetch_entry,
    cache_put,
)
from entry cimport (
    Entry, entry_is_failing, entry_is_fresh, entry_may_serve_stale, entry_message,
    entry_note_failure,
)
from inflight cimport Slot
from inspect cimport (
    INSPECTION_BLOCK, INSPECTION_PASS, INSPECTION_TRIM, Dns64, Inspected, Inspection,
    inspect_response,
)
from message cimport ANSWERED_WHOLE, Response, read_response
from rate cimport RATE_DROP, RATE_SEND, Rate, rate_take
from reply cimport (
    BLOCK_TTL_SECONDS_MAX, EDE_BLOCKED, EDE_CENSORED, EDE_PROHIBITED, Block, write_block,
    write_error, write_error_ede,
)
from reply_chain cimport write_blocked_chain
from siphash cimport hash128_t
from sockets cimport (
    CLOCK_BOOTTIME, CLOCK_REALTIME, getrandom, load_acquire, load_relaxed, now_ms, now_ns,
    store_relaxed, store_release,
)
from stats cimport *
from tables cimport (
    ACTION_BLOCK, ACTION_PASS, BINDING_BINDING, DENIAL_NXDOMAIN, DNS_BLOCK_PAGE,
    TABLE_LABELS_MAX, order_t, tables_decide_expected, tables_expect, tables_next_change_ms,
    tables_t, verdict_t,
)
from wire cimport (
    CLASS_ANY, CLASS_IN, FLAG_QR, FLAG_RD, FLAG_TC, FLAGS_OPCODE, FLAGS_RCODE, HEADER_OCTETS,
    RCODE_BADVERS, RCODE_FORMERR, RCODE_NOERROR, RCODE_NOTIMP, RCODE_NXDOMAIN, RCODE_REFUSED,
    RCODE_SERVFAIL, READING_BADVERS, READING_NOTIMP, READING_QUERY, READING_REFUSED,
    READING_RESPONSE, READING_RUNT, TYPE_A, TYPE_AAAA, Query, Reading, get16,
    read_question_name, read_query,
)

cdef enum:
    RANDOM_OCTETS = 4096        # an even number
    ID_NONE = 0x10000           # there is no id that nobody can guess
    STREAM_OCTETS_MAX = 65535   # RFC 1035 §4.2.2: what a length of two octets can say

# What the operator has set; a 0 is nobody's choice.
cdef enum:
    MODE_ENFORCE = 1
    MODE_SHADOW = 2             # decide and count, pass everything
    MODE_BYPASS = 3             # decide nothing, pass everything

# What became of a message; a 0 is answered SERVFAIL where somebody waits.
cdef enum Fate:
    FATE_UNSPECIFIED = 0
    FATE_DROPPED = 1            # nothing is to be sent, and it is counted why
    FATE_ANSWERED = 2           # `reply_octets` are to be sent
    FATE_FORWARD = 3            # it passes, and an upstream has to answer it

cdef enum Judged:
    JUDGED_UNSPECIFIED = 0
    JUDGED_PASS = 1
    JUDGED_BLOCK = 2
    JUDGED_SHADOWED = 3         # would be blocked, and passes
    JUDGED_UNJUDGED = 4         # passes by the operator's bypass, or because no order speaks of it


cdef struct Held:
    # Published tables; they and the regions that they point into stay until every engine has
    # left them.
    tables_t tables
    int64_t begun_ms            # it was this late already (Unix) ...
    int64_t begun_tick_ms       # ... at this CLOCK_BOOTTIME
    uint32_t serial             # the ledger's size, cut to 32 bits
    uint32_t *slot_of           # for each row, its place in the statistics
    uint32_t *base_rows         # what tables.base_rows points to


cdef struct Options:
    # What does not change while the engine runs.
    uint8_t page4[4]
    uint8_t page6[16]
    uint8_t has_page4
    uint8_t has_page6
    uint8_t has_cache
    uint32_t stale_seconds_max
    Access clients              # who may ask
    Access proxies              # who must say for whom it asks, and is believed
    Dns64 dns64


cdef struct Ahead:
    # What is known of a message before its turn comes. Its size is an odd multiple of a cache
    # line: what is used of neighbours does not fall into the same cache sets.
    Query query
    Reading reading
    uint32_t is_expected        # `hashes` are filled, for the tables of the present batch
    uint64_t cache_hash         # of a well-formed query, where there is a cache
    hash128_t hashes[TABLE_LABELS_MAX + 1]
    uint64_t spare[4]


cdef struct Engine:
    const Options *options
    const void *published       # Held; written by the other thread, read by the engine
    const void *in_use          # Held; written by the engine, read by the other thread
    uint64_t stop               # 1: drain and return; written by the other thread
    uint64_t mode               # MODE_*; written by the other thread
    # The floor of the tables before `held` when they were let go; read by the other thread.
    uint64_t carried_ms
    const Held *held            # what the present batch is judged by
    uint64_t mode_now           # the present batch's
    uint64_t epoch              # grows whenever a verdict may have become another one; never 0
    int64_t change_ms           # no row begins or ends before this time
    int64_t t_ms                # the present batch's time, Unix, never before the time floor
    int64_t tick_ms             # the present batch's CLOCK_BOOTTIME
    int64_t tick_ns             # the present batch's CLOCK_MONOTONIC
    uint32_t blocked_here       # of the present batch, for its latencies
    uint32_t cached_here
    size_t reply_octets         # what was written last
    Ahead *now                  # the present message
    Ahead own                   # for one that was not read ahead of its turn
    Response response
    Inspection inspection       # of the answer that was judged last
    Inspected inspected
    Cache cache
    Rate rate
    uint8_t *stats              # written by the engine, read by other processes
    uint8_t random[RANDOM_OCTETS]
    uint32_t random_at          # octets before it are used up
    int random_error            # why the kernel had none (errno); 0: it always had


cdef inline void count(Engine *engine, uint32_t counter) noexcept nogil:
    stats_count(engine.stats, counter)


# ------------------------------------------------------------------------- randomness


cdef inline bint fill_random(Engine *engine) noexcept nogil:
    """Fill what is drawn from; False if the kernel has none, and nothing can be drawn then."""
    cdef uint32_t filled = 0
    cdef ssize_t got
    while filled < RANDOM_OCTETS:
        got = getrandom(engine.random + filled, RANDOM_OCTETS - filled, 0)
        if got > 0:
            filled += <uint32_t> got
        elif errno != EINTR:
            engine.random_error = errno
            return False
    engine.random_at = 0
    return True


cdef inline bint engine_draw16(Engine *engine, uint32_t *drawn) noexcept nogil:
    """Draw two octets that nobody can guess; False if there are none, and `drawn` stays.

    The loop ends with `random_error` then: a worker without secrets is to be replaced.
    """
    if engine.random_at == RANDOM_OCTETS and not fill_random(engine):
        return False
    drawn[0] = get16(engine.random + engine.random_at)
    engine.random_at += 2
    return True


# ----------------------------------------------------------------- time and the table


cdef inline int64_t held_floor_ms(
    const Engine *engine, const Held *held, int64_t tick_ms
) noexcept nogil:
    """Return the Unix time before which it cannot be now, whatever the wall clock says.

    A table's own floor moves on with the clock that nobody can set. What the tables before it
    had reached stays a floor but does not move on: true time overtakes one that was too late.
    """
    cdef int64_t carried_ms = <int64_t> load_relaxed(&engine.carried_ms)
    return max(carried_ms, held.begun_ms + (tick_ms - held.begun_tick_ms))


cdef inline void engine_begin_batch(Engine *engine) noexcept nogil:
    """Read the clocks once, and take the table that is published now.

    The wall clock counts only while it shows it: a jump ahead ends orders early, and is taken
    back with the clock. A step back does nothing, for the floor has moved on.
    """
    cdef const Held *held = <const Held *> load_acquire(&engine.published)
    cdef int64_t before_ms = engine.t_ms
    engine.tick_ms = now_ms(CLOCK_BOOTTIME)
    engine.tick_ns = now_ns()
    engine.t_ms = now_ms(CLOCK_REALTIME)
    if engine.mode_now != load_relaxed(&engine.mode):
        engine.mode_now = load_relaxed(&engine.mode)
        engine.change_ms = 0  # what another mode let pass was not judged
    engine.blocked_here = 0
    engine.cached_here = 0
    if held is not engine.held:
        if engine.held is not NULL:
            store_relaxed(
                &engine.carried_ms, <uint64_t> held_floor_ms(engine, engine.held, engine.tick_ms)
            )
        engine.held = held
        engine.change_ms = 0
        store_release(&engine.in_use, held)
    if held is not NULL:
        engine.t_ms = max(engine.t_ms, held_floor_ms(engine, held, engine.tick_ms))
    if engine.t_ms >= engine.change_ms or engine.t_ms < before_ms:
        engine.epoch += 1
        engine.change_ms = INT64_MAX
        if held is not NULL:
            engine.change_ms = tables_next_change_ms(&held.tables, engine.t_ms)


cdef inline void engine_end_batch(Engine *engine) noexcept nogil:
    """Record how long the batch's own answers took, from the kernel's hands into them."""
    cdef int64_t took_ns
    if engine.blocked_here or engine.cached_here:
        took_ns = now_ns() - engine.tick_ns
        stats_observe(engine.stats, STAGE_BLOCKED, took_ns, engine.blocked_here)
        stats_observe(engine.stats, STAGE_CACHED, took_ns, engine.cached_here)


# ----------------------------------------------------------------------- the verdict


cdef inline void count_order(Engine *engine, uint32_t row, uint32_t outcome) noexcept nogil:
    stats_count_order(engine.stats, engine.held.slot_of[row], outcome)


cdef inline Judged enforced(Engine *engine, const verdict_t *verdict) noexcept nogil:
    """Say what becomes of `verdict` in the present mode, counting what is only shadowed."""
    if verdict.action == ACTION_PASS:
        return JUDGED_PASS
    if verdict.action != ACTION_BLOCK:
        return JUDGED_UNSPECIFIED
    if engine.mode_now == MODE_SHADOW:
        count(engine, STAT_SHADOWED)
        count_order(engine, verdict.order, ORDER_SHADOWED)
        return JUDGED_SHADOWED
    return JUDGED_BLOCK


cdef inline bint is_judged(const Engine *engine) noexcept nogil:
    """Tell whether orders speak of the present query: class IN, or ANY, which asks for IN too."""
    return (
        engine.held is not NULL
        and engine.mode_now != MODE_BYPASS
        and (engine.now.query.qclass == CLASS_IN or engine.now.query.qclass == CLASS_ANY)
    )


cdef inline void expect_table(Engine *engine, Ahead *ahead) noexcept nogil:
    """Hash a query's name for the tables held, and let what stands there come nearer."""
    tables_expect(
        &engine.held.tables, ahead.query.name, ahead.query.label_at, ahead.query.label_count,
        ahead.hashes,
    )
    ahead.is_expected = 1


cdef inline Judged judge_name(Engine *engine, verdict_t *verdict) noexcept nogil:
    """Let the table decide the present query's name."""
    cdef Query *query = &engine.now.query
    if not is_judged(engine):
        if engine.mode_now == MODE_BYPASS:
            count(engine, STAT_BYPASSED)
        return JUDGED_UNJUDGED
    verdict.action = 0
    if not engine.now.is_expected:
        expect_table(engine, engine.now)
    tables_decide_expected(
        &engine.held.tables, engine.now.hashes, query.label_at, query.label_count, query.qtype,
        engine.t_ms, verdict,
    )
    return enforced(engine, verdict)


cdef inline void fill_block(
    Engine *engine, const verdict_t *verdict, Block *block
) noexcept nogil:
    """Say what the answer to a blocked query shows of the order."""
    cdef const Held *held = engine.held
    cdef const Options *options = engine.options
    cdef const order_t *order = held.tables.orders + verdict.order
    cdef int64_t left_seconds = (order.until_ms - engine.t_ms) // 1000
    memset(block, 0, sizeof(Block))
    block.rcode = RCODE_NXDOMAIN if verdict.denial == DENIAL_NXDOMAIN else RCODE_NOERROR
    block.zone_at = verdict.zone_at
    block.info_code = EDE_CENSORED if order.binding == BINDING_BINDING else EDE_BLOCKED
    if order.dns_measure == DNS_BLOCK_PAGE:
        block.is_block_page = 1
        if options.has_page4 or options.has_page6:
            block.rcode = RCODE_NOERROR  # the name exists: it has the page's address
        if options.has_page4 and engine.now.query.qtype == TYPE_A:
            block.page = &options.page4[0]
            block.page_octets = 4
        elif options.has_page6 and engine.now.query.qtype == TYPE_AAAA:
            block.page = &options.page6[0]
            block.page_octets = 16
    block.order_id = &order.order_id[0]
    block.order_id_octets = order.order_id_bytes
    block.register_domain = held.tables.register_domain
    block.register_domain_octets = <uint16_t> held.tables.header.register_domain_bytes
    block.register_url = held.tables.register_url
    block.register_url_octets = <uint16_t> held.tables.header.register_url_bytes
    block.ttl_seconds = <uint32_t> min(left_seconds, <int64_t> BLOCK_TTL_SECONDS_MAX)
    block.serial = held.serial


# ----------------------------------------------------------------------- the answers


cdef inline Fate answer_error(
    Engine *engine, const uint8_t *question, uint32_t rcode, uint8_t *out
) noexcept nogil:
    """Answer without data; `question` is as much of the query's as was read."""
    engine.reply_octets = write_error(out, &engine.now.query.asker, question, rcode)
    return FATE_ANSWERED


cdef inline Fate answer_block(
    Engine *engine, const uint8_t *wire, const verdict_t *verdict, uint8_t *out
) noexcept nogil:
    """Answer the present query, whose name `verdict` blocks, and count it for its order."""
    cdef Block block
    fill_block(engine, verdict, &block)
    engine.reply_octets = write_block(
        out, engine.now.query.asker.reply_octets_max, wire, &engine.now.query, &block
    )
    engine.blocked_here += 1
    if block.page_octets:
        count(engine, STAT_BLOCKED_PAGE)
        count_order(engine, verdict.order, ORDER_BLOCKED_PAGE)
    elif block.rcode == RCODE_NXDOMAIN:
        count(engine, STAT_BLOCKED_NXDOMAIN)
        count_order(engine, verdict.order, ORDER_BLOCKED_NXDOMAIN)
    else:
        count(engine, STAT_BLOCKED_NODATA)
        count_order(engine, verdict.order, ORDER_BLOCKED_NODATA)
    return FATE_ANSWERED


cdef inline Fate inspect_answer(
    Engine *engine, const uint8_t *question, const uint8_t *wire, uint8_t *out
) noexcept nogil:
    """Judge what `engine.response`, which is `wire`, says for the present query.

    Returns FATE_FORWARD when it may be sent, `engine.inspection` telling whether all of it;
    otherwise what is sent instead was written.
    """
    cdef Inspected *found = &engine.inspected
    cdef Block block
    engine.inspection = INSPECTION_PASS
    if not engine.response.has_links or not is_judged(engine):
        return FATE_FORWARD
    engine.inspection = inspect_response(
        wire, &engine.response, &engine.now.query, &engine.held.tables, &engine.options.dns64,
        engine.t_ms, found,
    )
    if engine.inspection == INSPECTION_PASS or engine.inspection == INSPECTION_TRIM:
        return FATE_FORWARD
    if engine.inspection != INSPECTION_BLOCK:
        count(engine, STAT_CHAIN_BROKEN)
        return answer_error(engine, question, RCODE_SERVFAIL, out)
    if enforced(engine, &found.verdict) == JUDGED_SHADOWED:
        return FATE_FORWARD
    fill_block(engine, &found.verdict, &block)
    engine.reply_octets = write_blocked_chain(
        out, engine.now.query.asker.reply_octets_max, question, wire, &engine.response,
        &engine.now.query, found, &block,
    )
    if found.is_address:
        count(engine, STAT_BLOCKED_ADDRESS)
        count_order(engine, found.verdict.order, ORDER_BLOCKED_ADDRESS)
    else:
        count(engine, STAT_BLOCKED_CHAIN)
        count_order(engine, found.verdict.order, ORDER_BLOCKED_CHAIN)
    return FATE_ANSWERED


cdef inline void trim(const Engine *engine, Answer *answer) noexcept nogil:
    """Leave off the additional section when only something in it is blocked."""
    if engine.inspection == INSPECTION_TRIM and engine.mode_now == MODE_ENFORCE:
        answer.octets = answer.additionals_at
        answer.additionals = 0


cdef inline bint may_cache(const Engine *engine) noexcept nogil:
    """Tell whether the present query may be answered from the cache: RD=0 asks past it."""
    return (
        engine.options.has_cache
        and engine.now.query.asker.flags & FLAG_RD != 0
        and engine.now.query.qclass == CLASS_IN
    )


cdef inline bint may_serve_stale(const Engine *engine, const Entry *entry) noexcept nogil:
    return entry_may_serve_stale(entry, engine.options.stale_seconds_max, engine.tick_ms)


cdef inline Fate answer_entry(
    Engine *engine, const uint8_t *question, Entry *entry, bint is_stale, uint8_t *out
) noexcept nogil:
    """Answer the present query, whose name passes, from the cache, if all of it passes now."""
    cdef Answer answer
    cdef Fate fate
    engine.inspection = INSPECTION_PASS
    if entry.judged_serial != engine.epoch and entry.has_links and is_judged(engine):
        if read_response(entry_message(entry), entry.octets, &engine.response) != ANSWERED_WHOLE:
            count(engine, STAT_CHAIN_BROKEN)
            return answer_error(engine, question, RCODE_SERVFAIL, out)
        fate = inspect_answer(engine, question, entry_message(entry), out)
        if fate != FATE_FORWARD:
            return fate
    if engine.inspection == INSPECTION_PASS and engine.mode_now == MODE_ENFORCE:
        entry.judged_serial = engine.epoch
    answer_of_entry(&answer, entry, engine.tick_ms, is_stale)
    trim(engine, &answer)
    engine.reply_octets = answer_write(
        out, engine.now.query.asker.reply_octets_max, &engine.now.query.asker, question, &answer
    )
    engine.cached_here += 1
    count(engine, STAT_CACHE_STALE if is_stale else STAT_CACHE_HIT)
    return FATE_ANSWERED


# --------------------------------------------------------------- from the client's side


cdef inline Fate serve_question(
    Engine *engine, const uint8_t *wire, uint8_t *out
) noexcept nogil:
    """Answer a well-formed query from the table or the cache, or say that it is to go on."""
    cdef const uint8_t *question = wire + HEADER_OCTETS
    cdef Entry *entry = NULL
    cdef verdict_t verdict
    cdef Judged judged
    cdef bint is_stale = False
    if may_cache(engine):
        entry = cache_find(
            &engine.cache, &engine.now.query, engine.now.cache_hash, engine.tick_ms
        )
        is_stale = entry is not NULL and not entry_is_fresh(entry, engine.tick_ms)
        if is_stale and not (
            entry_is_failing(entry, engine.tick_ms) and may_serve_stale(engine, entry)
        ):
            entry = NULL
        if (
            entry is not NULL
            and entry.judged_serial == engine.epoch
            and engine.mode_now == MODE_ENFORCE
        ):
            return answer_entry(engine, question, entry, is_stale, out)
    judged = judge_name(engine, &verdict)
    if judged == JUDGED_BLOCK:
        return answer_block(engine, wire, &verdict, out)
    if judged == JUDGED_UNSPECIFIED:
        count(engine, STAT_UNDECIDED)
        return answer_error(engine, question, RCODE_SERVFAIL, out)
    if entry is not NULL:
        return answer_entry(engine, question, entry, is_stale, out)
    count(engine, STAT_CACHE_MISS if may_cache(engine) else STAT_CACHE_BYPASSED)
    return FATE_FORWARD


cdef inline void engine_read(
    Engine *engine, Ahead *ahead, const uint8_t *wire, size_t length
) noexcept nogil:
    """Read a message, and let what the cache has at its question come nearer.

    A batch is read whole, then expected whole, then taken: what one waits for in memory comes
    while the others are read.
    """
    ahead.reading = read_query(wire, length, &ahead.query)
    ahead.is_expected = 0
    if ahead.reading == READING_QUERY and engine.options.has_cache:
        ahead.cache_hash = cache_hash(&engine.cache, &ahead.query)
        cache_prefetch(&engine.cache, ahead.cache_hash)


cdef inline void engine_expect(Engine *engine, Ahead *ahead) noexcept nogil:
    """Let come nearer what is likely to decide a message: a cached answer, else the table's slots.

    The tables must be those that it will be judged by.
    """
    if ahead.reading != READING_QUERY or engine.held is NULL:
        return
    if engine.options.has_cache and cache_prefetch_entry(&engine.cache, ahead.cache_hash):
        return
    expect_table(engine, ahead)


cdef inline Fate engine_take(
    Engine *engine, Ahead *ahead, const uint8_t *wire, bint is_cut, const Address *client,
    uint32_t reply_octets_max, uint8_t *out,
) noexcept nogil:
    """Decide what happens to a message from `client`, and write the answer if it has one.

    `ahead` is what `engine_read` has made of it, and becomes the present message.
    `reply_octets_max` is what `out` takes; 0 stands for a datagram, which takes what the client
    says, to UDP_OCTETS_MAX. `engine.now.query` holds the query afterwards, for FATE_FORWARD.
    """
    cdef Reading reading = ahead.reading
    cdef const uint8_t *question = wire + HEADER_OCTETS
    engine.now = ahead
    count(engine, STAT_RECEIVED)
    if reading == READING_RUNT:
        count(engine, STAT_DROPPED_RUNT)
        return FATE_DROPPED
    if reading == READING_RESPONSE:
        count(engine, STAT_DROPPED_RESPONSE)
        return FATE_DROPPED
    if reply_octets_max:
        engine.now.query.asker.reply_octets_max = <uint16_t> reply_octets_max
    if not access_allows(&engine.options.clients, client):
        count(engine, STAT_ACCESS_REFUSED)
        engine.reply_octets = write_error_ede(
            out, &engine.now.query.asker, question, RCODE_REFUSED, EDE_PROHIBITED
        )
        return FATE_ANSWERED
    if reading == READING_QUERY and not is_cut:
        return serve_question(engine, wire, out)
    if reading == READING_NOTIMP:
        count(engine, STAT_NOTIMP)
        return answer_error(engine, question, RCODE_NOTIMP, out)
    if reading == READING_BADVERS:
        count(engine, STAT_BADVERS)
        return answer_error(engine, question, RCODE_BADVERS, out)
    if reading == READING_REFUSED:
        count(engine, STAT_REFUSED)
        return answer_error(engine, question, RCODE_REFUSED, out)
    count(engine, STAT_FORMERR)
    return answer_error(engine, question, RCODE_FORMERR, out)


cdef inline bint engine_limit(Engine *engine, const Address *client, uint8_t *out) noexcept nogil:
    """Hold the datagram just answered against the client's rate; False: it is not sent.

    What is sent over the rate is an empty answer with TC=1, which only a client that really is
    there can follow up, over TCP.
    """
    cdef int taken = rate_take(&engine.rate, client, engine.tick_ms)
    if taken == RATE_SEND:
        return True
    if taken == RATE_DROP:
        count(engine, STAT_RATE_DROPPED)
        return False
    count(engine, STAT_RATE_SLIPPED)
    engine.reply_octets = write_error(
        out, &engine.now.query.asker, out + HEADER_OCTETS, get16(out + 2) & FLAGS_RCODE
    )
    out[2] |= FLAG_TC >> 8
    return True


# -------------------------------------------------------------- from the upstream's side


cdef inline bint answers_question(
    const uint8_t *wire, size_t length, const Slot *slot
) noexcept nogil:
    """Tell whether an upstream's message repeats the question that `slot` sent, octet for octet.

    An error may come as a bare header: some servers send no more for what they cannot read.
    """
    cdef uint16_t rcode = get16(wire + 2) & FLAGS_RCODE
    if get16(wire + 4) == 0:
        return length == HEADER_OCTETS and rcode != RCODE_NOERROR and rcode != RCODE_NXDOMAIN
    if get16(wire + 4) != 1 or length < HEADER_OCTETS + <size_t> slot.asker.question_octets:
        return False
    return memcmp(wire + HEADER_OCTETS, slot.query + HEADER_OCTETS, slot.asker.question_octets) == 0


cdef inline bint refuses_edns(const uint8_t *wire, const Slot *slot) noexcept nogil:
    """Tell whether an upstream may have refused the query for its EDNS (RFC 6891 §7)."""
    return (
        slot.has_opt and get16(wire + 2) & FLAGS_RCODE == RCODE_FORMERR
        and get16(wire + 10) == 0
    )


cdef inline bint knows_no_edns(const uint8_t *wire, const Slot *slot) noexcept nogil:
    """Tell whether an upstream takes without EDNS what it has refused with it.

    One that refuses both is not to blame: the query is, and other clients' keep their EDNS.
    """
    return slot.is_plain and get16(wire + 2) & FLAGS_RCODE != RCODE_FORMERR


cdef inline void engine_recall(Engine *engine, const Slot *slot) noexcept nogil:
    """Make the query that waits in `slot` the present one; it was proven when it came."""
    cdef size_t at = read_question_name(
        slot.query, HEADER_OCTETS + slot.asker.question_octets, &engine.own.query
    )
    engine.now = &engine.own
    engine.own.is_expected = 0
    engine.now.query.asker = slot.asker
    engine.now.query.qtype = get16(slot.query + at)
    engine.now.query.qclass = get16(slot.query + at + 2)


cdef inline Fate engine_stale(
    Engine *engine, const uint8_t *query, uint64_t epoch, uint8_t *out
) noexcept nogil:
    """Answer the present query, as in `query`, with stale data (RFC 8767) if there is some.

    `epoch` is that of the verdict that let its name pass. FATE_FORWARD: there is nothing.
    """
    cdef Entry *entry
    cdef verdict_t verdict
    cdef Judged judged = JUDGED_PASS
    if not may_cache(engine):
        return FATE_FORWARD
    entry = cache_find_answer(
        &engine.cache, &engine.now.query, cache_hash(&engine.cache, &engine.now.query)
    )
    if entry is NULL or not may_serve_stale(engine, entry):
        return FATE_FORWARD
    entry_note_failure(entry, engine.tick_ms)
    if epoch != engine.epoch:
        judged = judge_name(engine, &verdict)
    if judged == JUDGED_BLOCK:
        return answer_block(engine, query, &verdict, out)
    if judged == JUDGED_UNSPECIFIED:
        return FATE_FORWARD
    return answer_entry(engine, query + HEADER_OCTETS, entry, True, out)


cdef inline Fate engine_fail(
    Engine *engine, const uint8_t *query, uint64_t epoch, uint32_t counter, uint8_t *out
) noexcept nogil:
    """Answer the present query, to which no upstream has an answer: stale data or SERVFAIL.

    `counter` says why, for the latter.
    """
    if engine_stale(engine, query, epoch, out) == FATE_ANSWERED:
        return FATE_ANSWERED
    count(engine, counter)
    return answer_error(engine, query + HEADER_OCTETS, RCODE_SERVFAIL, out)


cdef inline void engine_cut(Engine *engine, const Slot *slot, uint8_t *out) noexcept nogil:
    """Answer the query of `slot` with TC=1: what the upstream said is more than was read."""
    engine_recall(engine, slot)
    answer_error(engine, slot.query + HEADER_OCTETS, RCODE_NOERROR, out)
    out[2] |= FLAG_TC >> 8
    count(engine, STAT_UPSTREAM_CUT)
    count(engine, STAT_RELAYED)


cdef inline Fate engine_relay(
    Engine *engine, const uint8_t *wire, size_t length, const Slot *slot, uint8_t *out
) noexcept nogil:
    """Answer the query of `slot` with the upstream's message, if it passes.

    The message has been found to answer the question. FATE_DROPPED: it is malformed, and the
    query goes on waiting, for it may be forged.
    """
    cdef verdict_t verdict
    cdef Judged judged = JUDGED_PASS
    cdef Entry *entry
    cdef Answer answer
    cdef Fate fate
    if get16(wire + 4) == 0:  # an error and nothing else
        engine_recall(engine, slot)
        count(engine, STAT_RELAYED)
        return answer_error(
            engine, slot.query + HEADER_OCTETS, get16(wire + 2) & FLAGS_RCODE, out
        )
    if read_response(wire, length, &engine.response) != ANSWERED_WHOLE:
        count(engine, STAT_UPSTREAM_MALFORMED)
        return FATE_DROPPED
    engine_recall(engine, slot)
    if slot.epoch != engine.epoch:
        judged = judge_name(engine, &verdict)
    if judged == JUDGED_BLOCK:
        return answer_block(engine, slot.query, &verdict, out)
    if judged == JUDGED_UNSPECIFIED:
        count(engine, STAT_UNDECIDED)
        return answer_error(engine, slot.query + HEADER_OCTETS, RCODE_SERVFAIL, out)
    entry = NULL
    if may_cache(engine) and engine.response.is_cacheable:
        entry = cache_put(
            &engine.cache, &engine.now.query, cache_hash(&engine.cache, &engine.now.query),
            &engine.response, wire, engine.tick_ms,
        )
    fate = inspect_answer(engine, slot.query + HEADER_OCTETS, wire, out)
    if fate != FATE_FORWARD:
        return fate
    if (
        entry is not NULL and judged == JUDGED_PASS and engine.inspection == INSPECTION_PASS
        and engine.mode_now == MODE_ENFORCE
    ):
        entry.judged_serial = engine.epoch
    answer_of_response(&answer, &engine.response, wire)
    trim(engine, &answer)
    engine.reply_octets = answer_write(
        out, engine.now.query.asker.reply_octets_max, &engine.now.query.asker,
        slot.query + HEADER_OCTETS, &answer,
    )
    count(engine, STAT_RELAYED)
    return FATE_ANSWERED
