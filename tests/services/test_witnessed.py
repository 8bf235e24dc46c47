"""A node with a quorum: new blocks wait for witnesses; what lifts a block never does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedSource
from enforcer.core.attestation import NotEnforced
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.cosignature import cosign, cosigned_at, with_lines
from enforcer.core.note import Note
from enforcer.services.paths import COPIES, FeedPath
from enforcer.services.plan import Held, make_plan
from tests.node_world import BAD, WORSE, World, blocking, feed_is, in_the_ledger
from tests.people import DAY_MS, Land, seal
from tests.waiting import stays, until
from tests.witnesses import named

KEYS = [PrivateKey.generate() for _ in range(3)]


class WitnessedWorld(World):
    """A world whose trust names three witnesses, two of which make a quorum."""

    def __init__(self, directory):
        super().__init__(directory)
        self.witnesses = named(KEYS, 2)

    def cosigned(self, *who, size=None, note=None):
        """Return the ledger's checkpoint with the cosignatures of some witnesses."""
        leaves = self.land.leaves[: len(self.land.leaves) if size is None else size]
        parsed = Note.parse(note or self.log.note(leaves))
        lines = [
            cosign(parsed.text, self.witnesses.keys[at], KEYS[at].sign, 1_790_000_000) for at in who
        ]
        return with_lines(parsed, lines).format()

    def witness(self, *who, size=None):
        """Have witnesses cosign what is published."""
        self.feed.cosigned = self.cosigned(*(who or (0, 1)), size=size)

    @property
    def waiting(self):
        return self.status.get("waiting_for_witnesses")

    def omitted_for(self, reason):
        attested = self.attested
        return [each.order_index for each in attested.omissions if each.reason is reason]


@pytest.fixture
def world(tmp_path):
    return WitnessedWorld(tmp_path)


async def test_a_new_block_waits_for_a_quorum_and_says_so(world):
    async with world.running() as node:
        ref = await in_the_ledger(world, BAD)
        await until(lambda: world.waiting == 1)
        await until(
            lambda: world.status["ledger"]["witnesses"] == "waiting for witnesses: 1 orders"
        )
        assert node.view().unwitnessed == 1
        world.witness(0)  # one of two
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        world.witness(0, 2)
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.waiting == 0)
        await until(lambda: world.status["ledger"]["witnessed_size"] == len(world.land.leaves))
        await until(lambda: ref.entry_index not in world.omitted_for(NotEnforced.UNWITNESSED))


async def test_what_waits_is_attested_so_that_an_auditor_gets_the_same_digest(world):
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        await until(lambda: world.attested and world.attested.ledger_size == ref.entry_index + 2)
        await until(lambda: world.omitted_for(NotEnforced.UNWITNESSED) == [ref.entry_index])
        attested = world.attested
        assert attested.table_digest == world.expected_digest(attested)


@pytest.mark.parametrize("who", [(0,), (0, 0), ()])
async def test_less_than_a_quorum_of_distinct_witnesses_never_blocks(world, who):
    async with world.running():
        await in_the_ledger(world, BAD)
        world.feed.cosigned = world.cosigned(*who)
        await stays(lambda: not world.gate.blocks("bad.example.org"))


async def test_cosignatures_of_strangers_do_not_count(world):
    strangers = WitnessedWorld(world.directory / "other")
    strangers.land, strangers.log = world.land, world.log
    other = [PrivateKey.generate() for _ in range(3)]
    async with world.running():
        await in_the_ledger(world, BAD)
        note = Note.parse(world.log.note(world.land.leaves))
        keys = named(other, 2).keys  # the same names, other keys
        lines = [cosign(note.text, keys[at], other[at].sign, 1) for at in range(3)]
        world.feed.cosigned = with_lines(note, lines).format()
        await stays(lambda: not world.gate.blocks("bad.example.org"))


