"""What every signed payload carries, whatever act it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias

from enforcer.core.fields import Text, UnixMs

Origin: TypeAlias = Annotated[
    str, Text(200, r"[!-*,-~]+", "a ledger origin: printable ASCII without spaces or '+'")
]
RequestId: TypeAlias = Annotated[
    str, Text(64, "[A-Za-z0-9_-]{16,64}", "16 to 64 letters, digits, '-' or '_'")
]


@dataclass(frozen=True, slots=True)
class Payload:
    """The fields that bind an act to one ledger, one request, and a time to be recorded by."""

    TYPE: ClassVar[str] = ""

    ledger_origin: Origin
    """The ledger that the act is meant for; it has no effect in another."""
    request_id: RequestId
    """Chosen by the signer, once; a signer's second use of it has no effect."""
    valid_until_ms: UnixMs
    """The act has no effect when it is recorded later (stops excepted)."""
