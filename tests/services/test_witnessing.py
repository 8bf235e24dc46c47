"""The control plane asks witnesses after each append; nothing that is recorded waits for them."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory_feed import MemoryFeedPublisher
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import cosign, with_lines
from enforcer.core.note import Note
from enforcer.core.receipt import Receipt, verify_receipt
from enforcer.core.witness import log_name
from enforcer.errors import (
    ConflictError,
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from enforcer.services.cosigned import Cosigned
from enforcer.services.witnessing import AskedWitness, Witnessing
from tests.control import LOG_KEY, LOG_VKEY, Desk, trust_of
from tests.people import ORIGIN
from tests.waiting import until
from tests.witnesses import History, named, open_witness

KEYS = [PrivateKey.generate() for _ in range(3)]
WITNESSES = named(KEYS, 2)


class Link:
    """The way to a witness in this process; it can be away, or slow."""

    def __init__(self, witness):
        self.witness = witness
        self.is_away = False
        self.loses_answers = False
        self.offers_latest = True
        """Our own witnesses do; C2SP tlog-witness does not ask for it."""
        self.forges_latest = True
        self.forged = None
        """An error in the witness's name, by somebody on the way to it."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.bodies = []

    async def add_checkpoint(self, body):
        self.bodies.append(body)
        await self.may_answer.wait()
        if self.forged is not None:
            raise self.forged
        if self.is_away:
            raise UnavailableError("nobody answers", advice="Start it.")
        try:
            answer = await asyncio.to_thread(self.witness.add_checkpoint, body)
        except IntegrityError as error:  # as over HTTP
            raise RefusedError(error.message, advice=error.advice) from error
        if self.loses_answers:  # it ended when it had kept the checkpoint
            raise UnavailableError("it hung up", advice="Start it.")
        return answer

    async def latest(self, origin):
        """The same answers on the way, and what over HTTP is a 404."""
        if self.forged is not None and self.forges_latest:
            raise self.forged
        if self.is_away or not self.offers_latest:
            raise UnavailableError("nobody answers", advice="Start it.")
        return await asyncio.to_thread(self.witness.latest_note, log_name(origin))


class Office:
    """A control plane and its witnesses."""

    def __init__(self, path, desk, links):
        self.path = path
        self.desk = desk
        self.links = links
        self.cosigned = Cosigned(
            desk.files, replace(trust_of(desk.land), witnesses=WITNESSES), verify
        )

    @property
    def feed_note(self):
        return self.desk.feed.cosigned

    def shown_size(self):
        note = self.feed_note
        return Checkpoint.parse(Note.parse(note).text).size if note else 0

    def cosigners(self):
        return {key.name[-2:] for key in WITNESSES.cosigned(Note.parse(self.feed_note), verify)}


def of(link):
    """Return how many entries a witness has seen."""
    latest = link.witness.latest(ORIGIN)
    return latest.size if latest else 0


@asynccontextmanager
async def office(tmp_path):
    links = [
        Link(open_witness(tmp_path / f"w{at}", LOG_VKEY, key, WITNESSES.keys[at].name))
        for at, key in enumerate(KEYS)
    ]
    async with Desk(tmp_path / "ledger") as desk:
        made = Office(tmp_path, desk, links)
        async with Witnessing(
            desk.ledger,
            made.cosigned,
            dict(zip(WITNESSES.keys, links, strict=True)),
            MemoryFeedPublisher(desk.feed),
            0.05,
        ):
            yield made


async def test_after_an_append_the_feed_shows_the_checkpoint_with_a_quorum(tmp_path):
    async with office(tmp_path) as made:
        await made.desk.found()
        size = made.desk.files.size
        await until(lambda: made.shown_size() == size)
        await until(lambda: made.cosigners() == {"w0", "w1", "w2"})


async def test_one_witness_that_is_away_keeps_nobody_waiting(tmp_path):
    async with office(tmp_path) as made:
        made.links[1].is_away = True
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        assert made.cosigners() == {"w0", "w2"}
        made.links[1].is_away = False
        await until(lambda: made.cosigners() == {"w0", "w1", "w2"})


async def test_without_a_quorum_nothing_is_shown_and_everything_is_recorded(tmp_path):
    async with office(tmp_path) as made:
        for link in made.links[1:]:
            link.may_answer.clear()
        await made.desk.found()
        await until(lambda: made.links[0].bodies)
        await made.desk.propose()
        await until(lambda: made.desk.feed.head is not None)
        assert made.feed_note is None
        for link in made.links:
            link.may_answer.set()
        await until(lambda: made.shown_size() == made.desk.files.size)


