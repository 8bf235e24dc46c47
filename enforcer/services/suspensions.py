"""What the network's safety officers signed and the ledger does not have yet: heeded at once.

Owns those acts, on disk until the ledger has them, and the reasons that came with them. A kept act
counts exactly while `core.judge` would take it as the ledger's next entry, after those that were
kept before it: so a replay, another network's officer, a revoked key or an end lets it count no
more. Always true: nothing here begins a block that the ledger does not have in force.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256
from typing import Final

import structlog

from enforcer.core.entry import Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.fold import fold_judged
from enforcer.core.judge import judge
from enforcer.core.key import Role
from enforcer.core.order import OrderRef
from enforcer.core.remedy import OrderResumed, OrderSuspended
from enforcer.core.signing import only_signer
from enforcer.core.state import State
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import KeptFiles
from enforcer.services.node_time import Moment
from enforcer.services.plan import LocalWord

ACTS_FOLDER: Final = "suspensions"
REASONS_FOLDER: Final = "suspension-reasons"
KEPT_MAX: Final = 256
KEPT_PER_PERSON_MAX: Final = 64
REASON_OCTETS_MAX: Final = 16_384
"""A longer document is left out here; the act counts all the same."""
DROPPED_SHOWN_MAX: Final = 16

TYPES: Final = frozenset((OrderSuspended.TYPE, OrderResumed.TYPE))
"""Payload types of what a safety officer does on the own network."""

_log: Final = structlog.get_logger(__name__)


class SuspensionOutcome(IntEnum):
    """What became of an act that was offered."""

    UNSPECIFIED = 0
    RECORDED = 1
    HEEDED = 2
    KEPT = 3


@dataclass(frozen=True, slots=True)
class KeptAct:
    """A suspension or resumption that is not in the ledger as far as this node has read."""

    envelope: Envelope
    payload: OrderSuspended | OrderResumed
    received_at_ms: int
    person_id: str = ""
    is_relayed: bool = False
    """The control plane has recorded it, it says."""

    @property
    def order(self) -> OrderRef:
        """The order that it is about: this version alone."""
        return self.payload.order

    @property
    def sha256(self) -> str:
        """The payload's hash, by which attestations and resumptions name it."""
        return self.envelope.payload_sha256

    @property
    def envelope_bytes(self) -> bytes:
        """The envelope as it was signed, in its one spelling."""
        return format_envelope(self.envelope)

    @property
    def file(self) -> str:
        """Where it is kept."""
        return f"{ACTS_FOLDER}/{self.sha256}.json"


@dataclass(frozen=True, slots=True)
class Dropped:
    """An act that was kept, and that the ledger can no longer take."""

    sha256: str
    order_id: str
    why: str


