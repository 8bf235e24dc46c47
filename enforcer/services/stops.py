"""Signed stops that the ledger does not have yet: obeyed at once, kept until it has them (law 1).

A stop is of an order in all its versions. Refuses what the rules refuse when a stop comes; from
then on it is obeyed until the ledger has ended every version of the order, whatever became of
the key. Always true: a stop obeyed here is on disk (unless the disk refuses), and only the
ledger's own end of the order removes it from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum
from typing import Final

import structlog

from enforcer.core.entry import parse, parse_payload
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.judge import judge_obeyed_stop, judge_unlogged_stop
from enforcer.core.order import OrderStopped
from enforcer.core.state import State
from enforcer.errors import ConflictError, EnforcerError, InputError, NotFoundError
from enforcer.ports import KeptFiles
from enforcer.services.kept_stops import OBEYED_FOLDER, WAITING_FOLDER, KeptStop, WaitingRoom
from enforcer.services.node_time import Moment

_log: Final = structlog.get_logger(__name__)


class StopOutcome(IntEnum):
    """What became of a stop that was offered."""

    UNSPECIFIED = 0
    RECORDED = 1
    OBEYED = 2
    KEPT = 3


class StopKeeper:
    """The stops of one node; use it from one event loop, `save` in any thread."""

    def __init__(self, files: KeptFiles) -> None:
        self._files = files
        self._obeyed: dict[str, dict[str, KeptStop]] = {}
        """Order id -> payload hash -> stop; of each key the first."""
        self._waiting = WaitingRoom()
        self._unproven: dict[str, KeptStop] = {}
        """File -> what it holds, where the ledger as it was read does not prove it (yet)."""
        self._unsaved: dict[str, KeptStop | None] = {}
        """File -> what it must hold; None: it must go."""

    @property
    def obeyed(self) -> dict[str, KeptStop]:
        """The first stop for each order that is stopped ahead of the ledger, by order id."""
        return {
            order_id: min(stops.values(), key=lambda stop: (stop.received_at_ms, stop.sha256))
            for order_id, stops in self._obeyed.items()
        }

    @property
    def unlogged(self) -> tuple[KeptStop, ...]:
        """All stops that are obeyed ahead of the ledger; several persons may stop one order."""
        return tuple(stop for stops in self._obeyed.values() for stop in stops.values())

    @property
    def to_relay(self) -> tuple[KeptStop, ...]:
        """Those that the control plane has not answered for."""
        return tuple(stop for stop in self.unlogged if not stop.is_relayed)

    @property
    def has_unsaved(self) -> bool:
        """Whether `save` has something to do."""
        return bool(self._unsaved)

    def restore(self, state: State) -> None:
        """Read what was kept, and judge it by the ledger as it is now; it blocks."""
        for folder in (OBEYED_FOLDER, WAITING_FOLDER):
            for name in self._files.names(folder):
                try:
                    entry = parse(self._files.read(name) or b"")
                    stop = _claimed(entry.envelope, entry.recorded_at_ms)
                except EnforcerError as error:
                    _log.error("cannot read a kept stop", file=name, problem=error.message)
                else:
                    self._unproven[name] = stop
        self._prove(state)
        for name in self._unproven:
            _log.error("cannot prove a kept stop yet", file=name)

    def offer(self, state: State, data: bytes, moment: Moment) -> StopOutcome:
        """Judge a signed stop that came from anywhere; obeyed ones are in `obeyed` from now on.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not obeyed.
            UnavailableError: its order is not known here, and too many such stops wait.
        """
        envelope = parse_envelope(data)
        if envelope.payload_sha256 in state.index_of_payload:
            return StopOutcome.RECORDED
        # By the floor: a clock that is far ahead must not end the key that stops.
        return self._admit(state, envelope, moment.t_ms, moment.floor_ms)

    def offer_entries(self, state: State, leaves: Iterable[bytes], moment: Moment) -> bool:
        """Obey the valid stops among entries that were not taken; tell whether there was one."""
        before = set(self._obeyed)
        for leaf in leaves:
            try:
                envelope = parse(leaf).envelope
                if envelope.payload_type == OrderStopped.TYPE:
                    self.offer(state, format_envelope(envelope), moment)
            except EnforcerError:
                continue  # it stays with the update that was refused
        return self._obeyed.keys() != before

    def review(self, state: State) -> None:
        """Look again after the ledger went on: some is logged now, some can act."""
        for order_id in [each for each in self._obeyed if state.is_over(each)]:
            for stop in self._obeyed.pop(order_id).values():
                self._unsaved[stop.obeyed_file] = None
        for stop in self._waiting.take_all():
            try:
                self._admit_again(state, stop)
            except EnforcerError as error:
                _log.warning("a stop waits no more", stop=stop.sha256, problem=error.message)
                self._unsaved[stop.waiting_file] = None
        self._prove(state)

    def relayed(self, stop: KeptStop) -> None:
        """Remember that the control plane has answered for a stop."""
        stops = self._obeyed.get(stop.order_id, {})
        if stop.sha256 in stops:
            stops[stop.sha256] = replace(stops[stop.sha256], is_relayed=True)

    def save(self) -> None:
        """Make what changed durable; it blocks.

        Raises:
            UnavailableError: the disk did not take it; it is tried again with the next one.
        """
        # What is to be there comes first: a stop that waited no more was gone for a moment else.
        unsaved = sorted(self._unsaved.items(), key=lambda each: each[1] is None)
        for file, stop in unsaved:
            if stop is None:
                self._files.remove(file)
            else:
                self._files.write(file, stop.content)
            if self._unsaved.get(file) is stop:
                self._unsaved.pop(file, None)

    def _admit_again(self, state: State, stop: KeptStop) -> StopOutcome:
        judged_at_ms = min(stop.received_at_ms, state.recorded_at_ms)
        return self._admit(state, stop.envelope, stop.received_at_ms, judged_at_ms)

    def _admit(
        self, state: State, envelope: Envelope, received_at_ms: int, judged_at_ms: int
    ) -> StopOutcome:
        """Judge a stop in full, then obey it, or let it wait for its order."""
        try:
            judge_unlogged_stop(state, envelope, judged_at_ms)
        except NotFoundError:
            # Its signer is registered, and may stop orders; only this one is not there.
            stop = _signed(state, _claimed(envelope, received_at_ms))
            if stop.order.entry_index < state.size:
                raise
            self._wait(stop)
            return StopOutcome.KEPT
        self._obey(_signed(state, _claimed(envelope, received_at_ms)))
        return StopOutcome.OBEYED

    def _obey(self, stop: KeptStop) -> None:
        stops = self._obeyed.setdefault(stop.order_id, {})
        # Another person's stop is kept as well: the ledger may refuse the first one's.
        if all(stop.key_id != each.key_id for each in stops.values()):
            stops[stop.sha256] = stop
            self._unsaved[stop.obeyed_file] = stop
            _log.warning(
                "obeys a stop before it is logged", order_id=stop.order_id, stop=stop.sha256
            )
        self._unsaved[stop.waiting_file] = None

    def _wait(self, stop: KeptStop) -> None:
        if stop.sha256 in self._waiting:
            return
        self._waiting.put(stop)
        self._unsaved[stop.waiting_file] = stop
        _log.warning("keeps a stop for later", order_id=stop.order_id, stop=stop.sha256)

    def _prove(self, state: State) -> None:
        """Judge what was found on disk; what was obeyed once is, unless the order is over."""
        for file, stop in list(self._unproven.items()):
            if stop.key_id not in state.keys:
                continue  # the own copy of the ledger is not what it was, and is read again
            try:
                if file == stop.obeyed_file:
                    judge_obeyed_stop(state, stop.envelope)
                    self._obey(_signed(state, stop))
                else:
                    self._admit_again(state, stop)
            except ConflictError:
                self._unsaved[file] = None
            except EnforcerError as error:
                if file == stop.obeyed_file:
                    continue  # never forgotten: what is not known yet may prove it
                _log.warning("a stop waits no more", stop=stop.sha256, problem=error.message)
                self._unsaved[file] = None
            del self._unproven[file]


def _claimed(envelope: Envelope, received_at_ms: int) -> KeptStop:
    """Return a stop as it says it is.

    Raises:
        InputError: it is none.
    """
    payload = parse_payload(envelope)
    if not isinstance(payload, OrderStopped):
        raise InputError("it is no stop", advice="Remove the file.", field="payloadType")
    return KeptStop(envelope, payload.order, "", received_at_ms)


def _signed(state: State, stop: KeptStop) -> KeptStop:
    """Return a stop whose signature was verified, with the person."""
    return replace(stop, person_id=state.keys[stop.key_id].registration.person_id or "")
