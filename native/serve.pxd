"""Datagrams: queries from clients in, answers out; queries to the resolvers, their answers back.

Batches on both sides. Everything judged is judged by the engine; here is who is answered, by
which socket, and what waits. All state is one Datagrams, owned by the thread that runs it but
for the words marked otherwise. Nothing here allocates, locks, blocks or calls Python.
"""

from libc.errno cimport EAGAIN, ECONNREFUSED, ENOBUFS, errno
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from access cimport access_allows
from address cimport Address, address_from_sockaddr
from batch cimport (
    BATCH, Control, Inbox, Outbox, inbox_is_cut, inbox_octets, inbox_receive, inbox_wipe,
    outbox_add, outbox_add_to, outbox_octets, outbox_send, send_batch,
)
from engine cimport *
from inflight cimport (
    Client, Inflight, Slot, inflight_add, inflight_again, inflight_find, inflight_move,
    inflight_release, inflight_renew, inflight_take,
)
from proxy cimport PROXY_LOCAL, PROXY_PROXY, proxy_read, proxy_write
from rate cimport rate_sweep
from sockets cimport CLOCK_BOOTTIME, answer_control, now_ms, now_ns, sockaddr_in6
from stats cimport *
from upstream cimport (
    FORWARD_OCTETS_MAX, PLAIN_MS, UPSTREAM_NONE, UPSTREAM_SOCKETS_MAX, UPSTREAMS_MAX, Upstream,
    Upstreams, upstream_answered, upstream_lost, upstream_refused, upstream_wants_probe,
    upstreams_choose, write_forward,
)
from wire cimport (
    FLAG_QR, FLAG_RD, FLAGS_OPCODE, FLAGS_RCODE, HEADER_OCTETS, QUESTION_OCTETS_MAX,
    RCODE_NOERROR, RCODE_NXDOMAIN, Asker, get16,
)

cdef enum:
    SOCKETS_MAX = 64            # that clients ask
    WAYS_MAX = UPSTREAMS_MAX * UPSTREAM_SOCKETS_MAX
    ID_DRAWS_MAX = 8
    RATE_SETS_TENDED = 64       # looked through when nothing else is to be done
    STALE_AFTER_MS = 1800       # RFC 8767 §5: so long a client waits before it gets stale data


cdef struct Datagrams:
    Engine engine
    int client_fds[SOCKETS_MAX]
    Address client_places[SOCKETS_MAX]
    uint32_t client_count
    int epoll_fd
    int wake_fd                # written by the other thread: look at `published` and `stop`
    int64_t timeout_ms         # a query waits so long in all ...
    int64_t try_ms             # ... and so long for one upstream, if another lives
    int64_t drain_ms
    uint8_t proxies_to_upstream
    uint8_t is_draining
    uint8_t is_sweeping        # an upstream went down: look at all that waits for it
    Upstreams upstreams
    int way_fds[WAYS_MAX]      # the upstream sockets by way: upstream * SOCKETS_MAX + socket
    uint32_t way_drawn         # the present batch's socket, of each upstream
    Inflight inflight
    uint32_t waiting           # slots whose client waits; read by the other thread
    Inbox clients
    Ahead ahead[BATCH]         # what is known of the datagrams in `clients`
    Inbox answers
    Outbox outbox              # to clients
    Outbox queries             # to upstreams
    uint32_t query_slots[BATCH]
    Client asking              # who sent the datagram that is looked at
    uint8_t probe[HEADER_OCTETS + QUESTION_OCTETS_MAX]
    uint32_t probe_octets


# ------------------------------------------------------------------------ to clients


cdef inline void send_answers(Datagrams *udp) noexcept nogil:
    stats_add(
        udp.engine.stats, STAT_REPLIES_UNSENT, outbox_send(&udp.outbox, udp.client_fds)
    )


cdef inline uint8_t *answer_octets(Datagrams *udp) noexcept nogil:
    """Return where an answer can be written, sending the full outbox first."""
    if udp.outbox.count == BATCH:
        send_answers(udp)
    return outbox_octets(&udp.outbox)


cdef inline void answer_client(
    Datagrams *udp, const Client *client, uint8_t *out
) noexcept nogil:
    """Queue what the engine has written to `out`, unless the client's rate forbids it."""
    if engine_limit(&udp.engine, &client.address, out):
        outbox_add_to(
            &udp.outbox, client.socket, udp.engine.reply_octets, &client.peer,
            client.peer_octets, &client.control, client.control_octets,
        )


