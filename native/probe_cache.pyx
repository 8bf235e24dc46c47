"""Python windows on the answer cache and on how answers are written, for tests and benches."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

from answer cimport Answer, answer_of_entry, answer_of_response, answer_write
from cache cimport (
    Cache as CacheState, cache_close, cache_find, cache_find_answer, cache_hash, cache_open,
    cache_prefetch, cache_prefetch_entry, cache_put,
)
from entry cimport (
    RING_UNIT_OCTETS, Entry, entry_errors, entry_is_failing, entry_is_fresh,
    entry_may_serve_stale, entry_message, entry_note_failure,
)
from message cimport ANSWERED_WHOLE, RESPONSE_OCTETS_MAX, Response, read_response
from siphash cimport hash128_t, siphash13 as sip
from slots cimport (
    BUCKET_SLOTS, TAG_BITS, cache_bucket, entry_at, key_hash, next_lap, position_behind,
)
from wire cimport HEADER_OCTETS, READING_QUERY, UDP_OCTETS_MAX, Query, read_query

cdef enum:
    GUARD_OCTETS = 64  # octets behind an answer that must stay as they were
    BATCH = 32


cdef class AnswerCache:
    """One Cache, with everything that the engine does to it."""

    cdef CacheState state

    def __init__(self, uint64_t octets_max, bytes secret, uint32_t stale_seconds_max=86400):
        if len(secret) != 16:
            raise ValueError("a secret has 16 octets")
        if self.state.memory is not NULL:
            raise ValueError("the cache is open already")
        if not cache_open(&self.state, octets_max, stale_seconds_max, secret):
            raise ValueError("no cache of that size")

    def __dealloc__(self):
        cache_close(&self.state)

    @property
    def counts(self):
        """Return the octets taken and what was written, moved and displaced since open."""
        return {
            "octets": self.state.octets,
            "written": self.state.written,
            "moved": self.state.moved,
            "displaced": self.state.displaced,
        }

    def put(self, bytes query_wire not None, bytes response_wire not None, int64_t now_ms):
        """Tell whether the answer was kept."""
        cdef Query query
        cdef Response response
        read_whole_query(query_wire, &query)
        read_whole_response(response_wire, &response)
        return cache_put(
            &self.state, &query, cache_hash(&self.state, &query), &response, response_wire, now_ms
        ) is not NULL

    def find(self, bytes query_wire not None, int64_t now_ms, *, bint is_answer=False):
        """Return what is kept for the query, or None; only an answer, however old, `is_answer`."""
        cdef Query query
        cdef Entry *entry
        read_whole_query(query_wire, &query)
        entry = self.entry(&query, now_ms, is_answer)
        if entry is NULL:
            return None
        return {
            "ttl_seconds": entry.ttl_seconds,
            "stored_ms": entry.stored_ms,
            "rcode": entry.rcode,
            "has_links": bool(entry.has_links),
            "is_authentic": bool(entry.is_authentic),
            "is_fresh": bool(entry_is_fresh(entry, now_ms)),
            "may_serve_stale": bool(
                entry_may_serve_stale(entry, self.state.stale_seconds_max, now_ms)
            ),
            "is_failing": bool(entry_is_failing(entry, now_ms)),
            "judged": (entry.judged_serial, entry.judged_until_ms),
            "errors": entry_errors(entry)[:entry.errors_octets],
            "message": entry_message(entry)[:entry.octets],
        }

    def note(self, bytes query_wire not None, int64_t now_ms, judged=None):
        """Write what the engine writes: a failure to refresh, or by which table it was judged."""
        cdef Query query
        cdef Entry *entry
        read_whole_query(query_wire, &query)
        entry = self.entry(&query, now_ms, True)
        if judged is None:
            entry_note_failure(entry, now_ms)
        else:
            entry.judged_serial, entry.judged_until_ms = judged

    def answer(self, bytes query_wire not None, int64_t now_ms, *, room=None, bint is_stale=False):
        """Return the datagram that answers the query from the cache, or None."""
        cdef Query query
        cdef Answer answer
        cdef Entry *entry
        read_whole_query(query_wire, &query)
        entry = self.entry(&query, now_ms, is_stale)
        if entry is NULL:
            return None
        if is_stale:
            if not entry_may_serve_stale(entry, self.state.stale_seconds_max, now_ms):
                return None
        elif not entry_is_fresh(entry, now_ms):
            return None
        answer_of_entry(&answer, entry, now_ms, is_stale)
        return written(&query, query_wire, &answer, room)

    def check(self):
        """Walk the ring and the index; return how many entries stand and how many are found.

        Raises:
            AssertionError: a slot leads to no entry, or the entries do not fill the ring.
        """
        cdef uint64_t position = self.state.tail, end = self.state.head
        cdef uint64_t *slots
        cdef uint64_t hash
        cdef Entry *entry
        standing = {}
        while position != end:
            assert position & self.state.lap_mask < self.state.ring_units, "outside of the ring"
            assert position < end, "beyond the head"
            entry = entry_at(&self.state, position)
            if entry.units == 0:
                position = next_lap(&self.state, position)
                continue
            hash = key_hash(&self.state, entry.key, entry_message(entry) + HEADER_OCTETS)
            slots = cache_bucket(&self.state, hash)
            standing[position] = (hash & 0xFFFF, (slots - self.state.slots) // BUCKET_SLOTS)
            size = entry_message(entry) + entry.octets - <uint8_t *> entry
            assert 0 <= entry.units * RING_UNIT_OCTETS - size < RING_UNIT_OCTETS, "wrong size"
            position = position_behind(&self.state, position, entry.units)
        found = 0
        for number in range(self.state.buckets * BUCKET_SLOTS):
            position = self.state.slots[number] >> TAG_BITS
            if position >= self.state.tail:
                expected = (self.state.slots[number] & 0xFFFF, number // BUCKET_SLOTS)
                assert standing.get(position) == expected, "a slot leads astray"
                found += 1
        return len(standing), found

    def wind(self, uint64_t laps):
        """Move an empty cache to where it would be after that many laps."""
        self.state.head = self.state.tail = laps * (self.state.lap_mask + 1)

    @property
    def laps_max(self):
        """Return how many laps it takes until positions begin again."""
        return (<uint64_t> 1 << 47) // (self.state.lap_mask + 1)

    def measure(self, list exchanges not None, list asked not None, int64_t now_ms):
        """Return the nanoseconds, in all, of steps over these queries and their answers.

        The queries `asked` are read; looked up and not found; then each of `exchanges`, a query
        and its answer, is stored; then those `asked` are looked up, found and written out, one
        after the other, and again in batches. The time of reading is taken off the others.

        Raises:
            AssertionError: one was there before it was stored.
        """
        cdef Query query
        cdef Query[BATCH] queries
        cdef Response response
        cdef uint64_t hash, hits = 0
        cdef uint64_t[BATCH] hashes
        cdef uint32_t i
        cdef int64_t begun
        begun = now_ns()
        for wire in asked:
            read_whole_query(<bytes> wire, &query)
        read_ns = now_ns() - begun
        begun = now_ns()
        for wire in asked:
            read_whole_query(<bytes> wire, &query)
            hash = cache_hash(&self.state, &query)
            hits += cache_find(&self.state, &query, hash, now_ms) is not NULL
        miss_ns = now_ns() - begun - read_ns
        assert hits == 0, "already there"
        begun = now_ns()
        for wire, said in exchanges:
            read_whole_query(<bytes> wire, &query)
            read_whole_response(<bytes> said, &response)
        read_both_ns = now_ns() - begun
        begun = now_ns()
        for wire, said in exchanges:
            read_whole_query(<bytes> wire, &query)
            read_whole_response(<bytes> said, &response)
            hash = cache_hash(&self.state, &query)
            cache_put(&self.state, &query, hash, &response, <bytes> said, now_ms)
        put_ns = now_ns() - begun - read_both_ns
        begun = now_ns()
        for wire in asked:
            read_whole_query(<bytes> wire, &query)
            hits += self.write_hit(<bytes> wire, &query, cache_hash(&self.state, &query), now_ms)
        hit_ns = now_ns() - begun - read_ns
        begun = now_ns()
        for first in range(0, len(asked), BATCH):
            wires = asked[first:first + BATCH]
            for i in range(<uint32_t> len(wires)):
                read_whole_query(<bytes> wires[i], &queries[i])
                hashes[i] = cache_hash(&self.state, &queries[i])
                cache_prefetch(&self.state, hashes[i])
            for i in range(<uint32_t> len(wires)):
                cache_prefetch_entry(&self.state, hashes[i])
            for i in range(<uint32_t> len(wires)):
                hits += self.write_hit(<bytes> wires[i], &queries[i], hashes[i], now_ms)
        batch_ns = now_ns() - begun - read_ns
        return {
            "read": read_ns, "miss": miss_ns, "put": put_ns, "hit": hit_ns, "batch": batch_ns,
            "hits": hits,
        }

    cdef bint write_hit(
        self, const uint8_t *wire, const Query *query, uint64_t hash, int64_t now_ms
    ) noexcept:
        """Answer one query as the engine does; False if there is nothing for it."""
        cdef Entry *entry = cache_find(&self.state, query, hash, now_ms)
        cdef Answer answer
        cdef uint8_t out[UDP_OCTETS_MAX]
        if entry is NULL:
            return False
        answer_of_entry(&answer, entry, now_ms, False)
        return answer_write(
            out, query.asker.reply_octets_max, &query.asker, wire + HEADER_OCTETS, &answer
        ) > 0

    cdef Entry *entry(self, const Query *query, int64_t now_ms, bint is_answer):
        cdef uint64_t hash = cache_hash(&self.state, query)
        if is_answer:
            return cache_find_answer(&self.state, query, hash)
        return cache_find(&self.state, query, hash, now_ms)


def relay(bytes query_wire not None, bytes response_wire not None, *, room=None):
    """Return the datagram that hands an upstream's message on to who asked."""
    cdef Query query
    cdef Response response
    cdef Answer answer
    read_whole_query(query_wire, &query)
    read_whole_response(response_wire, &response)
    answer_of_response(&answer, &response, response_wire)
    return written(&query, query_wire, &answer, room)


