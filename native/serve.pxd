"""What happens to a packet: judged and answered, forwarded, relayed, or dropped and counted.

All state is one Loop, owned by the thread that runs it but for the words marked otherwise.
Nothing here allocates, locks, blocks or calls Python; the clocks are read once a batch.
"""

from libc.errno cimport EAGAIN, ECONNREFUSED, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from batch cimport (
    BATCH, Inbox, Outbox, inbox_is_cut, inbox_octets, inbox_receive, inbox_wipe_addresses,
    outbox_add, outbox_octets, outbox_send, send_batch,
)
from inflight cimport Inflight, Slot, inflight_find, inflight_release, inflight_take
from reply cimport (
    BLOCK_TTL_SECONDS_MAX, EDE_BLOCKED, EDE_CENSORED, Block, write_block, write_error,
)
from sockets cimport (
    CLOCK_BOOTTIME, CLOCK_REALTIME, add_relaxed, getrandom, iovec, load_acquire, load_relaxed,
    mmsghdr, now_ms, sockaddr_in6, store_relaxed, store_release,
)
from tables cimport (
    ACTION_BLOCK, ACTION_PASS, BINDING_BINDING, DENIAL_NXDOMAIN, DNS_BLOCK_PAGE, order_t,
    tables_decide, tables_t, verdict_t,
)
from wire cimport (
    CLASS_ANY, CLASS_IN, FLAG_QR, FLAG_TC, FLAGS_OPCODE, FLAGS_RCODE, HEADER_OCTETS,
    RCODE_BADVERS, RCODE_FORMERR, RCODE_NOERROR, RCODE_NOTIMP, RCODE_NXDOMAIN, RCODE_REFUSED,
    RCODE_SERVFAIL, READING_BADVERS, READING_NOTIMP, READING_QUERY, READING_REFUSED,
    READING_RESPONSE, READING_RUNT, TYPE_A, TYPE_AAAA, Query, Reading, get16, read_query,
)

cdef enum:
    SOCKETS_MAX = 64            # of each side
    RANDOM_OCTETS = 4096
    ID_DRAWS_MAX = 8
    # What one batch may draw: an id of two octets for each query, and the socket.
    RANDOM_OCTETS_PER_BATCH = 2 * (BATCH * ID_DRAWS_MAX + 1)

# Every datagram from a client is `received` and one of the next eleven; every `passed` one is or
# becomes one of the four after them; every datagram from the upstream is `upstream_received` and
# one of `relayed` or the three after it.
cdef enum:
    RECEIVED
    BLOCKED_NXDOMAIN
    BLOCKED_NODATA
    BLOCKED_PAGE
    PASSED
    FORMERR
    NOTIMP
    BADVERS
    REFUSED
    UNDECIDED
    DROPPED_RUNT
    DROPPED_RESPONSE
    RELAYED
    TIMED_OUT
    EVICTED
    UPSTREAM_UNSENT
    UPSTREAM_RECEIVED
    UPSTREAM_MALFORMED
    UPSTREAM_UNKNOWN_ID
    UPSTREAM_WRONG_QUESTION
    UPSTREAM_CUT
    UPSTREAM_ERRORS
    REPLIES_UNSENT
    COUNTERS

cdef struct Held:
    # A published table; it and the region that it points into stay until the loop has left it.
    tables_t tables
    int64_t begun_ms           # it was this late already (Unix) ...
    int64_t begun_tick_ms      # ... at this CLOCK_BOOTTIME
    uint32_t serial            # the ledger's size, cut to 32 bits
    uint32_t *counted_at       # for each order slot, its place in Loop.order_counts


cdef struct Upstream:
    # The queries of one batch on their way out; they share one socket, drawn for the batch.
    mmsghdr messages[BATCH]
    iovec vectors[BATCH]
    uint32_t slots[BATCH]
    uint32_t count
    uint32_t socket


