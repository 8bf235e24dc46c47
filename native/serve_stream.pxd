"""Queries over TCP (RFC 7766), in a loop of their own: pipelined, answered as answers come.

Clients' streams are bounded in number, in what they may have in flight, and in how long they
may idle; one that does not read its answers is not read either. Queries go on over TCP, by few
lasting streams to each upstream; one that idles or says nothing is ended. All state is one
Streams, owned by the thread that runs it but for the words marked otherwise. Nothing here
allocates, locks, blocks or calls Python.
"""

from libc.errno cimport EAGAIN, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from access cimport access_allows
from address cimport Address, address_from_sockaddr
from engine cimport *
from inflight cimport (
    Inflight, Slot, inflight_find, inflight_move, inflight_release, inflight_renew, inflight_take,
)
from proxy cimport PROXY_LOCAL, PROXY_PARTIAL, PROXY_PROXY, proxy_read, proxy_write
from sockets cimport (
    CLOCK_BOOTTIME, EPOLLERR, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD,
    EPOLL_CTL_DEL, EPOLL_CTL_MOD, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, accept4, close,
    connect, epoll_ctl, epoll_event, explicit_bzero, getsockname, now_ms, sockaddr, sockaddr_in6,
    socket, socklen_t, stream_error, stream_tune,
)
from stats cimport *
from stream cimport (
    FRAME_OCTETS_MAX, STREAM_CLIENT, STREAM_FREE, STREAM_UPSTREAM, Pool, Stream, stream_consume,
    stream_end, stream_flush, stream_frame, stream_has_room, stream_is_stuck, stream_read,
    stream_write,
)
from upstream cimport (
    FORWARD_OCTETS_MAX, PLAIN_MS, UPSTREAM_NONE, Upstream, Upstreams, upstreams_choose,
    write_forward,
)
from wire cimport FLAG_QR, FLAGS_OPCODE, FLAGS_RCODE, HEADER_OCTETS, RCODE_FORMERR, Asker, get16

cdef enum:
    LISTENERS_MAX = 64
    ACCEPTS_MAX = 64            # at a time
    PIPELINE_MAX = 100          # queries of one stream in flight
    STREAMS_EACH_MAX = 4        # lasting ones to one upstream
    STREAM_TRIES_MAX = 3
    TEND_MS = 250
    STREAM_ID_DRAWS_MAX = 8
    CONNECT_MS_MAX = 2000
    EVENT_LISTENER = 1 << 16    # epoll data: with a listener's number; else a stream's ...
    EVENT_SERIAL_BITS = 32      # ... with its serial from this bit on


cdef struct Streams:
    Engine engine
    int listener_fds[LISTENERS_MAX]
    uint32_t listener_count
    int epoll_fd
    int wake_fd                 # written by the other thread: look at `published` and `stop`
    int64_t timeout_ms          # a query waits so long in all ...
    int64_t try_ms              # ... and so long for one upstream, if another lives
    int64_t idle_ms
    int64_t upstream_idle_ms
    int64_t drain_ms
    int64_t tend_ms             # CLOCK_BOOTTIME: when what is due is looked at next
    uint32_t each_client_max    # streams of one address
    uint8_t proxies_to_upstream
    uint8_t is_draining
    uint8_t is_paused           # no stream is taken until what is due is looked at next
    uint8_t has_due             # some stream is due, or broken
    const uint64_t *down        # bit i: upstream i is down; written by the datagrams' thread
    Upstreams upstreams
    Pool pool
    uint32_t open               # clients' streams; read by the other thread
    uint32_t upstream_open      # streams to upstreams
    Inflight inflight
    uint32_t waiting            # slots; read by the other thread
    uint8_t answer[FRAME_OCTETS_MAX]
    uint8_t query[FORWARD_OCTETS_MAX + 64]


cdef inline uint32_t number_of(const Streams *tcp, const Stream *stream) noexcept nogil:
    return <uint32_t> (stream - tcp.pool.each)


