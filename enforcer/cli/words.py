"""What people type, read: times such as ``+30d``, and names of a closed list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeVar

from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.core.state import OrderRecord

UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RELATIVE: Final = re.compile(r"\+([0-9]{1,9})([smhd])")

Choice = TypeVar("Choice", bound=IntEnum)


def time_of(text: str, now_ms: int, field: str) -> int:
    """Return Unix time in milliseconds; a date without an offset is UTC.

    Raises:
        InputError: ``data["field"]`` is `field`.
    """
    if match := _RELATIVE.fullmatch(text):
        return now_ms + int(match[1]) * UNIT_MS[match[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{field}: {text!r} is no time",
            advice="Write +90s, +12h, +30d, or a date such as 2027-01-31 or 2027-01-31T12:00:00Z.",
            field=field,
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000)


def choice(cls: type[Choice], text: str, field: str) -> Choice:
    """Return the member of a closed list; case does not matter, nor '-' for '_'.

    Raises:
        InputError: ``data["field"]`` is `field`.
    """
    names = {member.name: member for member in cls if member.value}
    found = names.get(text.upper().replace("-", "_"))
    if found is None:
        raise InputError(
            f"{field}: {text!r} is not known",
            advice=f"Write one of {', '.join(name.lower() for name in names)}.",
            field=field,
        )
    return found


def not_read(orders: Iterable[OrderRecord]) -> dict[str, str | None]:
    """Return pairs that say of which orders no list was read: those not here, and sealed ones."""
    ids = plain_not_read(orders)
    return {
        "list not here": ", ".join(ids["missing"]) or None,
        "restricted": f"{', '.join(ids['restricted'])}: targets not shown, nor looked at"
        if ids["restricted"]
        else None,
    }


def plain_not_read(orders: Iterable[OrderRecord]) -> dict[str, list[str]]:
    """Return the same as plain JSON values."""
    missing: list[str] = []
    restricted: list[str] = []
    for each in orders:
        (missing if each.is_public else restricted).append(each.payload.order_id)
    return {"missing": missing, "restricted": restricted}
