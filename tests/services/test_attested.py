"""What a fleet attests is recorded once an interval, and an audit finds what was kept quiet."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.app.audit import audit_directory, kept_attestations
from enforcer.app.audit_archive import audit_copy, export_archive
from enforcer.backends.batch_files import ALL_KEPT_MS, BatchFiles
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import verify
from enforcer.core.attestation import Attestation, GateState, NotEnforced, Omission
from enforcer.core.attested import AttestationsRecorded, Exceptional, NodeException
from enforcer.core.batch import format_batch, parse_batch, root_of
from enforcer.core.entry import parse, parse_payload
from enforcer.core.key import Role
from enforcer.core.merkle import EMPTY_ROOT
from enforcer.core.policy import DAY_MS
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER, table_digest
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError
from enforcer.services.attestations import Attestations
from enforcer.services.attested import AttestedRecorder
from enforcer.services.findings import Code, Severity
from enforcer.services.fleet import Fleet
from enforcer.services.report import make_report
from enforcer.services.report_period import explicit
from tests.control import Desk, trust_of
from tests.ledgers import Archive, only
from tests.people import Land, Person, seal
from tests.services.test_attestations import attestation

MINUTE_MS = 60_000
NODES = tuple(Person(f"node-{at}", Role.NODE, operator="isp-1") for at in range(2, 6))


class FleetDesk(Desk):
    """A control plane whose nodes attest, and which records that."""

    async def __aenter__(self):
        await super().__aenter__()
        await self.found()
        for person in (self.land.control, *NODES):
            registration = person.registration(self.land.now_ms)
            await self.ledger.record(seal(registration, *self.land.roots[:2]))
        self.nodes = (self.land.node, *NODES)
        self.start_again()
        return self

    def start_again(self) -> None:
        """Forget all that only memory has, as a restart does."""
        self.fleet = Fleet()
        kept = KeptFiles(self.path / "attestations")
        self.batches = BatchFiles(self.path / "batches")
        self.attestations = Attestations(self.ledger, kept, self.fleet)
        self.recorder = AttestedRecorder(
            self.ledger, self.fleet, self.batches, self.land.control.key, 600.0
        )

    def said(self, **changes: object) -> Attestation:
        """Return what an honest node says now."""
        state, t_ms = self.ledger.state, self.land.now_ms
        assert state.policy is not None
        rows = in_force(state, t_ms)
        digest = table_digest(self.land.origin, state.policy.ref, rows, NO_LOCAL_LAYER)
        return replace(attestation(self, table_digest=digest), **changes)

    async def attest(self, *nodes: Person, **changes) -> None:
        for node in nodes or self.nodes:
            envelope = seal(self.said(node_id=node.person_id, **changes), node.key)
            await self.attestations.receive(envelope, node.person_id)

    async def recorded(self, after_ms: int = MINUTE_MS) -> AttestationsRecorded:
        self.land.now_ms += after_ms
        index = await self.recorder.record()
        (leaf,) = self.files.entries(index, index + 1)
        return parse_payload(parse(leaf).envelope)

    def audit(self, path: Path | None = None, **options):
        options.setdefault("as_of_ms", self.land.now_ms)
        self.summary, findings = audit_directory(path or self.path, trust_of(self.land), **options)
        return list(findings)


@pytest.fixture
async def desk(tmp_path):
    async with FleetDesk(tmp_path / "ledger") as desk:
        yield desk


def kinds(payload: AttestationsRecorded) -> dict[str, Exceptional]:
    return {each.node_id: each.kind for each in payload.exceptions}


def wrong(findings) -> list[Code]:
    return [each.code for each in findings if each.severity is not Severity.NOTE]


async def test_an_interval_is_recorded_with_a_root_over_the_newest_word_of_each_node(desk):
    await desk.attest()
    desk.land.now_ms += 1_000
    await desk.attest(NODES[0])
    recorded = await desk.recorded()
    envelopes = parse_batch(desk.batches.read(recorded.until_ms, recorded.batch_sha256))
    newest = [desk.fleet.words[node.person_id].envelope for node in desk.nodes]
    assert envelopes == newest
    assert recorded.root_sha256 == root_of(newest)
    assert (recorded.node_count, recorded.exception_count) == (5, 0)
    assert wrong(desk.audit()) == []
    assert (desk.summary.batches, desk.summary.attestations) == (1, 6)


async def test_nothing_is_recorded_of_an_interval_in_which_nobody_said_anything(desk):
    assert await desk.recorder.record() is None
    await desk.attest()
    first = await desk.recorded()
    desk.land.now_ms += MINUTE_MS
    size = desk.files.size
    assert await desk.recorder.record() is None
    assert desk.files.size == size
    await desk.attest(NODES[0])
    second = await desk.recorded()
    assert second.from_ms == first.until_ms
    assert second.node_count == 1


async def test_every_kind_of_exception_is_named_and_the_audit_agrees(desk):
    await desk.attest(NODES[3])
    await desk.recorded(1_000)
    desk.land.now_ms += MINUTE_MS
    await desk.attest(desk.land.node, gate=GateState.DIFFERS)
    await desk.attest(NODES[0], table_digest="0" * 64)
    await desk.attest(NODES[1])
    with pytest.raises(IntegrityError):
        await desk.attest(NODES[2], root_sha256="0" * 64)
    desk.land.now_ms += 200_000
    await desk.attest(NODES[2], ledger_size=desk.files.size)
    with pytest.raises(IntegrityError):
        await desk.attest(NODES[2], root_sha256="0" * 64)
    recorded = await desk.recorded()
    assert kinds(recorded) == {
        "node-4": Exceptional.SPLIT_VIEW,
        "node-1": Exceptional.DIFFERS,
        "node-2": Exceptional.DIFFERS,
        "node-3": Exceptional.LAGS,
        "node-5": Exceptional.SILENT,
    }
    seen = {each.node_id: each.seen_at_ms for each in recorded.exceptions}
    assert seen["node-5"] < recorded.from_ms <= seen["node-3"]
    assert wrong(desk.audit()) == [Code.ATTESTED_OTHER_TABLE], "node-2, by its own word"


async def test_a_node_that_blocks_nothing_is_an_exception_and_one_that_leaves_out_is_not(desk):
    ref = await desk.propose()
    await desk.approve(ref)
    state = desk.ledger.state
    nothing = table_digest(desk.land.origin, state.policy.ref, (), NO_LOCAL_LAYER)
    for node, reason in ((NODES[0], NotEnforced.BYPASSED), (NODES[1], NotEnforced.LIST_MISSING)):
        omission = Omission(ref.entry_index, reason, None, desk.land.now_ms)
        await desk.attest(node, table_digest=nothing, omissions=(omission,), omission_count=1)
    await desk.attest(desk.land.node, *NODES[2:])
    assert kinds(await desk.recorded()) == {"node-2": Exceptional.OFF}
    assert wrong(desk.audit()) == []


async def test_a_node_that_read_the_last_news_late_is_judged_by_its_own_size(desk):
    await desk.attest()
    ref = await desk.propose()
    await desk.approve(ref)  # nobody has read it when the interval ends, a moment later
    assert kinds(await desk.recorded(2_000)) == {}
    assert wrong(desk.audit()) == []
    desk.land.now_ms += 100_000
    root = desk.files.root_at(desk.ledger.state.news_size - 1).hex()
    behind = {"ledger_size": desk.ledger.state.news_size - 1, "root_sha256": root}
    await desk.attest(NODES[0], **behind, table_digest="0" * 64)
    await desk.attest(desk.land.node, *NODES[1:])
    assert kinds(await desk.recorded(100_000)) == {"node-2": Exceptional.LAGS}
    assert Code.EXCEPTION_HIDDEN not in wrong(desk.audit())


async def test_a_control_plane_that_starts_again_records_what_came_before_it_ended(desk):
    await desk.attest()
    await desk.recorded()
    desk.land.now_ms += MINUTE_MS
    await desk.attest(*NODES[1:])
    desk.start_again()
    await desk.attestations.restore()
    recorded = await desk.recorded()
    assert recorded.node_count == 3
    assert kinds(recorded) == dict.fromkeys(("node-1", "node-2"), Exceptional.SILENT)
    assert wrong(desk.audit()) == []


async def test_what_could_not_be_recorded_is_recorded_with_the_next_interval(desk):
    await desk.attest()
    desk.files.fault = UnavailableError("the disk is full", advice="Free some space.")
    with pytest.raises(UnavailableError):
        await desk.recorded()
    desk.files.fault = None
    await desk.attest(NODES[0])
    recorded = await desk.recorded()
    assert recorded.node_count == 5
    assert wrong(desk.audit()) == []


async def test_recording_wakes_no_watcher_of_orders_and_changes_no_order(desk):
    ref = await desk.propose()
    await desk.approve(ref)
    before = desk.ledger.state.orders[ref.entry_index]
    await desk.attest()
    await desk.recorded()
    assert desk.ledger.state.orders[ref.entry_index] is before
    assert desk.ledger.history.entries("", 0, desk.files.size)[-1] < desk.files.size - 1


async def test_an_act_does_not_wait_for_a_batch_that_is_being_made(desk, monkeypatch):
    await desk.attest()
    may_go_on, is_there = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    put = desk.batches.put

    def slow(until_ms, data):
        loop.call_soon_threadsafe(is_there.set)
        asyncio.run_coroutine_threadsafe(may_go_on.wait(), loop).result()
        return put(until_ms, data)

    monkeypatch.setattr(desk.batches, "put", slow)
    desk.land.now_ms += MINUTE_MS
    recording = asyncio.create_task(desk.recorder.record())
    await is_there.wait()
    ref = await desk.propose()
    may_go_on.set()
    assert await recording > ref.entry_index
    assert wrong(desk.audit()) == []


def edited(desk, **changes) -> list[bytes]:
    """Return the ledger's leaves, the last entry with other words and signed anew."""
    *leaves, last = desk.files.entries(0, desk.files.size)
    said = replace(parse_payload(parse(last).envelope), **changes)
    land = Land(roots=desk.land.roots)
    for leaf in leaves:
        entry = parse(leaf)
        land.record(entry.envelope, after_ms=entry.recorded_at_ms - land.now_ms)
    land.now_ms = desk.land.now_ms
    land.record(seal(said, desk.land.control.key), after_ms=0)
    return land


