"""The words of a report in one language: a catalogue as data, and numbers and times as it says.

The catalogues lie beside this file. Locale data is theirs too, and not a library's: a
report has the same bytes in ten years. A member of an open dimension, such as an authority,
stands as it is.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from enforcer.services.report_figures import Figure

SECOND_MS: Final = 1_000
_UNITS_MS: Final = (
    ("days", 86_400_000),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", SECOND_MS),
)


class Language(StrEnum):
    """A language that reports are written in, by its BCP 47 tag."""

    EN = "en"
    VI = "vi"


@cache
def catalogue(language: Language) -> dict[str, str]:
    """Return the catalogue: ``figure.orders.proposed.label`` -> a text, with names in braces."""
    text = files("enforcer.app").joinpath(f"report_{language}.toml").read_text("utf-8")
    found: dict[str, str] = {}
    _flatten(tomllib.loads(text), "", found)
    return found


def _flatten(table: dict[str, object], prefix: str, into: dict[str, str]) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}.", into)
        else:
            into[f"{prefix}{key}"] = str(value)


class Words:
    """Says everything in one language, with times at one offset from UTC."""

    def __init__(self, language: Language, utc_offset_minutes: int = 0) -> None:
        self.language = language
        self._texts = catalogue(language)
        self._offset_minutes = utc_offset_minutes

    def text(self, key: str, **values: str) -> str:
        """Return a text of the catalogue, filled in."""
        return self._texts[key].format(**values)

    def label(self, figure: Figure) -> str:
        """Return what a figure is called."""
        return self._texts[f"figure.{figure.id}.label"]

    def rule(self, figure: Figure) -> str:
        """Return how a figure is counted."""
        return self._texts[f"figure.{figure.id}.rule"]

    def member(self, dimension: str, member: str) -> str:
        """Return what a member of a dimension is called; itself where the dimension is open."""
        if dimension == "month":
            year, month = member.split("-")
            name = self._texts[f"month_short.{int(month)}"]
            return self.text("language.month", month_short=name, year=year)
        return self._texts.get(f"member.{dimension}.{member}", member)

    def dimensions(self, names: tuple[str, ...]) -> str:
        """Return what one or two dimensions are called."""
        first, *others = (self._texts[f"dimension.{name}"] for name in names)
        return self.text("text.and", first=first, second=others[0]) if others else first

    def number(self, value: int) -> str:
        """Return an integer with its thousands apart."""
        return f"{value:,}".replace(",", self._texts["language.thousands"])

    def duration(self, ms: int) -> str:
        """Return a length of time in its two largest units; below a minute exactly."""
        if ms < SECOND_MS:
            return self.text("duration.milliseconds", n=str(ms))
        if ms < 60 * SECOND_MS:
            whole, part = divmod(ms, SECOND_MS)
            cut = f"{part:03}".rstrip("0")
            n = f"{whole}{self._texts['language.decimal']}{cut}" if cut else str(whole)
            return self.text("duration.seconds", n=n)
        parts: list[str] = []
        for unit, unit_ms in _UNITS_MS:
            count, ms = divmod(ms, unit_ms)
            if count or parts:
                parts.append(self.text(f"duration.{unit}", n=self.number(count)) if count else "")
        return " ".join(part for part in parts[:2] if part)

    def date(self, t_ms: int) -> str:
        """Return the day of a time."""
        moment = self._local(t_ms)
        return self.text(
            "language.date",
            day=str(moment.day),
            month=str(moment.month),
            month_name=self._texts[f"month.{moment.month}"],
            year=f"{moment.year:04}",
        )

    def time(self, t_ms: int) -> str:
        """Return a time to the minute, rounded down."""
        moment = self._local(t_ms)
        return self.text(
            "language.time",
            date=self.date(t_ms),
            hour=f"{moment.hour:02}",
            minute=f"{moment.minute:02}",
        )

    def zone(self) -> str:
        """Return the name of the offset from UTC."""
        hours, minutes = divmod(abs(self._offset_minutes), 60)
        sign = "-" if self._offset_minutes < 0 else "+"
        offset = f"{sign}{hours:02}:{minutes:02}" if self._offset_minutes else ""
        return self.text("language.zone", offset=offset)

    def _local(self, t_ms: int) -> datetime:
        offset = timedelta(minutes=self._offset_minutes)
        return datetime.fromtimestamp(t_ms / 1_000, UTC) + offset
