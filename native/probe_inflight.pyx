"""A Python window on what waits for upstreams, for tests alone."""

from libc.stdint cimport int64_t, uint32_t

from inflight cimport (
    TRIES_KEPT, Inflight, Slot, inflight_add, inflight_again, inflight_close, inflight_find,
    inflight_move, inflight_open, inflight_release, inflight_renew, inflight_take,
)

KEPT_MAX = TRIES_KEPT


cdef class Waiting:
    """Slots by (way, id), by age, and by coming."""

    cdef Inflight inflight

    def __cinit__(self, uint32_t slots_max):
        if not inflight_open(&self.inflight, slots_max):
            raise MemoryError

    def __dealloc__(self):
        inflight_close(&self.inflight)

    def take(self, uint32_t way, uint32_t upstream_id, int64_t sent_ms):
        """Return the slot taken, or 0."""
        return inflight_take(&self.inflight, way, upstream_id, sent_ms)

    def find(self, uint32_t way, uint32_t upstream_id):
        """Return the slot that waits for it, or 0."""
        return inflight_find(&self.inflight, way, upstream_id)

    def last(self, uint32_t at):
        """Return way and id of a slot's last try."""
        return self.taken(at).way, self.taken(at).upstream_id

    def move(self, uint32_t at, uint32_t way, uint32_t upstream_id, int64_t sent_ms):
        """Put another try in the place of a slot's last."""
        self.taken(at)
        inflight_move(&self.inflight, at, way, upstream_id, sent_ms)

    def add(self, uint32_t at, uint32_t way, uint32_t upstream_id, int64_t sent_ms):
        """Put another try beside a slot's."""
        self.taken(at)
        inflight_add(&self.inflight, at, way, upstream_id, sent_ms)

    def again(self, uint32_t at, uint32_t ways_from, uint32_t ways_to, int64_t sent_ms):
        """Tell whether a slot has a try by one of these ways, which is its last now."""
        self.taken(at)
        return bool(inflight_again(&self.inflight, at, ways_from, ways_to, sent_ms))

    def renew(self, uint32_t at, int64_t sent_ms):
        """Make a slot the youngest."""
        self.taken(at)
        inflight_renew(&self.inflight, at, sent_ms)

    def release(self, uint32_t at):
        """Free a slot."""
        self.taken(at)
        inflight_release(&self.inflight, at)

    def by_age(self):
        """Return the slots, the one sent longest ago first, found from either end."""
        found, back = [], []
        at = self.inflight.oldest
        while at:
            found.append(at)
            at = self.inflight.slots[at].newer
        at = self.inflight.newest
        while at:
            back.append(at)
            at = self.inflight.slots[at].older
        if found != back[::-1]:
            raise AssertionError("the list is another one from behind")
        return found

    def by_coming(self):
        """Return the slots, the one that came first first, found from either end."""
        found, back = [], []
        at = self.inflight.first
        while at:
            found.append(at)
            at = self.inflight.slots[at].later
        at = self.inflight.last
        while at:
            back.append(at)
            at = self.inflight.slots[at].earlier
        if found != back[::-1]:
            raise AssertionError("the list is another one from behind")
        return found

    cdef Slot *taken(self, uint32_t at) except NULL:
        if not 1 <= at <= self.inflight.slots_max or not self.inflight.slots[at].is_taken:
            raise ValueError(f"slot {at} is not taken")
        return self.inflight.slots + at