cdef struct Loop:
    int client_fds[SOCKETS_MAX]
    int upstream_fds[SOCKETS_MAX]
    uint32_t client_count
    uint32_t upstream_count
    int epoll_fd
    int wake_fd                # written by the other thread: look at `published` and `stop`
    const void *published      # Held; written by the other thread, read by the loop
    const void *in_use         # Held; written by the loop, read by the other thread
    uint64_t stop              # 1: drain and return; written by the other thread
    int64_t timeout_ms
    int64_t drain_ms
    uint8_t page4[4]
    uint8_t page6[16]
    uint8_t has_page4
    uint8_t has_page6
    const Held *held           # what the present batch is judged by
    # The floor of the tables before `held` when they were let go; read by the other thread.
    uint64_t carried_ms
    int64_t t_ms               # the present batch's time, Unix, never before the time floor
    int64_t tick_ms            # the present batch's CLOCK_BOOTTIME
    Inflight inflight
    Upstream out
    Query query
    Inbox clients
    Inbox answers
    Outbox outbox
    uint8_t random[RANDOM_OCTETS]
    uint32_t random_at         # octets before it are used up
    uint64_t counters[COUNTERS]  # written by the loop, read by the other thread
    uint64_t *order_counts     # the same; [0] takes those beyond ORDERS_COUNTED_MAX


cdef inline void count(Loop *loop, uint32_t counter) noexcept nogil:
    add_relaxed(&loop.counters[counter], 1)


cdef inline bint refill_random(Loop *loop) noexcept nogil:
    """Make sure that a batch finds the random octets that it may draw; False if it cannot."""
    cdef uint32_t filled = 0
    cdef ssize_t got
    if RANDOM_OCTETS - loop.random_at >= RANDOM_OCTETS_PER_BATCH:
        return True
    while filled < RANDOM_OCTETS:
        got = getrandom(loop.random + filled, RANDOM_OCTETS - filled, 0)
        if got > 0:
            filled += <uint32_t> got
        elif errno != EINTR:
            return False
    loop.random_at = 0
    return True


cdef inline uint32_t draw16(Loop *loop) noexcept nogil:
    cdef uint32_t drawn = get16(loop.random + loop.random_at)
    loop.random_at += 2
    return drawn


cdef inline void send_answers(Loop *loop) noexcept nogil:
    add_relaxed(&loop.counters[REPLIES_UNSENT], outbox_send(&loop.outbox, loop.client_fds))


cdef inline uint8_t *answer_octets(Loop *loop) noexcept nogil:
    """Return where an answer can be written, sending the full outbox first."""
    if loop.outbox.count == BATCH:
        send_answers(loop)
    return outbox_octets(&loop.outbox)


cdef inline void answer_slot(
    Loop *loop, uint32_t at, uint32_t rcode, uint32_t flags
) noexcept nogil:
    """Answer the client of slot `at` without data, and free the slot."""
    cdef Slot *slot = loop.inflight.slots + at
    cdef uint8_t *out = answer_octets(loop)
    cdef size_t length = write_error(out, &slot.asker, slot.question, rcode)
    out[2] |= <uint8_t> (flags >> 8)
    outbox_add(
        &loop.outbox, slot.client_socket, &slot.client, slot.client_octets, out, length
    )
    inflight_release(&loop.inflight, at)


cdef inline void answer_error(
    Loop *loop, uint32_t socket, uint32_t i, uint32_t rcode
) noexcept nogil:
    """Answer client datagram `i` with `rcode`, as much of its question as was read."""
    cdef uint8_t *out = answer_octets(loop)
    cdef size_t length = write_error(
        out, &loop.query.asker, inbox_octets(&loop.clients, i) + HEADER_OCTETS, rcode
    )
    outbox_add(
        &loop.outbox, socket, &loop.clients.addresses[i],
        loop.clients.messages[i].msg_hdr.msg_namelen, out, length,
    )