cdef inline void tell_epoll(
    Streams *tcp, int operation, Stream *stream, uint32_t events
) noexcept nogil:
    """Have epoll watch the stream for `events`, and say with each whose it is."""
    cdef epoll_event event
    event.events = stream.events = events
    event.data.u64 = <uint64_t> stream.serial << EVENT_SERIAL_BITS | number_of(tcp, stream)
    epoll_ctl(tcp.epoll_fd, operation, stream.fd, &event)


cdef inline void watch_stream(Streams *tcp, Stream *stream) noexcept nogil:
    """Have epoll tell what the stream can go on with."""
    cdef uint32_t events = 0
    if stream.out_at < stream.out_used or stream.is_connecting:
        events |= EPOLLOUT
    if stream.role == STREAM_UPSTREAM or not (
        stream.is_ending or stream.inflight >= PIPELINE_MAX or not stream_has_room(stream)
    ):
        events |= EPOLLIN
    if events != stream.events:
        tell_epoll(tcp, EPOLL_CTL_MOD, stream, events)


# ------------------------------------------------------------------------ to clients


cdef inline void end_client(Streams *tcp, Stream *stream) noexcept nogil:
    stream_end(stream)  # which takes it out of epoll; what waits for it finds another serial
    tcp.open -= 1


cdef inline void send_client(Streams *tcp, Stream *stream) noexcept nogil:
    """Send what is queued, and end the stream when it is broken or done.

    Whole queries that were held back are gone on with, by `serve_due`, once there is room.
    """
    cdef bint is_held = stream_frame(stream, 0) != 0 and not tcp.is_draining
    if not stream_flush(stream):
        end_client(tcp, stream)
        return
    if is_held:
        if stream.inflight < PIPELINE_MAX and stream_has_room(stream):
            stream.is_due = tcp.has_due = 1
    elif stream.is_ending and stream.inflight == 0 and stream.out_at == stream.out_used:
        end_client(tcp, stream)
        return
    watch_stream(tcp, stream)


cdef inline void release_slot(Streams *tcp, uint32_t at) noexcept nogil:
    cdef Slot *slot = tcp.inflight.slots + at
    cdef Stream *way = tcp.pool.each + slot.way
    tcp.upstreams.each[slot.upstream].inflight -= 1
    if way.role == STREAM_UPSTREAM and way.serial == slot.way_serial:
        way.inflight -= 1
    tcp.waiting -= 1
    stats_set(tcp.engine.stats, STAT_IN_FLIGHT, tcp.waiting)
    inflight_release(&tcp.inflight, at)


cdef inline void answer_stream_slot(Streams *tcp, uint32_t at) noexcept nogil:
    """Send the answer that the engine has written to the client of slot `at`; free the slot."""
    cdef Slot *slot = tcp.inflight.slots + at
    cdef Stream *stream = tcp.pool.each + slot.client.socket
    cdef bint is_there = stream.role == STREAM_CLIENT and stream.serial == slot.client.serial
    release_slot(tcp, at)
    if not is_there:
        count(&tcp.engine, STAT_REPLIES_UNSENT)
        return
    stream.inflight -= 1
    stream.active_ms = tcp.engine.tick_ms
    if not stream_has_room(stream):  # it asks on and on, and reads nothing
        count(&tcp.engine, STAT_REPLIES_UNSENT)
        count(&tcp.engine, STAT_TCP_CLOSED_SLOW)
        end_client(tcp, stream)
        return
    stream_write(stream, tcp.answer, tcp.engine.reply_octets, True)
    send_client(tcp, stream)


cdef inline void fail_stream_slot(Streams *tcp, uint32_t at, uint32_t counter) noexcept nogil:
    """Give up on slot `at`: its client gets stale data or SERVFAIL."""
    cdef Slot *slot = tcp.inflight.slots + at
    engine_recall(&tcp.engine, slot)
    engine_fail(&tcp.engine, slot.query, slot.epoch, counter, tcp.answer)
    answer_stream_slot(tcp, at)


# ---------------------------------------------------------------------- to upstreams


