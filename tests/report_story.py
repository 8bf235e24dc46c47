"""A half-year in a small country, for reports: every kind of act, and what nodes said of it."""

from dataclasses import dataclass, field, replace
from functools import cache, partial

from enforcer.backends.keys import verify
from enforcer.core.attestation import Attestation, GateState, NotEnforced, Omission, enforced_rows
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.guard import Guard
from enforcer.core.key import Category, Role
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.order import LegalBasis
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.core.remedy import AppealOutcome, Recipient
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER, table_digest
from enforcer.core.trust import Trust
from enforcer.services.audit_claims import KeptAttestation
from enforcer.services.report import make_report
from enforcer.services.report_period import Period
from tests.ledgers import VKEY, Archive
from tests.people import ORIGIN, T0_MS, Land, Person, request_id, seal

HOUR_MS = 3_600_000
TELECOM_LAW = LegalBasis("Law on Telecommunications", "Art. 6", None)
CYBER_LAW = LegalBasis("Law on Cyber Information Security", "Art. 16", None)


class Entries:
    """A ledger in memory, as far as a report reads it."""

    def __init__(self, leaves):
        self.leaves = leaves

    def entries(self, start, end):
        return iter(self.leaves[start:end])

    def root_at(self, size):
        return CompactRange.over(map(leaf_hash, self.leaves[:size])).root()


@dataclass
class Story:
    """A land, and what its nodes attested, as ``(node id, time, size, envelope)``."""

    land: Land = field(default_factory=Land.founded)
    attested: list = field(default_factory=list)

    @property
    def trust(self):
        return Trust(ORIGIN, VKEY.text, self.roots)

    def __post_init__(self):
        self.roots = self.land.state.roots

    def pause(self, ms):
        self.land.now_ms += ms

    def attest(self, node=None, after_ms=2_000, omissions=(), **changes):
        """Have a node attest what it enforces, `after_ms` after the last entry."""
        land = self.land
        land.now_ms += after_ms
        node, state = node or land.node, land.state
        rows = enforced_rows(in_force(state, land.now_ms), omissions)
        said = Attestation(
            ledger_origin=ORIGIN,
            request_id=request_id(),
            valid_until_ms=land.now_ms + DAY_MS,
            node_id=node.person_id,
            t_ms=land.now_ms,
            ledger_size=state.size,
            root_sha256=Entries(land.leaves).root_at(state.size).hex(),
            table_digest=table_digest(ORIGIN, state.policy.ref, rows, NO_LOCAL_LAYER),
            local_digest=NO_LOCAL_LAYER.digest,
            gate=GateState.HOLDS_TABLE,
            firewall=FirewallState.NONE,
            pieces_digest=None,
            repairs=0,
            curtailed=(),
            omission_count=len(omissions),
            omissions=tuple(omissions),
            ineffective=tuple(e.index for e in land.effects if not e.is_effective)[:100],
        )
        said = replace(said, **changes)
        envelope = format_envelope(seal(said, node.key))
        self.attested.append((said.node_id, said.t_ms, said.ledger_size, envelope))

    @property
    def kept(self):
        return [
            KeptAttestation(
                f"attestations/{node}/{t_ms:016}-{size}.json", size, partial(bytes, said)
            )
            for node, t_ms, size, said in self.attested
        ]

    def report(self, from_ms=T0_MS - DAY_MS, to_ms=None, size=None, utc_offset_minutes=0):
        """Return the report of a period; of all by default, its end left out."""
        to_ms = to_ms if to_ms is not None else self.land.now_ms + 1
        leaves = self.land.leaves
        period = Period(None, from_ms, to_ms, utc_offset_minutes)
        size = len(leaves) if size is None else size
        return make_report(Entries(leaves), size, self.trust, self.kept, verify, period)

    def write(self, path):
        """Write the ledger and the attestations to a directory, as the control plane does."""
        Archive(path, self.land).write(lists=())
        for node, t_ms, size, said in self.attested:
            folder = path / "attestations" / node
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{t_ms:016}-{size}.json").write_bytes(said)

    def write_trust(self, path):
        return Archive(path, self.land).write_trust(path)


def value(report, figure, *members, statistic=None):
    """Return a row's value, by its members; 0 where there is no such row."""
    wanted = (*members, *((statistic,) if statistic else ()))
    found = [
        row.value
        for row in report.figures[figure]
        if tuple(member for _, member in row.place) == wanted
    ]
    assert len(found) <= 1, found
    return found[0] if found else 0


@cache
def half_a_year():
    """Return a story in which everything happens at least once; do not add to it."""
    story = Story()
    land = story.land
    land.other_node = Person("node-2", Role.NODE, operator="isp-2")
    land.register(land.officer, land.other_officer, land.control, land.other_node)
    story.attest()
    story.attest(land.other_node)
    for chapter in (_phishing, _scam, _malware, _botnet, _emergencies, _wrong, _end):
        chapter(story, land)
    return story


