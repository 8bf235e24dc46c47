"""Facts of assessments at the control plane, and again at the audit."""

import json
from hashlib import sha256

import pytest

from enforcer.backends.guard_store import GuardStore
from enforcer.backends.ledger_lists import LedgerLists
from enforcer.core import fields
from enforcer.core.collateral import CollateralFound, Necessity, collateral_job, facts_document
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded, HoldLifted
from enforcer.core.order import Measure, PublicationMode
from enforcer.core.policy import Pins
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import InputError, RefusedError
from tests.control import REASONS, Desk, with_reasons
from tests.ledgers import Archive, opened
from tests.people import Land, seal

NECESSITY = fields.dump(Necessity(("The host was asked.",), "No name leads there.", "An, clerk"))
SHARED = b"shared 203.0.113.0/24 cdn\n"
PROTECTED = b"net 198.51.100.0/24\n"
LIST = b"ip 203.0.113.7\n"
REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)


class World(Archive):
    """A ledger whose policy knows a shared range and a protected network."""

    def __init__(self, path):
        names = [sha256(text).hexdigest() for text in (PROTECTED, SHARED)]
        super().__init__(path, Land.founded(pins=Pins(None, names[0], None, names[1])))
        self.lists = [PROTECTED, SHARED, LIST]
        self.files = []

    def assess(self, ref, facts, necessity=NECESSITY):
        files = [b"f" * 32 + facts, b"n" * 32 + necessity]
        self.files += files
        names = [sha256(each).hexdigest() for each in files]
        act = self.land.act(
            AssessmentRecorded, ref, facts_sha256=names[0], necessity_sha256=names[1]
        )
        assert self.land.record(seal(act, self.land.proposer.key)).is_effective

    def facts(self, ref):
        """Return the facts as they will be when the next act is recorded."""
        self.write(lists=self.lists)
        state = self.land.state
        order = state.orders[ref.entry_index]
        with opened(self.path) as ledger:
            found = GuardStore(LedgerLists(ledger.lists)).compare(collateral_job(state, order))
        return facts_document(state, order, found, self.land.now_ms + 1_000)

    def judged(self):
        self.write(lists=self.lists)
        with opened(self.path, writer=True) as ledger:
            for data in self.files:
                ledger.side.put(data)
        return [each for each in self.audit() if each.code.name == "ASSESSMENT_WRONG"]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "ledger")


def test_the_audit_finds_the_facts_that_the_control_plane_had(world):
    past = world.land.in_force_order(b"net 203.0.113.0/28\n", measure=REJECT)
    world.lists.append(b"net 203.0.113.0/28\n")
    world.land.stop(past)
    ref = world.land.propose(LIST, measure=REJECT)
    facts = world.facts(ref)
    told = json.loads(facts)
    assert told["ranges"]["entries"][0]["line"] == "shared 203.0.113.0/24 cdn"
    assert [(each["order_id"], each["standing"]) for each in told["orders"]] == [
        (past.order_id, "STOPPED")
    ]
    assert told["lines"][0]["orders"] == [past.entry_index]
    world.assess(ref, facts)
    assert world.judged() == []
    assert world.summary.documents == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"256"', b'"1"'), (b"cdn", b"own"), (b'"lines_known": 1', b'"lines_known": 0')],
)
def test_the_audit_names_facts_that_were_altered(world, old, new):
    ref = world.land.propose(LIST, measure=REJECT)
    facts = world.facts(ref)
    assert old in facts
    world.assess(ref, facts.replace(old, new))
    [finding] = world.judged()
    assert finding.index == world.land.state.size - 1
    assert "other facts" in finding.words


def test_the_audit_names_facts_of_another_time(world):
    ref = world.land.propose(LIST, measure=REJECT)
    facts = world.facts(ref)
    world.land.in_force_order(b"net 203.0.113.0/28\n", measure=REJECT)
    world.lists.append(b"net 203.0.113.0/28\n")
    world.assess(ref, facts)
    assert len(world.judged()) == 1


def test_the_audit_names_a_statement_that_says_nothing(world):
    ref = world.land.propose(LIST, measure=REJECT)
    world.assess(ref, world.facts(ref), b'{"considered":[],"why_no_dns_order":"","attested_by":""}')
    [finding] = world.judged()
    assert "necessity" in finding.words