async def test_a_witness_that_lost_its_memory_is_told_and_never_counts_again(tmp_path):
    async with office(tmp_path) as made:
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        await until(lambda: made.cosigners() == {"w0", "w1", "w2"})  # nobody is being asked
        shutil.rmtree(tmp_path / "w0")
        made.links[0].witness = open_witness(
            tmp_path / "w0", LOG_VKEY, KEYS[0], WITNESSES.keys[0].name
        )
        await made.desk.propose()
        await until(lambda: made.shown_size() == made.desk.files.size)
        assert made.cosigners() == {"w1", "w2"}
        outdated = tmp_path / "w0" / "outdated"
        await until(lambda: outdated.exists() and list(outdated.iterdir()))


async def test_a_witness_whose_answer_was_lost_is_asked_again_and_counts(tmp_path):
    async with office(tmp_path) as made:
        for link in made.links:
            link.loses_answers = True
        await made.desk.found()
        size = made.desk.files.size
        await until(lambda: all(of(link) == size for link in made.links))
        for link in made.links:
            link.loses_answers = False
        await until(lambda: made.shown_size() == size)
        await until(lambda: made.cosigners() == {"w0", "w1", "w2"})


async def test_a_witness_that_has_seen_more_of_this_ledger_has_seen_no_other(tmp_path):
    async with office(tmp_path) as made:
        await made.desk.found()
        older = made.desk.files.checkpoint_note
        await made.desk.propose()
        await until(lambda: of(made.links[0]) == made.desk.files.size)
        asked = AskedWitness(WITNESSES.keys[0], made.links[0], made.desk.files)
        with capture_logs() as lines:
            assert await asked.ask(older) is None
        said = [(line["log_level"], line["problem"]) for line in lines if "problem" in line]
        assert said == [("warning", f"the witness has seen {made.desk.files.size} entries already")]
        assert await asked.ask(made.desk.files.checkpoint_note) is not None


@pytest.mark.parametrize("status", [409, 422])
async def test_unsigned_answers_stop_new_blocks_for_as_long_as_they_come_and_no_longer(
    tmp_path, status
):
    async with office(tmp_path) as made:
        fence = made.cosigned.fence
        fence.on_replaced(made.desk.ledger.replace_by)
        fence.on_doubt(made.desk.ledger.doubt)
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        for link in made.links:
            link.forged = (
                ConflictError("at another", advice="", size=made.desk.files.size + 9)
                if status == 409
                else RefusedError("no", advice="", status=status)
            )
        ref = await made.desk.propose()
        await until(lambda: made.desk.ledger.doubted is not None)
        with pytest.raises(UnavailableError, match="was replaced"):
            await made.desk.approve(ref)
        await made.desk.stopping.stop(made.desk.stop_of(ref))
        for link in made.links:
            link.forged = None
        await until(lambda: made.desk.ledger.doubted is None)
        assert (fence.error, made.desk.ledger.replaced) == (None, None)
        await made.desk.propose(b"exact other.example.org\n")
        await until(lambda: made.shown_size() == made.desk.files.size)


def goes_on_elsewhere(made):
    """Have all witnesses cosign one more entry than is here, as after a restoration elsewhere."""
    leaves = list(made.desk.files.entries(0, made.desk.files.size))
    elsewhere = History(LOG_VKEY, LOG_KEY, [*leaves, b"another"])
    for link in made.links:
        link.witness.add_checkpoint(elsewhere.request(len(leaves), len(leaves) + 1))


async def test_who_was_replaced_hears_it_signed_though_nothing_comes(tmp_path):
    async with office(tmp_path) as made:
        made.cosigned.fence.on_replaced(made.desk.ledger.replace_by)
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        ref = await made.desk.propose()
        await until(lambda: all(of(link) == made.desk.files.size for link in made.links))
        goes_on_elsewhere(made)
        await until(lambda: made.desk.ledger.replaced is not None)
        size = made.desk.files.size
        with pytest.raises(UnavailableError, match="was replaced"):
            await made.desk.ledger.record(made.desk.stop_of(ref))
        assert made.desk.files.size == size


async def test_witnesses_that_show_nothing_signed_leave_it_at_a_doubt(tmp_path):
    async with office(tmp_path) as made:
        fence = made.cosigned.fence
        fence.on_replaced(made.desk.ledger.replace_by)
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        for link in made.links:
            link.offers_latest = False
        await until(lambda: all(of(link) == made.desk.files.size for link in made.links))
        goes_on_elsewhere(made)
        await made.desk.propose()
        await until(lambda: fence.doubt is not None)
        assert (fence.error, made.desk.ledger.replaced) == (None, None)
        made.links[0].offers_latest = made.links[2].offers_latest = True
        await until(lambda: made.desk.ledger.replaced is not None)


