"""The period that a report is for: half a year, a year, or any two times; the end is not in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Final

from enforcer.errors import InputError

_NAMED: Final = re.compile(r"([0-9]{4})(?:-H([12]))?", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):([0-9]{2})", re.ASCII)
_OFFSET_MINUTES_MAX: Final = 14 * 60
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_MIN: Final = 1970
YEAR_MAX: Final = 9998
_DAY_MS: Final = 86_400_000
_FROM_MS_MIN: Final = _DAY_MS  # so that no offset leads out of the calendar
_TO_MS_MAX: Final = 253_402_300_800_000 - 2 * _DAY_MS  # the last days of 9999


@dataclass(frozen=True, slots=True)
class Period:
    """``from_ms <= t < to_ms`` (Unix time, milliseconds)."""

    name: str | None
    """As in ``2026-H1``; None for a free range."""
    from_ms: int
    to_ms: int
    utc_offset_minutes: int
    """Where the days and months of the report begin."""

    def contains(self, t_ms: int) -> bool:
        """Tell whether a time lies in the period."""
        return self.from_ms <= t_ms < self.to_ms

    @property
    def label(self) -> str:
        """The name, or both times, as a file's name can hold it."""
        return self.name or f"{self._moment(self.from_ms)}_{self._moment(self.to_ms)}"

    @property
    def months(self) -> tuple[str, ...]:
        """The months that lie in it, whole or in part."""
        first, last = (month(t, self.utc_offset_minutes) for t in (self.from_ms, self.to_ms - 1))
        numbers = range(*(int(each[:4]) * 12 + int(each[5:]) for each in (first, last)))
        ahead = tuple(f"{(each - 1) // 12:04}-{(each - 1) % 12 + 1:02}" for each in numbers)
        return (*ahead, last)

    def _moment(self, t_ms: int) -> str:
        moment = _local(t_ms, self.utc_offset_minutes)
        day = moment.date().isoformat()
        return day if moment.time() == time() else f"{day}T{moment:%H%M%S}"


def month(t_ms: int, utc_offset_minutes: int) -> str:
    """Return the month of a time, as in ``2026-01``, at that offset from UTC."""
    moment = _local(t_ms, utc_offset_minutes)
    return f"{moment.year:04}-{moment.month:02}"


def named(text: str, utc_offset_minutes: int = 0) -> Period:
    """Return a year (``2026``) or half of one (``2026-H1``).

    Raises:
        InputError: it is neither.
    """
    match = _NAMED.fullmatch(text)
    if match is None or not YEAR_MIN < int(match[1]) <= YEAR_MAX:
        raise _error("period", text, "Write a half-year such as 2026-H1, or a year such as 2026.")
    year, half = int(match[1]), match[2]
    first = (year, 7 if half == "2" else 1)
    after = (year, 7) if half == "1" else (year + 1, 1)
    zone = timezone(timedelta(minutes=utc_offset_minutes))
    from_ms, to_ms = (_unix_ms(datetime(*each, 1, tzinfo=zone)) for each in (first, after))
    return Period(text, from_ms, to_ms, utc_offset_minutes)


def between(from_text: str, to_text: str, utc_offset_minutes: int = 0) -> Period:
    """Return the time from one date or time up to another; without an offset they are local.

    Raises:
        InputError: one is no time, or the end is not after the beginning.
    """
    zone = timezone(timedelta(minutes=utc_offset_minutes))
    from_ms, to_ms = _time(from_text, "from", zone), _time(to_text, "to", zone)
    if from_ms >= to_ms:
        raise _error("to", to_text, "Give an end that is after the beginning.")
    return Period(None, from_ms, to_ms, utc_offset_minutes)


def explicit(name: str | None, from_ms: int, to_ms: int, utc_offset_minutes: int) -> Period:
    """Return the period that somebody else wrote down.

    Raises:
        InputError: its times are no range, or not those that its name stands for.
    """
    if not _FROM_MS_MIN <= from_ms < to_ms <= _TO_MS_MAX:
        raise _error("period", f"{from_ms} to {to_ms}", "Give an end after the beginning.")
    period = Period(name, from_ms, to_ms, utc_offset_minutes)
    if name is not None and period != named(name, utc_offset_minutes):
        raise _error("period", name, "Give the times that it stands for, or no name.")
    return period


def offset(text: str) -> int:
    """Return the minutes of an offset from UTC such as ``+07:00``.

    Raises:
        InputError: it is none.
    """
    match = _OFFSET.fullmatch(text)
    minutes = int(match[2]) * 60 + int(match[3]) if match else _OFFSET_MINUTES_MAX + 1
    if match is None or minutes > _OFFSET_MINUTES_MAX or int(match[3]) > 59:
        raise _error("utc_offset", text, "Write an offset from UTC such as +07:00.")
    return -minutes if match[1] == "-" else minutes


def _time(text: str, field: str, zone: timezone) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        t_ms = _unix_ms(moment)
    except (ValueError, OverflowError) as error:
        raise _error(field, text, "Write a date such as 2026-07-01, or a time.") from error
    if not YEAR_MIN < moment.year <= YEAR_MAX:
        raise _error(field, text, f"Give a year from {YEAR_MIN + 1} to {YEAR_MAX}.")
    return t_ms


def _local(t_ms: int, utc_offset_minutes: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=t_ms, minutes=utc_offset_minutes)


def _unix_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _error(field: str, text: str, advice: str) -> InputError:
    return InputError(f"{field}: {text[:80]!r} does not do", advice=advice, field=field)
