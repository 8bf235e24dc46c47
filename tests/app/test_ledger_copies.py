"""Backups, and a ledger made anew from copies: nothing is lost unseen, and nothing half made."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from enforcer.app.audit import open_ledger
from enforcer.app.audit_archive import export_archive
from enforcer.app.ledger_backup import back_up
from enforcer.app.ledger_restore import UNFINISHED, Wanted, restore
from enforcer.backends.content import ContentStore
from enforcer.backends.keys import PrivateKey
from enforcer.core.cosignature import cosign, with_lines
from enforcer.core.note import Note
from enforcer.core.witness import AddCheckpoint
from enforcer.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from tests.ledgers import LOG_KEY, TARGETS, VKEY, Archive, opened
from tests.people import Land
from tests.services.test_witnessing import Link
from tests.witnesses import History, named, open_witness

KEYS = [PrivateKey.generate() for _ in range(3)]
WITNESSES = named(KEYS, 2)
NOW_MS = 1_790_000_000_000  # what the witnesses' clock shows


def quiet(_stage, _done, _total):
    pass


def in_order(land, number):
    """Have as many more orders proposed and approved."""
    for _ in range(number):
        land.approve(land.propose())


@pytest.fixture
def land():
    made = Land.founded()
    in_order(made, 3)
    return made


@pytest.fixture
def primary(tmp_path, land):
    """A ledger with something beside it."""
    made = Archive(tmp_path / "primary", land)
    made.write()
    store = ContentStore(made.path / "side", size_bytes_max=1 << 20)
    store.put(b"s" * 32 + b"reasons")
    made.attest()
    (made.path / "guards").mkdir()
    (made.path / "guards" / "rechecked").write_text("hash")
    return made


def copy_of(primary, path, entries=None):
    """Return a copy that went no further than so many entries."""
    made = Archive(path, primary.land)
    made.write(primary.land.leaves[:entries])
    return made


def files_below(path):
    return {
        str(each.relative_to(path)): each.read_bytes()
        for each in path.rglob("*")
        if each.is_file() and each.name not in ("lock", "cosigned")
    }


def saved(primary, to, **options):
    options = {"is_full": False, "progress": quiet} | options
    return back_up(primary.path, to, primary.trust, **options)


# Backups.


def test_a_backup_is_the_ledger_with_all_beside_it_and_then_only_what_is_new(
    primary, land, tmp_path
):
    to = tmp_path / "backup"
    first = saved(primary, to)
    assert (first.former_size, first.size, first.copied.entries) == (0, land.state.size, 13)
    assert files_below(to) == files_below(primary.path)
    in_order(land, 2)
    primary.write()
    primary.attest()
    second = saved(primary, to, is_full=True)
    assert (second.former_size, second.copied.entries, second.damaged) == (first.size, 4, [])
    copied = second.copied
    assert (copied.lists, copied.documents, copied.others) == (0, 0, 1)
    assert files_below(to) == files_below(primary.path)
    again = saved(primary, to)
    assert (again.copied.entries, again.copied.others) == (0, 0)


def test_a_backup_never_becomes_older_or_another_history(primary, land, tmp_path):
    to = tmp_path / "backup"
    saved(primary, to)
    before = files_below(to)
    with pytest.raises(ConflictError, match="would become older"):
        saved(copy_of(primary, tmp_path / "older", 9), to)
    other = Archive(tmp_path / "other", Land.founded())
    in_order(other.land, 5)
    other.write()
    with pytest.raises(IntegrityError) as caught:
        back_up(other.path, to, primary.trust, is_full=False, progress=quiet)
    assert caught.value.data["problem"] == "split view"
    assert files_below(to) == before


def test_what_was_erased_by_law_is_erased_in_the_backup(primary, tmp_path):
    to = tmp_path / "backup"
    saved(primary, to)
    store = ContentStore(primary.path / "side", size_bytes_max=1 << 20)
    (sha256,) = store.names()
    store.erase(sha256, b"{}")
    assert saved(primary, to).copied.erased == 1
    assert not (to / "side" / sha256).exists()
    assert files_below(to) == files_below(primary.path)


def test_a_torn_tile_ends_a_backup_and_leaves_the_former_one(primary, land, tmp_path):
    to = tmp_path / "backup"
    saved(primary, to)
    in_order(land, 1)
    primary.write()
    bundle = primary.path / "tile/entries/000.p/15"
    bundle.write_bytes(bundle.read_bytes()[:-7])
    with pytest.raises(IntegrityError, match="cut"):
        saved(primary, to)
    with open_ledger(to, primary.trust) as kept:
        kept.verify_all()
        assert kept.size == 13


def test_a_damaged_list_is_named_and_a_full_check_finds_what_rotted_in_the_backup(
    primary, tmp_path
):
    to = tmp_path / "backup"
    (path,) = (primary.path / "lists").iterdir()
    path.write_bytes(b"exact other.example.org\n")
    assert saved(primary, to).damaged == [f"lists/{path.name}"]
    path.write_bytes(TARGETS)
    saved(primary, to)
    (to / "lists" / path.name).write_bytes(b"rotten")
    assert saved(primary, to).damaged == []
    assert saved(primary, to, is_full=True).damaged == [f"lists/{path.name}"]


@pytest.mark.parametrize("place", [".", "backup", ".."])
def test_a_backup_in_the_ledger_or_around_it_is_refused(primary, place):
    with pytest.raises(InputError, match="not apart"):
        saved(primary, primary.path / place)


def test_a_directory_with_something_else_in_it_is_no_backup(primary, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(ConflictError, match="letter"):
        saved(primary, tmp_path / "home")


# A ledger made anew.


class World:
    """Three witnesses that saw the primary's ledger, and copies of that."""

    def __init__(self, tmp_path, primary, seen=None):
        self.tmp_path = tmp_path
        self.primary = primary
        self.trust = replace(primary.trust, witnesses=WITNESSES)
        self.history = History(VKEY, LOG_KEY, primary.land.leaves)
        self.to = tmp_path / "restored"
        self.links = {
            key: Link(open_witness(tmp_path / f"w{at}", VKEY, KEYS[at], key.name))
            for at, key in enumerate(WITNESSES.keys)
        }
        for link in self.links.values():
            link.add_checkpoint = partial(over_http, link.add_checkpoint)
            link.witness.add_checkpoint(self.history.request(0, seen or self.size))

    @property
    def size(self):
        return len(self.primary.land.leaves)

    def away(self, *positions):
        for at in positions:
            list(self.links.values())[at].is_away = True

    def cosigned(self, at, size, ago_seconds=0):
        """Return a file with a checkpoint that a witness cosigned."""
        note = Note.parse(self.history.note(size))
        line = cosign(note.text, WITNESSES.keys[at], KEYS[at].sign, NOW_MS // 1_000 - ago_seconds)
        path = self.tmp_path / f"cosigned-{at}-{size}"
        path.write_bytes(with_lines(note, [line]).format())
        return path

    def receipts(self, *indices):
        """Return a folder with receipts of these entries, as callers kept them."""
        folder = self.tmp_path / "receipts"
        folder.mkdir(exist_ok=True)
        with open_ledger(self.primary.path, self.trust) as files:
            for index in indices:
                (folder / f"{index}.tlog-proof").write_bytes(files.receipt(index).format())
        return folder

    def restore(self, *sources, links=None, **options):
        paths = [each.path if isinstance(each, Archive) else each for each in sources]
        wanted = Wanted(paths, self.to, self.links if links is None else links, **options)
        return asyncio.run(restore(wanted, self.trust, NOW_MS, quiet))

    def shows_nothing_signed(self):
        for link in self.links.values():
            link.offers_latest = False

    def is_untouched(self):
        return not self.to.exists() or not any(self.to.iterdir())


async def over_http(ask, body):
    """A witness's refusal as it comes over the wire, with its status."""
    try:
        return await ask(body)
    except RefusedError as error:
        if isinstance(error.__cause__, IntegrityError):
            error.data["status"] = 422
        raise


@pytest.fixture
def world(tmp_path, primary):
    return World(tmp_path, primary)


def test_a_whole_copy_that_all_witnesses_know_is_restored_and_says_so(world):
    done = world.restore(world.primary, receipts=[world.receipts(2, 7, 12)])
    assert done.is_proven
    assert done.receipts == 3
    assert {answer.claim.size for answer in done.answers.values()} == {13}
    made, was = files_below(world.to), files_below(world.primary.path)
    (record,) = set(made) - set(was)
    assert record == f"restored/{NOW_MS}.json"
    kept = json.loads(made.pop(record))
    assert (kept["size"], kept["is_proven"], kept["unproven"]) == (13, True, "")
    assert made == was
    with pytest.raises(ConflictError, match="already"):
        world.restore(world.primary)


def test_entries_that_witnesses_have_seen_and_no_copy_has_end_it(world, tmp_path):
    short = copy_of(world.primary, tmp_path / "short", 11)
    with pytest.raises(RefusedError, match="entries 11 to 12 are missing") as caught:
        world.restore(short)
    assert (caught.value.data["index"], caught.value.data["expected"]) == (11, 13)
    assert world.is_untouched()
    # A fuller copy among the sources helps, in any order.
    assert world.restore(short, world.primary).size == 13


def test_a_receipt_that_somebody_kept_shows_what_is_missing_whatever_is_said(world, tmp_path):
    world = World(tmp_path / "elsewhere", world.primary, seen=9)
    short = copy_of(world.primary, tmp_path / "short", 11)
    receipts = [world.receipts(12)]
    for unproven in ("", "the witnesses are down"):
        with pytest.raises(RefusedError, match=r"12\.tlog-proof knows of 13 entries"):
            world.restore(short, receipts=receipts, unproven=unproven)
    assert world.is_untouched()
    assert world.restore(short, receipts=[]).size == 11  # nobody knows of more


def test_enough_witnesses_are_as_many_as_meet_every_quorum(world):
    world.away(0)  # two of three with a quorum of two: any two have one in common
    assert world.restore(world.primary).is_proven


def test_with_too_few_witnesses_it_needs_a_reason_and_keeps_that(world):
    world.away(0, 1)
    with pytest.raises(RefusedError, match="2 witnesses must say"):
        world.restore(world.primary)
    assert world.is_untouched()
    # What a witness cosigned last can come as a file.
    assert world.restore(world.primary, cosigned=[world.cosigned(1, 12)]).is_proven
    shutil.rmtree(world.to)
    done = world.restore(world.primary, unproven="their operators sleep")
    assert not done.is_proven
    assert json.loads((world.to / f"restored/{NOW_MS}.json").read_text())["unproven"]


def test_a_cosigned_checkpoint_given_as_a_file_shows_what_is_missing(world, tmp_path):
    short = copy_of(world.primary, tmp_path / "short", 11)
    with pytest.raises(RefusedError, match="entries 11 to 12"):
        world.restore(short, links={}, cosigned=[world.cosigned(2, 13)], unproven="no network")


def test_what_a_witness_cosigned_earlier_shows_what_is_missing_and_never_that_nothing_is(
    world, tmp_path
):
    short = copy_of(world.primary, tmp_path / "short", 11)
    earlier = [world.cosigned(at, 11, ago_seconds=700) for at in range(3)]
    with pytest.raises(RefusedError, match="not cosigned now"):
        world.restore(short, links={}, cosigned=earlier)
    assert world.is_untouched()
    done = world.restore(short, links={}, cosigned=earlier, unproven="no network")
    assert not done.is_proven
    shutil.rmtree(world.to)
    with pytest.raises(RefusedError, match="entries 11 to 12"):
        world.restore(
            short, links={}, cosigned=[world.cosigned(2, 13, ago_seconds=700)], unproven="none"
        )
    now = [world.cosigned(at, 11) for at in range(2)]
    assert world.restore(short, links={}, cosigned=[*now, *earlier[2:]]).is_proven


def test_a_mere_word_of_a_witness_does_not_undo_what_it_signed(world, tmp_path):
    short = copy_of(world.primary, tmp_path / "short", 11)
    with pytest.raises(RefusedError, match="entries 11 to 12"):  # all answer 409, unsigned
        world.restore(short, cosigned=[world.cosigned(2, 13)], unproven="none")


def test_a_mere_word_of_a_witness_gives_way_to_a_reason_and_a_signed_one_does_not(world, tmp_path):
    short = copy_of(world.primary, tmp_path / "short", 11)
    reason = "the data centre burned down"
    with pytest.raises(RefusedError, match="entries 11 to 12"):
        world.restore(short, unproven=reason)
    world.shows_nothing_signed()
    with pytest.raises(RefusedError, match=r"w0: it is said that it has seen 13 entries, unsigned"):
        world.restore(short)
    done = world.restore(short, unproven=reason)
    assert (done.size, done.is_proven) == (11, False)


ON_THE_WAY = {
    "as many": ConflictError("409", advice="", size=13),
    "fewer, and fewer again": ConflictError("409", advice="", size=5),
    "more": ConflictError("409", advice="", size=1_000),
    "no size": ConflictError("409", advice="", size=None),
    "another history": RefusedError("422", advice="", status=422),
    "an unknown log": RefusedError("404", advice="", status=404),
}


@pytest.mark.parametrize("what", ON_THE_WAY)
def test_who_refuses_in_the_name_of_witnesses_ends_no_restoration(world, what):
    """Anybody between may say so: it is no answer, whose it is not is named, others count."""
    first, *_ = world.links.values()
    first.forged = ON_THE_WAY[what]
    done = world.restore(world.primary)
    assert done.is_proven
    answer = done.answers[WITNESSES.keys[0].name]
    assert answer.claim is None
    assert answer.problem
    shutil.rmtree(world.to)
    for link in world.links.values():
        link.forged = ON_THE_WAY[what]
    with pytest.raises(RefusedError, match="2 witnesses must say, signed") as caught:
        world.restore(world.primary)
    assert all(key.name in caught.value.message for key in WITNESSES.keys)
    assert world.is_untouched()
    assert not world.restore(world.primary, unproven="somebody is on the way").is_proven


def test_who_refuses_and_lets_the_signed_word_through_has_answered(world):
    for link in world.links.values():
        link.forged, link.forges_latest = ON_THE_WAY["more"], False
    assert world.restore(world.primary).is_proven


def test_an_old_signed_word_of_a_witness_shows_nothing_missing_and_proves_nothing(world):
    for at, link in enumerate(world.links.values()):
        old = world.cosigned(at, 13, ago_seconds=3_600).read_bytes()
        link.forged = ON_THE_WAY["as many"]
        link.latest = partial(answering, old)
    with pytest.raises(RefusedError, match="not cosigned now"):
        world.restore(world.primary)


def test_an_old_word_on_the_way_takes_no_place_of_one_of_now_that_was_given_by_hand(
    world, tmp_path
):
    now = [world.cosigned(at, 13) for at in range(2)]
    for at, link in enumerate(world.links.values()):
        old = world.cosigned(at, 12, ago_seconds=3_600).read_bytes()
        link.forged = ON_THE_WAY["as many"]
        link.latest = partial(answering, old)
    assert world.restore(world.primary, cosigned=now).is_proven
    shutil.rmtree(world.to)
    short = copy_of(world.primary, tmp_path / "short", 11)
    now = [world.cosigned(at, 11) for at in range(3)]
    with pytest.raises(RefusedError, match="entries 11 to 11 are missing"):  # signed all the same
        world.restore(short, cosigned=now)


async def answering(answer, _origin):
    return answer


@pytest.mark.parametrize("what", ["no signature", "a stranger's", "an old one of its own"])
def test_a_forged_answer_of_a_witness_is_no_answer(world, what):
    first, *_ = world.links.values()
    key, t_seconds = WITNESSES.keys[0], NOW_MS // 1_000

    async def forged(body):
        text = AddCheckpoint.parse(body).claimed.text
        if what == "a stranger's":
            return cosign(text, key, PrivateKey.generate().sign, t_seconds).text.encode()
        if what == "an old one of its own":
            return cosign(text, key, KEYS[0].sign, t_seconds - 3_600).text.encode()
        return b""

    first.add_checkpoint = forged
    done = world.restore(world.primary)
    assert done.answers[key.name].claim is None
    assert done.is_proven


def test_two_copies_that_contradict_each_other_end_it(world, tmp_path):
    other = Archive(tmp_path / "other", world.primary.land)
    other.write([*world.primary.land.leaves[:11], *world.primary.land.leaves[12:]])
    with pytest.raises(IntegrityError, match="two histories of 12 entries") as caught:
        world.restore(world.primary, other)
    assert caught.value.data["problem"] == "split view"
    assert world.is_untouched()


def test_a_copy_of_another_history_than_witnesses_have_ends_it(world, tmp_path):
    leaves = world.primary.land.leaves
    for at, forged in enumerate(([*leaves[:12], leaves[3]], [*leaves[:12], leaves[3], leaves[4]])):
        other = Archive(tmp_path / f"other-{at}", world.primary.land)
        other.write(forged)
        with pytest.raises(IntegrityError, match="two histories of 13") as caught:
            world.restore(other, unproven="whatever")
        assert caught.value.data["problem"] == "split view"
    world.shows_nothing_signed()
    with pytest.raises(RefusedError, match="another history, unsigned"):
        world.restore(other)
    assert world.is_untouched()


def test_a_receipt_of_another_entry_than_the_copys_ends_it(world, tmp_path):
    leaves = world.primary.land.leaves
    other = Archive(tmp_path / "other", world.primary.land)
    other.write([*leaves[:12], leaves[3], leaves[4]])
    with pytest.raises(IntegrityError, match=r"contradict|not the receipt"):
        world.restore(other, links={}, receipts=[world.receipts(12)], unproven="none")


def test_a_torn_copy_is_left_out_and_another_taken(world, tmp_path):
    whole = copy_of(world.primary, tmp_path / "whole")
    bundle = world.primary.path / "tile/entries/000.p/13"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    done = world.restore(world.primary, whole)
    assert done.source == str(whole.path)
    (why,) = done.left_out
    assert str(world.primary.path) in why
    shutil.rmtree(world.to)
    with pytest.raises(IntegrityError, match="cut"):
        world.restore(world.primary)


def test_a_torn_copy_that_was_longer_is_no_loss_that_passes_silently(tmp_path, primary):
    """Also where witnesses saw no more than the shorter one: an act is answered before they do."""
    world = World(tmp_path, primary, 9)
    short = copy_of(primary, tmp_path / "short", 9)
    bundle = primary.path / "tile/entries/000.p/13"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    with pytest.raises(RefusedError, match=r"signed 13 entries .* entries 9 to 12") as caught:
        world.restore(primary, short)
    assert "--unproven" in caught.value.advice
    assert world.is_untouched()
    done = world.restore(primary, short, unproven="that disk is lost")
    assert (done.size, done.is_proven) == (9, True)
    (why,) = json.loads((world.to / f"restored/{NOW_MS}.json").read_text())["left_out"]
    assert "signed 13 entries" in why


def test_what_lies_beside_the_entries_comes_from_every_copy(world, tmp_path):
    bare = copy_of(world.primary, tmp_path / "bare")
    shutil.rmtree(bare.path / "lists")
    done = world.restore(bare, copy_of(world.primary, tmp_path / "older", 9), world.primary)
    made = files_below(world.to)
    made.pop(f"restored/{NOW_MS}.json")
    assert made == files_below(world.primary.path)
    assert done.copied.lists == 1


def test_a_nodes_state_directory_and_an_archive_are_sources(world, tmp_path):
    state = tmp_path / "state"
    shutil.copytree(world.primary.path, state / "ledger")
    archive = tmp_path / "ledger.tar.gz"
    export_archive(world.primary.path, archive, world.trust, taken_at_ms=NOW_MS)
    for source in (state, archive):
        assert world.restore(source).size == 13
        with open_ledger(world.to, world.trust) as files:
            files.verify_all()
        shutil.rmtree(world.to)


@pytest.mark.parametrize("renames", range(8))
def test_killed_in_the_middle_nothing_takes_it_for_a_ledger_and_it_can_be_repeated(
    world, monkeypatch, renames
):
    left, rename = renames, Path.rename

    def killed(path, to):
        nonlocal left
        if UNFINISHED in path.parts and Path(to).parent == world.to:
            if not left:
                raise KeyboardInterrupt
            left -= 1
        return rename(path, to)

    with monkeypatch.context() as broken:
        broken.setattr("enforcer.app.ledger_restore._clear", lambda to: None)
        broken.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            world.restore(world.primary)
    assert (world.to / UNFINISHED / "checkpoint").exists()
    with pytest.raises(IntegrityError, match="was lost"):
        opened(world.to, writer=True)  # as a control plane that is started on it
    assert world.restore(world.primary).size == 13
    assert not (world.to / UNFINISHED).exists()


def test_a_disk_that_takes_no_more_leaves_nothing(world, monkeypatch):
    def full(*_, **__):
        raise UnavailableError("no space", advice="Free space.", errno="ENOSPC")

    monkeypatch.setattr("enforcer.backends.tiles.TileLedger.append", full)
    with pytest.raises(UnavailableError):
        world.restore(world.primary)
    assert world.is_untouched()