cdef inline Stream *open_upstream(Streams *tcp, uint32_t upstream) noexcept nogil:
    """Begin a new stream to `upstream`; NULL where there is no place, or no way to it."""
    cdef Upstream *to = tcp.upstreams.each + upstream
    cdef Stream *stream
    cdef uint32_t i = tcp.pool.client_max
    while i < tcp.pool.count_max and tcp.pool.each[i].role != STREAM_FREE:
        i += 1
    if i == tcp.pool.count_max:
        return NULL
    stream = tcp.pool.each + i
    stream.fd = socket(
        (<sockaddr *> &to.place).sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0
    )
    if stream.fd < 0:
        return NULL
    stream_tune(stream.fd)
    if (
        connect(stream.fd, <sockaddr *> &to.place, to.place_octets) != 0
        and errno != EINPROGRESS
    ):
        close(stream.fd)
        stream.fd = -1
        return NULL
    tell_epoll(tcp, EPOLL_CTL_ADD, stream, EPOLLIN | EPOLLOUT)
    tcp.upstream_open += 1
    stream.role = STREAM_UPSTREAM
    stream.is_connecting = 1
    stream.upstream = <uint8_t> upstream
    stream.active_ms = tcp.engine.tick_ms
    return stream


cdef inline Stream *upstream_stream(Streams *tcp, uint32_t upstream) noexcept nogil:
    """Return the stream to `upstream` that has least to do, a new one if all have something."""
    cdef Stream *best = NULL
    cdef Stream *stream
    cdef uint32_t i, open = 0
    if tcp.proxies_to_upstream:
        return open_upstream(tcp, upstream)
    for i in range(tcp.pool.client_max, tcp.pool.count_max):
        stream = tcp.pool.each + i
        if stream.role != STREAM_UPSTREAM or stream.upstream != upstream or stream.is_broken:
            continue
        open += 1
        if stream_has_room(stream) and (best is NULL or stream.inflight < best.inflight):
            best = stream
    if (best is NULL or best.inflight > 0) and open < STREAMS_EACH_MAX:
        stream = open_upstream(tcp, upstream)
        if stream is not NULL:
            return stream
    return best


cdef inline void hear_down(Streams *tcp) noexcept nogil:
    """Take over which upstreams the datagrams' thread has found down."""
    cdef uint64_t down = load_relaxed(tcp.down)
    cdef uint32_t i
    for i in range(tcp.upstreams.count):
        tcp.upstreams.each[i].is_down = down >> i & 1


cdef inline Stream *choose_stream(Streams *tcp, uint32_t after) noexcept nogil:
    """Return a stream to the first upstream that lives, going round from behind `after`."""
    cdef uint32_t upstream
    cdef Stream *stream
    hear_down(tcp)
    for _ in range(tcp.upstreams.count):
        upstream = upstreams_choose(&tcp.upstreams, after)
        if upstream == UPSTREAM_NONE:
            break
        stream = upstream_stream(tcp, upstream)
        if stream is not NULL:
            return stream
        after = upstream
    return NULL


cdef inline uint32_t draw_stream_id(Streams *tcp, uint32_t way) noexcept nogil:
    """Return an id that is free on `way`, which has few in flight; ID_NONE without randomness."""
    cdef uint32_t upstream_id = 0, draws = 0
    while draws < STREAM_ID_DRAWS_MAX:
        if not engine_draw16(&tcp.engine, &upstream_id):
            return ID_NONE
        if inflight_find(&tcp.inflight, way, upstream_id) == 0:
            return upstream_id
        draws += 1
    while inflight_find(&tcp.inflight, way, upstream_id):
        upstream_id = (upstream_id + 1) & 0xFFFF
    return upstream_id