cdef inline void release(Datagrams *udp, uint32_t at) noexcept nogil:
    cdef Slot *slot = udp.inflight.slots + at
    udp.upstreams.each[slot.upstream].inflight -= 1
    if slot.is_probe:
        udp.upstreams.each[slot.upstream].is_probed = 0
    udp.waiting -= slot.client.is_waiting
    stats_set(udp.engine.stats, STAT_IN_FLIGHT, udp.waiting)
    inflight_release(&udp.inflight, at)


cdef inline void answer_slot(Datagrams *udp, uint32_t at, uint8_t *out) noexcept nogil:
    """Send what the engine has written to `out` to the client of slot `at`, and free the slot."""
    answer_client(udp, &udp.inflight.slots[at].client, out)
    release(udp, at)


cdef inline void fail_slot(Datagrams *udp, uint32_t at, uint32_t counter) noexcept nogil:
    """Give up on slot `at`: its client gets stale data or SERVFAIL."""
    cdef Slot *slot = udp.inflight.slots + at
    cdef uint8_t *out
    if slot.is_probe:
        release(udp, at)
        return
    out = answer_octets(udp)
    engine_recall(&udp.engine, slot)
    engine_fail(&udp.engine, slot.query, slot.epoch, counter, out)
    answer_slot(udp, at, out)


# ---------------------------------------------------------------------- to upstreams


cdef inline void hear_refusal(Datagrams *udp, uint32_t upstream) noexcept nogil:
    """Hear that nobody listens at an upstream, or that there is no way to it."""
    count(&udp.engine, STAT_UPSTREAM_ERRORS)
    if upstream_refused(&udp.upstreams, upstream):
        count(&udp.engine, STAT_UPSTREAM_DOWN)
    udp.is_sweeping = 1


cdef inline void send_queries(Datagrams *udp) noexcept nogil:
    """Send what is queued for upstreams; what cannot be sent goes elsewhere, or is given up."""
    cdef Outbox *out = &udp.queries
    cdef uint32_t start = 0, stop, at, way
    while start < out.count:
        way = out.sockets[start]
        stop = start + 1
        while stop < out.count and out.sockets[stop] == way:
            stop += 1
        while start < stop:
            start += send_batch(udp.way_fds[way], out.messages + start, stop - start)
            if start == stop:
                break
            if errno != EAGAIN and errno != ENOBUFS:
                # Perhaps the refusal of an earlier packet. The rest waits for the sweep.
                hear_refusal(udp, way / UPSTREAM_SOCKETS_MAX)
                start = stop
                break
            at = udp.query_slots[start]
            if udp.inflight.slots[at].is_taken and udp.inflight.slots[at].way == way:
                fail_slot(udp, at, STAT_UPSTREAM_UNSENT)
            start += 1
    out.count = 0


cdef inline uint32_t draw_way(Datagrams *udp, uint32_t upstream) noexcept nogil:
    """Return the present batch's socket of `upstream`."""
    return (
        upstream * UPSTREAM_SOCKETS_MAX
        + udp.way_drawn % udp.upstreams.each[upstream].fd_count
    )


cdef inline uint32_t draw_id(Datagrams *udp, uint32_t way) noexcept nogil:
    """Return an id that is free on `way`, or ID_NONE without randomness.

    Where none is found, the last one drawn is made so.
    """
    cdef uint32_t upstream_id = 0, draws = 0, at = 0
    while draws < ID_DRAWS_MAX:
        if not engine_draw16(&udp.engine, &upstream_id):
            return ID_NONE
        at = inflight_find(&udp.inflight, way, upstream_id)
        if at == 0:
            return upstream_id
        draws += 1
    fail_slot(udp, at, STAT_EVICTED)
    return upstream_id


