"""An order's whole life as people read it: every entry, who signed it, when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.api.client import ControlClient
from enforcer.app.acts import SALT_BYTES
from enforcer.app.assessment_draft import words as assessment_words
from enforcer.app.sealed_lists import is_sealed
from enforcer.core.entry import AnyPayload, parse, parse_payload
from enforcer.core.fields import to_plain
from enforcer.core.hold import AssessmentRecorded, OrderHeld
from enforcer.core.remedy import AppealDecided, AppealFiled
from enforcer.errors import NotFoundError
from enforcer.services.guarding import first_hits

__all__ = ["Event", "first_hits", "life"]

ROOTS: Final = ("the roots",)
SEALED_WORDS: Final = "sealed: who has the key of the order's list can read it"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry that concerns an order."""

    index: int
    recorded_at_ms: int
    kind: str
    signed_by: tuple[str, ...]
    payload: AnyPayload
    why: str | None
    """What the document says that gives the reason; None where there is none any more."""

    def plain(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "entry_index": self.index,
            "recorded_at_ms": self.recorded_at_ms,
            "kind": self.kind,
            "signed_by": list(self.signed_by),
            "why": self.why,
            "payload": to_plain(self.payload),
        }


async def life(client: ControlClient, order_id: str) -> list[Event]:
    """Read every entry that concerns an order, in all its versions, oldest first."""
    events = []
    async for message in client.watch_orders(0, order_id, once=True):
        entry = parse(message.entry)
        payload = parse_payload(entry.envelope)
        events.append(
            Event(
                index=message.entry_index,
                recorded_at_ms=entry.recorded_at_ms,
                kind=entry.kind,
                signed_by=tuple(message.signed_by) or ROOTS,
                payload=payload,
                why=await _why(client, payload),
            )
        )
    return events


async def _why(client: ControlClient, payload: AnyPayload) -> str | None:
    if not isinstance(payload, AssessmentRecorded):
        document = await _document(client, _reason_of(payload))
        if document is None or is_sealed(document):
            return None if document is None else SEALED_WORDS
        return document.decode("utf-8", "replace")
    return assessment_words(
        await _document(client, payload.facts_sha256),
        await _document(client, payload.necessity_sha256),
    )


def _reason_of(payload: AnyPayload) -> str | None:
    """Return the hash of the document that says why."""
    match payload:
        case OrderHeld():
            return payload.report_sha256
        case AppealFiled():
            return payload.statement_sha256
        case AppealDecided():
            return payload.decision_sha256
        case _:
            return getattr(payload, "reason_sha256", None)


async def _document(client: ControlClient, name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        document = await client.get_side_file(name)
    except NotFoundError:
        return None
    return document[SALT_BYTES:]