def siphash13(bytes key not None, uint64_t first, bytes data not None):
    """Return SipHash-1-3 under a `key` of 16 octets of `first` and `data`."""
    if len(key) != 16:
        raise ValueError("a SipHash key has 16 octets")
    cdef hash128_t words = (<hash128_t *> <const uint8_t *> key)[0]
    return sip(words, first, data, len(data))


cdef int64_t now_ns() noexcept nogil:
    """Return the processor time of this thread: what others do beside it does not count."""
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


cdef int read_whole_query(bytes wire, Query *query) except -1:
    if read_query(wire, len(wire), query) != READING_QUERY:
        raise ValueError("not a well-formed query")
    return 0


cdef int read_whole_response(bytes wire, Response *response) except -1:
    if read_response(wire, len(wire), response) != ANSWERED_WHOLE:
        raise ValueError("not a well-formed response")
    return 0


cdef bytes written(Query *query, const uint8_t *wire, const Answer *answer, room):
    """Write into `room` octets, what the client takes unless given, with a guard behind them."""
    cdef size_t room_octets = query.asker.reply_octets_max if room is None else room
    cdef size_t length
    if room_octets > RESPONSE_OCTETS_MAX:
        raise ValueError("no message is longer than 65,535 octets")
    out = bytearray(b"\xa5" * (room_octets + GUARD_OCTETS))
    length = answer_write(out, room_octets, &query.asker, wire + HEADER_OCTETS, answer)
    if length > room_octets or out[length:].strip(b"\xa5"):
        raise AssertionError(f"octets were written beyond the answer's {length}")
    return bytes(out[:length])
