"""The audit: replay the whole ledger offline and say everything that is not as it must be.

One pass over the entries: each is hashed, parsed and folded by the same code that nodes run, and
each kept attestation is compared with the state at its own size. Nothing is believed but the
trust given. Always true: what could not be checked is a finding too, never silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Final, Protocol, TypeAlias

from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.entry import Entry, parse, parse_payload
from enforcer.core.envelope import Verify
from enforcer.core.fold import Effect, apply
from enforcer.core.hold import AssessmentRecorded
from enforcer.core.judge_parts import PERSONS_TO_BLOCK
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.order import OrderProposed, OrderPublished
from enforcer.core.policy import PolicyAdopted
from enforcer.core.sealed import SealedList, receiving_keys, sealed_lists
from enforcer.core.state import in_force
from enforcer.core.target import ListSummary
from enforcer.core.trust import Trust
from enforcer.errors import Datum, EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.ports import Batches, LedgerFiles
from enforcer.services.audit_assessments import CollateralScan, DocumentContent, judge_assessment
from enforcer.services.audit_attestations import AttestationAudit
from enforcer.services.audit_checkpoints import CheckpointAudit
from enforcer.services.audit_claims import KeptAttestation
from enforcer.services.audit_firewalls import ListPieces
from enforcer.services.audit_guards import GuardAudit, ListGuards
from enforcer.services.findings import Code, Finding
from enforcer.services.side_files import named_in

Progress: TypeAlias = Callable[[str, int, int], None]
"""``progress(stage, done, total)``"""


class AuditedLedger(LedgerFiles, Protocol):
    """A ledger whose files can all be read again."""

    def verify_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Hash every file again and compare.

        Raises:
            IntegrityError: the first that is not what it must be.
        """


class ListReader(Protocol):
    """Target lists beside the ledger."""

    @property
    def recipient(self) -> str | None:
        """The recipient of the auditor's own identity, if there is one: it opens sealed lists."""

    def open(self, sealed: SealedList, key_ids: Sequence[str]) -> ListSummary | None:
        """Open a sealed list in memory and check it; None: nothing that is here opens it.

        `key_ids` are the registered keys that the auditor's identity belongs to.

        Raises:
            NotFoundError: its octets are not here.
            IntegrityError: they were altered (``problem``), or do not open to what is named.
            InputError: it is not canonical.
        """

    def check(self, sha256: str) -> ListSummary:
        """Read the whole list and check its hash, grammar and order.

        Raises:
            NotFoundError: it is not here.
            IntegrityError: what is here has another hash.
            InputError: it is not canonical.
        """


class DocumentReader(DocumentContent, Protocol):
    """Reads documents beside the ledger by their hash."""

    def is_here(self, sha256: str) -> bool:
        """Tell whether the document is here, and as it was; it may have been erased.

        Raises:
            IntegrityError: what is here has another hash.
        """

    def is_erased(self, sha256: str) -> bool:
        """Tell whether a mark says that it was erased by law."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the auditor was given; none of it is trusted."""

    ledger: AuditedLedger
    lists: ListReader
    documents: DocumentReader
    guards: ListGuards
    collateral: CollateralScan
    pieces: ListPieces
    batches: Batches
    attestations: Sequence[KeptAttestation] = ()
    earlier_checkpoints: Sequence[bytes] = ()
    """Signed notes that the auditor, or somebody else, kept from before."""