cdef inline void answer_block(
    Loop *loop, uint32_t socket, uint32_t i, const verdict_t *verdict
) noexcept nogil:
    """Answer client datagram `i`, whose name `verdict` blocks, and count it for its order."""
    cdef const Held *held = loop.held
    cdef const order_t *order = held.tables.orders + verdict.order
    cdef int64_t left_seconds = (order.until_ms - loop.t_ms) // 1000
    cdef uint8_t *out = answer_octets(loop)
    cdef Block block
    cdef size_t length
    memset(&block, 0, sizeof(Block))
    block.rcode = RCODE_NXDOMAIN if verdict.denial == DENIAL_NXDOMAIN else RCODE_NOERROR
    block.zone_at = verdict.zone_at
    block.info_code = EDE_CENSORED if order.binding == BINDING_BINDING else EDE_BLOCKED
    if order.dns_measure == DNS_BLOCK_PAGE:
        block.is_block_page = 1
        if loop.has_page4 or loop.has_page6:
            block.rcode = RCODE_NOERROR  # the name exists: it has the page's address
        if loop.has_page4 and loop.query.qtype == TYPE_A:
            block.page = loop.page4
            block.page_octets = 4
        elif loop.has_page6 and loop.query.qtype == TYPE_AAAA:
            block.page = loop.page6
            block.page_octets = 16
    block.order_id = &order.order_id[0]
    block.order_id_octets = order.order_id_bytes
    block.register_domain = held.tables.register_domain
    block.register_domain_octets = <uint16_t> held.tables.header.register_domain_bytes
    block.register_url = held.tables.register_url
    block.register_url_octets = <uint16_t> held.tables.header.register_url_bytes
    block.ttl_seconds = <uint32_t> min(left_seconds, <int64_t> BLOCK_TTL_SECONDS_MAX)
    block.serial = held.serial
    length = write_block(
        out, loop.query.asker.reply_octets_max, inbox_octets(&loop.clients, i), &loop.query, &block
    )
    outbox_add(
        &loop.outbox, socket, &loop.clients.addresses[i],
        loop.clients.messages[i].msg_hdr.msg_namelen, out, length,
    )
    add_relaxed(&loop.order_counts[held.counted_at[verdict.order]], 1)
    if block.page_octets:
        count(loop, BLOCKED_PAGE)
    elif block.rcode == RCODE_NXDOMAIN:
        count(loop, BLOCKED_NXDOMAIN)
    else:
        count(loop, BLOCKED_NODATA)


cdef inline void forward(Loop *loop, uint32_t socket, uint32_t i) noexcept nogil:
    """Give client datagram `i` a slot and an id of its own and queue it for the upstream.

    When all slots are taken the oldest gives way: what has waited longest is least likely to
    be answered at all. Its client gets SERVFAIL.
    """
    cdef Inflight *inflight = &loop.inflight
    cdef Upstream *out = &loop.out
    cdef uint8_t *wire = inbox_octets(&loop.clients, i)
    cdef uint32_t upstream_id = 0, draws = 0, at
    cdef Slot *slot
    while draws < ID_DRAWS_MAX:
        upstream_id = draw16(loop)
        if inflight_find(inflight, out.socket, upstream_id) == 0:
            break
        draws += 1
    if draws == ID_DRAWS_MAX:  # ids are used up on this socket: make this one free
        count(loop, EVICTED)
        answer_slot(loop, inflight_find(inflight, out.socket, upstream_id), RCODE_SERVFAIL, 0)
    elif inflight.free == 0:
        count(loop, EVICTED)
        answer_slot(loop, inflight.oldest, RCODE_SERVFAIL, 0)
    at = inflight_take(inflight, out.socket, upstream_id, loop.tick_ms + loop.timeout_ms)
    slot = inflight.slots + at
    slot.asker = loop.query.asker
    slot.client_socket = <uint16_t> socket
    slot.client_octets = loop.clients.messages[i].msg_hdr.msg_namelen
    memcpy(&slot.client, &loop.clients.addresses[i], sizeof(sockaddr_in6))
    memcpy(slot.question, wire + HEADER_OCTETS, slot.asker.question_octets)
    wire[0] = <uint8_t> (upstream_id >> 8)
    wire[1] = <uint8_t> upstream_id
    out.vectors[out.count].iov_base = wire
    out.vectors[out.count].iov_len = loop.clients.messages[i].msg_len
    out.slots[out.count] = at
    out.count += 1