cdef inline void send_upstream(Streams *tcp, Stream *stream, uint32_t at) noexcept nogil:
    """Send the query of slot `at`, which waits for `stream`."""
    cdef Slot *slot = tcp.inflight.slots + at
    cdef Upstream *upstream = tcp.upstreams.each + stream.upstream
    cdef size_t octets
    stream.inflight += 1
    slot.way_serial = stream.serial
    slot.way_heard = stream.heard
    slot.upstream = stream.upstream
    slot.tries += 1
    slot.has_opt = not slot.is_plain and tcp.engine.tick_ms >= upstream.plain_until_ms
    upstream.inflight += 1
    if tcp.proxies_to_upstream:
        stream.is_single = 1
        octets = proxy_write(tcp.query, &slot.client.address, &slot.client.local, True)
        stream_write(stream, tcp.query, octets, False)
    octets = write_forward(
        tcp.query, &slot.asker, slot.upstream_id, slot.query + HEADER_OCTETS, slot.has_opt
    )
    stream_write(stream, tcp.query, octets, True)
    if not stream.is_connecting and not stream_flush(stream):
        stream.is_broken = tcp.has_due = 1  # it is ended when nothing is being worked at
        return
    watch_stream(tcp, stream)


cdef inline void retry_stream_slot(
    Streams *tcp, uint32_t at, uint32_t after, uint32_t counter
) noexcept nogil:
    """Ask another stream, or give up on slot `at`, which no stream counts any more."""
    cdef Slot *slot = tcp.inflight.slots + at
    cdef Stream *stream = NULL
    cdef uint32_t upstream_id = ID_NONE
    if slot.tries < STREAM_TRIES_MAX:
        stream = choose_stream(tcp, after)
    if stream is not NULL:
        upstream_id = draw_stream_id(tcp, number_of(tcp, stream))
    if upstream_id == ID_NONE:
        fail_stream_slot(tcp, at, counter)
        return
    count(&tcp.engine, STAT_UPSTREAM_RETRIED)
    if slot.upstream != stream.upstream:
        count(&tcp.engine, STAT_UPSTREAM_FAILED_OVER)
        slot.is_plain = 0
    tcp.upstreams.each[slot.upstream].inflight -= 1
    inflight_move(
        &tcp.inflight, at, number_of(tcp, stream), upstream_id, tcp.engine.tick_ms
    )
    send_upstream(tcp, stream, at)


cdef inline void end_upstream(Streams *tcp, Stream *stream) noexcept nogil:
    """End a stream to an upstream, and ask elsewhere what was still to come from it."""
    cdef uint32_t way = number_of(tcp, stream), serial = stream.serial, left = stream.inflight
    cdef uint32_t upstream = stream.upstream, at
    cdef uint32_t after = upstream if stream.is_connecting else UPSTREAM_NONE
    stream_end(stream)
    tcp.upstream_open -= 1
    if left == 0:
        return
    for at in range(1, tcp.inflight.slots_max + 1):
        if (
            tcp.inflight.slots[at].is_taken and tcp.inflight.slots[at].way == way
            and tcp.inflight.slots[at].way_serial == serial
        ):
            retry_stream_slot(tcp, at, after, STAT_UPSTREAM_UNSENT)


cdef inline void forward_stream(
    Streams *tcp, Stream *client, const uint8_t *wire
) noexcept nogil:
    """Have an upstream answer the present query, which is `client`'s."""
    cdef Engine *engine = &tcp.engine
    cdef Asker asker = engine.now.query.asker
    cdef Stream *stream = NULL
    cdef uint32_t at, upstream_id = ID_NONE
    cdef Slot *slot
    count(engine, STAT_PASSED)
    if tcp.inflight.free:
        stream = choose_stream(tcp, UPSTREAM_NONE)
    if stream is not NULL:
        upstream_id = draw_stream_id(tcp, number_of(tcp, stream))
    if upstream_id == ID_NONE:
        engine_fail(engine, wire, engine.epoch, STAT_UPSTREAM_NONE, tcp.answer)
        stream_write(client, tcp.answer, engine.reply_octets, True)
        return
    at = inflight_take(&tcp.inflight, number_of(tcp, stream), upstream_id, engine.tick_ms)
    slot = tcp.inflight.slots + at
    slot.asker = asker
    slot.client.socket = <uint16_t> number_of(tcp, client)
    slot.client.serial = client.serial
    # Octet by octet: a struct assigned by value would leave a copy of it on the stack.
    memcpy(&slot.client.address, &client.address, sizeof(Address))
    memcpy(&slot.client.local, &client.local, sizeof(Address))
    slot.client.is_waiting = 1
    slot.epoch = engine.epoch
    slot.begun_ms = engine.tick_ms
    slot.begun_ns = engine.tick_ns
    memcpy(slot.query, wire, HEADER_OCTETS + asker.question_octets)
    client.inflight += 1
    tcp.waiting += 1
    stats_set(engine.stats, STAT_IN_FLIGHT, tcp.waiting)
    send_upstream(tcp, stream, at)


