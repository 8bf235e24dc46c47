"""Control plane, node and auditor agree on every state, whatever acts come in, lawful or not.

Random acts of random people go to the control plane's own services. Some that it refuses it
records all the same, as a dishonest one would. A replica follows by the real feed, the auditor
reads the files: at every size all three must hold the same orders at the same places, the same
rows now and later, the same digest, and the same entries for void. AGREEMENT_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.app.audit import audit_directory
from enforcer.backends import sealing
from enforcer.backends.keys import verify
from enforcer.backends.memory_feed import MemoryFeedSource
from enforcer.core.attestation import (
    Attestation,
    GateState,
    NotEnforced,
    Omission,
    enforced_rows,
)
from enforcer.core.entry import Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.fold import apply
from enforcer.core.hold import OrderHeld
from enforcer.core.key import Role
from enforcer.core.order import OrderApproved, OrderExtended, OrderProposed, OrderRejected
from enforcer.core.order import OrderStopped as Stopped
from enforcer.core.policy import DAY_MS
from enforcer.core.standing import standing
from enforcer.core.state import State, in_force
from enforcer.core.table import NO_LOCAL_LAYER
from enforcer.errors import EnforcerError
from enforcer.services.findings import Code, Severity
from enforcer.services.replay import at_time
from enforcer.services.replica import Replica
from tests.control import LOG_KEY, REASONS, Desk, chunks_of, trust_of
from tests.core.test_two_persons import ACTS, NAMES, step
from tests.ledgers import digest_of
from tests.node_world import Log, open_copy
from tests.people import (
    ALL_CATEGORIES,
    LIST_SECRET,
    ORIGIN,
    OTHER_SECRET,
    SEALED,
    Land,
    Person,
    request_id,
    seal,
)

DOCUMENT_TEXT = b"a salted document"
LISTS = [b"exact bad.example.org\n", b"subtree worse.example.org\n"]
SEED = int(os.environ.get("AGREEMENT_SEED", "7"))
ACTS_MAX = 90
RUNS_LONG = 40
RIGHT = {
    "propose": ("proposer",),
    "supersede": ("proposer",),
    "approve": ("approver",),
    "confirm": ("proposer", "approver"),
    "extend": ("proposer", "approver"),
    "hold": ("oversight",),
    "assess": ("proposer",),
    "lift": ("second_approver",),
    "reject": ("approver",),
    "publish": ("proposer",),
    "review": ("approver",),
    "appeal": ("control",),
    "decide": ("oversight",),
    "notify": ("proposer",),
    "suspend": ("officer",),
    "resume": ("officer",),
    "stop": ("oversight",),
}
"""Who may do what, so that enough of it is lawful."""


class Pen(Land):
    """A land whose people sign, and record nothing themselves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.signed: list[Envelope] = []
        self.targets = LISTS[0]

    def record(self, envelope, *, after_ms=1_000):
        self.now_ms += after_ms
        self.signed.append(envelope)

    def order(self, targets=None, **changes):
        reasons = {"statement_of_reasons_sha256": sha256(REASONS).hexdigest()}
        return super().order(targets or self.targets, **(reasons | changes))


def picture(state: State) -> dict[str, object]:
    """Return all that the three must agree on: what is, and what becomes of it by time alone."""
    now_ms, kept = state.recorded_at_ms, state.copy()
    return {each.name: getattr(kept, each.name) for each in fields(kept)} | {
        "times": [
            (
                [standing(order, t_ms) for order in state.orders.values()],
                at_time(state, t_ms).rows,
                at_time(state, t_ms).table_digest,
            )
            for t_ms in (now_ms, now_ms + DAY_MS, now_ms + 5 * DAY_MS, now_ms + 40 * DAY_MS)
        ],
    }


@contextmanager
def dishonest(desk: Desk) -> Iterator[None]:
    """Have the ledger's writer judge nothing meanwhile."""
    desk.ledger._take = lambda act, t_ms, _: (encode(Entry(t_ms, act.envelope)),)
    try:
        yield
    finally:
        del desk.ledger._take


