"""The stops that a node keeps beside the ledger: their records, and the room for those that wait.

A stop waits when it names an order that this node has not read of. Always true: nobody's stops
take the place of another person's, and there is a bound for each person and for all. Those whose
signer is not known yet could be anybody's: they have a room for each path, and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.core.entry import Entry, encode, parse_payload
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.order import OrderRef, OrderStopped
from enforcer.core.state import State
from enforcer.errors import EnforcerError, UnavailableError

OBEYED_FOLDER: Final = "kept-stops"
WAITING_FOLDER: Final = "waiting-stops"
WAITING_MAX: Final = 256
WAITING_PER_PERSON_MAX: Final = 16
EARLY_PER_PATH_MAX: Final = 256
"""When one more comes, the same path's oldest goes."""


@dataclass(frozen=True, slots=True)
class KeptStop:
    """A stop that is not in the ledger as far as this node has read."""

    envelope: Envelope
    order: OrderRef
    person_id: str
    """Who signed; empty while the ledger, as far as it was read, does not tell."""
    received_at_ms: int
    is_relayed: bool = False
    """The control plane has answered for it."""

    @property
    def order_id(self) -> str:
        """The order that it stops, in all versions."""
        return self.order.order_id

    @property
    def key_id(self) -> str:
        """The key that signed."""
        return self.envelope.signatures[0].key_id

    @property
    def sha256(self) -> str:
        """The payload's hash, by which the attestation names the stop."""
        return self.envelope.payload_sha256

    @property
    def envelope_bytes(self) -> bytes:
        """The envelope as it was signed, in its one spelling."""
        return format_envelope(self.envelope)

    @property
    def content(self) -> bytes:
        """What its file holds: the leaf that it would be, recorded when it was received."""
        return encode(Entry(self.received_at_ms, self.envelope))

    @property
    def obeyed_file(self) -> str:
        """Where it is kept from when it is obeyed."""
        return f"{OBEYED_FOLDER}/{self.sha256}.json"

    @property
    def waiting_file(self) -> str:
        """Where it is kept while it waits."""
        return f"{WAITING_FOLDER}/{self.sha256}.json"


class WaitingRoom:
    """Stops of registered persons for orders to come, in the order in which they came."""

    def __init__(self) -> None:
        self._stops: dict[str, KeptStop] = {}

    def __contains__(self, sha256: object) -> bool:
        """Tell whether a stop waits, by its payload's hash."""
        return sha256 in self._stops

    def put(self, stop: KeptStop) -> None:
        """Let a stop wait.

        Raises:
            UnavailableError: the person's part of the room is full, or the room: what was answered
                does not go for what comes.
        """
        own = sum(each.person_id == stop.person_id for each in self._stops.values())
        if own >= WAITING_PER_PERSON_MAX or len(self._stops) >= WAITING_MAX:
            of = f" of {stop.person_id}" if own >= WAITING_PER_PERSON_MAX else ""
            waiting = own if of else len(self._stops)
            raise UnavailableError(
                f"{waiting} stops{of} wait here for orders that this node has not read of",
                advice="Send it to the control plane, or here again once the order is known.",
            )
        self._stops[stop.sha256] = stop

    def take_all(self) -> list[KeptStop]:
        """Empty the room."""
        stops, self._stops = self._stops, {}
        return list(stops.values())


class EarlyStops:
    """Stops that were refused as long as the ledger has not told of their signer or order."""

    def __init__(self) -> None:
        self._stops: dict[str, dict[bytes, KeptStop]] = {}
        """Path -> envelope -> stop, in the order in which they came last."""

    def put(self, path: str, data: bytes, state: State) -> None:
        """Keep what a path brought and was refused, if the ledger may yet show that it counts."""
        try:
            envelope = parse_envelope(data)
            payload = parse_payload(envelope)
        except EnforcerError:
            return
        if not isinstance(payload, OrderStopped) or payload.ledger_origin != state.origin:
            return
        stop = KeptStop(envelope, payload.order, "", 0)
        if _is_told_of(stop, state):
            return
        stops = self._stops.setdefault(path, {})
        stops.pop(data, None)
        stops[data] = stop
        if len(stops) > EARLY_PER_PATH_MAX:
            del stops[next(iter(stops))]

    def take_ripe(self, state: State) -> list[tuple[str, bytes]]:
        """Remove those that can be judged by now; return path and envelope of each."""
        ripe = [
            (path, data)
            for path, stops in self._stops.items()
            for data, stop in stops.items()
            if _is_told_of(stop, state)
        ]
        for path, data in ripe:
            del self._stops[path][data]
        return ripe


def _is_told_of(stop: KeptStop, state: State) -> bool:
    """Tell whether the ledger knows who signed, and the order unless that is still to come."""
    is_order_known = stop.order_id in state.versions or stop.order.entry_index >= state.size
    return stop.key_id in state.keys and is_order_known