def forged(desk, tmp_path, **changes):
    """Return what an audit finds when the control plane had recorded other words."""
    land = edited(desk, **changes)
    archive = Archive(tmp_path / "forged", land)
    archive.write()
    for folder in ("batches", "attestations"):
        (archive.path / folder).symlink_to(desk.path / folder)
    archive.land.now_ms = desk.land.now_ms
    return archive.audit()


@pytest.mark.parametrize("hidden", ["node-2", "node-3"])
async def test_an_exception_that_the_control_plane_keeps_quiet_is_a_violation(
    desk, tmp_path, hidden
):
    await desk.attest(desk.land.node, *NODES[2:])
    await desk.attest(NODES[0], gate=GateState.UNREACHABLE)  # and NODES[1] is silent
    recorded = await desk.recorded()
    rest = tuple(each for each in recorded.exceptions if each.node_id != hidden)
    assert len(rest) == 1
    found = only(forged(desk, tmp_path, exceptions=rest, exception_count=1), Code.EXCEPTION_HIDDEN)
    assert hidden in found.words
    assert found.index == desk.files.size - 1


async def test_an_exception_that_there_was_not_is_a_violation(desk, tmp_path):
    await desk.attest()
    await desk.recorded()
    slander = (NodeException("node-3", Exceptional.DIFFERS, None),)
    found = only(
        forged(desk, tmp_path, exceptions=slander, exception_count=1), Code.EXCEPTION_HIDDEN
    )
    assert "node-3 as DIFFERS, and it was as it should be" in found.words