# ---------------------------------------------------------------------- from clients


cdef inline bint take_header(Streams *tcp, Stream *stream) noexcept nogil:
    """Read the PROXY header that must come first; False while it, or the stream, is not whole."""
    cdef size_t octets = 0
    cdef int proxied = proxy_read(
        stream.in_octets, stream.in_used, &stream.address, &stream.local, &octets
    )
    if proxied == PROXY_PROXY or proxied == PROXY_LOCAL:
        stream.wants_header = 0
        stream_consume(stream, octets)
        return True
    if proxied != PROXY_PARTIAL or stream.in_used == stream.in_max:
        count(&tcp.engine, STAT_RECEIVED)
        count(&tcp.engine, STAT_PROXY_REFUSED)
        end_client(tcp, stream)
    return False


cdef inline void take_frames(Streams *tcp, Stream *stream) noexcept nogil:
    """Answer or forward the whole queries that came, as far as the stream's bounds let it."""
    cdef Engine *engine = &tcp.engine
    cdef const uint8_t *wire
    cdef size_t at = 0, octets
    cdef Fate fate
    if stream.wants_header and not take_header(tcp, stream):
        return
    while stream.inflight < PIPELINE_MAX and stream_has_room(stream):
        octets = stream_frame(stream, at)
        if octets == 0:
            break
        wire = stream.in_octets + at + 2
        at += octets
        stream.active_ms = engine.tick_ms
        engine_read(engine, &engine.own, wire, octets - 2)
        fate = engine_take(
            engine, &engine.own, wire, False, &stream.address, STREAM_OCTETS_MAX, tcp.answer
        )
        if fate == FATE_ANSWERED:
            stream_write(stream, tcp.answer, engine.reply_octets, True)
        elif fate == FATE_FORWARD:
            forward_stream(tcp, stream, wire)
        else:  # no message at all: what follows cannot be trusted to be framed
            count(engine, STAT_TCP_MALFORMED)
            end_client(tcp, stream)
            return
    if stream_is_stuck(stream, at):
        count(engine, STAT_TCP_MALFORMED)
        end_client(tcp, stream)
        return
    stream_consume(stream, at)
    send_client(tcp, stream)


cdef inline void read_client(Streams *tcp, Stream *stream) noexcept nogil:
    """Read what a client has sent."""
    cdef int got = stream_read(stream)
    if got < 0:  # it sends no more, and may still read (RFC 7766 §6.2.4)
        stream.is_ending = 1
        send_client(tcp, stream)
    elif got > 0:
        take_frames(tcp, stream)


cdef inline Stream *place_for(Streams *tcp, const Address *client) noexcept nogil:
    """Return a free place for a client's stream; one that idles makes room. NULL: there is none."""
    cdef Stream *idlest = NULL
    cdef Stream *free = NULL
    cdef Stream *stream
    cdef uint32_t i, of_client = 0
    for i in range(tcp.pool.client_max):
        stream = tcp.pool.each + i
        if stream.role == STREAM_FREE:
            free = stream if free is NULL else free
            continue
        of_client += address_is_of(&stream.address, client)
        if stream.inflight == 0 and (idlest is NULL or stream.active_ms < idlest.active_ms):
            idlest = stream
    if of_client >= tcp.each_client_max:
        return NULL
    if free is NULL and idlest is not NULL:
        count(&tcp.engine, STAT_TCP_CLOSED_IDLE)
        end_client(tcp, idlest)
        free = idlest
    return free


cdef inline bint address_is_of(const Address *one, const Address *other) noexcept nogil:
    """Tell whether two addresses are one host's."""
    return one.family == other.family and memcmp(one.octets, other.octets, 16) == 0


