"""Drafts of assessments as files, and assessments in words for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.collateral import draft_necessity, read_necessity
from enforcer.errors import InputError

SHOWN_MAX: Final = 5
"""Ranges, protected entries and orders of each kind that are told in words."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """Where the two documents of an assessment are, and what the facts say."""

    facts: Path
    necessity: Path
    lines: dict[str, str | None]


def write_draft(document: bytes, facts: Path, necessity: Path) -> Drafted:
    """Write the facts of an order, and a statement to complete unless one is there.

    Raises:
        UnavailableError: they cannot be written.
    """
    durable.make_directory(facts.parent)
    durable.write_file(facts, document)
    if not necessity.exists():
        durable.write_file(necessity, draft_necessity())
    return Drafted(facts, necessity, fact_lines(document))


def fact_lines(document: bytes) -> dict[str, str | None]:
    """Return what a document of facts says, in words; what is no such document says nothing."""
    try:
        facts = json.loads(document)
        if "lines_known" not in facts:  # of a sealed list nothing more is said
            return {"targets": f"{facts['targets']}, in a sealed list"}
        return {
            "targets": f"{facts['targets']}, {facts['lines_known']} of them in known ranges",
            "IPv4 addresses": facts["ipv4_addresses"],
            "IPv6 addresses": facts["ipv6_addresses"] if facts["ipv6_addresses"] != "0" else None,
            "shared ranges": _entries(facts["ranges"]),
            "protected": _entries(facts["protected"]),
            "other orders": "\n".join(
                f"{each['order_id']} ({each['standing']}): {each['lines_in_it']} lines lie in its "
                f"targets, {each['its_lines_in_list']} of its lines in these"
                for each in facts["orders"][:SHOWN_MAX]
            )
            or "none",
        }
    except (ValueError, LookupError, TypeError):
        return {"facts": "not in the form of facts"}


def _entries(found: dict[str, list[dict[str, str]] | int]) -> str:
    entries = found["entries"]
    if not isinstance(entries, list) or not entries:
        return str(found["count"]) if found["count"] else "none"
    told = [
        f"{each['line']} ({each['addresses']} addresses): {each['lines_in_it']} lines"
        for each in entries[:SHOWN_MAX]
    ]
    more = int(str(found["count"])) - len(told)
    return "\n".join([*told, *([f"and {more} more"] if more > 0 else [])])


def words(facts: bytes | None, necessity: bytes | None) -> str:
    """Return an assessment for people; None for a document that is not here any more."""
    lines = []
    if facts is not None:
        for name, value in fact_lines(facts).items():
            lines += [f"{name}: {part}" for part in (value or "").splitlines()]
    else:
        lines.append("its facts are not kept any more")
    if necessity is None:
        return "\n".join([*lines, "its statement of necessity is not kept any more"])
    try:
        said = read_necessity(necessity)
    except InputError:
        return "\n".join([*lines, "its statement of necessity is not in its form"])
    return "\n".join(
        [
            *lines,
            *(f"considered: {each}" for each in said.considered),
            f"why no DNS order: {said.why_no_dns_order}",
            f"attested by: {said.attested_by}",
        ]
    )