@dataclass(slots=True)
class Summary:
    """What was checked; grows while the audit runs."""

    origin: str
    size: int = 0
    root: str = ""
    recorded_at_ms: int = 0
    entries: Counter[str] = field(default_factory=Counter)
    """Kind of entry -> how many."""
    orders_approved: int = 0
    orders_in_force: int = 0
    lists: int = 0
    sealed: int = 0
    """Orders whose lists are sealed, and were not looked into."""
    opened: int = 0
    """Of `lists` those that were sealed, and were opened."""
    targets: int = 0
    guarded: int = 0
    """Approvals whose lists guards have read again."""
    unpinned: tuple[str, ...] = ()
    """Data that some policy has not pinned: guards that read it saw nothing in its time."""
    documents: int = 0
    """Reasons, decisions and evidence that are here."""
    documents_erased: int = 0
    """Those that a mark says were erased by law."""
    documents_absent: int = 0
    """Those that are not in this copy, and nothing says why."""
    attestations: int = 0
    nodes: int = 0
    batches: int = 0
    """Recorded batches of attestations that are here, and what was signed."""
    firewalls: int = 0
    """Different contents of firewalls that were computed again and compared."""
    witness_quorum: int = 0
    """0: UNWITNESSED."""
    witnessed_size: int = 0
    """Entries that a quorum of witnesses has seen."""

    @property
    def witnesses(self) -> str:
        """Say in words how it stands with the witnesses."""
        if not self.witness_quorum:
            return "UNWITNESSED"
        return f"{self.witness_quorum} witnesses have seen {self.witnessed_size} of them"