cdef inline int watch_listeners(Streams *tcp) noexcept nogil:
    """Have epoll tell of streams to be taken; return 0, or -1 and errno."""
    cdef epoll_event event
    cdef uint32_t i
    cdef int result = 0
    tcp.is_paused = 0
    for i in range(tcp.listener_count):
        event.events = EPOLLIN | EPOLLEXCLUSIVE
        event.data.u64 = EVENT_LISTENER | i
        result |= epoll_ctl(tcp.epoll_fd, EPOLL_CTL_ADD, tcp.listener_fds[i], &event)
    return result


cdef inline void ignore_listeners(Streams *tcp) noexcept nogil:
    """Take no more streams; those that come wait in the kernel."""
    cdef uint32_t i
    for i in range(tcp.listener_count):
        epoll_ctl(tcp.epoll_fd, EPOLL_CTL_DEL, tcp.listener_fds[i], NULL)


cdef inline bint may_accept_more(Streams *tcp) noexcept nogil:
    """Judge by errno why no stream could be taken; without room there is a pause, counted.

    What waits would be told of again at once, and in vain: the pause is for TEND_MS at most.
    """
    if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
        if not tcp.is_paused:
            tcp.is_paused = 1
            count(&tcp.engine, STAT_TCP_ACCEPT_PAUSED)
            ignore_listeners(tcp)
        return False
    return errno != EAGAIN  # a stream that broke while it waited says so here (accept(2))


cdef inline void accept_client(Streams *tcp, int listener) noexcept nogil:
    """Take the streams that wait at `listener`, ACCEPTS_MAX at most."""
    cdef sockaddr_in6 peer, local
    cdef socklen_t peer_octets, local_octets
    cdef Address address
    cdef Stream *stream
    cdef int fd, left = ACCEPTS_MAX
    while left:
        left -= 1
        peer_octets = local_octets = sizeof(sockaddr_in6)
        fd = accept4(listener, <sockaddr *> &peer, &peer_octets, SOCK_CLOEXEC | SOCK_NONBLOCK)
        if fd < 0:
            if may_accept_more(tcp):
                continue
            break
        count(&tcp.engine, STAT_TCP_CONNECTIONS)
        address_from_sockaddr(&address, &peer, peer_octets)
        stream = place_for(tcp, &address)
        if stream is NULL:
            count(&tcp.engine, STAT_TCP_REFUSED_FULL)
            close(fd)
            continue
        stream_tune(fd)
        getsockname(fd, <sockaddr *> &local, &local_octets)
        stream.fd = fd
        stream.role = STREAM_CLIENT
        memcpy(&stream.address, &address, sizeof(Address))
        address_from_sockaddr(&stream.local, &local, local_octets)
        stream.wants_header = access_allows(&tcp.engine.options.proxies, &address)
        stream.active_ms = tcp.engine.tick_ms
        tell_epoll(tcp, EPOLL_CTL_ADD, stream, EPOLLIN)
        tcp.open += 1
    explicit_bzero(&peer, sizeof(sockaddr_in6))
    explicit_bzero(&address, sizeof(Address))


# -------------------------------------------------------------------- from upstreams


cdef inline void take_answer(
    Streams *tcp, Stream *stream, const uint8_t *wire, size_t length
) noexcept nogil:
    """Give an upstream's message to the client that waits for it, or count why not."""
    cdef Engine *engine = &tcp.engine
    cdef uint32_t at
    cdef Slot *slot
    count(engine, STAT_UPSTREAM_RECEIVED)
    if length < HEADER_OCTETS or get16(wire + 2) & (FLAG_QR | FLAGS_OPCODE) != FLAG_QR:
        count(engine, STAT_UPSTREAM_MALFORMED)
        return
    at = inflight_find(&tcp.inflight, number_of(tcp, stream), get16(wire))
    if at == 0:
        count(engine, STAT_UPSTREAM_UNKNOWN_ID)
        return
    slot = tcp.inflight.slots + at
    if not answers_question(wire, length, slot):
        count(engine, STAT_UPSTREAM_WRONG_QUESTION)
        return
    if refuses_edns(wire, slot) and slot.tries < STREAM_TRIES_MAX:
        slot.is_plain = 1
        count(engine, STAT_UPSTREAM_PLAIN)
        stream.inflight -= 1
        slot.way_serial -= 1  # it waits for this stream no more
        retry_stream_slot(tcp, at, UPSTREAM_NONE, STAT_UPSTREAM_UNSENT)
        return
    if engine_relay(engine, wire, length, slot, tcp.answer) != FATE_ANSWERED:
        return
    count(engine, STAT_UPSTREAM_ANSWERED)
    if knows_no_edns(wire, slot):
        tcp.upstreams.each[stream.upstream].plain_until_ms = engine.tick_ms + PLAIN_MS
    stats_observe(engine.stats, STAGE_UPSTREAM, engine.tick_ns - slot.begun_ns, 1)
    answer_stream_slot(tcp, at)


