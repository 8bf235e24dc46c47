"""Entries: the ledger's leaves, and the closed list of what they can hold.

A leaf is ``{"recorded_at_ms":N,"envelope":{…}}`` in its one spelling, at most 65,535 bytes.
A leaf that is no entry, or of a kind that is not listed here, stops whoever follows the
ledger; a listed kind with a malformed payload has no effect and is reported (DESIGN
section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, get_args

from enforcer.core import envelope as dsse
from enforcer.core import fields
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.envelope import Envelope
from enforcer.core.fields import Json, UnixMs
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.key import KeyRegistered, KeyRevoked, LogKeyRotated, RootsChanged
from enforcer.core.order import (
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderPublished,
    OrderRejected,
    OrderStopped,
)
from enforcer.core.policy import PolicyAdopted
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.errors import InputError, IntegrityError

PAYLOADS_KEPT: Final = 64
"""Payloads that were read last, kept read: at most 4 MiB of text."""
ENTRY_BYTES_MAX: Final = 65_535  # C2SP tlog-tiles: a bundle's length prefix is a uint16

RootAct: TypeAlias = PolicyAdopted | RootsChanged | KeyRegistered | KeyRevoked | LogKeyRotated
OrderAct: TypeAlias = (
    OrderApproved
    | OrderRejected
    | OrderConfirmed
    | OrderExtended
    | OrderPublished
    | OrderStopped
    | OrderHeld
    | AssessmentRecorded
    | HoldLifted
    | ReviewDone
    | NotificationSent
    | AppealFiled
    | AppealDecided
    | OrderSuspended
    | OrderResumed
)
"""What names an order that was proposed before."""
AnyPayload: TypeAlias = RootAct | OrderProposed | OrderAct | AttestationsRecorded
KINDS: Final[dict[str, type[AnyPayload]]] = {
    kind.TYPE: kind
    for kind in (*get_args(RootAct), OrderProposed, *get_args(OrderAct), AttestationsRecorded)
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded act: when the control plane recorded it, and what was signed."""

    recorded_at_ms: int
    envelope: Envelope

    @property
    def kind(self) -> str:
        """The kind's short name, as in ``OrderApproved``."""
        cls = KINDS.get(self.envelope.payload_type)
        return cls.__name__ if cls else self.envelope.payload_type


def encode(entry: Entry) -> bytes:
    """Write the leaf; `parse` gives the same entry back."""
    plain: dict[str, Json] = {
        "recorded_at_ms": entry.recorded_at_ms,
        "envelope": dsse.to_plain(entry.envelope),
    }
    return fields.dump_plain(plain)


def parse(leaf: bytes) -> Entry:
    """Read a leaf.

    Raises:
        IntegrityError: it is no entry in its one spelling, or of an unknown kind.
    """
    try:
        plain = fields.load(leaf, "entry")
        time = fields.read(_Time, {"recorded_at_ms": plain.pop("recorded_at_ms", None)}, "entry")
        entry = Entry(time.recorded_at_ms, dsse.from_plain(plain.pop("envelope", None)))
    except InputError as error:
        raise _stop(error.message) from error
    if plain or encode(entry) != leaf:
        raise _stop("the entry is not in its canonical spelling")
    if entry.envelope.payload_type not in KINDS:
        raise _stop(f"the entry is of an unknown kind, {entry.envelope.payload_type}")
    return entry


def parse_payload(envelope: Envelope) -> AnyPayload:
    """Read the payload of an envelope of a known kind.

    Raises:
        InputError: an unknown kind, or with ``data["field"]`` what is wrong in the payload.
    """
    if envelope.payload_type not in KINDS:
        raise InputError(
            f"the payload type {envelope.payload_type} is unknown",
            advice="Send one of: " + ", ".join(KINDS),
            field="payloadType",
        )
    return _payload(envelope.payload_type, envelope.payload)


@lru_cache(maxsize=PAYLOADS_KEPT)
def _payload(payload_type: str, octets: bytes) -> AnyPayload:
    """Read a payload; the last ones are kept, since several parties in a row ask for each."""
    cls = KINDS[payload_type]
    return fields.read(cls, fields.load(octets, cls.__name__), cls.__name__)


@dataclass(frozen=True, slots=True)
class _Time:
    recorded_at_ms: UnixMs


def _stop(what: str) -> IntegrityError:
    return IntegrityError(
        what, advice="Stop following; update this software, or ask the ledger's operator."
    )
