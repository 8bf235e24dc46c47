"""All acts but stops, as the control plane takes them: those about orders, and the roots'.

What the ledger's rules cannot see is checked here: that the list is here and is what the order
says, that the reasons came along, that what a policy pins can be read. Documents are kept
before the act that names them is recorded, and only when it is lawful.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from enforcer.core import list_delta
from enforcer.core.entry import AnyPayload, parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.guard import Guard
from enforcer.core.guard_data import PINNED_LINES_MAX
from enforcer.core.guard_facts import NO_PINS
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.key import KeyRegistered, KeyRevoked, LogKeyRotated, RootsChanged
from enforcer.core.order import (
    Measure,
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderPublished,
    OrderRef,
    OrderRejected,
)
from enforcer.core.policy import Pins, PolicyAdopted
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.core.state import OrderRecord
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.core.target import ListKind, ListSummary
from enforcer.errors import (
    InputError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import Contents
from enforcer.services import side_files
from enforcer.services.assessments import Assessments
from enforcer.services.guards import HITS_TOLD_MAX, Guards, Held, StaleScanError
from enforcer.services.ledger import Ledger, Recorded
from enforcer.services.list_secrets import ListSecrets
from enforcer.services.publication import Publication
from enforcer.services.uploads import Uploads
from enforcer.services.waiting import Check
from enforcer.services.wrapping import Wrapping

ROOT_ACTS: Final = (PolicyAdopted, RootsChanged, KeyRegistered, KeyRevoked, LogKeyRotated)
OTHER_ACTS: Final = (
    OrderHeld,
    AssessmentRecorded,
    HoldLifted,
    OrderConfirmed,
    OrderPublished,
    ReviewDone,
    NotificationSent,
    AppealFiled,
    AppealDecided,
    OrderSuspended,
    OrderResumed,
)
"""What is about an order and has no method of its own."""

PINNED_KINDS: Final = {
    "protected_core": ListKind.TARGETS,
    "protected_names": ListKind.TARGETS,
    "public_suffixes": ListKind.SUFFIXES,
    "shared_ranges": ListKind.RANGES,
}
"""What each pin of a policy names."""

SCANS_MAX: Final = 4
"""How often the guards look at an order for one act, where others are recorded meanwhile."""

P = TypeVar("P", bound=AnyPayload)

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Proposed:
    """What became of a proposal: None of either where it was only judged, or nothing holds it."""

    recorded: Recorded | None
    held: Held | None


class Orders:
    """The desk where signed acts come in."""

    def __init__(
        self,
        ledger: Ledger,
        uploads: Uploads,
        side: Contents,
        publication: Publication,
        guards: Guards,
        secrets: ListSecrets,
        wrapping: Wrapping,
        assessments: Assessments,
        *,
        log_vkeys: Collection[str] = (),
    ) -> None:
        """Take the desk's parts; `log_vkeys` are the log's keys that can sign here."""
        self._log_vkeys = log_vkeys
        self._ledger = ledger
        self._uploads = uploads
        self._side = side
        self._publication = publication
        self._guards = guards
        self._secrets = secrets
        self._wrapping = wrapping
        self._assessments = assessments

    async def propose(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Proposed:
        """Record a proposal, its documents kept before, and in one with it what holds it.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: what is wrong with it, or with
                lines of its list.
            UnavailableError: it could not be made durable, or not be held.
        """
        order = expect(envelope, OrderProposed)
        documents = side_files.check(order, files)
        held = None
        if self._ledger.recorded_as(envelope, order) is None:
            self._ledger.judge(envelope)
            await self._check_targets(order)
            await side_files.check_reasons(self._side, order, documents)
            held = await self._guards.check_proposal(order, envelope.payload_sha256)
        if validate_only:
            return Proposed(None, held)
        await side_files.keep(self._side, documents)
        await self._wrapping.wrap_for(order, blocks=False)
        base = list_delta.base_of(self._ledger.state, order)
        await self._publication.bring_list(order.list_file_sha256, base)
        if held is None:
            return Proposed(await self._ledger.record(envelope), None)
        await self._guards.keep(held)

        def hold(index: int) -> Envelope:
            ref = OrderRef(order.order_id, index, envelope.payload_sha256)
            return self._guards.act(held, ref)

        recorded = await self._ledger.record(envelope, hold)
        log.info("order_held", order_id=order.order_id, guards=held.names)
        return Proposed(recorded, held)

    async def approve(self, envelope: Envelope, *, validate_only: bool) -> Recorded | None:
        """Record an approval, if the guards still let the order pass; else it is put on hold.

        Raises:
            RefusedError: a guard fires now; in ``index`` is the entry by which it is held.
            EnforcerError: as :meth:`propose`.
        """
        approval = expect(envelope, OrderApproved)
        return await self._record_guarded(envelope, approval, {}, validate_only=validate_only)

    async def _record_guarded(
        self,
        envelope: Envelope,
        act: OrderApproved | OrderExtended | OrderConfirmed,
        documents: dict[str, bytes],
        *,
        validate_only: bool,
    ) -> Recorded | None:
        """Record what makes an order block, or block longer; several such acts go side by side.

        The guards look first; the ledger's writer makes sure that nothing came between that
        they did not reckon with, and else they look again.
        """
        with self._guards.coming(act):
            for tries_left in reversed(range(SCANS_MAX)):
                check = None
                if self._ledger.recorded_as(envelope, act) is None:
                    check = await self._look(envelope, act, validate_only=validate_only)
                if validate_only:
                    return None
                await side_files.keep(self._side, documents)
                if isinstance(act, OrderApproved):
                    approved = self._ledger.state.orders[act.order.entry_index]
                    await self._wrapping.wrap_for(approved.payload, blocks=True)
                try:
                    return await self._ledger.record(envelope, check=check)
                except StaleScanError:
                    if not tries_left:
                        raise
                except RefusedError as error:
                    if not tries_left or not _is_growth(error):  # by what was recorded beside it
                        raise
            return None

    async def _look(
        self,
        envelope: Envelope,
        act: OrderApproved | OrderExtended | OrderConfirmed,
        *,
        validate_only: bool,
    ) -> Check:
        """Have the guards look at what an act is about; put it on hold if they say so."""
        grows = self._judge_act(envelope)
        order = self._ledger.state.orders[act.order.entry_index]
        if isinstance(act, OrderApproved):
            await self._check_targets(order.payload)
        checked = await self._guards.check_act(act)
        if checked.held is not None:
            held = checked.held
            index = None if validate_only else await self._guards.hold(order, held)
            raise _held_now(held, index)
        if grows is not None:
            raise grows
        return checked.check

    def _judge_act(self, envelope: Envelope) -> RefusedError | None:
        """Judge an act; return the refusal for growth, which is held and not refused."""
        try:
            self._ledger.judge(envelope)
        except RefusedError as error:
            if not _is_growth(error):
                raise
            return error
        return None

    async def extend(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record an extension, if the guards let the order pass to its new end.

        Raises:
            EnforcerError: as :meth:`approve`.
        """
        act = expect(envelope, OrderExtended)
        documents = side_files.check(act, files)
        return await self._record_guarded(envelope, act, documents, validate_only=validate_only)

    async def reject(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record that a proposal is turned down; raises as :meth:`propose`."""
        return await self._record(
            envelope, expect(envelope, OrderRejected), files, validate_only=validate_only
        )

    async def record_act(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record any act about an order that no other method takes; raises as :meth:`propose`.

        A confirmation passes the guards as an approval does.
        """
        act = expect(envelope, *OTHER_ACTS)
        if not isinstance(act, OrderConfirmed):
            return await self._record(envelope, act, files, validate_only=validate_only)
        documents = side_files.check(act, files)
        if self._ledger.recorded_as(envelope, act) is None:
            self._ledger.judge(envelope)
            await side_files.check_here(self._side, act, documents)
        return await self._record_guarded(envelope, act, documents, validate_only=validate_only)

    async def record_suspension(self, envelope: Envelope, files: Sequence[bytes]) -> Recorded:
        """Record a safety officer's act, which nodes may heed already: also without its reason.

        Raises:
            EnforcerError: as :meth:`propose`.
        """
        act = expect(envelope, OrderSuspended, OrderResumed)
        documents = side_files.check(act, files)
        self._ledger.judge(envelope)  # what cannot be recorded takes nobody's place in the queue
        recorded = await self._ledger.record(envelope)
        try:
            await side_files.keep(self._side, documents)
        except UnavailableError as error:  # the act stands; its reason can be brought again
            log.warning("reason_not_kept", index=recorded.index, problem=error.message)
        return recorded

    async def facts_of(self, order: OrderRecord) -> bytes:
        """Return the facts that an assessment of an order must name, as they are now.

        Raises:
            NotFoundError, UnavailableError, IntegrityError: a list cannot be read.
        """
        return await self._assessments.facts(order)

    async def record_root_act(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record what the roots signed; lists that a policy pins must be here.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError, UnavailableError: as
                :meth:`propose`.
        """
        payload = expect(envelope, *ROOT_ACTS)
        if isinstance(payload, LogKeyRotated) and payload.log_vkey not in self._log_vkeys:
            raise RefusedError(
                "the control plane does not have the private half of that log key",
                advice="Name its file as second_log_key_file and restart: until the roots' act it "
                "only signs beside the present key.",
                field="log_vkey",
            )
        if isinstance(payload, PolicyAdopted):
            for name, kind in PINNED_KINDS.items():
                sha256 = getattr(payload.pins, name)
                if sha256 is not None:
                    await self._check_pinned(name, kind, sha256)
        return await self._record(envelope, payload, files, validate_only=validate_only)

    async def _record(
        self,
        envelope: Envelope,
        payload: AnyPayload,
        files: Sequence[bytes],
        *,
        validate_only: bool,
    ) -> Recorded | None:
        documents = side_files.check(payload, files)
        check: Check | None = None
        if self._ledger.recorded_as(envelope, payload) is None:
            self._ledger.judge(envelope)
            if isinstance(payload, OTHER_ACTS):
                await side_files.check_here(self._side, payload, documents)
            if isinstance(payload, AssessmentRecorded):
                check = await self._assessments.check(payload, documents)
        if validate_only:
            return None
        await side_files.keep(self._side, documents)
        if isinstance(payload, PolicyAdopted):
            await self._bring_pinned(payload.pins)
        return await self._ledger.record(envelope, check=check)

    async def _bring_pinned(self, pins: Pins) -> None:
        """Put what is newly pinned into the feed, with what it differs in."""
        policy = self._ledger.state.policy
        former = policy.payload.pins if policy is not None else NO_PINS
        bases = list_delta.bases_of_pins(former, pins)
        for sha256 in set(pins.lists) - set(former.lists):
            await self._publication.bring_list(sha256, bases.get(sha256))

    async def _check_targets(self, order: OrderProposed) -> None:
        """Check that the list is here and that the order says of it what it is."""
        if order.publication.is_sealed:
            summary = await self._secrets.check(order)
        else:
            summary = await self._uploads.summary(order.target_list_sha256)
        if summary.target_count != order.target_count:
            raise RefusedError(
                f"the list has {summary.target_count} targets, not {order.target_count}",
                advice="Sign an order with the list's own count.",
                field="target_count",
            )
        _check_measure(order.measure, summary)

    async def _check_pinned(self, name: str, kind: ListKind, sha256: str) -> None:
        """Check that all that a pin names is here, and that nodes can use it as what it is."""
        try:
            summary = await self._uploads.summary(sha256)
        except NotFoundError as error:
            raise NotFoundError(
                error.message,
                advice="Upload the list first: nodes must be able to read what a policy pins.",
                field=f"pins.{name}",
            ) from error
        if summary.kind is not kind:
            raise RefusedError(
                f"the text {sha256} has {summary.kind.name.lower()}, not {kind.name.lower()}",
                advice=f"Pin {name} by the SHA-256 of the right file.",
                field=f"pins.{name}",
            )
        if summary.target_count > PINNED_LINES_MAX:
            raise RefusedError(
                f"the list {sha256} has {summary.target_count} lines, over {PINNED_LINES_MAX}",
                advice="Protect fewer names: a SUBTREE protects all below it.",
                field=f"pins.{name}",
            )


def expect(envelope: Envelope, *kinds: type[P]) -> P:
    """Return the payload if it is of a kind that this method takes."""
    payload = parse_payload(envelope)
    if not isinstance(payload, kinds):
        taken = ", ".join(kind.TYPE for kind in kinds)
        raise InputError(
            f"this method does not take the payload type {envelope.payload_type}",
            advice=f"Send {taken} here, or call the method for that act.",
            field="payloadType",
        )
    return payload


def _check_measure(measure: Measure, summary: ListSummary) -> None:
    """Check that a measure says what is done to each kind of target that a list has.

    Addresses may have a DNS measure beside theirs: then they are taken out of DNS answers too.

    Raises:
        RefusedError: it says too little, or more than can be done.
    """
    names = summary.name_count
    addresses = summary.target_count - names
    faults = {
        "the list has names, and measure.dns is NONE": bool(names)
        and measure.dns is DnsMeasure.NONE,
        "the list has addresses, and measure.ip is NONE": bool(addresses)
        and measure.ip is IpMeasure.NONE,
        "the list has no addresses, and measure.ip is not NONE": not addresses
        and measure.ip is not IpMeasure.NONE,
        "the list has no names, and measure.dns is BLOCK_PAGE": not names
        and measure.dns is DnsMeasure.BLOCK_PAGE,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise RefusedError(
                fault,
                advice="Give measure.dns NEGATIVE or BLOCK_PAGE for names, measure.ip REJECT or "
                "DROP for addresses, and NONE for what the list does not have; measure.dns "
                "NEGATIVE also takes addresses out of DNS answers.",
                field="measure",
            )


def _is_growth(error: RefusedError) -> bool:
    return error.data.get("guard") == Guard.GROWTH.name


def _held_now(held: Held, index: int | None) -> RefusedError:
    told = "; ".join(f"line {hit}" for hit in held.told.hits[:HITS_TOLD_MAX])
    return RefusedError(
        f"guards hold the order ({held.names})" + (f": {told}" if told else ""),
        advice="See what lifts that: enforcer order show; then approve it again.",
        field="order",
        guards=held.names,
        index=index,
    )