cdef inline void queue_query(Datagrams *udp, uint32_t at) noexcept nogil:
    """Queue the query of slot `at` for where it waits; there is room for it."""
    cdef Slot *slot = udp.inflight.slots + at
    cdef Upstream *upstream = udp.upstreams.each + slot.upstream
    cdef uint8_t *out
    cdef size_t octets = 0
    if udp.queries.count == BATCH:
        send_queries(udp)
    out = outbox_octets(&udp.queries)
    slot.has_opt = not slot.is_plain and udp.engine.tick_ms >= upstream.plain_until_ms
    slot.tries += 1
    if udp.proxies_to_upstream:
        octets = proxy_write(out, &slot.client.address, &slot.client.local, False)
    octets += write_forward(
        out + octets, &slot.asker, slot.upstream_id, slot.query + HEADER_OCTETS, slot.has_opt
    )
    udp.query_slots[udp.queries.count] = at
    outbox_add(&udp.queries, slot.way, octets)


cdef inline uint32_t take_slot(Datagrams *udp, uint32_t upstream) noexcept nogil:
    """Return a slot for a query to `upstream`, with a way and an id of its own; 0: no id.

    When all are taken the oldest gives way: what has waited longest is least likely to be
    answered at all.
    """
    cdef uint32_t way = draw_way(udp, upstream)
    cdef uint32_t upstream_id = draw_id(udp, way)
    cdef uint32_t at
    if upstream_id == ID_NONE:
        return 0
    if udp.inflight.free == 0:
        fail_slot(udp, udp.inflight.oldest, STAT_EVICTED)
    at = inflight_take(&udp.inflight, way, upstream_id, udp.engine.tick_ms)
    udp.inflight.slots[at].upstream = <uint8_t> upstream
    udp.inflight.slots[at].begun_ms = udp.engine.tick_ms
    udp.inflight.slots[at].begun_ns = udp.engine.tick_ns
    udp.upstreams.each[upstream].inflight += 1
    return at


cdef inline void forward(Datagrams *udp, const uint8_t *wire) noexcept nogil:
    """Have an upstream answer the present query, which is `udp.asking`'s."""
    cdef Engine *engine = &udp.engine
    cdef uint32_t upstream = upstreams_choose(&udp.upstreams, UPSTREAM_NONE)
    cdef Asker asker = engine.now.query.asker  # making room for it may make another query present
    cdef uint32_t at = 0
    cdef Slot *slot
    cdef uint8_t *out
    count(engine, STAT_PASSED)
    if upstream != UPSTREAM_NONE:
        at = take_slot(udp, upstream)
    if at == 0:
        out = answer_octets(udp)
        engine_fail(engine, wire, engine.epoch, STAT_UPSTREAM_NONE, out)
        answer_client(udp, &udp.asking, out)
        return
    slot = udp.inflight.slots + at
    slot.asker = asker
    # Octet by octet: a struct assigned by value would leave a copy of it on the stack.
    memcpy(&slot.client, &udp.asking, sizeof(Client))
    slot.client.is_waiting = 1
    slot.epoch = engine.epoch
    udp.waiting += 1
    stats_set(engine.stats, STAT_IN_FLIGHT, udp.waiting)
    memcpy(slot.query, wire, HEADER_OCTETS + slot.asker.question_octets)
    queue_query(udp, at)


cdef inline uint32_t draw_id_for(Datagrams *udp, uint32_t way, uint32_t at) noexcept nogil:
    """Return an id for one more try of slot `at` by `way`; ID_NONE: the slot was given up."""
    cdef uint32_t upstream_id = draw_id(udp, way)
    if upstream_id == ID_NONE:
        fail_slot(udp, at, STAT_UPSTREAM_NONE)
    elif not udp.inflight.slots[at].is_taken:  # it was the one whose id had to be made free
        return ID_NONE
    return upstream_id


cdef inline void retry(Datagrams *udp, uint32_t at, uint32_t upstream) noexcept nogil:
    """Ask another `upstream` what slot `at` waits for; those asked before may still answer.

    One that is asked again is asked by the same way and id: no forger gets a second chance.
    """
    cdef Slot *slot = udp.inflight.slots + at
    cdef uint32_t first_way = upstream * UPSTREAM_SOCKETS_MAX
    cdef uint32_t way, upstream_id
    if not inflight_again(
        &udp.inflight, at, first_way, first_way + UPSTREAM_SOCKETS_MAX, udp.engine.tick_ms
    ):
        way = draw_way(udp, upstream)
        upstream_id = draw_id_for(udp, way, at)
        if upstream_id == ID_NONE:
            return
        inflight_add(&udp.inflight, at, way, upstream_id, udp.engine.tick_ms)
    udp.upstreams.each[slot.upstream].inflight -= 1
    udp.upstreams.each[upstream].inflight += 1
    slot.is_plain = 0
    slot.upstream = <uint8_t> upstream
    queue_query(udp, at)
    count(&udp.engine, STAT_UPSTREAM_RETRIED)
    count(&udp.engine, STAT_UPSTREAM_FAILED_OVER)