@pytest.mark.parametrize(
    "changes", [{"root_sha256": EMPTY_ROOT.hex()}, {"node_count": 4}, {"read_from_size": 3}]
)
async def test_an_entry_that_says_otherwise_than_its_batch_is_a_violation(desk, tmp_path, changes):
    await desk.attest()
    await desk.recorded()
    found = forged(desk, tmp_path, **changes)
    assert wrong(found) == [Code.BATCH_WRONG]


async def test_a_batch_that_somebody_altered_is_a_violation_and_the_rest_is_checked(desk):
    await desk.attest()
    await desk.recorded()
    await desk.attest()
    await desk.recorded()
    first = min((desk.path / "batches").iterdir())
    first.write_bytes(first.read_bytes()[:-9] + b"otherwise")
    found = only(desk.audit(), Code.BATCH_ALTERED)
    assert found.place == f"batches/{first.name}"
    assert desk.summary.batches == 1


async def test_batches_that_are_not_here_are_said_once_and_the_audit_goes_on(desk):
    for _ in range(3):
        await desk.attest()
        last = await desk.recorded()
    for path in (desk.path / "batches").iterdir():
        path.unlink()
    found = only(desk.audit(), Code.BATCH_MISSING)
    assert found.severity is Severity.INCOMPLETE
    assert found.words.startswith("3 recorded batches")
    a_month_on = last.until_ms + ALL_KEPT_MS + 1
    assert only(desk.audit(as_of_ms=a_month_on), Code.BATCH_MISSING).words.startswith("1 recorded")


