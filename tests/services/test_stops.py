"""Stops ahead of the ledger: nothing but the ledger's own end of the order takes one back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.fold import apply
from enforcer.core.life import OrderStatus
from enforcer.core.order import OrderProposed, OrderRef
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State
from enforcer.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from enforcer.services import kept_stops
from enforcer.services.kept_stops import EarlyStops
from enforcer.services.node_time import Moment
from enforcer.services.stops import StopKeeper, StopOutcome
from tests.people import Land, Person, Role, seal


class Files(dict):
    """The kept files, in memory."""

    def path(self, name):
        return Path(name)

    def read(self, name):
        return self.get(name)

    def write(self, name, data):
        self[name] = data

    def remove(self, name):
        self.pop(name, None)

    def names(self, folder):
        return sorted(name for name in self if name.startswith(folder + "/"))


@pytest.fixture
def land():
    return Land.founded()


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def keeper(files):
    return StopKeeper(files)


def stop_bytes(land: Land, ref: OrderRef, by: Person | None = None) -> bytes:
    return format_envelope(seal(land.stopping(ref), (by or land.oversight).key))


def now(land: Land) -> Moment:
    return Moment(land.now_ms, land.now_ms, land.now_ms)


def offer(keeper: StopKeeper, land: Land, ref: OrderRef, by: Person | None = None) -> StopOutcome:
    return keeper.offer(land.state, stop_bytes(land, ref, by), now(land))


def revoke(land: Land, person: Person, since: int | None = None) -> None:
    assert land.record(seal(land.revocation(person, since), *land.roots[:2])).is_effective


def restarted(keeper: StopKeeper, files: Files, state: State) -> StopKeeper:
    keeper.save()
    again = StopKeeper(files)
    again.restore(state)
    return again


def ref_of(land: Land, order: OrderProposed) -> tuple[OrderRef, Envelope]:
    """Sign an order that is the next entry, and return how acts will name it."""
    envelope = seal(order, land.proposer.key)
    return OrderRef(order.order_id, land.state.size, envelope.payload_sha256), envelope


# What ends the obeying.


def test_a_routine_revocation_of_the_signers_key_revives_no_block(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref, by=land.second_approver)
    revoke(land, land.second_approver)
    keeper.review(land.state)
    assert set(keeper.obeyed) == {ref.order_id}
    assert set(restarted(keeper, files, land.state).obeyed) == {ref.order_id}


def test_the_end_of_a_registration_revives_no_block(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref)
    land.record(seal(land.order(), land.proposer.key), after_ms=366 * DAY_MS)
    keeper.review(land.state)
    assert set(restarted(keeper, files, land.state).obeyed) == {ref.order_id}


def test_a_clock_that_is_years_ahead_ends_no_key_that_stops(land, keeper, files):
    ref = land.in_force_order()
    ahead = replace(now(land), t_ms=land.now_ms + 10 * 366 * DAY_MS)
    keeper.offer(land.state, stop_bytes(land, ref), ahead)
    assert set(keeper.obeyed) == {ref.order_id}
    to_come, envelope = ref_of(land, land.order())
    assert keeper.offer(land.state, stop_bytes(land, to_come), ahead) is StopOutcome.KEPT
    land.record(envelope)
    keeper.review(land.state)
    assert set(keeper.obeyed) == {ref.order_id, to_come.order_id}


def test_a_stop_by_a_key_whose_registration_has_ended_is_refused(land, keeper):
    ref = land.in_force_order()
    land.now_ms += 366 * DAY_MS
    with pytest.raises(RefusedError, match="registration has ended"):
        offer(keeper, land, ref)


def test_a_new_stop_by_a_revoked_key_is_refused(land, keeper):
    ref = land.in_force_order()
    revoke(land, land.second_approver)
    with pytest.raises(RefusedError, match="revoked"):
        offer(keeper, land, ref, by=land.second_approver)
    assert not keeper.obeyed


def test_the_stop_goes_when_the_ledger_has_it(land, keeper, files):
    ref = land.in_force_order()
    stop = seal(land.stopping(ref), land.oversight.key)
    keeper.offer(land.state, format_envelope(stop), now(land))
    keeper.save()
    assert files
    land.record(stop)
    keeper.review(land.state)
    keeper.save()
    assert (keeper.obeyed, files) == ({}, {})


def test_the_stop_goes_when_the_ledger_has_another_of_the_same_order(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref)
    land.stop(ref, by=land.approver)
    keeper.review(land.state)
    keeper.save()
    assert (keeper.obeyed, files) == ({}, {})


def test_a_second_version_of_a_stopped_order_is_stopped_too(land, keeper, files):
    first = land.in_force_order()
    second = land.propose(order_id=first.order_id, version=2, supersedes=first)
    offer(keeper, land, first)
    land.approve(second)
    keeper.review(land.state)
    assert land.state.orders[first.entry_index].status is OrderStatus.SUPERSEDED
    assert set(keeper.obeyed) == {first.order_id}
    assert set(restarted(keeper, files, land.state).obeyed) == {first.order_id}


def test_a_stop_of_a_version_that_is_withheld_stops_the_one_that_is_known(land, keeper, files):
    first = land.in_force_order()
    withheld = land.state.copy()
    second = land.propose(order_id=first.order_id, version=2, supersedes=first)
    stop = stop_bytes(land, second)
    assert keeper.offer(withheld, stop, now(land)) is StopOutcome.OBEYED
    assert set(keeper.obeyed) == {first.order_id}
    assert set(restarted(keeper, files, withheld).obeyed) == {first.order_id}


def test_who_may_not_stop_the_version_that_is_known_cannot_name_another(land, keeper):
    first = land.in_force_order()
    later = replace(first, entry_index=land.state.size + 10, payload_sha256="0" * 64)
    with pytest.raises(RefusedError, match="cannot stop"):
        offer(keeper, land, later, by=land.stranger)
    assert not keeper.obeyed


def test_a_second_stop_by_another_person_is_kept_and_relayed_too(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref, by=land.second_approver)
    land.now_ms += 1
    offer(keeper, land, ref)
    offer(keeper, land, ref)  # the same person once more adds nothing
    assert [stop.person_id for stop in keeper.to_relay] == ["chi.le", "court.clerk"]
    assert len(restarted(keeper, files, land.state).unlogged) == 2
    assert keeper.obeyed[ref.order_id].person_id == "chi.le"


def test_each_stop_is_relayed_until_the_control_plane_answers_for_it(land, keeper):
    ref = land.in_force_order()
    offer(keeper, land, ref, by=land.second_approver)
    offer(keeper, land, ref)
    first, second = keeper.to_relay
    keeper.relayed(first)
    assert keeper.to_relay == (second,)
    assert len(keeper.unlogged) == 2


def test_an_order_that_is_over_takes_no_stop(land, keeper):
    ref = land.in_force_order()
    land.stop(ref)
    with pytest.raises(ConflictError):
        offer(keeper, land, ref)


# What is on the disk.


def test_a_kept_stop_whose_signature_was_altered_is_not_obeyed_and_not_removed(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref)
    keeper.save()
    (name,) = files
    entry = parse(files[name])
    other = seal(land.stopping(ref), land.stranger.key).signatures[0]
    forged = replace(other, key_id=land.oversight.key.key_id)
    stop = replace(keeper.unlogged[0], envelope=replace(entry.envelope, signatures=(forged,)))
    files[name] = stop.content
    assert not restarted(keeper, files, land.state).obeyed
    assert files[name] == stop.content


def test_garbage_among_the_kept_stops_stays_and_hinders_no_other(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref)
    files["kept-stops/0.json"] = b"garbage"
    files["waiting-stops/0.json"] = land.leaves[0]
    again = restarted(keeper, files, land.state)
    assert set(again.obeyed) == {ref.order_id}
    again.save()
    assert len(files) == 3


def test_a_kept_stop_acts_again_when_the_ledger_is_read_anew(land, keeper, files):
    """As after the own copy was damaged and removed: keys and order come later than the stop."""
    ref = land.in_force_order()
    offer(keeper, land, ref)
    fresh = State(land.origin, land.state.roots, land.state.verify)
    again = restarted(keeper, files, fresh)
    for leaf in land.leaves:
        assert not again.obeyed
        again.review(fresh)
        apply(fresh, parse(leaf))
    again.review(fresh)
    assert set(again.obeyed) == {ref.order_id}
    again.save()
    assert len(files) == 1


def test_a_waiting_stop_goes_on_waiting_when_the_ledger_is_read_anew(land, keeper, files):
    ref, envelope = ref_of(land, land.order())
    offer(keeper, land, ref)
    fresh = State(land.origin, land.state.roots, land.state.verify)
    again = restarted(keeper, files, fresh)
    land.record(envelope)
    for leaf in land.leaves:
        again.review(fresh)
        apply(fresh, parse(leaf))
    again.review(fresh)
    assert set(again.obeyed) == {ref.order_id}


def test_a_kept_stop_of_an_order_that_is_over_is_removed_at_the_start(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, ref)
    keeper.save()
    land.stop(ref)
    again = StopKeeper(files)
    again.restore(land.state)
    again.save()
    assert (again.obeyed, files) == ({}, {})


# Stops of orders to come.


def test_a_stop_whose_order_comes_while_it_is_written_is_on_disk_at_every_moment(land):
    """As by a kill at any moment: what was answered is in one file or the other."""
    behind, moments = land.state.copy(), []
    ref = land.in_force_order()

    class Watched(Files):
        def write(self, name, data):
            super().write(name, data)
            if name.startswith("waiting-stops/"):
                keeper.review(land.state)  # in the loop, while this thread waits for the disk
            moments.append(dict(self))

        def remove(self, name):
            super().remove(name)
            moments.append(dict(self))

    files = Watched()
    keeper = StopKeeper(files)
    assert keeper.offer(behind, stop_bytes(land, ref), now(land)) is StopOutcome.KEPT
    keeper.save()
    keeper.save()
    assert keeper.obeyed.keys() == {ref.order_id}
    assert len(moments) == 3
    for found in moments:
        again = StopKeeper(Files(found))
        again.restore(land.state)
        assert again.obeyed.keys() == {ref.order_id}


def test_a_waiting_stop_acts_when_its_order_comes_and_is_kept_as_obeyed(land, keeper, files):
    ref, envelope = ref_of(land, land.order())
    assert offer(keeper, land, ref) is StopOutcome.KEPT
    keeper = restarted(keeper, files, land.state)
    assert not keeper.obeyed
    land.record(envelope)
    keeper.review(land.state)
    assert set(keeper.obeyed) == {ref.order_id}
    keeper.save()
    assert [name.partition("/")[0] for name in files] == ["kept-stops"]


def test_machines_and_others_who_stop_nothing_cannot_wait(land, keeper):
    with pytest.raises(RefusedError, match="NODE stops no orders"):
        offer(keeper, land, OrderRef("XX-2026-000001", 2**40, "0" * 64), by=land.node)


def test_one_person_who_floods_the_room_takes_nobodys_place_and_loses_nothing_answered(
    land, keeper, files
):
    ref, envelope = ref_of(land, land.order())
    assert offer(keeper, land, ref, by=land.stranger) is StopOutcome.KEPT
    for number in range(300):
        junk = OrderRef("XX-2026-000001", 2**40 + number, "0" * 64)
        if number < kept_stops.WAITING_PER_PERSON_MAX - 1:
            assert offer(keeper, land, junk, by=land.stranger) is StopOutcome.KEPT
        else:
            with pytest.raises(UnavailableError, match=f"16 stops of {land.stranger.person_id}"):
                offer(keeper, land, junk, by=land.stranger)
    assert offer(keeper, land, replace(ref, entry_index=2**40)) is StopOutcome.KEPT
    keeper.save()
    assert len(files) == kept_stops.WAITING_PER_PERSON_MAX + 1
    land.record(envelope)
    keeper.review(land.state)
    assert set(keeper.obeyed) == {ref.order_id}


def test_a_full_room_says_so_and_keeps_who_is_in_it(land, keeper, monkeypatch):
    monkeypatch.setattr(kept_stops, "WAITING_MAX", 2)
    ref, envelope = ref_of(land, land.order())
    offer(keeper, land, ref)
    offer(keeper, land, replace(ref, entry_index=2**40), by=land.approver)
    with pytest.raises(UnavailableError, match="2 stops wait"):
        offer(keeper, land, replace(ref, entry_index=2**40), by=land.second_approver)
    land.record(envelope)
    keeper.review(land.state)
    assert set(keeper.obeyed) == {ref.order_id}


def test_a_stop_of_an_entry_that_is_no_order_waits_no_longer(land, keeper, files):
    ref = OrderRef("VN-2027-999999", land.state.size, "0" * 64)
    assert offer(keeper, land, ref) is StopOutcome.KEPT
    revoke(land, land.stranger)
    keeper.review(land.state)
    keeper.save()
    assert not files
    with pytest.raises(NotFoundError):
        offer(keeper, land, ref)


def test_stops_that_came_too_early_are_bounded_for_each_path_and_the_newest_stay(land, monkeypatch):
    monkeypatch.setattr(kept_stops, "EARLY_PER_PATH_MAX", 3)
    ref = land.in_force_order()
    newcomer = Person("an.older.clerk", Role.OVERSIGHT)
    early = EarlyStops()
    right = stop_bytes(land, ref, newcomer)
    early.put("sync", right, land.state)
    own = [stop_bytes(land, ref, newcomer) for _ in range(5)]
    for each in (*own, b"garbage", stop_bytes(land, ref, land.stranger)):
        early.put("redis", each, land.state)
    assert early.take_ripe(land.state) == []
    land.register(newcomer)
    assert early.take_ripe(land.state) == [("sync", right), *(("redis", each) for each in own[2:])]
    assert early.take_ripe(land.state) == []
