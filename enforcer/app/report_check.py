"""What is other in a report than what the ledger gives: two documents, compared place by place.

A difference in what the ledger alone gives is a violation. One in what also rests on attestations
only leaves the check incomplete where the two do not rest on the same ones: nodes' words are
kept for a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from enforcer.core.fields import Json
from enforcer.services.findings import Severity
from enforcer.services.report_figures import FIGURES, Source

_NAMES: Final = ("id", "entry", "at")
"""What names an object in a list: a figure, an order, a row."""
_OF_WORDS: Final = (
    "attestations.",
    *(f"figures[{each.id}]" for each in FIGURES if each.source is Source.ATTESTATIONS),
)
_SHOWN_MAX: Final = 120


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a report says something else than what was computed."""

    place: str
    """As in ``figures[orders.approved].rows[category=SCAM].value``."""
    said: str
    computed: str
    severity: Severity


def differences(said: Json, computed: Json) -> Iterator[Difference]:
    """Yield where the two differ, in the order of the computed one."""
    was, found = dict(_leaves(said, "")), dict(_leaves(computed, ""))
    excused = _attestations(was) != _attestations(found)
    for place in [*found, *(each for each in was if each not in found)]:
        if _shown(was, place) != _shown(found, place):
            is_excused = excused and place.startswith(_OF_WORDS)
            severity = Severity.INCOMPLETE if is_excused else Severity.VIOLATION
            yield Difference(place, _shown(was, place), _shown(found, place), severity)


def cut(text: str) -> str:
    """Return what of a value is shown to people."""
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _leaves(value: Json, place: str) -> Iterator[tuple[str, Json]]:
    """Yield every value that holds no other, and where it stands."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        taken: dict[str, int] = {}
        for part in value:
            name = _name(part)
            taken[name] = taken.get(name, 0) + 1
            again = f" again {taken[name]}" if taken[name] > 1 else ""
            yield from _leaves(part, f"{place}[{name}{again}]")
    else:
        yield place, value


def _name(part: Json) -> str:
    if isinstance(part, dict):
        for key in _NAMES:
            if isinstance(at := part.get(key), dict):
                return ",".join(f"{name}={member}" for name, member in at.items())
            if key in part:
                return str(part[key])
    return ""


def _attestations(leaves: dict[str, Json]) -> tuple[Json, ...]:
    return leaves.get("attestations.used"), leaves.get("attestations.sha256")


def _shown(leaves: dict[str, Json], place: str) -> str:
    return repr(leaves[place]) if place in leaves else "nothing"