async def test_after_a_month_one_batch_a_day_is_kept_and_nobody_misses_the_others(desk):
    for _ in range(3):
        await desk.attest()
        last = await desk.recorded()
    desk.batches.thin(last.until_ms + ALL_KEPT_MS + 1)
    (left,) = (desk.path / "batches").iterdir()
    assert last.batch_sha256 in left.name
    findings = desk.audit(as_of_ms=last.until_ms + ALL_KEPT_MS + 1)
    assert wrong(findings) == []
    assert [each.words[:2] for each in findings if each.code is Code.BATCH_THINNED] == ["2 "]


async def test_all_batches_together_have_a_bound_and_the_oldest_go(tmp_path, monkeypatch):
    batches = BatchFiles(tmp_path)
    for day in range(4):
        batches.put(day * DAY_MS + 1, bytes([day]) * 1_000)
    size = next(tmp_path.iterdir()).stat().st_size
    monkeypatch.setattr("enforcer.backends.batch_files.BYTES_MAX", 2 * size)
    batches.thin(5 * DAY_MS)
    assert sorted(int(each.name[:16]) // DAY_MS for each in tmp_path.iterdir()) == [2, 3]


async def test_an_archive_has_the_batches_that_its_entries_name(desk, tmp_path):
    await desk.attest()
    await desk.recorded()
    (desk.path / "batches" / f"{7:016}-{'a' * 64}.zlib").write_bytes(b"named by nobody")
    to, trust = tmp_path / "copy.zip", trust_of(desk.land)
    export_archive(desk.path, to, trust, taken_at_ms=desk.land.now_ms)
    summary, findings, _ = audit_copy(to, trust, now_ms=desk.land.now_ms)
    assert (summary.batches, wrong(findings)) == (1, [])


def test_a_batch_reads_back_and_garbage_is_refused(tmp_path):
    land = Land.founded()
    desk_like = Archive(tmp_path, land)
    envelopes = [seal(desk_like.attestation(t_ms=at), land.node.key) for at in (1, 2)]
    data = format_batch(envelopes)
    assert parse_batch(data) == envelopes
    assert parse_batch(b"") == []
    for bad in (data[:-1], data[1:], data + b"x", data.replace(b"\n", b"\r", 1), b"\0" * 300):
        with pytest.raises(IntegrityError, match="begins no attestation"):
            parse_batch(bad)


def test_a_batch_file_that_unpacks_to_too_much_or_to_other_octets_is_refused(tmp_path, monkeypatch):
    batches = BatchFiles(tmp_path)
    name = batches.put(7, b"a" * 10_000)
    assert batches.read(7, name) == b"a" * 10_000
    with pytest.raises(NotFoundError):
        batches.read(8, name)
    monkeypatch.setattr("enforcer.backends.batch_files.BATCH_BYTES_MAX", 9_999)
    with pytest.raises(IntegrityError):
        batches.read(7, name)


def report(desk, kept=(), batches=None):
    """Return what the report of the desk's whole time says of its nodes."""
    end_ms = desk.land.now_ms + 1
    return make_report(
        desk.files,
        desk.files.size,
        trust_of(desk.land),
        kept,
        verify,
        explicit(None, desk.land.now_ms - 365 * DAY_MS, end_ms, 0),
        batches=batches,
    )


async def test_a_report_reads_the_recorded_batches_where_they_are_and_each_word_once(desk):
    await desk.attest()
    await desk.recorded()
    desk.land.now_ms += 1_000
    await desk.attest(*NODES, gate=GateState.DIFFERS)
    await desk.recorded()
    beside = kept_attestations(desk.path / "attestations")
    both = report(desk, beside, desk.batches)
    assert both == report(desk, beside), "what lies beside the ledger is in the batches too"
    assert both.attestations == 9
    assert report(desk, (), desk.batches) == both
    assert report(desk, (), None).attestations == 0
    (oldest, _) = sorted((desk.path / "batches").iterdir())
    oldest.write_bytes(b"altered")
    assert report(desk, (), desk.batches).attestations == 4
