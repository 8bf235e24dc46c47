"""A node's copy of the ledger: what is proven is taken, what is not changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.entry import Entry, encode, parse
from enforcer.core.envelope import Envelope
from enforcer.core.state import in_force
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.ports import FeedUpdate
from enforcer.services.replica import Replica
from tests.node_world import Log, open_copy, trust_of
from tests.people import Land, Person, seal


class Copy:
    """A replica on disk, and what it looked like when it was last asked."""

    def __init__(self, path: Path, land: Land, log: Log) -> None:
        self.path, self.land, self.log = path, land, log
        self.files = open_copy(path, log)
        self.replica = Replica(trust_of(land, log), verify, self.files)
        self.replica.restore()

    def take(self, update: FeedUpdate) -> None:
        self.replica.accept(self.replica.append(self.replica.prove(update)))

    def follow(self) -> None:
        """Take what the land has recorded since."""
        self.take(self.log.update(self.land.leaves, self.replica.size))

    def look(self):
        state = self.replica.state
        return (
            state.size,
            self.replica.root,
            self.files.size,
            self.files.checkpoint_note,
            in_force(state, self.land.now_ms),
            dict(state.keys),
            dict(state.index_of_payload),
            self.replica.ineffective,
        )

    def refuses(self, update: FeedUpdate, problem: str) -> IntegrityError:
        before = self.look()
        with pytest.raises(IntegrityError) as caught:
            self.take(update)
        assert caught.value.data.get("problem") == problem, caught.value
        assert caught.value.advice
        assert self.look() == before, "a refused update changed something"
        return caught.value

    def reopened(self) -> Copy:
        self.files.close()
        return Copy(self.path, self.land, self.log)


@pytest.fixture
def land() -> Land:
    return Land.founded()


@pytest.fixture
def log(land: Land) -> Log:
    return Log(land.origin)


@pytest.fixture
def copy(tmp_path: Path, land: Land, log: Log) -> Copy:
    return Copy(tmp_path / "copy", land, log)


def test_what_the_log_signed_is_folded_as_everybody_folds_it(copy, land):
    copy.follow()
    ref = land.in_force_order()
    copy.follow()
    assert copy.replica.size == len(land.leaves)
    assert [row.index for row in in_force(copy.replica.state, land.now_ms)] == [ref.entry_index]


def test_a_copy_on_disk_is_proven_and_folded_again_at_the_start(copy, land):
    land.in_force_order()
    copy.follow()
    seen = copy.look()
    assert copy.reopened().look() == seen


def test_restoring_tells_how_far_it_is(copy, land):
    copy.follow()
    again = Replica(trust_of(land, copy.log), verify, copy.files)
    steps = []
    again.restore(lambda done, total: steps.append((done, total)))
    assert steps[-1] == (7, 7)


def test_a_forged_entry_is_refused(copy, land, log):
    copy.follow()
    land.propose()
    honest = log.update(land.leaves, copy.replica.size)
    forger = Person("mallory", land.proposer.role, "cert-vn")
    forged = encode(Entry(land.now_ms, seal(land.order(), forger.key)))
    copy.refuses(replace(honest, leaves=(forged,)), "another tree")


def test_a_forged_entry_that_the_log_did_sign_has_no_effect_and_is_remembered(copy, land):
    copy.follow()
    ref = land.propose()
    land.approve(ref, by=land.proposer)
    copy.follow()
    assert not in_force(copy.replica.state, land.now_ms)
    assert copy.replica.ineffective == (len(land.leaves) - 1,)
    assert copy.reopened().replica.ineffective == copy.replica.ineffective


@pytest.mark.parametrize("at", [0, 40, 300, -1])
def test_a_flipped_bit_is_refused(copy, land, log, at):
    copy.follow()
    land.propose()
    honest = log.update(land.leaves, copy.replica.size)
    leaf = bytearray(honest.leaves[0])
    leaf[at] ^= 1
    copy.refuses(replace(honest, leaves=(bytes(leaf),)), "another tree")


def test_a_checkpoint_by_another_key_is_refused(copy, land):
    other = Log(land.origin, PrivateKey.generate())
    copy.refuses(other.update(land.leaves), "other key")


def test_a_checkpoint_with_a_changed_size_is_refused(copy, land, log):
    note = log.note(land.leaves).replace(b"\n7\n", b"\n8\n")
    copy.refuses(FeedUpdate(0, (*land.leaves, b"more"), note), "bad signature")


def test_garbage_instead_of_a_checkpoint_is_refused(copy, land):
    copy.refuses(FeedUpdate(0, tuple(land.leaves), b"\x00garbage"), "malformed")


def test_a_rolled_back_ledger_is_refused(copy, land, log):
    copy.follow()
    copy.refuses(log.update(land.leaves[:5]), "rolled back")
    with pytest.raises(IntegrityError, match="rolled back"):
        copy.replica.prove_head(log.note(land.leaves[:5]))


def test_another_history_of_the_same_size_is_a_split_view(copy, land, log):
    copy.follow()
    other = [*land.leaves[:-1], b"another"]
    with pytest.raises(IntegrityError) as caught:
        copy.replica.prove_head(log.note(other))
    assert caught.value.data["problem"] == "split view"


def test_another_history_that_goes_on_is_refused(copy, land, log):
    copy.follow()
    land.propose()
    other = [b"another", *land.leaves[1:]]
    copy.refuses(log.update(other, copy.replica.size), "another tree")


def test_our_own_head_again_is_no_error(copy, land, log):
    copy.follow()
    assert copy.replica.prove_head(log.note(land.leaves)).size == copy.replica.size


def test_another_ledgers_entries_are_refused(copy):
    stranger = Land(origin="example.org/other")
    stranger.record(seal(stranger.policy(), *stranger.roots[:2]))
    copy.refuses(Log(stranger.origin).update(stranger.leaves), "other key")


def test_another_ledgers_checkpoint_by_the_same_key_is_refused(copy, land, log):
    log.origin = "example.org/other"
    copy.refuses(log.update(land.leaves), "other origin")


def test_another_ledgers_payload_in_this_ledger_has_no_effect(copy, land):
    copy.follow()
    order = land.order(ledger_origin="example.org/other")
    assert not land.record(seal(order, land.proposer.key)).is_effective
    copy.follow()
    assert copy.replica.ineffective == (7,)
    assert not copy.replica.state.orders


def test_entries_with_a_gap_before_them_are_refused(copy, land, log):
    copy.follow()
    land.propose()
    land.propose()
    copy.refuses(log.update(land.leaves, copy.replica.size + 1), "gap")


def test_entries_that_we_have_already_are_refused(copy, land, log):
    copy.follow()
    land.propose()
    copy.refuses(log.update(land.leaves, copy.replica.size - 1), "gap")


def test_fewer_entries_than_the_checkpoint_covers_count_when_the_rest_has_come(copy, land, log):
    land.in_force_order()
    whole = log.update(land.leaves)
    nothing = copy.look()
    for first in range(0, 8, 2):
        copy.take(FeedUpdate(first, whole.leaves[first : first + 2], whole.checkpoint_note))
        assert copy.replica.next_index == first + 2
        assert copy.look() == nothing
    copy.take(FeedUpdate(8, whole.leaves[8:], whole.checkpoint_note))
    assert copy.replica.size == len(land.leaves) == 9
    assert [row.index for row in in_force(copy.replica.state, land.now_ms)] == [7]
    seen = copy.look()
    assert copy.reopened().look() == seen


def test_a_forged_part_is_refused_with_the_whole_and_leaves_no_trace(copy, land, log):
    copy.follow()
    land.in_force_order()
    whole = log.update(land.leaves, 7)
    act = seal(land.order(), land.proposer.key)
    forged = encode(Entry(land.now_ms - 1_000, act))
    before = copy.look()
    copy.take(FeedUpdate(7, (forged,), whole.checkpoint_note))
    with pytest.raises(IntegrityError, match="do not hash"):
        copy.take(FeedUpdate(8, whole.leaves[1:], whole.checkpoint_note))
    copy.replica.give_up()
    assert copy.look() == before
    copy.follow()
    assert copy.replica.size == 9
    assert not copy.replica.ineffective
    seen = copy.look()
    assert copy.reopened().look() == seen


def test_refused_entries_of_all_parts_are_remembered(copy, land, log):
    ref = land.propose()
    land.approve(ref, by=land.proposer)
    land.propose()
    whole = log.update(land.leaves)
    copy.take(FeedUpdate(0, whole.leaves[:9], whole.checkpoint_note))
    copy.take(FeedUpdate(9, whole.leaves[9:], whole.checkpoint_note))
    assert copy.replica.ineffective == (8,)


def test_more_entries_than_the_checkpoint_covers_are_refused(copy, land, log):
    update = log.update(land.leaves)
    copy.refuses(replace(update, leaves=(*update.leaves, b"more")), "other count")


def test_no_entries_are_refused(copy, land, log):
    copy.refuses(replace(log.update(land.leaves), leaves=()), "gap")


def test_two_entries_that_changed_places_are_refused(copy, land, log):
    update = log.update(land.leaves)
    leaves = (update.leaves[1], update.leaves[0], *update.leaves[2:])
    copy.refuses(replace(update, leaves=leaves), "another tree")


def signed(land: Land, log: Log, size: int, *leaves: bytes) -> FeedUpdate:
    """Return entries that a dishonest or newer log really signed."""
    return log.update([*land.leaves[:size], *leaves], size)


def test_an_unknown_kind_stops_following_and_names_the_entry(copy, land, log):
    copy.follow()
    envelope = seal(land.order(), land.proposer.key)
    unknown = Envelope("application/vnd.enforcer.later.v1+json", b"{}", envelope.signatures)
    leaf = encode(Entry(land.now_ms, unknown))
    error = copy.refuses(signed(land, log, 7, leaf), "unknown entry")
    assert error.data["index"] == 7


@pytest.mark.parametrize("leaf", [b"", b"{}", b"\xff", b'{"recorded_at_ms":1}', b"x" * 70_000])
def test_a_leaf_that_is_no_entry_stops_following(copy, land, log, leaf):
    copy.follow()
    copy.refuses(signed(land, log, 7, leaf), "unknown entry")


def test_a_leaf_in_another_spelling_stops_following(copy, land, log):
    copy.follow()
    leaf = encode(Entry(land.now_ms, seal(land.order(), land.proposer.key)))
    copy.refuses(signed(land, log, 7, leaf.replace(b":", b": ", 1)), "unknown entry")


def test_time_that_runs_backwards_stops_following(copy, land, log):
    copy.follow()
    envelope = seal(land.order(), land.proposer.key)
    earlier = encode(Entry(land.state.recorded_at_ms - 1, envelope))
    copy.refuses(signed(land, log, 7, earlier), "time backwards")


def test_time_that_runs_backwards_within_an_update_stops_following(copy, land, log):
    copy.follow()
    first = encode(Entry(land.now_ms + 9, seal(land.order(), land.proposer.key)))
    second = encode(Entry(land.now_ms + 8, seal(land.order(), land.proposer.key)))
    error = copy.refuses(signed(land, log, 7, first, second), "time backwards")
    assert error.data["index"] == 8


def test_two_entries_of_the_same_millisecond_and_one_apart_are_taken(copy, land, log):
    copy.follow()
    for after_ms in (0, 0, 1):
        land.record(seal(land.order(), land.proposer.key), after_ms=after_ms)
    copy.follow()
    assert len(copy.replica.state.orders) == 3


def test_a_policy_for_a_newer_fold_changes_nothing_not_even_the_disk(copy, land, log):
    copy.follow()
    order = encode(Entry(land.now_ms, seal(land.order(), land.proposer.key)))
    policy = encode(Entry(land.now_ms, seal(land.policy(fold_version=2), *land.roots[:2])))
    before = copy.look()
    with pytest.raises(IntegrityError, match="fold version"):
        copy.take(signed(land, log, 7, order, policy))
    assert copy.look() == before
    assert copy.reopened().look() == before


def test_a_disk_that_does_not_take_the_entries_changes_nothing(copy, land, monkeypatch):
    copy.follow()
    land.propose()

    def full(*_):
        raise UnavailableError("the disk is full", advice="Free space.")

    before = copy.look()
    monkeypatch.setattr(copy.files, "append", full)
    with pytest.raises(UnavailableError):
        copy.follow()
    monkeypatch.undo()
    assert copy.look() == before
    copy.follow()
    assert copy.replica.size == len(land.leaves)


def test_a_copy_that_was_altered_on_disk_is_not_started_from(copy, land):
    land.propose()
    copy.follow()
    copy.files.close()
    bundle = next(copy.path.glob("tile/entries/*/*"))
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(bytes(data))
    with pytest.raises(IntegrityError):
        Copy(copy.path, land, copy.log)


def test_a_copy_that_gives_other_entries_than_its_root_covers_is_not_started_from(copy, land):
    class Lying:
        """A ledger whose entries are not those under its checkpoint."""

        size, root = copy.files.size, copy.files.root

        def entries(self, start, end):
            yield from land.leaves[start:end]

    copy.follow()
    Lying.size, Lying.root = 7, bytes(32)
    with pytest.raises(IntegrityError, match="root"):
        Replica(trust_of(land, copy.log), verify, Lying()).restore()


def test_the_state_that_others_read_is_never_half_folded(copy, land, log):
    copy.follow()
    seen = copy.replica.state
    orders = dict(seen.orders)
    land.in_force_order()
    taken = copy.replica.append(copy.replica.prove(log.update(land.leaves, 7)))
    assert copy.replica.state is seen
    assert seen.orders == orders
    copy.replica.accept(taken)
    assert parse(land.leaves[-1]).kind == "OrderApproved"
    assert len(copy.replica.state.orders) == 1
