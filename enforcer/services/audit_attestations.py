"""What nodes attested, against what the ledger says at that size and time.

Each attestation is met at its own ledger size, in the pass that folds the ledger, so memory does
not grow with history. Its key may be registered later than that: then its signature is
checked once the key is there. Refuses nothing: everything wrong is a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.attestation import (
    CLOCKS_APART_MS_MAX,
    NOTHING_ENFORCED,
    OMISSIONS_MAX,
    Attestation,
    GateState,
    NotEnforced,
    Omission,
    expected_digest,
    parse_attestation,
)
from enforcer.core.entry import Entry
from enforcer.core.envelope import Envelope, parse_envelope
from enforcer.core.fold import Effect
from enforcer.core.key import KeyRevoked, Role
from enforcer.core.life import OrderStatus
from enforcer.core.order import OrderStopped
from enforcer.core.state import State, in_force
from enforcer.errors import EnforcerError, NotFoundError
from enforcer.services.audit_firewalls import FirewallAudit
from enforcer.services.findings import Code, Finding, utc

STOP_LOGGED_MS_MAX: Final = 3_600_000
"""Longest time from a stop that a node obeyed to its entry in the ledger (law 1)."""


@dataclass(frozen=True, slots=True)
class KeptAttestation:
    """Where an attestation lies, and the ledger size that its name says it is for."""

    place: str
    ledger_size: int
    read: Callable[[], bytes]
    """Return its envelope; may raise EnforcerError."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """An attestation as it was read; nothing in it is verified yet."""

    place: str
    envelope: Envelope
    attestation: Attestation

    @property
    def key_id(self) -> str:
        """The key of the first signature; every envelope has one."""
        return self.envelope.signatures[0].key_id


class AttestationAudit:
    """Checks kept attestations while the ledger is folded."""

    def __init__(
        self, kept: Sequence[KeptAttestation], as_of_ms: int, *, witness_quorum: int
    ) -> None:
        self.count = 0
        self.nodes: set[str] = set()
        self._as_of_ms = as_of_ms
        self._witness_quorum = witness_quorum
        self._waiting = sorted(kept, key=lambda each: (-each.ledger_size, each.place))
        self._unsigned: list[_Claim] = []
        """Those whose key is not registered yet at their size."""
        self._ineffective: list[int] = []
        self._stops: dict[str, tuple[int, int]] = {}
        """Payload hash of each stop in the ledger -> (entry index, time)."""
        self._revoked_ms: dict[int, int] = {}
        """Entry index of each revocation -> its time."""
        self._newest: dict[str, _Claim] = {}
        """Key id -> its newest attestation."""
        self._latest: _Claim | None = None
        """Of those that are for no more entries than were folded, and hold, that of latest time."""
        self._ahead: list[_Claim] = []
        """Those of a time that is to come, unless the ledger itself turns out to go on to it."""
        self._firewalls = FirewallAudit()
        self._unlogged: dict[str, tuple[Omission, str]] = {}
        """Payload hash of a stop that was obeyed before it was logged -> who said so first."""

    def record(self, effect: Effect, entry: Entry) -> Iterator[Finding]:
        """Remember what later checks need of an entry that was just folded, and check its time."""
        yield from self._check_recorded(effect)
        if not effect.is_effective:
            self._ineffective.append(effect.index)
        elif effect.kind == OrderStopped.__name__:
            stop = entry.envelope.payload_sha256
            self._stops[stop] = (effect.index, effect.recorded_at_ms)
        elif effect.kind == KeyRevoked.__name__:
            self._revoked_ms[effect.index] = effect.recorded_at_ms

    def check(self, state: State, root: bytes) -> Iterator[Finding]:
        """Check every attestation that is for exactly this size and this root."""
        while self._waiting and self._waiting[-1].ledger_size <= state.size:
            claim = _read(self._waiting.pop())
            if isinstance(claim, Finding):
                yield claim
                continue
            self.count += 1
            self.nodes.add(claim.attestation.node_id)
            if claim.key_id in state.keys:
                forgeries = list(self._check_signature(state, claim))
                yield from forgeries
                if not forgeries and claim.attestation.root_sha256 == root.hex():
                    self._note_time(claim)
            else:
                self._unsigned.append(claim)
            yield from self._check_time(state, claim)
            yield from self._check_content(state, root, claim)

    def finish(self, state: State) -> Iterator[Finding]:
        """Check what only the end of the ledger can tell."""
        # Nobody can say that the evidence was taken before what it holds was recorded.
        self._as_of_ms = max(self._as_of_ms, state.recorded_at_ms)
        for ahead in self._ahead:
            if self._is_ahead(ahead):
                words = f"the evidence was taken {utc(self._as_of_ms)}"
                yield _other_time(ahead, words)
        for unsigned in self._unsigned:
            yield from self._check_signature(state, unsigned)
        for kept in reversed(self._waiting):
            claim = _read(kept)
            if isinstance(claim, Finding):
                yield claim
                continue
            forgeries = list(self._check_signature(state, claim))
            yield from forgeries
            if not forgeries:
                yield Finding(
                    Code.ROLLED_BACK,
                    f"{claim.attestation.node_id} has read {kept.ledger_size} entries, "
                    f"this ledger has {state.size}",
                    place=kept.place,
                )
        yield from self._check_revocations(state)
        yield from self._check_stops(state)
        if self.count == 0:
            yield Finding(Code.NOT_ATTESTED, "no node's attestation is here")

    def _check_signature(self, state: State, claim: _Claim) -> Iterator[Finding]:
        """Check that the one signature is by the node's registered key."""
        attestation, envelope = claim.attestation, claim.envelope
        record = state.keys.get(claim.key_id)
        problem = None
        if attestation.ledger_origin != state.origin:
            problem = f"it is about the ledger {attestation.ledger_origin}"
        elif len(envelope.signatures) != 1:
            problem = f"it has {len(envelope.signatures)} signatures"
        elif record is None:
            problem = f"its key {claim.key_id[:16]}… is not registered"
        elif (record.registration.role, record.registration.machine_id) != (
            Role.NODE,
            attestation.node_id,
        ):
            problem = f"its key is not that of the node {attestation.node_id}"
        elif attestation.t_ms > record.registration.not_after_ms:
            problem = "the registration of its key had ended"
        elif not state.verify(record.public_key, envelope.message, envelope.signatures[0].octets):
            problem = "its signature is not valid"
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

    def _check_time(self, state: State, claim: _Claim) -> Iterator[Finding]:
        """Check that the time lies where the node can have read what it has read.

        A node that could choose its time could choose one at which nothing is in force.
        """
        if claim.attestation.t_ms < state.recorded_at_ms:
            words = f"the last entry that it has read was recorded {utc(state.recorded_at_ms)}"
            yield _other_time(claim, words)
        elif self._is_ahead(claim):
            self._ahead.append(claim)

    def _note_time(self, claim: _Claim) -> None:
        t_ms = self._latest.attestation.t_ms if self._latest is not None else 0
        if t_ms < claim.attestation.t_ms and not self._is_ahead(claim):
            self._latest = claim

    def _check_recorded(self, effect: Effect) -> Iterator[Finding]:
        """Check that no node said, long after the entry's time, that it was not there.

        The control plane keeps no such word of a node that is only behind.
        """
        latest = self._latest
        if latest is None:
            return
        said = latest.attestation
        if said.t_ms > effect.recorded_at_ms + CLOCKS_APART_MS_MAX:
            self._latest = None  # once is enough: what follows is as late
            yield Finding(
                Code.ENTRY_BACKDATED,
                f"recorded {utc(effect.recorded_at_ms)}, it says, and {said.node_id} had read "
                f"{said.ledger_size} entries and not this one at {utc(said.t_ms)}",
                effect.index,
                latest.place,
            )

    def _is_ahead(self, claim: _Claim) -> bool:
        return claim.attestation.t_ms > self._as_of_ms + CLOCKS_APART_MS_MAX

    def _check_content(self, state: State, root: bytes, claim: _Claim) -> Iterator[Finding]:
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
        if attestation.gate is not GateState.HOLDS_TABLE:
            yield Finding(
                Code.GATE_DIFFERS,
                f"{who}, {utc(attestation.t_ms)}, says that its gate is {attestation.gate.name}",
                index,
                place,
            )
        yield from self._firewalls.check(state, who, attestation, claim.key_id, place)
        off = [each for each in attestation.omissions if each.reason in NOTHING_ENFORCED]
        if off:
            yield Finding(
                Code.GATE_OFF,
                f"{who}, {utc(attestation.t_ms)}, enforces none of {attestation.omission_count} "
                f"orders: {off[0].reason.name} since {utc(off[0].since_ms)}",
                index,
                place,
            )
        for omission in attestation.omissions:
            if omission not in off:
                yield from self._check_omission(state, who, omission, claim)
        if not off:
            yield from self._check_suspensions(state, who, claim)

    def _check_table(self, state: State, who: str, claim: _Claim) -> Iterator[Finding]:
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
        elif state.policy is None or attestation.table_digest != expected_digest(
            state, attestation
        ):
            yield Finding(
                Code.ATTESTED_OTHER_TABLE,
                f"{who}, {utc(attestation.t_ms)}, enforces another table than the ledger gives",
                index,
                place,
            )

    def _check_omission(
        self, state: State, who: str, omission: Omission, claim: _Claim
    ) -> Iterator[Finding]:
        order = state.orders.get(omission.order_index)
        name = order.payload.order_id if order else f"entry {omission.order_index}, no order"
        place = claim.place
        if (problem := self._unfounded(state, omission, claim)) is not None:
            yield Finding(
                Code.OMISSION_UNFOUNDED,
                f"{who} does not enforce {name}: {omission.reason.name}, but {problem}",
                omission.order_index,
                place,
            )
            return
        if omission.reason is not NotEnforced.STOPPED_UNLOGGED:
            yield Finding(
                Code.NOT_ENFORCED,
                f"{who} does not enforce {name}: {omission.reason.name}",
                omission.order_index,
                place,
            )
            return
        stop = omission.stop_payload_sha256
        if stop is None:
            yield Finding(
                Code.STOP_UNLOGGED,
                f"{who} does not enforce {name} because of a stop that it does not name",
                omission.order_index,
                place,
            )
            return
        known = self._unlogged.get(stop)
        if known is None or omission.since_ms < known[0].since_ms:
            self._unlogged[stop] = (omission, place)

    def _unfounded(self, state: State, omission: Omission, claim: _Claim) -> str | None:
        """Say what contradicts the reason that a node gave; None: nothing that is known here."""
        if omission.since_ms > claim.attestation.t_ms:
            return f"since {utc(omission.since_ms)}, which is after it says so"
        order = state.orders.get(omission.order_index)
        suspended_by = order.suspended_by if order is not None else ()
        if omission.reason is NotEnforced.SUSPENDED and _operator(state, claim) not in suspended_by:
            return "no safety officer of its network suspended it"
        if omission.reason is NotEnforced.UNWITNESSED and not self._witness_quorum:
            return "the trust file names no quorum of witnesses to wait for"
        return None

    def _check_suspensions(self, state: State, who: str, claim: _Claim) -> Iterator[Finding]:
        """Check that what a safety officer suspended is not enforced on that network."""
        attestation = claim.attestation
        omitted = {each.order_index for each in attestation.omissions}
        if attestation.omission_count != len(omitted):
            return  # not all of them are named
        operator = _operator(state, claim)
        for row in in_force(state, attestation.t_ms):
            if row.index not in omitted and operator in state.orders[row.index].suspended_by:
                yield Finding(
                    Code.SUSPENSION_IGNORED,
                    f"{who} enforces {row.order_id}, which a safety officer of its network "
                    "suspended",
                    row.index,
                    claim.place,
                )

    def _check_stops(self, state: State) -> Iterator[Finding]:
        """Look for each stop that a node obeyed in the ledger, within the hour (law 1).

        Whatever else stopped the same order does as well: after it the ledger takes no more.
        """
        for stop, (omission, place) in self._unlogged.items():
            index, deadline_ms = omission.order_index, omission.since_ms + STOP_LOGGED_MS_MAX
            words = f"the stop {stop[:16]}… of the order in entry {index}"
            recorded = self._stops.get(stop) or _other_stop(state, index)
            if recorded is not None:
                if recorded[1] > deadline_ms:
                    late_ms = recorded[1] - omission.since_ms
                    yield Finding(
                        Code.STOP_LOGGED_LATE,
                        f"{words} was recorded {late_ms} ms after a node obeyed it",
                        recorded[0],
                        place,
                    )
            elif self._as_of_ms > deadline_ms:
                yield Finding(
                    Code.STOP_UNLOGGED,
                    f"{words} was obeyed over an hour ago and is not in the ledger",
                    index,
                    place,
                )
            else:
                yield Finding(
                    Code.STOP_PENDING, f"{words} is obeyed and not in the ledger yet", index, place
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


def _other_stop(state: State, order_index: int) -> tuple[int, int] | None:
    """Return what stopped an order, in any version, be it an appeal: its entry index and time."""
    order = state.orders.get(order_index)
    for version in state.versions[order.payload.order_id] if order is not None else ():
        ended = state.orders[version]
        index, t_ms = ended.ended_index, ended.ended_at_ms
        if ended.status is OrderStatus.STOPPED and index is not None and t_ms is not None:
            return index, t_ms
    return None


def _operator(state: State, claim: _Claim) -> str | None:
    """Return whose network the node that signed belongs to, as the roots registered it."""
    record = state.keys.get(claim.key_id)
    return record.registration.operator if record is not None else None


def _other_time(claim: _Claim, words: str) -> Finding:
    attestation = claim.attestation
    return Finding(
        Code.ATTESTED_OTHER_TIME,
        f"{attestation.node_id} at size {attestation.ledger_size} says that it is "
        f"{utc(attestation.t_ms)}, and {words}",
        attestation.ledger_size - 1 if attestation.ledger_size else None,
        claim.place,
    )


def _read(kept: KeptAttestation) -> _Claim | Finding:
    try:
        envelope = parse_envelope(kept.read())
        attestation = parse_attestation(envelope)
    except NotFoundError:  # a live control plane keeps a node's newest, and drops the oldest
        words = "it made room for newer ones while the audit ran"
        return Finding(Code.ATTESTATION_GONE, words, place=kept.place)
    except EnforcerError as error:
        return Finding(Code.ATTESTATION_UNREADABLE, error.message, place=kept.place)
    if attestation.ledger_size != kept.ledger_size:
        return Finding(
            Code.ATTESTATION_UNREADABLE,
            f"it is for size {attestation.ledger_size}, its name says {kept.ledger_size}",
            place=kept.place,
        )
    return _Claim(kept.place, envelope, attestation)