cdef inline void send_upstream(Loop *loop) noexcept nogil:
    """Send the batch's queries; the client of one that cannot be sent gets SERVFAIL."""
    cdef Upstream *out = &loop.out
    cdef int fd = loop.upstream_fds[out.socket]
    cdef uint32_t sent = 0
    cdef bint was_refused = False
    while sent < out.count:
        sent += send_batch(fd, out.messages + sent, out.count - sent)
        if sent == out.count:
            break
        if errno == ECONNREFUSED and not was_refused:
            # The refusal of an earlier packet, reported and cleared by this call.
            was_refused = True
            count(loop, UPSTREAM_ERRORS)
            continue
        if loop.inflight.slots[out.slots[sent]].is_taken:  # not evicted within this batch
            count(loop, UPSTREAM_UNSENT)
            answer_slot(loop, out.slots[sent], RCODE_SERVFAIL, 0)
        sent += 1
    out.count = 0


cdef inline void judge(Loop *loop, uint32_t socket, uint32_t i) noexcept nogil:
    """Let the table decide a well-formed query: block it or forward it.

    Class ANY asks for class IN too, so it is judged as IN; every other class passes.
    """
    cdef Query *query = &loop.query
    cdef verdict_t verdict
    verdict.action = ACTION_PASS
    if loop.held is not NULL and (query.qclass == CLASS_IN or query.qclass == CLASS_ANY):
        verdict.action = 0
        tables_decide(
            &loop.held.tables, query.name, query.label_at, query.label_count, query.qtype,
            loop.t_ms, &verdict,
        )
    if verdict.action == ACTION_BLOCK:
        answer_block(loop, socket, i, &verdict)
    elif verdict.action == ACTION_PASS:
        count(loop, PASSED)
        forward(loop, socket, i)
    else:
        count(loop, UNDECIDED)
        answer_error(loop, socket, i, RCODE_SERVFAIL)


cdef inline void serve_query(Loop *loop, uint32_t socket, uint32_t i) noexcept nogil:
    """Answer, forward or drop client datagram `i`, and count which."""
    cdef Reading reading = read_query(
        inbox_octets(&loop.clients, i), loop.clients.messages[i].msg_len, &loop.query
    )
    count(loop, RECEIVED)
    if reading == READING_QUERY and not inbox_is_cut(&loop.clients, i):
        judge(loop, socket, i)
    elif reading == READING_RUNT:
        count(loop, DROPPED_RUNT)
    elif reading == READING_RESPONSE:
        count(loop, DROPPED_RESPONSE)
    elif reading == READING_NOTIMP:
        count(loop, NOTIMP)
        answer_error(loop, socket, i, RCODE_NOTIMP)
    elif reading == READING_BADVERS:
        count(loop, BADVERS)
        answer_error(loop, socket, i, RCODE_BADVERS)
    elif reading == READING_REFUSED:
        count(loop, REFUSED)
        answer_error(loop, socket, i, RCODE_REFUSED)
    else:
        count(loop, FORMERR)
        answer_error(loop, socket, i, RCODE_FORMERR)


cdef inline int64_t held_floor_ms(
    const Loop *loop, const Held *held, int64_t tick_ms
) noexcept nogil:
    """Return the Unix time before which it cannot be now, whatever the wall clock says.

    A table's own floor moves on with the clock that nobody can set. What the tables before it
    had reached stays a floor but does not move on: true time overtakes one that was too late.
    """
    cdef int64_t carried_ms = <int64_t> load_relaxed(&loop.carried_ms)
    return max(carried_ms, held.begun_ms + (tick_ms - held.begun_tick_ms))


cdef inline void begin_batch(Loop *loop) noexcept nogil:
    """Read both clocks once, and take the table that is published now.

    The wall clock counts only while it shows it: a jump ahead ends orders early, and is taken
    back with the clock. A step back does nothing, for the floor has moved on.
    """
    cdef const Held *held = <const Held *> load_acquire(&loop.published)
    loop.tick_ms = now_ms(CLOCK_BOOTTIME)
    loop.t_ms = now_ms(CLOCK_REALTIME)
    if held is not loop.held:
        if loop.held is not NULL:
            store_relaxed(
                &loop.carried_ms, <uint64_t> held_floor_ms(loop, loop.held, loop.tick_ms)
            )
        loop.held = held
        store_release(&loop.in_use, held)
    if held is not NULL:
        loop.t_ms = max(loop.t_ms, held_floor_ms(loop, held, loop.tick_ms))