class SuspensionKeeper:
    """The safety officers' acts at one node; use it from one event loop, `save` in any thread."""

    def __init__(self, files: KeptFiles) -> None:
        self._files = files
        self._kept: dict[str, KeptAct] = {}
        self._reasons: set[str] = set()
        self._unsaved: dict[str, bytes | None] = {}
        """File -> what it must hold; None: it must go."""
        self.said: Mapping[int, LocalWord] = {}
        """Entry index of an order -> what holds of it here ahead of the ledger."""
        self.dropped: deque[Dropped] = deque(maxlen=DROPPED_SHOWN_MAX)
        """What was dropped since the start, the newest last."""

    @property
    def kept(self) -> tuple[KeptAct, ...]:
        """What the ledger does not have yet, in the order in which it came."""
        return tuple(sorted(self._kept.values(), key=lambda act: (act.received_at_ms, act.sha256)))

    @property
    def to_relay(self) -> tuple[KeptAct, ...]:
        """What the control plane has not recorded."""
        return tuple(act for act in self.kept if not act.is_relayed)

    def restore(self, state: State, operator: str | None, moment: Moment) -> None:
        """Read what was kept, and judge it by the ledger as it is now; it blocks."""
        prefix = f"{REASONS_FOLDER}/"
        self._reasons = {name.removeprefix(prefix) for name in self._files.names(REASONS_FOLDER)}
        for name in self._files.names(ACTS_FOLDER):
            try:
                entry = parse(self._files.read(name) or b"")
                act = KeptAct(entry.envelope, payload_of(entry.envelope), entry.recorded_at_ms)
            except EnforcerError as error:
                _log.error("cannot read a kept suspension", file=name, problem=error.message)
            else:
                self._kept[act.sha256] = act
        self.review(state, operator, moment)

    def offer(
        self,
        state: State,
        operator: str | None,
        data: bytes,
        documents: Sequence[bytes],
        moment: Moment,
    ) -> SuspensionOutcome:
        """Judge a signed act that came from anywhere; what is heeded is in `said` from now on.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not heeded.
            UnavailableError: too many acts wait for the ledger.
        """
        envelope = parse_envelope(data)
        payload = payload_of(envelope)
        if envelope.payload_sha256 in state.index_of_payload:
            self._take_reason(payload, documents)
            return SuspensionOutcome.RECORDED
        if envelope.payload_sha256 not in self._kept:
            person_id = self._judge_offered(state, operator, envelope, payload, moment)
            self._make_room(person_id)
            # One after the other, also within a millisecond, or by a clock that was set back.
            last_ms = max((each.received_at_ms for each in self._kept.values()), default=0)
            act = KeptAct(envelope, payload, max(moment.t_ms, last_ms + 1), person_id)
            self._kept[act.sha256] = act
            self._unsaved[act.file] = encode(Entry(act.received_at_ms, envelope))
            self.review(state, operator, moment)
            _log.warning(
                "heeds a safety officer before the ledger does",
                order_id=payload.order.order_id,
                act=act.sha256,
            )
        self._take_reason(payload, documents)
        known = payload.order.entry_index in state.orders
        return SuspensionOutcome.HEEDED if known else SuspensionOutcome.KEPT

    def review(self, state: State, operator: str | None, moment: Moment) -> None:
        """Look again after the ledger went on, or time did."""
        for act in self.kept:
            if act.sha256 in state.index_of_payload:
                self._forget(act)
        said: dict[int, LocalWord] = {}
        if operator is not None and self._kept:
            ahead = state.copy()
            failed = self._fold(ahead, operator, self.kept, moment, said)
            # A clock that was set right may have turned their order round.
            while failed and len(again := self._fold(ahead, operator, failed, moment, said)) < len(
                failed
            ):
                failed = again
            # By the floor it counts yet: it does again, and what came after it, should the clock be
            # wrong and set right.
            waiting = {
                act.order
                for act in failed
                if isinstance(act.payload, OrderResumed)
                and moment.floor_ms <= act.payload.valid_until_ms < moment.t_ms
            }
            for act, error in failed.items():
                if act.order not in waiting:
                    self._settle(state, act, error)
        self.said = said
        self._forget_reasons(state, operator)

    def relayed(self, act: KeptAct) -> None:
        """Remember that the control plane has recorded an act."""
        if act.sha256 in self._kept:
            self._kept[act.sha256] = replace(self._kept[act.sha256], is_relayed=True)

    def reason(self, act: KeptAct) -> bytes | None:
        """Return the document that gives an act's reason, if it came with it; it blocks."""
        name = act.payload.reason_sha256
        unsaved = self._unsaved.get(f"{REASONS_FOLDER}/{name}")
        if name is None or name not in self._reasons:
            return None
        return unsaved or self._files.read(f"{REASONS_FOLDER}/{name}")

    def save(self) -> None:
        """Make what changed durable; it blocks.

        Raises:
            UnavailableError: the disk did not take it; it is tried again with the next one.
        """
        for file, content in list(self._unsaved.items()):
            if content is None:
                self._files.remove(file)
            else:
                self._files.write(file, content)
            if self._unsaved.get(file) is content:
                self._unsaved.pop(file, None)

    def _judge_offered(
        self,
        state: State,
        operator: str | None,
        envelope: Envelope,
        payload: OrderSuspended | OrderResumed,
        moment: Moment,
    ) -> str:
        """Return who signed an act that this node is to heed, or to keep until it knows the order.

        Raises:
            RefusedError, ConflictError, NotFoundError: the rule that it breaks.
        """
        # First what is cheap: any node can send what no officer of this network signed.
        signer = only_signer(state, envelope, moment.floor_ms).registration
        if signer.role is not Role.SAFETY_OFFICER:
            raise RefusedError(
                f"a {signer.role.name} cannot suspend on a network",
                advice="Have the network's safety officer sign.",
                field="signatures",
            )
        if operator is None or signer.operator != operator:
            raise RefusedError(
                f"the act is of the network of {signer.operator}, and this node is of "
                f"{operator or 'none that the ledger knows'}",
                advice="Send it to nodes of the officer's own network.",
                field="signatures",
            )
        ahead = state
        if self._kept:
            ahead = state.copy()
            self._fold(ahead, operator, self.kept, moment, {})
        try:
            _judged(ahead, envelope, moment)
        except NotFoundError:
            if payload.order.entry_index < state.size:
                raise
        return signer.person_id or ""

    def _fold(
        self,
        ahead: State,
        operator: str,
        acts: Iterable[KeptAct],
        moment: Moment,
        said: dict[int, LocalWord],
    ) -> dict[KeptAct, EnforcerError]:
        """Fold acts in as if they were recorded now; return those that the judge refuses."""
        failed: dict[KeptAct, EnforcerError] = {}
        for act in acts:
            try:
                t_ms, payload = _judged(ahead, act.envelope, moment)
                signer = ahead.keys[act.envelope.signatures[0].key_id].registration
                if signer.operator != operator:
                    raise RefusedError(
                        f"its signer is of {signer.operator}, and this node of {operator}",
                        advice="Send it to nodes of the officer's own network.",
                    )
            except EnforcerError as error:
                failed[act] = error
                continue
            fold_judged(ahead, payload, Entry(t_ms, act.envelope))
            index = act.order.entry_index
            held = ahead.orders[index].suspension(operator, t_ms)
            if held is not None:
                held = replace(held, since_ms=act.received_at_ms)
            said[index] = LocalWord(held, act.sha256, act.received_at_ms)
            person_id = signer.person_id or ""
            self._kept[act.sha256] = replace(self._kept[act.sha256], person_id=person_id)
        return failed

    def _settle(self, state: State, act: KeptAct, error: EnforcerError) -> None:
        """Let an act that does not count go on waiting for what it rests on, or drop it."""
        is_early = isinstance(error, NotFoundError) and act.order.entry_index >= state.size
        if is_early or act.envelope.signatures[0].key_id not in state.keys:
            return
        self._forget(act)
        self.dropped.append(Dropped(act.sha256, act.order.order_id, error.message))
        _log.warning(
            "the ledger can no longer take an act, which counts no more",
            act=act.sha256,
            order_id=act.order.order_id,
            problem=error.message,
        )

    def _forget(self, act: KeptAct) -> None:
        self._kept.pop(act.sha256, None)
        self._unsaved[act.file] = None

    def _make_room(self, person_id: str) -> None:
        own = sum(act.person_id == person_id for act in self._kept.values())
        if len(self._kept) >= KEPT_MAX or own >= KEPT_PER_PERSON_MAX:
            raise UnavailableError(
                f"{len(self._kept)} acts wait here for the ledger, {own} of {person_id}",
                advice="Bring them to the control plane, or bypass the gate: enforcer gate bypass.",
            )

    def _take_reason(
        self, payload: OrderSuspended | OrderResumed, documents: Sequence[bytes]
    ) -> None:
        for data in documents:
            name = sha256(data).hexdigest()
            if name == payload.reason_sha256 and len(data) <= REASON_OCTETS_MAX:
                self._reasons.add(name)
                self._unsaved[f"{REASONS_FOLDER}/{name}"] = data

    def _forget_reasons(self, state: State, operator: str | None) -> None:
        """Remove the reasons of what is over."""
        if not self._reasons:
            return
        wanted = {act.payload.reason_sha256 for act in self._kept.values()}
        wanted |= {
            each.reason_sha256
            for order in state.orders.values()
            for each in order.suspensions
            if each.operator == operator
        }
        for name in self._reasons - wanted:
            self._unsaved[f"{REASONS_FOLDER}/{name}"] = None
        self._reasons &= {name for name in wanted if name is not None}


