"""Guards at the control plane: what they refuse is not recorded, what they hold waits by an entry.

They read an order's list before its proposal is recorded, again before its approval and
whatever prolongs it, and once more when the pinned data changes (:mod:`recheck`). The control
plane signs holds with its own key; it lifts nothing. Reports of what was refused are kept in
memory, for whoever asks soon.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import Final

import structlog

from enforcer.core import fields
from enforcer.core.envelope import Envelope, key_id, sign
from enforcer.core.guard import Guard, GuardScan
from enforcer.core.guard_facts import GuardFacts, as_prolonged, guard_facts
from enforcer.core.history import comparable
from enforcer.core.hold import OrderHeld
from enforcer.core.judge_parts import present_policy
from enforcer.core.key import Role
from enforcer.core.order import (
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderRef,
)
from enforcer.core.policy import DAY_MS
from enforcer.core.state import OrderRecord, State
from enforcer.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from enforcer.ports import Contents, GuardJob, ListWork, Sealing, Signer
from enforcer.services import side_files
from enforcer.services.guard_telling import Told, tell_findings
from enforcer.services.guarding import (
    Objection,
    as_proposed,
    objections,
    with_growth,
)
from enforcer.services.ledger import Ledger
from enforcer.services.list_secrets import ListSecrets
from enforcer.services.waiting import Check

HITS_TOLD_MAX: Final = 3
REPORTS_KEPT_MAX: Final = 32
SCAN_VALID_MS: Final = 60_000
"""How long after a scan an act may be recorded by it: it reckons with that much more time."""

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """What stands against an order, and the report on it as a side file, its salt before it."""

    objections: tuple[Objection, ...]
    scan: GuardScan
    told: Told
    """What of it may be said."""
    document: bytes
    policy_sha256: str
    """The policy whose data they read: under another one nothing is held by it."""

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards, ascending."""
        return tuple(each.guard for each in self.objections)

    @property
    def names(self) -> str:
        """Their names, for people."""
        return ", ".join(guard.name for guard in self.guards)


class StaleScanError(UnavailableError):
    """What a scan went by is not what the ledger says any more."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the guards found, and what makes sure, when the act is recorded, that it still holds."""

    held: Held | None
    check: Check


