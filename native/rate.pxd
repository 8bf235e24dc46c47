"""How many answers over UDP a client's network gets each second: a forged source is no weapon.

A token bucket for each prefix (IPv4 /24, IPv6 /56), found by a hash under a secret drawn at the
start, in a table whose size never changes. A bucket that has filled up again says nothing any more
and is wiped: no state is left of who asked seconds ago. One thread owns it; nothing here
allocates after `rate_open`. Where the table is full of active prefixes the fullest bucket of four
gives way, and its prefix begins anew.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from address cimport FAMILY_IPV4, FAMILY_IPV6, Address
from siphash cimport hash128_t, siphash128
from sockets cimport explicit_bzero

cdef enum:
    RATE_PER_SECOND_MAX = 1000000
    RATE_WAYS = 4
    RATE_SETS = 16384              # times RATE_WAYS: so many prefixes at once
    RATE_SETS_SWEPT = 2            # by each answer
    RATE_TOKENS = 1000             # what one answer costs; a millisecond gives per_second of them
    RATE_PREFIX4_OCTETS = 3
    RATE_PREFIX6_OCTETS = 7


cdef enum RateVerdict:
    """What becomes of an answer; 0 is no verdict."""

    RATE_UNSPECIFIED = 0
    RATE_SEND = 1
    RATE_SLIP = 2      # send TC=1 and no data: who is really there asks again over TCP
    RATE_DROP = 3


cdef struct Bucket:
    uint32_t tag           # the prefix's hash; 0 only in a free bucket
    uint32_t seen_ms       # when `tokens` was right, the clock's low bits
    uint32_t tokens
    uint32_t over          # answers that were too many since it was last full


cdef struct Rate:
    Bucket *buckets        # RATE_SETS * RATE_WAYS, or NULL when nothing is limited
    hash128_t secret
    uint32_t per_second
    uint32_t swept         # the next set to be looked through


cdef inline bint rate_open(
    Rate *rate, uint32_t per_second, const uint8_t *secret16
) noexcept nogil:
    """Limit each prefix to `per_second` answers, and as many at once; 0 limits nothing.

    False when `per_second` is over RATE_PER_SECOND_MAX or there is not enough memory.
    """
    memset(rate, 0, sizeof(Rate))
    if per_second > RATE_PER_SECOND_MAX:
        return False
    rate.per_second = per_second
    memcpy(&rate.secret, secret16, sizeof(hash128_t))
    if per_second == 0:
        return True
    rate.buckets = <Bucket *> calloc(RATE_SETS * RATE_WAYS, sizeof(Bucket))
    return rate.buckets is not NULL


cdef inline void rate_close(Rate *rate) noexcept nogil:
    """Wipe everything and give the memory back."""
    if rate.buckets is not NULL:
        explicit_bzero(rate.buckets, RATE_SETS * RATE_WAYS * sizeof(Bucket))
        free(rate.buckets)
    explicit_bzero(rate, sizeof(Rate))


cdef inline hash128_t rate_hash(const Rate *rate, const Address *client) noexcept nogil:
    """Hash the client's prefix; clients of no family are one prefix."""
    cdef uint8_t prefix[8]
    memset(prefix, 0, sizeof(prefix))
    prefix[7] = client.family
    if client.family == FAMILY_IPV4:
        memcpy(prefix, client.octets, RATE_PREFIX4_OCTETS)
    elif client.family == FAMILY_IPV6:
        memcpy(prefix, client.octets, RATE_PREFIX6_OCTETS)
    return siphash128(rate.secret, prefix, sizeof(prefix))


cdef inline uint32_t rate_refilled(
    const Rate *rate, const Bucket *bucket, uint32_t now_ms
) noexcept nogil:
    """Return what the bucket holds by now."""
    cdef uint32_t elapsed_ms = now_ms - bucket.seen_ms
    cdef uint64_t tokens = bucket.tokens + <uint64_t> elapsed_ms * rate.per_second
    return <uint32_t> min(tokens, <uint64_t> rate.per_second * RATE_TOKENS)


cdef inline void rate_sweep(Rate *rate, uint32_t sets, int64_t now_ms) noexcept nogil:
    """Wipe the buckets that are full again, in the next `sets` sets.

    Each answer does a little; a thread that has nothing to do should do it all.
    """
    cdef uint32_t full = rate.per_second * RATE_TOKENS
    cdef uint32_t _, way
    cdef Bucket *bucket
    if rate.buckets is NULL:
        return
    for _ in range(sets):
        for way in range(<uint32_t> RATE_WAYS):
            bucket = rate.buckets + rate.swept * RATE_WAYS + way
            if bucket.tag and rate_refilled(rate, bucket, <uint32_t> now_ms) == full:
                memset(bucket, 0, sizeof(Bucket))
        rate.swept = (rate.swept + 1) % RATE_SETS


cdef inline Bucket *rate_bucket(
    Rate *rate, uint32_t set_at, uint32_t tag, uint32_t now_ms
) noexcept nogil:
    """Return the prefix's bucket with what it holds now; a prefix without one gets a full one."""
    cdef Bucket *first = rate.buckets + set_at * RATE_WAYS
    cdef Bucket *chosen = first
    cdef uint32_t full = rate.per_second * RATE_TOKENS
    cdef uint32_t way, tokens, most = 0
    for way in range(<uint32_t> RATE_WAYS):
        tokens = full
        if first[way].tag:
            tokens = rate_refilled(rate, first + way, now_ms)
        if first[way].tag == tag:
            chosen = first + way
            most = tokens
            break
        if tokens > most:
            chosen = first + way
            most = tokens
    if chosen.tag != tag or most == full:
        memset(chosen, 0, sizeof(Bucket))
        chosen.tag = tag
        most = full
    chosen.tokens = most
    chosen.seen_ms = now_ms
    return chosen


cdef inline RateVerdict rate_take(
    Rate *rate, const Address *client, int64_t now_ms
) noexcept nogil:
    """Say what becomes of one more answer to `client` at `now_ms` (CLOCK_BOOTTIME).

    Every second answer of those that are too many slips, beginning with the first.
    """
    cdef hash128_t hashed
    cdef Bucket *bucket
    if rate.buckets is NULL:
        return RATE_SEND if rate.per_second == 0 else RATE_DROP
    rate_sweep(rate, RATE_SETS_SWEPT, now_ms)
    hashed = rate_hash(rate, client)
    bucket = rate_bucket(
        rate, <uint32_t> hashed.low % RATE_SETS, <uint32_t> hashed.high | 1, <uint32_t> now_ms
    )
    if bucket.tokens >= RATE_TOKENS:
        bucket.tokens -= RATE_TOKENS
        return RATE_SEND
    bucket.over += 1
    return RATE_SLIP if bucket.over & 1 else RATE_DROP
