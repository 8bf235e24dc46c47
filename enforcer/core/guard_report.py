"""A report of what guards found: canonical text, the same bytes wherever it is made.

First what was read (the list, the pinned data, past orders) and what fires how often, then a
line a hit: ``LINE_NUMBER GUARD TARGET | EVIDENCE``. It fits into a document beside the ledger;
a longer one is cut at a hit and says how many are left out, which whoever has the list can find
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from enforcer.core.guard import OUTCOMES, Guard
from enforcer.core.guard_facts import GuardFacts

REPORT_BYTES_MAX: Final = (1 << 20) - 1_024
"""What leaves room for the salt of a side file."""
HIT_BYTES_MAX: Final = 1_024
"""Longest line of a hit: a number, a guard, a target, a line of pinned data."""


def report_head(facts: GuardFacts, list_sha256: str, counts: Mapping[Guard, int]) -> bytes:
    """Return the first part, up to the empty line before the hits."""
    pins = facts.pins
    lines = [
        "enforcer guard report 1",
        f"list {list_sha256}",
        f"protected-core {pins.protected_core or '-'}",
        f"protected-names {pins.protected_names or '-'}",
        f"public-suffixes {pins.public_suffixes or '-'}",
        f"shared-ranges {pins.shared_ranges or '-'}",
    ]
    lines += [
        f"precedent {each.guard.name} {each.evidence} {each.in_force_ms} {each.target_list_sha256}"
        for each in facts.precedents
    ]
    if facts.administrative_ms:
        lines.append(f"administrative {facts.administrative_ms} {facts.administrative_ms_max}")
    lines += [
        f"guard {guard.name} {OUTCOMES[guard].name} {count}" for guard, count in counts.items()
    ]
    return "".join(f"{line}\n" for line in (*lines, "")).encode("ascii")


def report_tail(left_out: int) -> bytes:
    """Return the last line of a report that was cut; nothing for a whole one."""
    return f"and {left_out} more\n".encode("ascii") if left_out else b""