def payload_of(envelope: Envelope) -> OrderSuspended | OrderResumed:
    """Return what a safety officer's act says.

    Raises:
        InputError: it is malformed, or another act.
    """
    payload = parse_payload(envelope)
    if not isinstance(payload, OrderSuspended | OrderResumed):
        raise InputError(
            "it is no suspension and no resumption",
            advice="Send stops by PushStop, and all else to the control plane.",
            field="payloadType",
        )
    return payload


def _judged(
    state: State, envelope: Envelope, moment: Moment
) -> tuple[int, OrderSuspended | OrderResumed]:
    """Judge an act as the next entry; return the time for which it is lawful, and what it says.

    A suspension counts by the floor, for a clock that is far ahead must end no key, or by the
    clock, since the floor is far behind on a machine that was off for long. A resumption must be
    lawful at both: neither of them, where it is wrong, may bring a block back.

    Raises:
        EnforcerError: the rule that it breaks.
    """
    floor_ms = max(moment.floor_ms, state.recorded_at_ms)
    t_ms = max(moment.t_ms, state.recorded_at_ms)
    payload = payload_of(envelope)
    try:
        judge(state, envelope, floor_ms)
    except (RefusedError, ConflictError):
        if isinstance(payload, OrderResumed):
            raise
        judge(state, envelope, t_ms)
        return t_ms, payload
    if isinstance(payload, OrderResumed):
        judge(state, envelope, t_ms)
    return floor_ms, payload