cdef inline void retry_plain(Datagrams *udp, uint32_t at) noexcept nogil:
    """Ask the upstream that has refused slot `at` with EDNS again, without; its id is used up."""
    cdef Slot *slot = udp.inflight.slots + at
    cdef uint32_t way = draw_way(udp, slot.upstream)
    cdef uint32_t upstream_id = draw_id_for(udp, way, at)
    if upstream_id == ID_NONE:
        return
    slot.is_plain = 1
    inflight_move(&udp.inflight, at, way, upstream_id, udp.engine.tick_ms)
    queue_query(udp, at)
    count(&udp.engine, STAT_UPSTREAM_RETRIED)


cdef inline void probe(Datagrams *udp, uint32_t upstream) noexcept nogil:
    """Ask `upstream` for the probe's name servers: any answer shows that it lives."""
    cdef uint32_t at = take_slot(udp, upstream)
    cdef Slot *slot = udp.inflight.slots + at
    if at == 0:
        return
    slot.is_probe = 1
    slot.asker.flags = FLAG_RD
    slot.asker.question_octets = <uint16_t> (udp.probe_octets - HEADER_OCTETS)
    memcpy(slot.query, udp.probe, udp.probe_octets)
    udp.upstreams.each[upstream].is_probed = 1
    queue_query(udp, at)


# ---------------------------------------------------------------------- what is due


cdef inline void look_at(Datagrams *udp, uint32_t at) noexcept nogil:
    """Decide about slot `at`, which has waited long for its upstream, or in vain."""
    cdef Engine *engine = &udp.engine
    cdef Slot *slot = udp.inflight.slots + at
    cdef int64_t waited_ms = engine.tick_ms - slot.begun_ms
    cdef uint32_t other
    cdef uint8_t *out
    if slot.is_probe:
        other = slot.upstream
        release(udp, at)
        if upstream_lost(&udp.upstreams, other):
            count(engine, STAT_UPSTREAM_DOWN)
            udp.is_sweeping = 1
        return
    if waited_ms >= udp.timeout_ms:
        fail_slot(udp, at, STAT_TIMED_OUT)
        return
    if waited_ms >= STALE_AFTER_MS:
        out = answer_octets(udp)
        engine_recall(engine, slot)
        if engine_stale(engine, slot.query, slot.epoch, out) == FATE_ANSWERED:
            answer_slot(udp, at, out)
            return
    other = upstreams_choose(&udp.upstreams, slot.upstream)
    if other != UPSTREAM_NONE and slot.tries < 2 * udp.upstreams.count:
        retry(udp, at, other)
    elif udp.upstreams.each[slot.upstream].is_down:
        fail_slot(udp, at, STAT_UPSTREAM_NONE)
    else:
        inflight_renew(&udp.inflight, at, engine.tick_ms)


cdef inline void sweep(Datagrams *udp) noexcept nogil:
    """Look at all that waits for an upstream that is down."""
    cdef uint32_t at
    udp.is_sweeping = 0
    for at in range(1, udp.inflight.slots_max + 1):
        if (
            udp.inflight.slots[at].is_taken
            and udp.upstreams.each[udp.inflight.slots[at].upstream].is_down
            and not udp.inflight.slots[at].is_probe
        ):
            look_at(udp, at)