async def hand_in(desk: Desk, envelope: Envelope) -> None:
    """Give a signed act to the method that takes it."""
    payload = parse_payload(envelope)
    match payload:
        case OrderProposed():
            await desk.orders.propose(envelope, (), validate_only=False)
        case OrderApproved():
            await desk.orders.approve(envelope, validate_only=False)
        case OrderExtended():
            await desk.orders.extend(envelope, (), validate_only=False)
        case OrderRejected():
            await desk.orders.reject(envelope, (), validate_only=False)
        case Stopped():
            await desk.stopping.stop(envelope)
        case OrderHeld() if payload.report_sha256 is not None:
            await desk.ledger.record(envelope)  # a guard's: no method takes it from outside
        case _:
            await desk.orders.record_act(envelope, (), validate_only=False)


class Three:
    """The control plane, a replica that its feed leads, and what each of them held when."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.desk = Desk(directory / "ledger", Pen())
        self.land = self.desk.land
        self.source = MemoryFeedSource(self.desk.feed, poll_interval_ms=1)
        self.control: dict[int, dict[str, object]] = {}
        self.said: list[Attestation] = []
        self.void: list[int] = []
        self.counts: Counter[str] = Counter()

    async def found(self) -> None:
        """Register everybody, and bring lists and documents."""
        desk, land = self.desk, self.land
        desk.ledger.on_append(lambda _: self._note_control())
        await desk.found()
        second_key = Person(land.proposer.person_id, Role.APPROVER, "cert-vn", ALL_CATEGORIES)
        for person in (land.officer, land.other_officer, land.control, second_key):
            act = seal(person.registration(land.now_ms), *land.roots[:2])
            await desk.orders.record_root_act(act, (), validate_only=False)
        for text in LISTS:
            await desk.bring(text)
        for secret, octets in zip((OTHER_SECRET, LIST_SECRET), SEALED.values(), strict=True):
            wrap = sealing.wrap(secret, land.control.encryption_key)
            name = sha256(octets).hexdigest()
            await desk.uploads.receive_sealed(name, len(octets), chunks_of(octets), wrap)
        for text in (REASONS, DOCUMENT_TEXT):
            desk.side.put(text)

    def _note_control(self) -> None:
        self.control[self.desk.ledger.state.size] = picture(self.desk.ledger.state)

    async def act(self, chance: random.Random) -> None:
        """Have people do one thing, and hand in what they signed."""
        land = self.land
        land.now_ms += chance.choice((0, 0, 0, 0, 3_600_000, DAY_MS // 2))
        land.targets = chance.choice(LISTS)
        act = chance.choice((*ACTS, *["propose", "approve"] * 4))
        names = RIGHT[act] if chance.random() < 0.5 else chance.choices(NAMES, k=2)
        people = [getattr(land, names[0]), getattr(land, names[-1])]
        newest = max(len(land.state.orders) - 1, 0)
        pick = newest if chance.random() < 0.6 else chance.randrange(7)
        step(land, act, people, pick, chance.randrange(10))
        for envelope in land.signed:
            try:
                await hand_in(self.desk, envelope)
            except EnforcerError as error:
                self.counts[type(error).__name__] += 1
                if chance.random() < 0.4:
                    await self._record_all_the_same(envelope)
            else:
                self.counts["recorded"] += 1
                self.counts[type(parse_payload(envelope)).__name__] += 1
        land.signed.clear()

    async def _record_all_the_same(self, envelope: Envelope) -> None:
        state = self.desk.ledger.state
        would = apply(state.copy(), Entry(self.desk.ledger.now_ms(), envelope))
        if would.is_effective or envelope.payload_sha256 in state.index_of_payload:
            return
        index = state.size
        with dishonest(self.desk), pytest.raises(EnforcerError, match=r".") as caught:
            await self.desk.ledger.record(envelope)
        assert caught.value.message == would.refusal.message
        assert self.desk.files.size == index + 1
        self.void.append(index)

    async def follow(self, replica: Replica) -> None:
        """Let the replica take what the feed has, and compare and attest at each size."""
        while replica.size < self.desk.files.size:
            update = await self.source.next(replica.next_index, 10_000)
            assert update is not None, "the feed brought nothing"
            taken = replica.append(replica.prove(update))
            replica.accept(taken)
            if taken.is_whole and replica.size in self.control:
                self._compare(replica)

    def _compare(self, replica: Replica) -> None:
        state = replica.state
        assert picture(state) == self.control[state.size]
        then = at_time(state, state.recorded_at_ms)
        operator = self.land.node.operator
        omissions = tuple(
            Omission(row.index, NotEnforced.SUSPENDED, None, row.from_ms)
            for row in in_force(state, then.t_ms)
            if operator in state.orders[row.index].suspended_by(then.t_ms)
        )
        digest = then.table_digest
        if omissions:
            digest = digest_of(state, enforced_rows(in_force(state, then.t_ms), omissions))
        self.said.append(
            Attestation(
                ledger_origin=ORIGIN,
                request_id=request_id(),
                valid_until_ms=then.t_ms + DAY_MS,
                node_id=self.land.node.person_id,
                t_ms=then.t_ms,
                ledger_size=state.size,
                root_sha256=replica.root.hex(),
                table_digest=digest,
                local_digest=NO_LOCAL_LAYER.digest,
                gate=GateState.HOLDS_TABLE,
                firewall=FirewallState.NONE,
                pieces_digest=None,
                repairs=0,
                curtailed=(),
                omission_count=len(omissions),
                omissions=omissions,
                ineffective=replica.ineffective,
            )
        )

    def check_auditor(self) -> None:
        """Audit the directory with all attestations; fold its entries again at every size."""
        folder = self.desk.path / "attestations" / "node-1"
        folder.mkdir(parents=True)
        for said in self.said:
            if said.ledger_size > 6:  # the node's own key is entry 6
                envelope = format_envelope(seal(said, self.land.node.key))
                (folder / f"{said.t_ms}-{said.ledger_size}.json").write_bytes(envelope)
        trust = trust_of(self.land)
        _, findings = audit_directory(self.desk.path, trust, as_of_ms=self.land.now_ms)
        wrong = [each for each in findings if each.severity is not Severity.NOTE]
        # The guards that the control plane holds for here are drawn by chance: so it is told.
        wrong = [each for each in wrong if each.code is not Code.HELD_FOR_NOTHING]
        assert {each.code for each in wrong} <= {Code.ENTRY_INEFFECTIVE}, wrong
        assert [each.index for each in wrong] == self.void
        state = trust.genesis(verify)
        for leaf in self.desk.files.entries(0, self.desk.files.size):
            apply(state, parse(leaf))
            if state.size in self.control:
                assert picture(state) == self.control[state.size]


async def run(directory: Path, seed: int, acts: int) -> Counter[str]:
    """Let so many random acts come in, and compare the three at every size."""
    print(f"AGREEMENT_SEED={seed}")
    chance = random.Random(seed)
    three = Three(directory)
    log = Log(ORIGIN, LOG_KEY)
    async with three.desk:
        await three.found()
        trust = trust_of(three.land)
        with open_copy(directory / "copy", log) as copy:
            replica = Replica(trust, verify, copy)
            replica.restore()
            for _ in range(acts):
                await three.act(chance)
                await three.follow(replica)
            assert replica.ineffective == tuple(three.void)[:100]
            again = Replica(trust, verify, copy)
            again.restore()  # as after a restart, from its own disk alone
            assert picture(again.state) == picture(three.desk.ledger.state)
        three.check_auditor()
    return three.counts + Counter(void=len(three.void), sizes=len(three.control))


async def test_all_three_agree_at_every_size(tmp_path):
    counts = await run(tmp_path, SEED, ACTS_MAX)
    # Otherwise the test would say little.
    assert min(counts["recorded"], counts["RefusedError"], counts["void"]) >= 10, counts
    assert min(counts["OrderApproved"], counts["OrderStopped"]) >= 2, counts


@pytest.mark.long
@pytest.mark.parametrize("number", range(1, RUNS_LONG))
async def test_all_three_agree_in_many_runs(tmp_path, number):
    await run(tmp_path, SEED + number, ACTS_MAX)