class Audit:
    """One audit; `findings` may be iterated once, `summary` is whole when it has ended."""

    def __init__(
        self,
        evidence: Evidence,
        trust: Trust,
        verify: Verify,
        as_of_ms: int,
        progress: Progress | None = None,
        *,
        must_open: bool = False,
    ) -> None:
        """Audit as of the time `as_of_ms`, when the evidence was taken.

        With `must_open` a sealed list that nobody could look into is a finding, and so it is when
        the auditor has an identity; else it is counted.
        """
        self._must_open = must_open or evidence.lists.recipient is not None
        self._published: dict[int, int] = {}
        """Orders whose lists were published -> the entries that did."""
        self.evidence = evidence
        self.trust = trust
        self.summary = Summary(trust.origin)
        self._verify = verify
        self._as_of_ms = as_of_ms
        self._progress = progress or (lambda _stage, _done, _total: None)
        self._state = trust.genesis(verify)
        self._tree = CompactRange()
        self._lists: dict[str, int] = {}
        """Target lists to be checked -> the first entry that names each."""
        self._documents: dict[str, int] = {}
        """Documents beside the ledger -> the first entry that names each."""
        self._guards = GuardAudit(evidence.guards)
        self._counts: dict[str, set[int]] = {}
        """Target lists of orders -> the counts that orders say they have."""

    def findings(self) -> Iterator[Finding]:
        """Yield every finding, as it is found."""
        ledger = self.evidence.ledger
        self.summary.size, self.summary.root = ledger.size, ledger.root.hex()
        try:
            ledger.verify_all(lambda done, total: self._progress("re-hash files", done, total))
        except IntegrityError as error:
            yield damaged(error)
            return
        attestations = AttestationAudit(
            self.evidence.attestations,
            self.evidence.batches,
            self.evidence.pieces,
            self._as_of_ms,
            witness_quorum=self.trust.witnesses.quorum,
        )
        try:
            yield from self._replay(attestations)
        except IntegrityError as error:
            yield Finding(Code.ENTRY_UNREADABLE, error.message, self._state.size)
            return
        yield from self._check_log_key()
        yield from attestations.finish(self._state)
        yield from self._check_lists()
        yield from self._check_sealed()
        yield from attestations.check_firewalls(partial(self._progress, "compute firewalls"))
        self.summary.firewalls = attestations.firewall_sets
        yield from self._guards.finish(self._state, partial(self._progress, "run guards"))
        self.summary.guarded = self._guards.count
        yield from self._check_documents()
        summary = self.summary
        summary.recorded_at_ms = self._state.recorded_at_ms
        summary.orders_in_force = len(in_force(self._state, self._as_of_ms))
        summary.batches = attestations.batches.count
        summary.attestations, summary.nodes = attestations.count, len(attestations.nodes)

    def _replay(self, attestations: AttestationAudit) -> Iterator[Finding]:
        """Fold every entry in, checking at each size what was said about it."""
        size = self.evidence.ledger.size
        ledger = self.evidence.ledger
        checkpoints = CheckpointAudit(
            self.trust,
            self._verify,
            own=ledger.checkpoint_note,
            cosigned=ledger.cosigned_note,
            earlier=self.evidence.earlier_checkpoints,
        )
        yield from checkpoints.begin()
        attestations.batches.expect(ledger)
        yield from attestations.check(self._state, self._tree.root())
        for leaf in ledger.entries(0, size):
            index = self._state.size
            entry = parse(leaf)
            effect = apply(self._state, entry)
            self._tree.append(leaf_hash(leaf))
            root = self._tree.root()
            self.summary.entries[effect.kind] += 1
            for sha256 in named_in(entry.envelope):
                self._documents.setdefault(sha256, index)
            yield from self._check_effect(effect, entry)
            if index == 0 and self._state.policy is None:
                yield Finding(Code.NO_POLICY, "entry 0 does not adopt a policy", index)
            yield from attestations.record(self._state, effect, entry)
            yield from checkpoints.check(index + 1, root)
            yield from attestations.check(self._state, root)
            self._progress("replay entries", index + 1, size)
        yield from checkpoints.finish(size)
        self.summary.witness_quorum = checkpoints.quorum
        self.summary.witnessed_size = checkpoints.witnessed_size

    def _check_effect(self, effect: Effect, entry: Entry) -> Iterator[Finding]:
        if effect.refusal is not None:
            yield Finding(
                Code.ENTRY_INEFFECTIVE,
                f"{effect.kind} has no effect: {effect.refusal.message}",
                effect.index,
            )
            return
        state = self._state
        if effect.kind == PolicyAdopted.__name__ and state.policy is not None:
            pins = state.policy.payload.pins
            self._guards.record_policy(state, effect.index)
            for sha256 in pins.lists:
                self._lists.setdefault(sha256, effect.index)
            absent = [each.name for each in fields(pins) if getattr(pins, each.name) is None]
            known = self.summary.unpinned
            self.summary.unpinned = tuple(dict.fromkeys([*known, *absent]))
        if effect.order_index is None:
            return
        order = state.orders[effect.order_index]
        if effect.kind == OrderPublished.__name__:
            self._published[order.index] = effect.index
        if effect.kind == OrderProposed.__name__ and not order.payload.publication.is_sealed:
            self._lists.setdefault(order.payload.target_list_sha256, effect.index)
            counts = self._counts.setdefault(order.payload.target_list_sha256, set())
            counts.add(order.payload.target_count)
        self._guards.record(state, order, effect.index, entry)
        if effect.kind == AssessmentRecorded.__name__:
            documents, scan = self.evidence.documents, self.evidence.collateral
            act = parse_payload(entry.envelope)
            if isinstance(act, AssessmentRecorded):
                yield from judge_assessment(state, act, effect.index, documents, scan)
        self.summary.orders_approved += order.approved_index == effect.index
        # Beside the fold, so that a fault in its rules cannot hide here.
        if order.row is not None and len(order.persons - {""}) < PERSONS_TO_BLOCK:
            yield Finding(
                Code.ONE_PERSON,
                f"{order.payload.order_id} blocks by the word of one person",
                effect.index,
            )

    def _check_lists(self) -> Iterator[Finding]:
        for done, (sha256, index) in enumerate(self._lists.items(), 1):
            try:
                found = self.evidence.lists.check(sha256)
            except NotFoundError:
                yield Finding(Code.LIST_MISSING, f"the target list {sha256} is not here", index)
            except IntegrityError as error:
                yield Finding(Code.LIST_ALTERED, error.message, index, _place(error))
            except InputError as error:
                yield Finding(Code.LIST_WRONG, f"the target list {sha256}: {error.message}", index)
            else:
                self.summary.lists += 1
                self.summary.targets += found.target_count
                for said in self._counts.get(sha256, set()) - {found.target_count}:
                    yield Finding(
                        Code.LIST_WRONG,
                        f"the target list {sha256} has {found.target_count} targets, "
                        f"an order says {said}",
                        index,
                    )
            self._progress("check target lists", done, len(self._lists))

    def _check_sealed(self) -> Iterator[Finding]:
        """Look into the sealed lists that can be opened; say of the others how many there are."""
        recipient = self.evidence.lists.recipient
        key_ids = receiving_keys(self._state, recipient) if recipient is not None else []
        seen: dict[tuple[str, str, str], ListSummary | None] = {}
        for of in sealed_lists(self._state):
            key = of.sha256, of.sealed_sha256, of.recipient
            try:
                if seen.get(key) is None:
                    seen[key] = self.evidence.lists.open(of, key_ids)
                found = seen[key]
            except NotFoundError as error:
                if of.secret is not None:
                    yield Finding(Code.LIST_MISSING, error.message, of.order_index)
                    continue
                found = None
            except (IntegrityError, InputError) as error:
                yield self._not_what_it_says(of, error)
                continue
            if found is not None:
                yield from self._opened(of, found)
                continue
            self.summary.sealed += 1
            if self._must_open:
                words = f"the list of {of.order_id} is sealed, and nothing here opens it"
                yield Finding(Code.LIST_SEALED, words, of.order_index)

    def _opened(self, of: SealedList, found: ListSummary) -> Iterator[Finding]:
        self.summary.lists += 1
        self.summary.opened += 1
        self.summary.targets += found.target_count
        if found.target_count != of.target_count:
            yield Finding(
                Code.LIST_WRONG,
                f"the sealed list of {of.order_id} has {found.target_count} targets, "
                f"the order says {of.target_count}",
                of.order_index,
            )

    def _not_what_it_says(self, of: SealedList, error: EnforcerError) -> Finding:
        if error.data.get("problem") == "altered":
            return Finding(Code.LIST_ALTERED, error.message, of.order_index, _place(error))
        published = self._published.get(of.order_index)
        words = f"the sealed list of {of.order_id} is not what it says: {error.message}"
        if published is not None:
            words = f"what was published does not open the list of {of.order_id}: {error.message}"
        return Finding(Code.LIST_WRONG, words, of.order_index if published is None else published)

    def _check_log_key(self) -> Iterator[Finding]:
        """Check that the key that the roots named last signed the checkpoint."""
        state, note = self._state, self.evidence.ledger.checkpoint_note
        if state.log_vkey is None or note is None:
            return
        try:
            open_checkpoint(
                note, self.trust.origin, VerifierKey.parse(state.log_vkey), self._verify
            )
        except IntegrityError:
            yield Finding(
                Code.LOG_KEY,
                "the checkpoint is not signed by the log key that the roots put in force",
                state.log_key_index,
            )

    def _check_documents(self) -> Iterator[Finding]:
        for sha256, index in self._documents.items():
            try:
                is_here = self.evidence.documents.is_here(sha256)
                is_erased = not is_here and self.evidence.documents.is_erased(sha256)
            except IntegrityError as error:
                yield Finding(Code.DOCUMENT_ALTERED, error.message, index, _place(error))
                continue
            self.summary.documents += is_here
            self.summary.documents_erased += is_erased
            self.summary.documents_absent += not (is_here or is_erased)


_DAMAGE: Final[dict[Datum, Code]] = {
    "rolled back": Code.ROLLED_BACK,
    "split view": Code.FORKED,
}


def damaged(error: EnforcerError) -> Finding:
    """Return the finding of a file of the ledger that is not what it must be."""
    problem = error.data.get("problem")
    code = _DAMAGE.get(problem, Code.LEDGER_DAMAGED)
    index = error.data.get("index")
    notes = (error.data.get("theirs"), error.data.get("ours"))
    return Finding(
        code,
        error.message,
        index if isinstance(index, int) else None,
        _place(error),
        tuple(note for note in notes if isinstance(note, str)),
    )


def _place(error: EnforcerError) -> str | None:
    path = error.data.get("path")
    return path if isinstance(path, str) else None