cdef inline void tend(Datagrams *udp) noexcept nogil:
    """Do what is due: give up what waited too long, ask elsewhere, probe upstreams."""
    cdef Engine *engine = &udp.engine
    cdef Inflight *inflight = &udp.inflight
    cdef uint32_t i, left = BATCH
    engine_draw16(engine, &udp.way_drawn)  # without randomness no id is drawn either
    while (
        inflight.first and left
        and engine.tick_ms - inflight.slots[inflight.first].begun_ms >= udp.timeout_ms
    ):
        look_at(udp, inflight.first)
        left -= 1
    while (
        inflight.oldest and left
        and engine.tick_ms - inflight.slots[inflight.oldest].sent_ms >= udp.try_ms
    ):
        look_at(udp, inflight.oldest)
        left -= 1
    if udp.is_sweeping:
        sweep(udp)
    rate_sweep(&engine.rate, RATE_SETS_TENDED, engine.tick_ms)
    for i in range(udp.upstreams.count):
        if not udp.is_draining and upstream_wants_probe(
            udp.upstreams.each + i, engine.tick_ms
        ):
            probe(udp, i)
    send_queries(udp)
    send_answers(udp)


cdef inline int64_t wait_ms(Datagrams *udp, int64_t drain_until_ms) noexcept nogil:
    """Return how long nothing is due."""
    cdef int64_t due_ms = INT64_MAX
    cdef uint32_t i
    if udp.is_sweeping:
        return 0
    for i in range(udp.upstreams.count):
        # While it waits for a probe's answer it is the probe that is looked at next.
        if not (udp.is_draining or udp.upstreams.each[i].is_probed):
            due_ms = min(due_ms, udp.upstreams.each[i].probe_ms)
    if udp.inflight.oldest:
        due_ms = min(due_ms, udp.inflight.slots[udp.inflight.oldest].sent_ms + udp.try_ms)
        due_ms = min(due_ms, udp.inflight.slots[udp.inflight.first].begun_ms + udp.timeout_ms)
    if drain_until_ms:
        due_ms = min(due_ms, drain_until_ms)
    return max(due_ms - now_ms(CLOCK_BOOTTIME), <int64_t> 0)


# ---------------------------------------------------------------------- from clients


cdef inline size_t meet_client(Datagrams *udp, uint32_t socket, uint32_t i) noexcept nogil:
    """Learn who sent datagram `i`, and return where its message starts.

    A proxy (PROXY protocol v2) must say for whom it asks; otherwise all of it is skipped.
    """
    cdef Client *asking = &udp.asking
    cdef size_t length = udp.clients.messages[i].msg_len, skipped = 0
    cdef sockaddr_in6 local
    cdef int proxied
    asking.socket = <uint16_t> socket
    asking.peer_octets = udp.clients.messages[i].msg_hdr.msg_namelen
    memcpy(&asking.peer, &udp.clients.addresses[i], sizeof(sockaddr_in6))
    asking.control_octets = 0
    asking.local = udp.client_places[socket]
    address_from_sockaddr(&asking.address, &asking.peer, asking.peer_octets)
    if udp.clients.messages[i].msg_hdr.msg_controllen:
        asking.control_octets = <uint8_t> answer_control(
            &udp.clients.messages[i].msg_hdr, &asking.control, &local
        )
        if asking.control_octets and udp.proxies_to_upstream:
            address_from_sockaddr(&asking.local, &local, sizeof(sockaddr_in6))
            asking.local.port = udp.client_places[socket].port
    if access_allows(&udp.engine.options.proxies, &asking.address):
        proxied = proxy_read(
            inbox_octets(&udp.clients, i), length, &asking.address, &asking.local, &skipped
        )
        if proxied == PROXY_LOCAL:  # the proxy's own: its health check
            return skipped
        return skipped if proxied == PROXY_PROXY else length + 1
    return 0


cdef inline void serve_client(Datagrams *udp, uint32_t socket, uint32_t i) noexcept nogil:
    """Answer, forward or drop client datagram `i`."""
    cdef size_t length = udp.clients.messages[i].msg_len
    cdef size_t start = meet_client(udp, socket, i)
    cdef uint8_t *wire = inbox_octets(&udp.clients, i) + start
    cdef uint8_t *out
    cdef Fate fate
    if start > length:
        count(&udp.engine, STAT_RECEIVED)
        count(&udp.engine, STAT_PROXY_REFUSED)
        return
    if start:  # what was read ahead is the proxy's header
        engine_read(&udp.engine, &udp.ahead[i], wire, length - start)
    out = answer_octets(udp)
    fate = engine_take(
        &udp.engine, &udp.ahead[i], wire, inbox_is_cut(&udp.clients, i), &udp.asking.address,
        0, out,
    )
    if fate == FATE_ANSWERED:
        answer_client(udp, &udp.asking, out)
    elif fate == FATE_FORWARD:
        forward(udp, wire)


