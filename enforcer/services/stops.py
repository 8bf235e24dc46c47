"""Signed stops that the ledger does not have yet: obeyed at once, kept until it has them (law 1).

Owns which orders are stopped here ahead of the ledger, and the stops that wait for an order this
node has not read of. Refuses what the rules refuse. Always true: a stop obeyed here is on disk
(unless the disk refuses), and is judged again after every step of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import structlog

from enforcer.core.entry import Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.judge import judge_unlogged_stop
from enforcer.core.order import OrderStopped
from enforcer.core.state import State
from enforcer.errors import ConflictError, EnforcerError, NotFoundError
from enforcer.ports import KeptFiles

FOLDER: Final = "kept-stops"
WAITING_MAX: Final = 256
"""Stops of registered persons that wait for an order; the oldest goes when one more comes."""

_log = structlog.get_logger(__name__)


class StopOutcome(IntEnum):
    """What became of a stop that was offered."""

    UNSPECIFIED = 0
    RECORDED = 1
    OBEYED = 2
    KEPT = 3


@dataclass(frozen=True, slots=True)
class KeptStop:
    """A stop that is not in the ledger as far as this node has read."""

    envelope: Envelope
    order_index: int
    received_at_ms: int
    is_relayed: bool = False
    """The control plane has answered for it."""

    @property
    def sha256(self) -> str:
        """The payload's hash, by which the attestation names the stop."""
        return self.envelope.payload_sha256

    @property
    def envelope_bytes(self) -> bytes:
        """The envelope as it was signed, in its one spelling."""
        return format_envelope(self.envelope)

    @property
    def file(self) -> str:
        """Where it is kept."""
        return f"{FOLDER}/{self.sha256}.json"


class StopKeeper:
    """The stops of one node; use it from one event loop, `save` in any thread."""

    def __init__(self, files: KeptFiles) -> None:
        self._files = files
        self._obeyed: dict[int, KeptStop] = {}
        self._waiting: dict[str, KeptStop] = {}
        self._unsaved: dict[str, KeptStop | None] = {}

    @property
    def obeyed(self) -> dict[int, KeptStop]:
        """The stop for each order that is stopped ahead of the ledger, by the order's index."""
        return dict(self._obeyed)

    @property
    def to_relay(self) -> tuple[KeptStop, ...]:
        """Those that the control plane has not answered for."""
        return tuple(stop for stop in self._obeyed.values() if not stop.is_relayed)

    def restore(self, state: State) -> None:
        """Read what was kept, and judge it by the ledger as it is now; it blocks."""
        for name in self._files.names(FOLDER):
            try:
                entry = parse(self._files.read(name) or b"")
                self._admit(state, entry.envelope, entry.recorded_at_ms)
            except EnforcerError as error:
                _log.warning("forgot a kept stop", file=name, problem=error.message)
                self._files.remove(name)

    def offer(self, state: State, data: bytes, t_ms: int) -> StopOutcome:
        """Judge a signed stop that came from anywhere; obeyed ones are in `obeyed` from now on.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not obeyed.
        """
        envelope = parse_envelope(data)
        if envelope.payload_sha256 in state.index_of_payload:
            return StopOutcome.RECORDED
        stop, is_known = self._admit(state, envelope, t_ms)
        if stop is not None:
            self._unsaved[stop.sha256] = stop
            _log.warning(
                "obeys a stop before it is logged" if is_known else "keeps a stop for later",
                order_index=stop.order_index,
                stop=stop.sha256,
            )
        return StopOutcome.OBEYED if is_known else StopOutcome.KEPT

    def offer_entries(self, state: State, leaves: Iterable[bytes], t_ms: int) -> bool:
        """Obey the valid stops among entries that were not taken; tell whether there was one."""
        is_new = False
        for leaf in leaves:
            try:
                envelope = parse(leaf).envelope
                if envelope.payload_type == OrderStopped.TYPE:
                    before = len(self._obeyed)
                    self.offer(state, format_envelope(envelope), t_ms)
                    is_new |= len(self._obeyed) > before
            except EnforcerError:
                continue  # it stays with the update that was refused
        return is_new

    def review(self, state: State) -> None:
        """Judge everything again after the ledger went on: some is logged now, some can act."""
        waiting, self._waiting = self._waiting, {}
        obeyed, self._obeyed = self._obeyed, {}
        for stop in (*obeyed.values(), *waiting.values()):
            try:
                self._admit(state, stop.envelope, stop.received_at_ms, stop.is_relayed)
            except ConflictError:
                self._unsaved[stop.sha256] = None  # the order has ended by the ledger
            except EnforcerError as error:
                _log.error("obeys a stop no more", stop=stop.sha256, problem=error.message)
                self._unsaved[stop.sha256] = None

    def relayed(self, stop: KeptStop) -> None:
        """Remember that the control plane has answered for a stop."""
        if self._obeyed.get(stop.order_index) == stop:
            self._obeyed[stop.order_index] = replace(stop, is_relayed=True)

    def save(self) -> None:
        """Make what changed durable; it blocks.

        Raises:
            UnavailableError: the disk did not take it; it is tried again with the next one.
        """
        for sha256, stop in list(self._unsaved.items()):
            if stop is None:
                self._files.remove(f"{FOLDER}/{sha256}.json")
            else:
                self._files.write(stop.file, encode(Entry(stop.received_at_ms, stop.envelope)))
            if self._unsaved.get(sha256) is stop:
                self._unsaved.pop(sha256, None)

    def _admit(
        self, state: State, envelope: Envelope, received_at_ms: int, is_relayed: bool = False
    ) -> tuple[KeptStop | None, bool]:
        """Judge a stop: (it, if it is new here; whether its order is known)."""
        try:
            payload = judge_unlogged_stop(state, envelope, received_at_ms)
        except NotFoundError:
            # Its signer is registered; only the order is not there.
            claimed = parse_payload(envelope)
            if not isinstance(claimed, OrderStopped) or claimed.order.entry_index < state.size:
                raise
            stop = KeptStop(envelope, claimed.order.entry_index, received_at_ms)
            if stop.sha256 in self._waiting:
                return None, False
            self._waiting[stop.sha256] = stop
            if len(self._waiting) > WAITING_MAX:
                oldest = next(iter(self._waiting))
                del self._waiting[oldest]
                self._unsaved[oldest] = None
            return stop, False
        index = payload.order.entry_index
        if index in self._obeyed:
            return None, True
        stop = KeptStop(envelope, index, received_at_ms, is_relayed)
        self._obeyed[index] = stop
        return stop, True
