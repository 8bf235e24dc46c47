"""A report of what guards found: canonical text, the same bytes wherever it is made.

First what was read (the list, the pinned data, past orders) and what fires how often, then a
line a hit: ``LINE_NUMBER GUARD TARGET | EVIDENCE``. It fits into a document beside the ledger;
a longer one is cut at a hit and says how many are left out, which whoever has the list can find
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from enforcer.core.guard import OUTCOMES, Guard
from enforcer.core.guard_facts import GuardFacts

HITS_BYTES_MAX: Final = (1 << 20) - 8_192
"""What leaves room for the first part, the last line and the salt of a side file of 1 MiB."""


def report_head(facts: GuardFacts, counts: Mapping[Guard, int | None]) -> bytes:
    """Return the first part, up to the empty line before the hits; a count may be left unsaid."""
    pins = facts.pins
    past = "".join(
        f"{each.guard.name} {each.order_index} {each.target_list_sha256} {each.blocked_ms}\n"
        for each in facts.relations
    )
    lines = (
        "enforcer guard report 1",
        f"list {facts.target_list_sha256}",
        f"protected-core {pins.protected_core or '-'}",
        f"protected-names {pins.protected_names or '-'}",
        f"public-suffixes {pins.public_suffixes or '-'}",
        f"shared-ranges {pins.shared_ranges or '-'}",
        f"past-orders {len(facts.relations)} {sha256(past.encode('ascii')).hexdigest()}",
        f"administrative-ms {facts.administrative_ms} {facts.administrative_ms_max}",
        *(
            f"guard {each.name} {OUTCOMES[each].name} {'-' if count is None else count}"
            for each, count in counts.items()
        ),
        "",
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def report_tail(left_out: int) -> bytes:
    """Return the last line of a report that was cut; nothing for a whole one."""
    return f"and {left_out} more\n".encode("ascii") if left_out else b""