cdef inline void serve_clients(Datagrams *udp, uint32_t socket) noexcept nogil:
    """Take one batch from client socket number `socket`."""
    cdef uint32_t i
    if inbox_receive(&udp.clients, udp.client_fds[socket]) != 0:
        return
    engine_begin_batch(&udp.engine)
    engine_draw16(&udp.engine, &udp.way_drawn)
    for i in range(udp.clients.count):
        engine_read(
            &udp.engine, &udp.ahead[i], inbox_octets(&udp.clients, i),
            udp.clients.messages[i].msg_len,
        )
    for i in range(udp.clients.count):
        engine_expect(&udp.engine, &udp.ahead[i])
    for i in range(udp.clients.count):
        serve_client(udp, socket, i)
    send_queries(udp)
    send_answers(udp)
    engine_end_batch(&udp.engine)
    inbox_wipe(&udp.clients)
    memset(&udp.asking, 0, sizeof(Client))


# -------------------------------------------------------------------- from upstreams


cdef inline void serve_answer(Datagrams *udp, uint32_t way, uint32_t i) noexcept nogil:
    """Give upstream datagram `i` to the client that waits for it, or count why not."""
    cdef Engine *engine = &udp.engine
    cdef uint8_t *wire = inbox_octets(&udp.answers, i)
    cdef size_t length = udp.answers.messages[i].msg_len
    cdef uint32_t upstream = way / UPSTREAM_SOCKETS_MAX, at, rcode
    cdef Slot *slot
    cdef uint8_t *out
    cdef bint is_late
    count(engine, STAT_UPSTREAM_RECEIVED)
    if length < HEADER_OCTETS or get16(wire + 2) & (FLAG_QR | FLAGS_OPCODE) != FLAG_QR:
        count(engine, STAT_UPSTREAM_MALFORMED)
        return
    at = inflight_find(&udp.inflight, way, get16(wire))
    if at == 0:
        count(engine, STAT_UPSTREAM_UNKNOWN_ID)
        return
    slot = udp.inflight.slots + at
    rcode = get16(wire + 2) & FLAGS_RCODE
    if not answers_question(wire, length, slot):
        count(engine, STAT_UPSTREAM_WRONG_QUESTION)
        return
    if slot.is_probe:
        count(engine, STAT_UPSTREAM_PROBED)
        upstream_answered(&udp.upstreams, upstream)
        release(udp, at)
        return
    is_late = slot.way != way or slot.upstream_id != get16(wire)
    if is_late and rcode != RCODE_NOERROR and rcode != RCODE_NXDOMAIN:
        # Another is asked already, and may know better.
        count(engine, STAT_UPSTREAM_ANSWERED)
        upstream_answered(&udp.upstreams, upstream)
        return
    if refuses_edns(wire, slot):
        count(engine, STAT_UPSTREAM_PLAIN)
        retry_plain(udp, at)
        return
    out = answer_octets(udp)
    if inbox_is_cut(&udp.answers, i):
        # Longer than we read: the client must ask again over TCP.
        engine_cut(engine, slot, out)
    elif engine_relay(engine, wire, length, slot, out) != FATE_ANSWERED:
        return
    count(engine, STAT_UPSTREAM_ANSWERED)
    upstream_answered(&udp.upstreams, upstream)
    if not is_late and knows_no_edns(wire, slot):
        udp.upstreams.each[upstream].plain_until_ms = engine.tick_ms + PLAIN_MS
    stats_observe(engine.stats, STAGE_UPSTREAM, engine.tick_ns - slot.begun_ns, 1)
    answer_slot(udp, at, out)


cdef inline void serve_upstream(Datagrams *udp, uint32_t way) noexcept nogil:
    """Take one batch from an upstream's socket."""
    cdef uint32_t i
    cdef int error = inbox_receive(&udp.answers, udp.way_fds[way])
    if error == ECONNREFUSED:
        engine_begin_batch(&udp.engine)
        hear_refusal(udp, way / UPSTREAM_SOCKETS_MAX)
    if error != 0:
        return
    engine_begin_batch(&udp.engine)
    for i in range(udp.answers.count):
        serve_answer(udp, way, i)
    send_queries(udp)
    send_answers(udp)
    inbox_wipe(&udp.answers)