async def test_an_older_cosigned_checkpoint_does_not_cover_a_newer_block(world):
    async with world.running():
        await in_the_ledger(world, BAD)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
        seen = len(world.land.leaves)
        await in_the_ledger(world, WORSE)
        world.witness(0, 1, 2, size=seen)  # replayed, with even more names on it
        await stays(lambda: not world.gate.blocks("worse.example.org"))
        assert world.gate.blocks("bad.example.org")
        world.witness(1, 2)
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_a_stop_does_not_wait(world):
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
        world.land.stop(ref)
        await world.publish()  # and no witness sees it
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_an_end_does_not_wait(world):
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
        world.clock.ms = world.land.state.orders[ref.entry_index].until_ms
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_a_new_version_ends_the_old_one_at_once_and_begins_when_it_is_witnessed(world):
    async with world.running():
        first = await in_the_ledger(world, BAD)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
        await in_the_ledger(world, WORSE, order_id=first.order_id, version=2, supersedes=first)
        await until(lambda: not world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")
        world.witness()
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_an_extension_that_no_witness_saw_does_not_block_past_the_former_end(world):
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
        former_ms = world.land.state.orders[ref.entry_index].until_ms
        signers = world.land.proposer.key, world.land.approver.key
        extended = world.land.extension(ref, former_ms + DAY_MS)
        assert world.land.record(seal(extended, *signers)).is_effective
        await world.publish()
        await stays(lambda: world.gate.blocks("bad.example.org"))
        world.clock.ms = former_ms
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_an_extension_makes_no_approval_that_nobody_saw_count(world):
    async with world.running():
        ref = await in_the_ledger(world, BAD)
        until_ms = world.land.state.orders[ref.entry_index].until_ms
        signers = world.land.proposer.key, world.land.approver.key
        extended = world.land.extension(ref, until_ms + DAY_MS)
        assert world.land.record(seal(extended, *signers)).is_effective
        await world.publish()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        world.witness(size=len(world.land.leaves) - 1)  # the approval, and not the extension
        await until(lambda: world.gate.blocks("bad.example.org"))


def test_a_plan_is_due_again_when_what_witnesses_saw_ends():
    land = Land.founded()
    row = land.state.orders[land.in_force_order(BAD).entry_index].row
    former_ms = row.until_ms - DAY_MS

    def plan(t_ms):
        return make_plan(
            land.state,
            bytes(32),
            t_ms,
            stopped={},
            has_list=lambda _sha256: True,
            has_order_list=lambda _row: True,
            held=Held(),
            witnessed_until_ms={row.index: former_ms},
        )

    before, after = plan(former_ms - 1), plan(former_ms)
    assert before.rows == (row,)
    assert before.next_change_ms == former_ms
    assert after.rows == ()
    assert [each.reason for each in after.omissions] == [NotEnforced.UNWITNESSED]


async def test_what_was_witnessed_stays_so_after_a_restart_with_the_feed_away(world):
    async with world.running():
        await in_the_ledger(world, BAD)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
        await in_the_ledger(world, WORSE)
    world.feed.is_away = True
    world.gate.restart()
    async with world.running() as node:
        await until(lambda: node.view().unwitnessed == 1)
        await until(lambda: world.gate.blocks("bad.example.org"))
        await stays(lambda: world.gate.blocks("bad.example.org"), looks=10)
        assert not world.gate.blocks("worse.example.org")


async def test_witnesses_of_another_history_are_shown_with_both_checkpoints(world):
    async with world.running() as node:
        await in_the_ledger(world, BAD)
        size = len(world.land.leaves)
        other = world.log.seal(Checkpoint(world.land.origin, size, bytes(32)))
        world.feed.cosigned = world.cosigned(0, 1, note=other)
        await until(lambda: world.status["ledger"]["split_views"])
        (view,) = world.status["ledger"]["split_views"]
        assert view["is_proven"]
        kept = json.loads((world.state_dir / view["file"]).read_bytes())
        ours, theirs = (Note.parse(kept[name].encode()) for name in ("ours", "theirs"))
        assert Checkpoint.parse(ours.text).size == Checkpoint.parse(theirs.text).size == size
        assert ours.text != theirs.text
        assert cosigned_at(theirs, world.witnesses.keys[0], verify)
        assert node.view().split_views == 1
        assert not world.gate.blocks("bad.example.org")


async def test_a_head_of_another_history_is_kept_beside_our_own(world):
    async with world.running():
        await in_the_ledger(world, BAD)
        size = len(world.land.leaves)
        forged = world.log.seal(Checkpoint(world.land.origin, size, bytes(32)))
        world.feed.head = forged
        await until(lambda: world.status["ledger"]["split_views"])
        (view,) = world.status["ledger"]["split_views"]
        kept = json.loads((world.state_dir / view["file"]).read_bytes())
        assert kept["theirs"].encode() == forged
        await until(lambda: world.status["feed"]["state"] == "REFUSING")


async def test_what_the_log_did_not_sign_is_nobodys_split_view(world):
    async with world.running():
        await in_the_ledger(world, BAD)
        note = Note.parse(world.log.note(world.land.leaves))
        stranger = replace(
            note, signatures=tuple(replace(line, signature=bytes(64)) for line in note.signatures)
        )
        world.feed.head = stranger.format()
        await feed_is(world, "REFUSING")
        assert world.status["ledger"]["split_views"] == []


async def test_a_node_that_is_a_witness_cosigns_what_it_verified(tmp_path):
    world = WitnessedWorld(tmp_path)
    world.witnesses = named([world.land.node.key, *KEYS[:2]], 2)
    async with world.running():
        await in_the_ledger(world, BAD)
        await until(lambda: world.control.cosigned)
        await until(
            lambda: (
                Checkpoint.parse(Note.parse(world.control.cosigned[-1]).text).size
                == len(world.land.leaves)
            )
        )
        note = Note.parse(world.control.cosigned[-1])
        assert cosigned_at(note, world.witnesses.keys[0], verify) == world.clock.ms // 1_000


async def test_a_node_that_is_no_witness_does_not_cosign(world):
    async with world.running():
        await in_the_ledger(world, BAD)
        await until(lambda: world.attested)
        assert not world.control.cosigned


async def test_without_a_quorum_nothing_waits_and_it_is_shown(tmp_path):
    world = World(tmp_path)
    async with world.running():
        await blocking(world)
        await until(lambda: world.status["ledger"]["witnesses"] == "UNWITNESSED")
        await until(lambda: world.status["waiting_for_witnesses"] == 0)


class HangingSource(MemoryFeedSource):
    """A path that never answers for its cosigned checkpoint."""

    is_asked = False

    async def cosigned(self):
        self.is_asked = True
        await asyncio.Event().wait()


async def test_a_path_that_hangs_keeps_no_block_from_its_witnesses(world):
    hanging = HangingSource(MemoryFeed())
    world.paths = (FeedPath(COPIES[0], hanging),)
    async with world.running():
        await in_the_ledger(world, BAD)
        await until(lambda: hanging.is_asked)
        world.witness()
        await until(lambda: world.gate.blocks("bad.example.org"))