cdef inline void read_upstream(Streams *tcp, Stream *stream) noexcept nogil:
    """Read what an upstream has sent, and end the stream when it is done or has done its one."""
    cdef int got = stream_read(stream)
    cdef size_t at = 0, octets
    if got < 0:
        end_upstream(tcp, stream)
        return
    stream.heard += got
    while True:
        octets = stream_frame(stream, at)
        if octets == 0:
            break
        take_answer(tcp, stream, stream.in_octets + at + 2, octets - 2)
        at += octets
        stream.active_ms = tcp.engine.tick_ms
    stream_consume(stream, at)
    if stream.is_single and stream.inflight == 0 and not stream.is_connecting:
        end_upstream(tcp, stream)


cdef inline void write_upstream(Streams *tcp, Stream *stream) noexcept nogil:
    """Go on with a stream that has connected, or takes more."""
    if stream.is_connecting and stream_error(stream.fd) != 0:
        count(&tcp.engine, STAT_UPSTREAM_ERRORS)
        end_upstream(tcp, stream)
        return
    stream.is_connecting = 0
    if stream_flush(stream):
        watch_stream(tcp, stream)
    else:
        end_upstream(tcp, stream)


# -------------------------------------------------------------------- what is due


cdef inline void serve_stream(
    Streams *tcp, uint32_t number, uint32_t serial, uint32_t events
) noexcept nogil:
    """Go on with the stream in place `number`, of which epoll has told `events`.

    One with another `serial` has ended since, and they are not for who is in its place now.
    """
    cdef Stream *stream = tcp.pool.each + number
    if stream.serial != serial:
        return
    if stream.role == STREAM_CLIENT:
        if events & EPOLLOUT:
            send_client(tcp, stream)
        if stream.serial == serial and events & EPOLLIN:
            read_client(tcp, stream)
        elif stream.serial == serial and events & (EPOLLERR | EPOLLHUP):
            end_client(tcp, stream)
    elif stream.role == STREAM_UPSTREAM:
        if events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            write_upstream(tcp, stream)
        if stream.serial == serial and events & EPOLLIN:
            read_upstream(tcp, stream)


cdef inline void serve_due(Streams *tcp) noexcept nogil:
    """Go on with the streams that were held back, and end those that broke meanwhile."""
    cdef uint32_t i
    tcp.has_due = 0
    for i in range(tcp.pool.count_max):
        if tcp.pool.each[i].is_broken:
            end_upstream(tcp, tcp.pool.each + i)
        elif tcp.pool.each[i].is_due:
            tcp.pool.each[i].is_due = 0
            take_frames(tcp, tcp.pool.each + i)


cdef inline void hear_silence(Streams *tcp, const Slot *slot) noexcept nogil:
    """Hear that a query had no answer in time; a stream that brought nothing since is dead."""
    cdef Stream *way = tcp.pool.each + slot.way
    if way.heard == slot.way_heard:
        way.is_broken = tcp.has_due = 1


cdef inline void give_up_overdue(Streams *tcp) noexcept nogil:
    """Give up what waited too long."""
    cdef Inflight *inflight = &tcp.inflight
    while inflight.first and (
        tcp.engine.tick_ms - inflight.slots[inflight.first].begun_ms >= tcp.timeout_ms
    ):
        hear_silence(tcp, inflight.slots + inflight.first)
        fail_stream_slot(tcp, inflight.first, STAT_TIMED_OUT)