class Guards:
    """The guards before one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        secrets: ListSecrets,
        side: Contents,
        work: ListWork,
        key: Signer,
        sealing: Sealing,
    ) -> None:
        self._ledger = ledger
        self._secrets = secrets
        self._sealing = sealing
        self._side = side
        self._work = work
        self._key = key
        self._reports: dict[str, bytes] = {}
        self._coming: Counter[int] = Counter()
        """Orders by index whose approval, or other end, is being judged or recorded."""

    async def look(
        self, order: OrderRecord, t_ms: int, *, by_pins_alone: bool = False
    ) -> Held | None:
        """Let all guards look at an order as if it were approved at `t_ms`, by present data.

        With `by_pins_alone` past orders are left out, and their lists. Returns None when nothing
        stands against it.

        Raises:
            NotFoundError, UnavailableError, IntegrityError: a list cannot be read.
        """
        among = () if by_pins_alone else None
        facts = guard_facts(self._ledger.state, order, t_ms, among=among)
        if by_pins_alone:
            facts = replace(facts, administrative_ms=0)
        return await self._look(order, facts, t_ms)

    async def _look(self, order: OrderRecord, facts: GuardFacts, t_ms: int) -> Held | None:
        state = self._ledger.state
        policy_sha256 = present_policy(state).payload_sha256
        async with self._secrets.at_hand(order.payload, facts) as (paths, salted):
            scan = await self._work.scan_guards(GuardJob(facts, paths, salted))
        scan = with_growth(state, order, facts, scan, t_ms)
        found = objections(order, scan, facts.pins)
        if not found:
            return None
        told = tell_findings(state, order, facts, scan, self._sealing.seal)
        document = secrets.token_bytes(side_files.SALT_BYTES) + told.report
        return Held(tuple(found), scan, told, document, policy_sha256)

    async def check_proposal(self, order: OrderProposed, payload_sha256: str) -> Held | None:
        """Return what would hold an order once it is proposed.

        Raises:
            RefusedError: a guard refuses it.
            UnavailableError: it would have to be held, and cannot be; else as :meth:`look`.
        """
        t_ms = self._ledger.now_ms()
        record = as_proposed(self._ledger.state, order, payload_sha256, t_ms)
        return self._judged(await self.look(record, t_ms))

    async def check_act(self, act: OrderApproved | OrderExtended | OrderConfirmed) -> Checked:
        """Return what holds an order that is about to begin, or to go on to another end.

        Raises:
            RefusedError, UnavailableError: as :meth:`check_proposal`.
        """
        t_ms = self._ledger.now_ms()
        state = self._ledger.state
        order = _as_ordered(state, act)
        until_ms = t_ms + SCAN_VALID_MS
        facts, later = (guard_facts(state, order, at, state.size) for at in (t_ms, until_ms))
        alone = facts.until(later)
        facts = alone.until(self._with_coming(order, t_ms, until_ms))
        held = await self._look(order, facts, t_ms)
        if held is not None and facts != alone:  # what comes may be why, and may never come
            facts = alone
            held = await self._look(order, facts, t_ms)
        held = self._judged(held)

        def check(state: State, recorded_at_ms: int) -> None:
            now = guard_facts(state, _as_ordered(state, act), recorded_at_ms, state.size)
            if recorded_at_ms > until_ms or not facts.includes(now):
                raise StaleScanError(
                    "other acts that concern the targets were recorded at the same time",
                    advice="Send the same act again in a moment.",
                )

        return Checked(held, check)

    @contextmanager
    def coming(self, act: OrderApproved | OrderExtended | OrderConfirmed) -> Iterator[None]:
        """Let others reckon with it that the order of this act may soon block."""
        index = act.order.entry_index
        self._coming[index] += 1
        try:
            yield
        finally:
            self._coming[index] -= 1
            self._coming += Counter()  # without what is at zero

    def _with_coming(self, order: OrderRecord, t_ms: int, until_ms: int) -> GuardFacts:
        """Return facts at `until_ms` as if all that comes had been approved at `t_ms`."""
        state = self._ledger.state
        others = (state.orders[index] for index in self._coming if index in state.orders)
        approved = [
            replace(each, approved_index=state.size - 1, approved_at_ms=t_ms)
            for each in others
            if each.approved_index is None
        ]
        among = chain(comparable(state, order, until_ms), approved)
        return guard_facts(state, order, until_ms, state.size, among=among)

    def act(self, held: Held, ref: OrderRef) -> Envelope:
        """Return the control plane's own act that puts an order on hold."""
        state = self._ledger.state
        payload = OrderHeld(
            ledger_origin=state.origin,
            request_id=secrets.token_urlsafe(24),
            valid_until_ms=self._ledger.now_ms() + DAY_MS,
            order=ref,
            policy_sha256=held.policy_sha256,
            guards=held.guards,
            report_sha256=sha256(held.document).hexdigest(),
        )
        identity = key_id(self._key.public_key)
        return sign(OrderHeld.TYPE, fields.dump(payload), [(identity, self._key.sign)])

    async def hold(self, order: OrderRecord, held: Held) -> int | None:
        """Put an order on hold; return the entry, or None where it is held for that already.

        Raises:
            RefusedError, UnavailableError: it could not be recorded.
        """
        ref = OrderRef(order.payload.order_id, order.index, order.payload_sha256)
        self.check_can_hold()
        await self.keep(held)
        try:
            recorded = await self._ledger.record(self.act(held, ref))
        except ConflictError as error:  # somebody was quicker: it is held, or has ended
            log.info("hold_needless", order_id=ref.order_id, problem=error.message)
            return None
        log.info("order_held", order_id=ref.order_id, index=recorded.index, guards=held.names)
        return recorded.index

    async def keep(self, held: Held) -> None:
        """Make the report durable, before the act that names it is recorded.

        Raises:
            UnavailableError: the disk did not take it.
        """
        await side_files.keep(self._side, {sha256(held.document).hexdigest(): held.document})

    def report(self, report_sha256: str) -> bytes:
        """Return the report of a refusal or of what was only judged, by its SHA-256.

        Raises:
            NotFoundError: it is not kept any more.
        """
        report = self._reports.get(report_sha256)
        if report is None:
            raise NotFoundError(
                f"the report {report_sha256} is not kept any more",
                advice="Have the order judged again: enforcer order propose --validate-only.",
                field="report_sha256",
            )
        return report

    def check_can_hold(self) -> None:
        """Check that the roots have registered this control plane's key.

        Raises:
            UnavailableError: they have not, or it may sign nothing more.
        """
        record = self._ledger.state.keys.get(key_id(self._key.public_key))
        if record is None or record.registration.role is not Role.CONTROL:
            problem = "the roots have not registered this control plane's own key"
        elif record.revoked_index is not None:
            problem = f"entry {record.revoked_index} revoked this control plane's own key"
        elif record.registration.not_after_ms < self._ledger.now_ms():
            problem = "the registration of this control plane's own key has ended"
        else:
            return
        raise UnavailableError(
            f"the order must be held, and {problem}",
            advice="Register a key for it: enforcer key request signing.key --role control, then "
            "enforcer trust register.",
        )

    def _judged(self, held: Held | None) -> Held | None:
        """Return what holds an order; raise for what refuses it, or could not be held."""
        if held is None:
            return None
        refusing = [each for each in held.objections if each.refuses]
        if refusing:
            raise self._refusal(refusing, held)
        self.check_can_hold()
        return held

    def _refusal(self, refusing: list[Objection], held: Held) -> RefusedError:
        """Return the refusal, and keep the report with every line for whoever asks."""
        scan, report = held.scan, held.told.report
        name = sha256(report).hexdigest()
        while len(self._reports) >= REPORTS_KEPT_MAX:
            del self._reports[next(iter(self._reports))]
        self._reports[name] = report
        counts = ", ".join(
            each.guard.name
            if held.told.are_counts_hidden
            else f"{each.guard.name} {scan.counts[each.guard]}"
            for each in refusing
        )
        wanted = {each.guard.name for each in refusing}
        hits = [hit for hit in held.told.hits if hit.split(" ", 2)[1] in wanted]
        told = "; ".join(f"line {hit}" for hit in hits[:HITS_TOLD_MAX])
        if not told and not held.told.is_hidden:
            told = f"{refusing[0].evidence}"
        return RefusedError(
            f"guards refuse lines of the list ({counts})" + (f": {told}" if told else ""),
            advice="Propose it without these lines: the report has them all.",
            field="target_list_sha256",
            guards=", ".join(each.guard.name for each in refusing),
            report_sha256=name,
        )


def _as_ordered(state: State, act: OrderApproved | OrderExtended | OrderConfirmed) -> OrderRecord:
    order = state.orders[act.order.entry_index]
    return order if isinstance(act, OrderApproved) else as_prolonged(order, act)