def _phishing(story, land):
    """Phishing: approved after an hour, at both nodes soon, stopped by oversight ten days later."""
    phishing = land.propose()
    story.pause(HOUR_MS)
    assert land.approve(phishing).is_effective
    story.attest(after_ms=500)
    story.attest(land.other_node, after_ms=1_000)
    land.notify(phishing)
    land.notify(phishing, recipient=Recipient.REGISTRAR)
    story.pause(10 * DAY_MS)
    story.attest()
    land.stop(phishing)
    story.attest(after_ms=700)


def _scam(story, land):
    """Scam: under two laws; suspended at isp-1 for five days; expires."""
    scam = land.in_force_order(
        b"exact a.example.org\nexact b.example.org\n",
        category=Category.SCAM,
        legal_basis=(CYBER_LAW, TELECOM_LAW),
        decision_kind=DecisionKind.COURT_FINAL,
    )
    land.suspend(scam)
    suspended = [Omission(scam.entry_index, NotEnforced.SUSPENDED, None, land.now_ms)]
    story.attest(omissions=suspended)
    story.attest(land.other_node)
    story.pause(5 * DAY_MS)
    land.resume(scam)
    land.suspend(scam, land.other_officer)


def _malware(story, land):
    """Malware: held by a guard, lifted a day later by a third person, extended, kept on appeal."""
    malware = land.propose(category=Category.MALWARE)
    assert land.hold(malware, Guard.PRIVATE_SUFFIX).is_effective
    story.pause(DAY_MS)
    assert land.lift(malware, Guard.PRIVATE_SUFFIX).is_effective
    assert land.approve(malware).is_effective
    assert land.record(
        seal(
            land.extension(malware, land.now_ms + 60 * DAY_MS), land.proposer.key, land.approver.key
        )
    ).is_effective
    filed = land.appeal(malware)
    story.pause(2 * DAY_MS)
    assert land.decide(malware, filed.index, AppealOutcome.DISMISSED).is_effective
    assert land.review(malware, land.now_ms + 50 * DAY_MS).is_effective


def _botnet(story, land):
    """A botnet: in a shared range, assessed, lifted; an appeal is granted."""
    botnet = land.propose(b"ip 192.0.2.1\n", category=Category.BOTNET_CONTROL)
    land.hold(botnet, Guard.SHARED_RANGE, Guard.GROWTH)
    assessed = land.assess(botnet)
    assert land.lift(botnet, Guard.SHARED_RANGE, assessment=assessed.index).is_effective
    assert land.lift(botnet, Guard.GROWTH).is_effective
    assert land.approve(botnet).is_effective
    story.attest(land.other_node)
    filed = land.appeal(botnet)
    story.pause(DAY_MS)
    assert land.decide(botnet, filed.index, AppealOutcome.GRANTED).is_effective
    story.attest(land.other_node, after_ms=300)


def _emergencies(story, land):
    """Two emergencies: one confirmed, one that runs out."""
    for is_confirmed in (True, False):
        end = {"expires_at_ms": land.now_ms + 2 * DAY_MS, "review_due_at_ms": land.now_ms + DAY_MS}
        end["review_due_at_ms"] = end["expires_at_ms"]
        emergency = land.in_force_order(decision_kind=DecisionKind.EMERGENCY, **end)
        if is_confirmed:
            assert land.confirm(emergency).is_effective
        story.pause(3 * DAY_MS)


def _wrong(story, land):
    """One is rejected on hold, one lapses for want of a review, one breaks the rules."""
    refused = land.propose()
    land.hold(refused, Guard.PERSON, by=land.oversight, report=None)
    assert land.reject(refused).is_effective
    land.in_force_order(review_due_at_ms=land.now_ms + 5 * DAY_MS)
    alone = land.propose()
    assert not land.approve(alone, by=land.proposer).is_effective
    story.pause(40 * DAY_MS)
    land.register(Person("late.comer", Role.AUDITOR))


def _end(story, land):
    """At the end: one appealed whose approver's key was stolen, one held, one that waits."""
    court = land.propose(category=Category.COURT_DECISION, decision_kind=DecisionKind.COURT_INTERIM)
    approved = land.approve(court, land.second_approver)
    land.appeal(court)
    held = land.propose()
    land.hold(held, Guard.PROTECTED_NAME)
    land.propose()
    land.record(seal(land.revocation(land.second_approver, since=approved.index), *land.roots[:2]))
    story.pause(HOUR_MS)
    land.register(Person("latest.comer", Role.AUDITOR))
