"""The control plane and lists that are not public: taken in, judged, wrapped, and never said.

Each story ends with a search of every file, log line and key of the feed for its target.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from enforcer.api.translate import findings_to_messages
from enforcer.backends import sealing
from enforcer.backends.kept_files import KeptFiles
from enforcer.core.guard import Guard
from enforcer.core.hold import HoldLifted
from enforcer.core.key import Category, Role
from enforcer.core.order import OrderPublished, OrderRef, PublicationMode
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.state import in_force
from enforcer.errors import InputError, NotFoundError, RefusedError, UnavailableError
from enforcer.services import uploads as uploads_module
from enforcer.services import wrapping as wrapping_module
from enforcer.services.ledger import Recorded
from enforcer.services.recheck import Recheck
from tests.control import REASONS, Desk, chunks_of, with_reasons
from tests.people import Person, identity, seal
from tests.sealed import SealedText
from tests.waiting import until

RESTRICTED, DELAYED = PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED
MARKER = b"a-name-that-nobody-may-read"
SECRET_TARGETS = b"exact " + MARKER + b".example.org\nsubtree " + MARKER + b".example.net\n"
CORE = b"subtree time.example.net\n"
NAMES = b"subtree bank.example.com\n"
NEW_CORE = b"subtree example.net\n"


@dataclass
class Bench:
    """A desk, and everything that it said."""

    desk: Desk
    said: list[str] = field(default_factory=list)

    async def bring(self, text: SealedText, wrap: bytes | None = None) -> None:
        wrap = text.wrap(self.desk.land.control) if wrap is None else wrap
        await self.desk.uploads.receive_sealed(
            text.sealed_sha256, len(text.octets), chunks_of(text.octets), wrap
        )

    async def propose(self, text: SealedText, *, validate_only: bool = False, **changes: object):
        land = self.desk.land
        keys = [land.proposer.key]
        if text.publication.mode is RESTRICTED:
            keys.append(land.oversight.key)
            changes = {"category": Category.CHILD_ABUSE_MATERIAL} | changes
        changes = {
            "publication": text.publication,
            "target_list_sha256": text.sha256,
            "target_count": text.text.count(b"\n"),
        } | changes
        order = with_reasons(land, **changes)
        try:
            return await self.desk.orders.propose(
                seal(order, *keys), [REASONS], validate_only=validate_only
            )
        except Exception as error:
            self.said.append(repr(vars(error)))
            raise

    async def proposed(self, text: SealedText, **changes: object) -> OrderRef:
        await self.bring(text)
        proposed = await self.propose(text, **changes)
        return self.desk.land.ref(proposed.recorded.index)

    async def approved(self, text: SealedText, **changes: object) -> OrderRef:
        ref = await self.proposed(text, **changes)
        await self.desk.approve(ref)
        return ref


def files_under(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


def hidden_words(text: SealedText) -> list[bytes]:
    return [MARKER, sha256(text.text).hexdigest().encode(), text.secret.encode()]


@pytest.fixture
async def bench(tmp_path):
    with capture_logs() as logs:
        async with Desk(tmp_path / "ledger") as desk:
            await desk.found()
            for act in (desk.land.control, desk.land.officer):
                registration = seal(act.registration(desk.land.now_ms), *desk.land.roots[:2])
                await desk.ledger.record(registration)
            pins = Pins(desk.lists.put(CORE), desk.lists.put(NAMES), None, None)
            await desk.ledger.record(seal(desk.land.policy(pins=pins), *desk.land.roots[:2]))
            # Else what is brought first may be shown again, or tidied away, as at each start.
            await until(lambda: desk.publication._tidied_at is not None)
            bench = Bench(desk)
            yield bench
        feed = desk.feed
        kept = [
            *files_under(tmp_path),
            *feed.lists.values(),
            *feed.wraps.values(),
            *feed.bundles.values(),
            repr(logs).encode(),
            *(each.encode() for each in bench.said),
        ]
        assert not [each[:80] for each in kept if MARKER in each]


def due(desk: Desk, days: int = 20) -> int:
    return desk.land.now_ms + days * DAY_MS


async def test_a_restricted_order_comes_into_force_and_its_targets_stay_hidden(bench, tmp_path):
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    ref = await bench.approved(text)
    land = bench.desk.land
    assert [row.index for row in in_force(land.state, land.now_ms)] == [ref.entry_index]
    assert bench.desk.feed.lists[text.sealed_sha256] == text.octets
    for data in files_under(tmp_path):
        assert not [word for word in hidden_words(text) if word in data], data[:80]


async def test_receivers_get_their_wraps_before_they_need_them(bench):
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    desk, land = bench.desk, bench.desk.land
    ref = await bench.proposed(text)
    wraps = desk.feed.wraps
    sealed = text.sealed_sha256
    assert {key_id for _, key_id in wraps} == {land.oversight.key.key_id, land.control.key.key_id}
    await desk.approve(ref)
    assert (sealed, land.node.key.key_id) in wraps
    for who in (land.node, land.oversight, land.control):
        wrap = wraps[sealed, who.key.key_id]
        assert sealing.unwrap(wrap, who.encryption_secret) == text.secret
        assert desk.wraps.read(sealed, who.key.key_id) == wrap


async def test_who_is_registered_later_gets_wraps_of_what_blocks(bench):
    desk, land = bench.desk, bench.desk.land
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    waiting = SealedText.of(SECRET_TARGETS, DELAYED, due(desk))
    await bench.approved(text)
    await bench.proposed(waiting)
    running = asyncio.create_task(desk.wrapping.run())
    late = Person("node-2", Role.NODE, operator="isp-2")
    clerk = Person("other.clerk", Role.OVERSIGHT)
    for person in (late, clerk):
        await desk.ledger.record(seal(person.registration(land.now_ms), *land.roots[:2]))
    wraps = desk.feed.wraps
    await until(lambda: (waiting.sealed_sha256, clerk.key.key_id) in wraps)
    await until(lambda: (text.sealed_sha256, late.key.key_id) in wraps)
    assert (waiting.sealed_sha256, late.key.key_id) not in wraps  # nobody has approved it
    # A feed that was emptied is filled again.
    wraps.clear()
    desk.wrapping.show_again()
    await until(lambda: (text.sealed_sha256, late.key.key_id) in wraps)
    running.cancel()


async def test_wraps_that_went_from_the_feed_alone_come_back_some_at_each_comparison(
    bench, monkeypatch
):
    monkeypatch.setattr(wrapping_module, "SHOWN_AGAIN_MAX", 1)
    desk = bench.desk
    texts = [SealedText.of(SECRET_TARGETS, DELAYED, due(desk)) for _ in range(3)]
    for text in texts:
        await bench.proposed(text)
    running = asyncio.create_task(desk.wrapping.run())
    wraps = desk.feed.wraps
    await until(lambda: not desk.wrapping._wake.is_set())
    for there in (2, 4, 6):
        if there == 2:
            wraps.clear()
        await desk.publication._compare()
        await until(lambda there=there: len(wraps) >= there)
    for key in wraps:
        wraps[key] = b"altered"
    for _ in texts:
        await desk.publication._compare()
        await until(lambda: not desk.wrapping._due)
    await until(lambda: b"altered" not in wraps.values())
    running.cancel()


async def test_a_feed_that_is_away_keeps_no_order_from_being_approved(bench):
    desk, land = bench.desk, bench.desk.land
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    desk.feed.is_away = True
    await bench.approved(text)
    assert desk.feed.wraps == {}
    assert desk.wraps.read(text.sealed_sha256, land.node.key.key_id)
    desk.feed.is_away = False
    running = asyncio.create_task(desk.wrapping.run())
    await until(lambda: len(desk.feed.wraps) == 3)
    running.cancel()


async def test_after_a_restart_the_control_plane_opens_lists_by_its_own_wraps(bench):
    desk = bench.desk
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    ref = await bench.proposed(text)
    await desk.__aexit__()
    await desk.__aenter__()
    assert (await desk.approve(ref)).index > ref.entry_index


async def test_a_delayed_list_is_published_by_its_secret_alone(bench):
    desk, land = bench.desk, bench.desk.land
    text = SealedText.of(b"exact later.example.org\n", DELAYED, due(desk))
    ref = await bench.approved(text)

    async def publish(secret: str):
        act = seal(land.act(OrderPublished, ref, list_secret=secret), land.proposer.key)
        return await desk.orders.record_act(act, (), validate_only=False)

    with pytest.raises(RefusedError, match="secret of another list"):
        await publish(identity())
    await publish(text.secret)
    record = land.state.orders[ref.entry_index]
    assert sealing.open_sealed(desk.feed.lists[text.sealed_sha256], record.list_secret)[32:] == (
        text.text
    )


async def test_targets_are_hidden_once_more_by_oversight_alone(bench):
    """Another seal, under another key and id, is known by its targets; what became of the first
    does not matter, and the list of another order is not asked."""
    desk, land = bench.desk, bench.desk.land
    text = b"exact later.example.org\nsubtree other.example.org\n"
    first = await bench.approved(SealedText.of(text, DELAYED, due(desk)))
    await bench.approved(SealedText.of(b"exact elsewhere.example.org\n", DELAYED, due(desk)))
    land.now_ms += 40 * DAY_MS
    again = SealedText.of(b"exact below.other.example.org\n", DELAYED, due(desk))
    ref = await bench.proposed(again)
    assert land.order_record(ref).holds == {Guard.HIDDEN_BEFORE}
    assert land.order_record(first).until_ms < land.now_ms

    async def lift(by: Person) -> Recorded:
        act = land.act(
            HoldLifted,
            ref,
            guards=(Guard.HIDDEN_BEFORE,),
            overrides=(),
            assessment_index=None,
            reason_sha256=None,
        )
        return await desk.orders.record_act(seal(act, by.key), (), validate_only=False)

    with pytest.raises(RefusedError):
        await lift(land.second_approver)
    await lift(land.oversight)
    await desk.approve(ref)
    public = b"exact later.example.org\n"
    await desk.bring(public)
    order = seal(with_reasons(land, public), land.proposer.key)
    proposed = await desk.orders.propose(order, [REASONS], validate_only=False)
    assert proposed.held is None


# What is refused, and says nothing.


async def test_without_its_list_or_its_secret_nothing_is_proposed(bench):
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    with pytest.raises(NotFoundError, match="no sealed list"):
        await bench.propose(text)
    await bench.bring(text)
    assert text.sealed_sha256 not in bench.desk.feed.lists
    bench.desk.wraps.forget(text.sealed_sha256)
    with pytest.raises(NotFoundError, match="secret of the sealed list") as caught:
        await bench.propose(text)
    assert caught.value.data["field"] == "publication.sealed_sha256"


async def test_a_wrap_for_somebody_else_or_of_nothing_is_refused(bench):
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    for wrap in (text.wrap(bench.desk.land.node), b"x", b"\0" * 5_000):
        with pytest.raises(InputError) as caught:
            await bench.bring(text, wrap)
        assert caught.value.data["field"] == "header.wrap"


async def test_a_wrap_with_another_lists_secret_is_none_for_the_order(bench):
    text, other = (SealedText.of(SECRET_TARGETS, RESTRICTED) for _ in range(2))
    await bench.bring(text, other.wrap(bench.desk.land.control))
    with pytest.raises(NotFoundError, match="secret of the sealed list"):
        await bench.propose(text)
    await bench.bring(text)  # and again with the right one
    await bench.propose(text)


async def test_nobody_takes_the_secret_of_an_order_away_by_another_upload(bench):
    text, other = (SealedText.of(SECRET_TARGETS, RESTRICTED) for _ in range(2))
    ref = await bench.proposed(text)
    with pytest.raises(InputError, match="of no order that names"):
        await bench.bring(text, other.wrap(bench.desk.land.control))
    with pytest.raises(InputError):
        await bench.desk.uploads.receive(
            text.sealed_sha256, len(text.octets), chunks_of(text.octets)
        )
    bench.desk.secrets._secrets.clear()
    bench.desk.secrets._summaries.clear()
    await bench.desk.approve(ref)


async def test_the_wrap_of_an_order_that_was_lost_is_brought_back_by_an_upload(bench):
    text, other = (SealedText.of(SECRET_TARGETS, RESTRICTED) for _ in range(2))
    ref = await bench.proposed(text)
    desk = bench.desk
    desk.wraps.forget(text.sealed_sha256)
    desk.secrets._secrets.clear()
    desk.secrets._summaries.clear()
    with pytest.raises(InputError, match="of no order that names"):
        await bench.bring(text, other.wrap(desk.land.control))
    with pytest.raises(NotFoundError, match="secret of the sealed list"):
        await desk.approve(ref)
    await bench.bring(text)
    await desk.approve(ref)


async def test_nobody_takes_the_secret_of_an_upload_away_by_another(bench):
    text, other = (SealedText.of(SECRET_TARGETS, RESTRICTED) for _ in range(2))
    await bench.bring(text)
    await bench.bring(text, other.wrap(bench.desk.land.control))
    await bench.propose(text)


def spoiled(text: SealedText, octets: bytes) -> SealedText:
    name = sha256(octets).hexdigest()
    publication = replace(text.publication, sealed_sha256=name)
    return replace(text, octets=octets, sealed_sha256=name, publication=publication)


async def test_what_does_not_open_to_the_orders_list_is_refused(bench):
    text, other = (SealedText.of(SECRET_TARGETS, RESTRICTED) for _ in range(2))
    cases = {
        "garbage": spoiled(text, b"age-encryption.org/v1\n" + bytes(500)),
        "cut": spoiled(text, text.octets[:-1]),
        "altered": spoiled(text, text.octets[:-1] + bytes([text.octets[-1] ^ 1])),
        "another plaintext": replace(text, sha256=other.sha256),
        "the hash without the salt": replace(text, sha256=sha256(text.text).hexdigest()),
        "for another recipient": spoiled(text, other.octets),
    }
    for case in cases.values():
        await bench.bring(case)
        with pytest.raises(InputError) as caught:
            await bench.propose(case)
        assert caught.value.data["field"] == "publication.sealed_sha256"
    assert not bench.desk.land.state.orders


async def test_a_wrong_count_and_a_wrong_line_are_named_without_their_target(bench):
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    await bench.bring(text)
    with pytest.raises(RefusedError, match="2 targets, not 3"):
        await bench.propose(text, target_count=3)
    wrong = SealedText.of(b"exact ok.example.org\nexact " + MARKER.upper() + b"\n", RESTRICTED)
    await bench.bring(wrong)
    with pytest.raises(InputError, match="line 2 of a sealed list") as caught:
        await bench.propose(wrong)
    assert MARKER.lower() not in repr(vars(caught.value)).lower().encode()


async def test_a_sealed_list_over_its_bound_is_refused_before_it_is_read(bench):
    with pytest.raises(InputError, match="over 524132025"):
        await bench.desk.uploads.receive_sealed("a" * 64, 524_132_026, chunks_of(b""), b"x")
    assert uploads_module.SEALED_BYTES_MAX <= sealing.SEALED_BYTES_MAX


async def test_unused_sealed_lists_make_room_with_their_wraps(bench, monkeypatch):
    monkeypatch.setattr(uploads_module, "UNUSED_LISTS_MAX", 2)
    desk = bench.desk
    texts = [SealedText.of(SECRET_TARGETS, RESTRICTED) for _ in range(4)]
    for text in texts:
        await bench.bring(text)
    here = [text for text in texts if desk.lists.has(text.sealed_sha256)]
    wrapped = [text for text in texts if desk.wraps.receivers(text.sealed_sha256)]
    assert len(here) <= 3
    assert here == wrapped


# Guards.


async def test_what_a_guard_refuses_is_named_by_lines_and_read_by_who_has_the_secret(bench):
    target = b"exact " + MARKER + b".time.example.net\n"
    text = SealedText.of(target, RESTRICTED)
    await bench.bring(text)
    with pytest.raises(RefusedError, match=r"line 1 PROTECTED_CORE$") as caught:
        await bench.propose(text)
    name = caught.value.data["report_sha256"]
    report = bench.desk.guards.report(name)
    assert MARKER not in report
    assert target.strip() in sealing.open_sealed(report, text.secret)


async def test_a_hold_keeps_its_report_sealed(bench):
    target = b"exact " + MARKER + b".bank.example.com\n"
    text = SealedText.of(target, RESTRICTED)
    ref = await bench.proposed(text)
    desk = bench.desk
    assert desk.land.order_record(ref).holds == {Guard.PROTECTED_NAME}
    (report,) = [
        desk.side.read(name)[32:] for name in desk.side.names() if desk.side.read(name) != REASONS
    ]
    assert target.strip() in sealing.open_sealed(report, text.secret)


async def test_guards_compare_a_hidden_list_with_past_ones_and_tell_nobody_which(bench):
    """A stop is remembered for its targets, whether they were hidden then or are now."""
    desk = bench.desk
    ref = await bench.approved(SealedText.of(SECRET_TARGETS, RESTRICTED))
    await desk.stopping.stop(desk.stop_of(ref))
    again = await bench.proposed(SealedText.of(SECRET_TARGETS, RESTRICTED))
    assert desk.land.order_record(again).holds == {Guard.STOPPED_BEFORE}
    reports = [desk.side.read(name)[32:] for name in desk.side.names()]
    (head,) = [each for each in reports if each.startswith(b"enforcer guard report")]
    assert head.endswith(b"guard STOPPED_BEFORE HOLD -\n\n")


async def test_a_public_list_that_shares_lines_with_a_hidden_one_is_not_told_which(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        own = seal(desk.land.control.registration(desk.land.now_ms), *desk.land.roots[:2])
        await desk.ledger.record(own)
        bench = Bench(desk)
        ref = await bench.approved(SealedText.of(SECRET_TARGETS, RESTRICTED))
        await desk.stopping.stop(desk.stop_of(ref))
        public = SECRET_TARGETS.replace(b"\nsub", b"\nexact other.example.org\nsub")
        public = b"".join(sorted(public.splitlines(keepends=True)))
        await desk.bring(public)
        order = seal(with_reasons(desk.land, public), desk.land.proposer.key)
        proposed = await desk.orders.propose(order, [REASONS], validate_only=False)
        assert proposed.held.guards == (Guard.STOPPED_BEFORE,)
        assert proposed.held.told.hits == ()
        assert MARKER in proposed.held.scan.report
        assert MARKER not in proposed.held.document
        (told,) = findings_to_messages(proposed.held)
        assert (told.line_count, told.evidence_count, list(told.evidence)) == (0, 0, [])
        assert b"guard STOPPED_BEFORE HOLD -\n" in proposed.held.document


async def test_new_data_is_looked_for_in_hidden_lists_too(bench, tmp_path):
    desk, land = bench.desk, bench.desk.land
    ref = await bench.approved(SealedText.of(SECRET_TARGETS, RESTRICTED))
    pins = replace(land.state.policy.payload.pins, protected_core=desk.lists.put(NEW_CORE))
    await desk.ledger.record(seal(land.policy(pins=pins), *land.roots[:2]))
    running = asyncio.create_task(
        Recheck(desk.ledger, desk.guards, KeptFiles(tmp_path / "kept")).run()
    )
    await until(lambda: land.order_record(ref).holds == {Guard.PROTECTED_CORE})
    running.cancel()


async def test_a_lost_key_is_named_and_not_the_list(bench):
    desk, land = bench.desk, bench.desk.land
    text = SealedText.of(SECRET_TARGETS, RESTRICTED)
    ref = await bench.proposed(text)
    land.control.__dict__["encryption"] = Person("x", Role.CONTROL).encryption
    await desk.__aexit__()
    await desk.__aenter__()
    with pytest.raises(UnavailableError, match="cannot be opened") as caught:
        await desk.approve(ref)
    assert "encryption key" in caught.value.advice


async def test_two_persons_are_needed_and_oversight_is_none_of_them(bench):
    desk, land = bench.desk, bench.desk.land
    ref = await bench.proposed(SealedText.of(SECRET_TARGETS, RESTRICTED))
    for who in (land.proposer, land.oversight, land.node):
        with pytest.raises(RefusedError):
            await desk.approve(ref, who)
    assert in_force(land.state, land.now_ms) == ()