cdef inline void look_at_slot(Streams *tcp, uint32_t at) noexcept nogil:
    """Decide about slot `at`, which has waited for a while: ask elsewhere, or wait on."""
    cdef Engine *engine = &tcp.engine
    cdef Slot *slot = tcp.inflight.slots + at
    cdef Stream *way = tcp.pool.each + slot.way
    cdef int64_t waited_ms = engine.tick_ms - slot.begun_ms
    hear_down(tcp)
    if (
        waited_ms >= slot.tries * tcp.try_ms and slot.tries < STREAM_TRIES_MAX
        and upstreams_choose(&tcp.upstreams, slot.upstream) != UPSTREAM_NONE
    ):
        hear_silence(tcp, slot)
        way.inflight -= 1
        slot.way_serial -= 1  # it waits for that stream no more
        retry_stream_slot(tcp, at, slot.upstream, STAT_TIMED_OUT)
        return
    inflight_renew(&tcp.inflight, at, engine.tick_ms)


cdef inline void tend_streams(Streams *tcp) noexcept nogil:
    """Do what is due: ask elsewhere, end what idles or never connected, accept again."""
    cdef Engine *engine = &tcp.engine
    cdef Inflight *inflight = &tcp.inflight
    cdef uint32_t i
    cdef Stream *stream
    cdef int64_t quiet_ms
    tcp.tend_ms = engine.tick_ms + TEND_MS
    if tcp.is_paused and not tcp.is_draining:
        watch_listeners(tcp)
    while inflight.oldest and (
        engine.tick_ms - inflight.slots[inflight.oldest].sent_ms >= TEND_MS
    ):
        look_at_slot(tcp, inflight.oldest)
    for i in range(tcp.pool.count_max):
        stream = tcp.pool.each + i
        quiet_ms = engine.tick_ms - stream.active_ms
        if stream.role == STREAM_CLIENT and stream.inflight == 0 and quiet_ms >= tcp.idle_ms:
            count(engine, STAT_TCP_CLOSED_IDLE)
            end_client(tcp, stream)
        elif stream.role != STREAM_UPSTREAM:
            continue
        elif stream.is_connecting and quiet_ms >= CONNECT_MS_MAX:
            count(engine, STAT_UPSTREAM_ERRORS)
            end_upstream(tcp, stream)
        elif stream.inflight == 0 and (stream.is_single or quiet_ms >= tcp.upstream_idle_ms):
            end_upstream(tcp, stream)  # RFC 7766 §6.2.3: who asks does not keep what idles


cdef inline bint is_busy(const Streams *tcp) noexcept nogil:
    """Tell whether something will be due."""
    return tcp.open > 0 or tcp.waiting > 0 or tcp.upstream_open > 0 or tcp.is_paused


cdef inline int64_t streams_wait_ms(const Streams *tcp) noexcept nogil:
    """Return how long nothing is due; -1: nothing ever will be."""
    cdef int64_t due_ms = tcp.tend_ms
    if not is_busy(tcp):
        return -1
    if tcp.inflight.first:
        due_ms = min(due_ms, tcp.inflight.slots[tcp.inflight.first].begun_ms + tcp.timeout_ms)
    return max(due_ms - now_ms(CLOCK_BOOTTIME), <int64_t> 0)


cdef inline void begin_drain(Streams *tcp) noexcept nogil:
    """Take what has come, and no more queries then; what was taken is answered still."""
    cdef uint32_t i
    ignore_listeners(tcp)
    for i in range(tcp.pool.client_max):
        if tcp.pool.each[i].role == STREAM_CLIENT:
            serve_stream(tcp, i, tcp.pool.each[i].serial, EPOLLIN)
    tcp.is_draining = 1
    for i in range(tcp.pool.client_max):
        if tcp.pool.each[i].role == STREAM_CLIENT:
            tcp.pool.each[i].is_ending = 1
            send_client(tcp, tcp.pool.each + i)