def test_documents_that_are_not_here_say_nothing(world):
    ref = world.land.propose(LIST, measure=REJECT)
    world.assess(ref, world.facts(ref).replace(b"cdn", b"own"))
    world.files.clear()
    assert world.judged() == []


# At the control plane.


@pytest.fixture
async def desk(tmp_path):
    """A desk whose policy pins a shared range, and whose own key is registered."""
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        land = desk.land
        await desk.ledger.record(seal(land.control.registration(land.now_ms), *land.roots[:2]))
        pins = Pins(desk.lists.put(b""), desk.lists.put(PROTECTED), None, desk.lists.put(SHARED))
        await desk.ledger.record(seal(land.policy(pins=pins), *land.roots[:2]))
        yield desk


async def offer(desk, text):
    await desk.bring(text)
    envelope = seal(with_reasons(desk.land, text, measure=REJECT), desk.land.proposer.key)
    return (await desk.orders.propose(envelope, [REASONS], validate_only=False)).recorded.index


async def proposed(desk, text=LIST):
    return desk.land.ref(await offer(desk, text))


async def facts_of(desk, ref):
    return await desk.orders.facts_of(desk.ledger.state.orders[ref.entry_index])


async def assess(desk, ref, facts, necessity=NECESSITY):
    land = desk.land
    files = [b"f" * 32 + facts, b"n" * 32 + necessity]
    names = [sha256(each).hexdigest() for each in files]
    act = land.act(AssessmentRecorded, ref, facts_sha256=names[0], necessity_sha256=names[1])
    return await desk.orders.record_act(seal(act, land.proposer.key), files, validate_only=False)


async def test_an_assessment_by_the_computed_facts_is_recorded(desk):
    ref = await proposed(desk)
    facts = await facts_of(desk, ref)
    done = await assess(desk, ref, facts)
    assert desk.ledger.state.orders[ref.entry_index].assessments == (done.index,)


async def test_a_draft_that_other_orders_have_overtaken_is_refused(desk):
    ref = await proposed(desk)
    facts = await facts_of(desk, ref)
    land = desk.land
    other = land.ref(await offer(desk, b"ip 192.0.2.1\nip 203.0.113.7\n"))
    now = await facts_of(desk, ref)
    assert now == facts  # what was only proposed is no order that blocks
    await assess(
        desk, other, await desk.orders.facts_of(desk.ledger.state.orders[other.entry_index])
    )
    lift = land.act(
        HoldLifted, other, guards=(Guard.SHARED_RANGE,), overrides=(),
        assessment_index=desk.ledger.state.size - 1, reason_sha256=None,
    )  # fmt: skip
    await desk.orders.record_act(seal(lift, land.second_approver.key), [], validate_only=False)
    await desk.orders.approve(seal(land.approval(other), land.approver.key), validate_only=False)
    with pytest.raises(RefusedError, match="facts of the assessment differ"):
        await assess(desk, ref, facts)


async def test_other_facts_are_refused_with_the_line(desk):
    ref = await proposed(desk)
    facts = await facts_of(desk, ref)
    size = desk.ledger.state.size
    with pytest.raises(RefusedError, match=r"in line \d+") as caught:
        await assess(desk, ref, facts.replace(b"cdn", b"own"))
    assert caught.value.data["field"] == "facts_sha256"
    with pytest.raises(InputError, match="considered"):
        await assess(
            desk, ref, facts, b'{"considered":[],"why_no_dns_order":"x","attested_by":"y"}'
        )
    with pytest.raises(InputError):
        await assess(desk, ref, facts, b"Because.")
    assert desk.ledger.state.size == size


def test_facts_of_a_sealed_list_describe_no_target():
    land = Land.founded()
    order = land.state.orders[land.propose_hidden(PublicationMode.DELAYED).entry_index]
    found = CollateralFound("256", "65536", (("ipv4/24", 1),), (), (), (), (), 1)
    told = json.loads(facts_document(land.state, order, found, land.now_ms))
    assert set(told) == {
        "format",
        "order",
        "target_list_sha256",
        "targets",
        "pins",
        "orders_compared",
    }
