"""What nodes attested, against what the ledger says at that size and time.

Each attestation is met at its own ledger size, in the pass that folds the ledger, so memory does
not grow with history. Its key may be registered later than that: then its signature is
checked once the key is there. Refuses nothing: everything wrong is a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush

from enforcer.core.attestation import (
    NOTHING_ENFORCED,
    OMISSIONS_MAX,
    GateState,
)
from enforcer.core.entry import Entry
from enforcer.core.envelope import Envelope
from enforcer.core.fold import Effect
from enforcer.core.key import KeyRevoked
from enforcer.core.state import State
from enforcer.ports import Batches
from enforcer.services.audit_batches import BatchAudit
from enforcer.services.audit_claims import Claim, KeptAttestation, forged, read_claim
from enforcer.services.audit_firewalls import FirewallAudit, ListPieces
from enforcer.services.audit_omissions import OmissionAudit
from enforcer.services.audit_times import TimeAudit
from enforcer.services.digests import Digests
from enforcer.services.findings import Code, Finding, utc


class AttestationAudit:
    """Checks kept attestations while the ledger is folded."""

    def __init__(
        self,
        kept: Sequence[KeptAttestation],
        batches: Batches,
        lists: ListPieces,
        as_of_ms: int,
        *,
        witness_quorum: int,
    ) -> None:
        self.count = 0
        self.nodes: set[str] = set()
        self.batches = BatchAudit(batches, digests := Digests(), as_of_ms)
        self._digests = digests
        self._waiting: list[tuple[int, str, KeptAttestation | Claim]] = [
            (each.ledger_size, each.place, each) for each in kept
        ]
        heapify(self._waiting)
        self._unsigned: list[Claim] = []
        """Those whose key is not registered yet at their size."""
        self._ineffective: list[int] = []
        self._revoked_ms: dict[int, int] = {}
        """Entry index of each revocation -> its time."""
        self._newest: dict[str, Claim] = {}
        """Key id -> its newest attestation."""
        self._gateless: set[str] = set()
        """Key ids of nodes that said so."""
        self._times = TimeAudit(as_of_ms)
        self._omissions = OmissionAudit(witness_quorum=witness_quorum)
        self._firewalls = FirewallAudit(lists)

    def record(self, state: State, effect: Effect, entry: Entry) -> Iterator[Finding]:
        """Remember what later checks need of an entry that was just folded, and check its time."""
        yield from self._times.record(effect)
        self._omissions.record(state, effect, entry)
        if not effect.is_effective:
            self._ineffective.append(effect.index)
        elif effect.kind == KeyRevoked.__name__:
            self._revoked_ms[effect.index] = effect.recorded_at_ms

    def check(self, state: State, root: bytes) -> Iterator[Finding]:
        """Check every attestation that is for exactly this size and this root."""
        for said in self.batches.open(state.size):
            if isinstance(said, Finding):
                yield said
            else:
                heappush(self._waiting, (said.attestation.ledger_size, said.place, said))
        seen: set[Envelope] = set()
        while self._waiting and self._waiting[0][0] <= state.size:
            claim = _claim(heappop(self._waiting)[2])
            if isinstance(claim, Finding):
                yield claim
                continue
            if claim.envelope in seen:
                continue  # kept as a file, and recorded in a batch
            seen.add(claim.envelope)
            self.count += 1
            self.nodes.add(claim.attestation.node_id)
            if claim.key_id in state.keys:
                forgeries = list(self._check_signature(state, claim))
                yield from forgeries
                if not forgeries and claim.attestation.root_sha256 == root.hex():
                    self._times.believe(claim)
            else:
                self._unsigned.append(claim)
            yield from self._times.check(state, claim)
            yield from self._check_content(state, root, claim)
        yield from self.batches.judge(state)

    def finish(self, state: State) -> Iterator[Finding]:
        """Check what only the end of the ledger can tell."""
        yield from self._times.finish(state)
        for unsigned in self._unsigned:
            yield from self._check_signature(state, unsigned)
        for size, place, kept in sorted(self._waiting):
            claim = _claim(kept)
            if isinstance(claim, Finding):
                yield claim
                continue
            forgeries = list(self._check_signature(state, claim))
            yield from forgeries
            if not forgeries:
                yield Finding(
                    Code.ROLLED_BACK,
                    f"{claim.attestation.node_id} has read {size} entries, "
                    f"this ledger has {state.size}",
                    place=place,
                )
        yield from self.batches.finish()
        yield from self._check_revocations(state)
        yield from self._omissions.finish(state, self._times.as_of_ms)
        if self.count == 0:
            yield Finding(Code.NOT_ATTESTED, "no node's attestation is here")

    def check_firewalls(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Compare what firewalls held with the lists; sealed ones are to be open by now."""
        yield from self._firewalls.finish(progress)

    @property
    def firewall_sets(self) -> int:
        """How many sets of addresses were computed again."""
        return self._firewalls.sets

    def _check_signature(self, state: State, claim: Claim) -> Iterator[Finding]:
        """Check that the one signature is by the node's registered key."""
        attestation = claim.attestation
        problem = forged(state, claim)
        if problem is not None:
            yield Finding(
                Code.ATTESTATION_FORGED,
                f"an attestation in the name of {attestation.node_id}: {problem}",
                place=claim.place,
            )
            return
        newest = self._newest.get(claim.key_id)
        if newest is None or newest.attestation.t_ms < attestation.t_ms:
            self._newest[claim.key_id] = claim

    def _check_content(self, state: State, root: bytes, claim: Claim) -> Iterator[Finding]:
        """Compare what the node says with this ledger at that size and time."""
        attestation, place = claim.attestation, claim.place
        who = f"{attestation.node_id} at size {state.size}"
        index = state.size - 1 if state.size else None
        if attestation.root_sha256 != root.hex():
            yield Finding(
                Code.ATTESTED_OTHER_HISTORY,
                f"{who} read a ledger with root {attestation.root_sha256}, this one had "
                f"{root.hex()}",
                index,
                place,
            )
            return
        yield from self._check_table(state, who, claim)
        if list(attestation.ineffective) != self._ineffective[:OMISSIONS_MAX]:
            yield Finding(
                Code.ATTESTED_OTHER_EFFECTS,
                f"{who} lists the entries {list(attestation.ineffective)} as without effect, "
                f"the fold says {self._ineffective[:OMISSIONS_MAX]}",
                index,
                place,
            )
        if attestation.gate is GateState.NONE:
            if claim.key_id not in self._gateless:
                self._gateless.add(claim.key_id)
                yield Finding(
                    Code.NO_GATE,
                    f"{who} has no gate: orders against names are not enforced there",
                    index,
                    place,
                )
        elif attestation.gate is not GateState.HOLDS_TABLE:
            yield Finding(
                Code.GATE_DIFFERS,
                f"{who}, {utc(attestation.t_ms)}, says that its gate is {attestation.gate.name}",
                index,
                place,
            )
        yield from self._firewalls.check(state, who, attestation, claim.key_id, place)
        yield from self._omissions.check(state, who, claim)

    def _check_table(self, state: State, who: str, claim: Claim) -> Iterator[Finding]:
        """Compute the table that the ledger gives, and compare."""
        attestation, place, index = claim.attestation, claim.place, state.size - 1
        unnamed = attestation.omission_count - len(attestation.omissions)
        if any(each.reason in NOTHING_ENFORCED for each in attestation.omissions):
            unnamed = 0  # it names all of them by naming one
        if unnamed > 0 and len(attestation.omissions) == OMISSIONS_MAX:
            yield Finding(
                Code.OMISSIONS_UNNAMED,
                f"{who} does not enforce {unnamed} orders more than it can name, so its table "
                "cannot be computed",
                index,
                place,
            )
        elif state.policy is None or attestation.table_digest != self._digests.expected(
            state, attestation
        ):
            yield Finding(
                Code.ATTESTED_OTHER_TABLE,
                f"{who}, {utc(attestation.t_ms)}, enforces another table than the ledger gives",
                index,
                place,
            )

    def _check_revocations(self, state: State) -> Iterator[Finding]:
        for key_id, claim in self._newest.items():
            index = state.keys[key_id].revoked_index
            if index is not None and claim.attestation.t_ms > self._revoked_ms[index]:
                yield Finding(
                    Code.ATTESTATION_FORGED,
                    f"{claim.attestation.node_id} attested with a key that entry {index} revoked",
                    index,
                    claim.place,
                )


def _claim(kept: KeptAttestation | Claim) -> Claim | Finding:
    """Return what was claimed; of a file, read now."""
    return kept if isinstance(kept, Claim) else read_claim(kept)