async def test_an_old_signed_word_takes_no_doubt_away(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        made = Office(tmp_path, desk, [])
        await made.desk.found()
        fence = made.cosigned.fence
        for key in WITNESSES.keys[:2]:
            made.cosigned.doubt(key, desk.files.size)
        await made.cosigned.hear(note_of(made, 0, 1, 2, size=desk.files.size - 1))
        assert fence.doubt is not None
        assert made.cosigned.best is None
        await made.cosigned.hear(note_of(made, 0, 1, size=desk.files.size, root=bytes(32)))
        assert fence.error is not None


async def test_an_old_note_with_a_quorum_shown_again_takes_no_doubt_and_no_voice_away(tmp_path):
    """Anybody with a certificate may send it: what counts is when witnesses made it."""
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        former = Office(tmp_path, desk, [])
        old = note_of(former, 0, 1, 2)
        await former.cosigned.add(old)
        made = Office(tmp_path, desk, [])  # the same ledger, by a process that comes back
        size, fence = desk.files.size, made.cosigned.fence
        await made.cosigned.hear(note_of(made, 2, size=size, root=bytes(32)))
        made.cosigned.doubt(WITNESSES.keys[0], size)
        for each in (old, note_of(made, 0, 1, 2, size=size - 1)):
            await made.cosigned.add(each)
            assert fence.doubt is not None
        await desk.propose()
        for key in WITNESSES.keys[:2]:
            made.cosigned.doubt(key, desk.files.size)
        await made.cosigned.add(old)
        assert fence.doubt is not None
        await made.cosigned.add(note_of(made, 0, 1))
        assert fence.doubt is None


async def test_receipts_carry_the_cosignatures_when_there_are_some(tmp_path):
    async with office(tmp_path) as made:
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        receipt = Receipt.parse(made.desk.files.receipt(3).format())
        assert WITNESSES.has_quorum(Note.parse(receipt.checkpoint_note), verify)
        (leaf,) = made.desk.files.entries(3, 4)
        verify_receipt(receipt, leaf, ORIGIN, LOG_VKEY, verify)


async def test_a_wiped_feed_gets_the_cosigned_checkpoint_again(tmp_path):
    async with office(tmp_path) as made:
        await made.desk.found()
        await until(lambda: made.shown_size() == made.desk.files.size)
        made.desk.feed.clear()
        await until(lambda: made.shown_size() == made.desk.files.size)


def note_of(made, *who, size=None, root=None, key=LOG_KEY):
    size = size or made.desk.files.size
    checkpoint = Checkpoint(ORIGIN, size, root or made.desk.files.root_at(size))
    note = Note.parse(sign_checkpoint(checkpoint, LOG_VKEY, key.sign))
    lines = [cosign(note.text, WITNESSES.keys[at], KEYS[at].sign, 9) for at in who]
    return with_lines(note, lines).format()


async def test_cosignatures_come_from_whoever_brings_them(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        made = Office(tmp_path, desk, [])
        await made.desk.found()
        await made.cosigned.add(note_of(made, 0))
        assert made.cosigned.best is None
        await made.cosigned.add(note_of(made, 2))
        best = Note.parse(made.cosigned.best)
        assert {key.name[-2:] for key in WITNESSES.cosigned(best, verify)} == {"w0", "w2"}
        older = desk.files.size - 1
        await made.cosigned.add(note_of(made, 0, 1, 2, size=older))
        assert Checkpoint.parse(Note.parse(made.cosigned.best).text).size == desk.files.size


async def test_what_does_not_count_is_refused_and_changes_nothing(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        made = Office(tmp_path, desk, [])
        await made.desk.found()
        spoiled = Note.parse(note_of(made, 0, 1))
        spoiled = replace(
            spoiled,
            signatures=tuple(
                replace(line, signature=line.signature[:-1] + b"\0")
                if len(line.signature) == 72
                else line
                for line in spoiled.signatures
            ),
        )
        for data, kind in (
            (note_of(made), RefusedError),
            (note_of(made, 0, root=bytes(32)), IntegrityError),
            (note_of(made, 0, 1, root=bytes(32)), IntegrityError),
            (note_of(made, 0, 1, key=KEYS[0]), IntegrityError),
            (note_of(made, 0, 1, size=desk.files.size + 1, root=bytes(32)), ConflictError),
            (spoiled.format(), IntegrityError),
            (b"nonsense", IntegrityError),
        ):
            with pytest.raises(kind):
                await made.cosigned.add(data)
        assert made.cosigned.best is None


async def test_a_log_that_shows_its_witnesses_two_histories_gets_no_quorum_for_both(tmp_path):
    """A dishonest operator runs two control planes with one log key, and asks the same three."""
    async with office(tmp_path) as honest:
        await honest.desk.found()
        await until(lambda: honest.shown_size() == honest.desk.files.size)
        async with Desk(tmp_path / "other") as other:
            forked = Office(tmp_path, other, honest.links)
            other.land.now_ms += 77_000
            async with Witnessing(
                other.ledger,
                forked.cosigned,
                dict(zip(WITNESSES.keys, honest.links, strict=True)),
                MemoryFeedPublisher(other.feed),
                0.05,
            ):
                await other.found()
                shown = tmp_path / "w0" / "split-views"
                await until(lambda: shown.exists() and list(shown.iterdir()))
                assert forked.feed_note is None