cdef inline bint serve_clients(Loop *loop, uint32_t socket) noexcept nogil:
    """Take one batch from client socket number `socket`; False when randomness has failed."""
    cdef uint32_t i
    begin_batch(loop)
    if inbox_receive(&loop.clients, loop.client_fds[socket]) != 0:
        return True
    if not refill_random(loop):
        return False
    loop.out.socket = draw16(loop) % loop.upstream_count
    for i in range(loop.clients.count):
        serve_query(loop, socket, i)
    send_upstream(loop)
    send_answers(loop)
    inbox_wipe_addresses(&loop.clients)
    return True


cdef inline bint answers_question(
    const uint8_t *wire, size_t length, const Slot *slot
) noexcept nogil:
    """Tell whether an upstream's datagram repeats the question that `slot` sent, octet for octet.

    An error may come as a bare header: some servers send no more for what they cannot read.
    """
    cdef uint16_t rcode = get16(wire + 2) & FLAGS_RCODE
    if get16(wire + 4) == 0:
        return length == HEADER_OCTETS and rcode != RCODE_NOERROR and rcode != RCODE_NXDOMAIN
    if get16(wire + 4) != 1 or length < HEADER_OCTETS + <size_t> slot.asker.question_octets:
        return False
    return memcmp(wire + HEADER_OCTETS, slot.question, slot.asker.question_octets) == 0


cdef inline void relay(Loop *loop, uint32_t upstream, uint32_t i) noexcept nogil:
    """Send upstream datagram `i` to the client that waits for it, or count why not."""
    cdef uint8_t *wire = inbox_octets(&loop.answers, i)
    cdef size_t length = loop.answers.messages[i].msg_len
    cdef uint32_t at
    cdef Slot *slot
    count(loop, UPSTREAM_RECEIVED)
    if length < HEADER_OCTETS or get16(wire + 2) & (FLAG_QR | FLAGS_OPCODE) != FLAG_QR:
        count(loop, UPSTREAM_MALFORMED)
        return
    at = inflight_find(&loop.inflight, upstream, get16(wire))
    if at == 0:
        count(loop, UPSTREAM_UNKNOWN_ID)
        return
    slot = loop.inflight.slots + at
    if not answers_question(wire, length, slot):
        count(loop, UPSTREAM_WRONG_QUESTION)
        return
    count(loop, RELAYED)
    if inbox_is_cut(&loop.answers, i):
        # Longer than we read: the client must ask again over TCP.
        count(loop, UPSTREAM_CUT)
        answer_slot(loop, at, RCODE_NOERROR, FLAG_TC)
        return
    wire[0] = <uint8_t> (slot.asker.id >> 8)
    wire[1] = <uint8_t> slot.asker.id
    answer_octets(loop)
    outbox_add(
        &loop.outbox, slot.client_socket, &slot.client, slot.client_octets, wire, length
    )
    inflight_release(&loop.inflight, at)


cdef inline void serve_upstream(Loop *loop, uint32_t upstream) noexcept nogil:
    """Take one batch from upstream socket number `upstream`."""
    cdef uint32_t i
    cdef int error = inbox_receive(&loop.answers, loop.upstream_fds[upstream])
    if error != 0:
        if error != EAGAIN and error != EINTR:
            count(loop, UPSTREAM_ERRORS)
        return
    for i in range(loop.answers.count):
        relay(loop, upstream, i)
    send_answers(loop)


cdef inline void expire(Loop *loop) noexcept nogil:
    """Answer SERVFAIL for what the upstream left unanswered too long."""
    cdef Inflight *inflight = &loop.inflight
    while inflight.oldest and inflight.slots[inflight.oldest].deadline_ms <= loop.tick_ms:
        count(loop, TIMED_OUT)
        answer_slot(loop, inflight.oldest, RCODE_SERVFAIL, 0)
    send_answers(loop)


cdef inline int64_t wait_ms(Loop *loop, int64_t drain_until_ms) noexcept nogil:
    """Return how long nothing is due, or -1 for ever."""
    cdef int64_t due_ms = drain_until_ms
    if loop.inflight.oldest:
        due_ms = loop.inflight.slots[loop.inflight.oldest].deadline_ms
        if 0 < drain_until_ms < due_ms:
            due_ms = drain_until_ms
    if due_ms == 0:
        return -1
    return max(due_ms - now_ms(CLOCK_BOOTTIME), <int64_t> 0)
