"""What waits for upstreams, held against a slow and obvious twin over random lives."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.probe_inflight import KEPT_MAX, Waiting

SLOTS, UPSTREAMS, WAYS_EACH, IDS = 5, 6, 2, 4
places = st.tuples(
    st.integers(0, UPSTREAMS - 1), st.integers(0, WAYS_EACH - 1), st.integers(0, IDS - 1)
)
verbs = st.sampled_from(["take", "take", "add", "add", "move", "again", "renew", "release"])


class Twin:
    """The same in lists: for each slot its tries by (way, id), the last of them, who is when."""

    def __init__(self):
        self.tries, self.present, self.age, self.coming = {}, {}, [], []

    def find(self, place):
        return next((at for at, kept in self.tries.items() if place in kept), 0)

    def renew(self, at):
        self.age.remove(at)
        self.age.append(at)


@given(st.lists(st.tuples(verbs, places, st.integers(0, SLOTS - 1)), max_size=60))
def test_it_finds_and_orders_what_the_twin_does(acts):
    real, twin = Waiting(SLOTS), Twin()
    for now_ms, (verb, (upstream, socket, upstream_id), which) in enumerate(acts):
        place = (upstream * WAYS_EACH + socket, upstream_id)
        at = twin.coming[which % len(twin.coming)] if twin.coming else 0
        if verb == "take" and not twin.find(place):
            at = real.take(*place, now_ms)
            assert bool(at) == (len(twin.coming) < SLOTS)
            if at:
                assert at not in twin.tries
                twin.tries[at], twin.present[at] = [place], place
                twin.age.append(at)
                twin.coming.append(at)
        elif not at:
            continue
        elif verb == "release":
            real.release(at)
            del twin.tries[at]
            twin.age.remove(at)
            twin.coming.remove(at)
        elif verb == "renew":
            real.renew(at, now_ms)
            twin.renew(at)
        elif verb == "again":
            ways = upstream * WAYS_EACH, (upstream + 1) * WAYS_EACH
            fits = [each for each in twin.tries[at] if ways[0] <= each[0] < ways[1]]
            assert real.again(at, *ways, now_ms) == bool(fits)
            if fits:
                assert real.last(at) in fits
                twin.present[at] = real.last(at)
                twin.renew(at)
        elif verb == "move" and not twin.find(place):
            real.move(at, *place, now_ms)
            twin.tries[at].remove(twin.present[at])
            twin.tries[at].append(place)
            twin.present[at] = place
            twin.renew(at)
        elif verb == "add" and not twin.find(place):
            real.add(at, *place, now_ms)
            if len(twin.tries[at]) == KEPT_MAX:
                (gone,) = (each for each in twin.tries[at] if not real.find(*each))
                assert gone != twin.present[at]
                twin.tries[at].remove(gone)
            twin.tries[at].append(place)
            twin.present[at] = place
            twin.renew(at)
        assert real.by_age() == twin.age
        assert real.by_coming() == twin.coming
        for each in twin.coming:
            assert real.last(each) == twin.present[each]
    for way in range(UPSTREAMS * WAYS_EACH):
        for upstream_id in range(IDS):
            assert real.find(way, upstream_id) == twin.find((way, upstream_id))
