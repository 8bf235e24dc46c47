"""What an audit finds, as values: a code for machines, an index, and words for people.

The codes are the closed list of what can be said; each has one severity, in the one table here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final


class Severity(IntEnum):
    """What a finding means for the audit's outcome."""

    UNSPECIFIED = 0
    NOTE = 1
    """To be known; it breaks no rule."""
    INCOMPLETE = 2
    """Something could not be checked with what is here."""
    VIOLATION = 3
    """A rule was broken, or what is here is not what was signed."""


class Code(IntEnum):
    """What was found."""

    UNSPECIFIED = 0
    LEDGER_DAMAGED = 1
    ROLLED_BACK = 2
    FORKED = 3
    ENTRY_UNREADABLE = 4
    ENTRY_INEFFECTIVE = 5
    NO_POLICY = 6
    ONE_PERSON = 7
    LIST_MISSING = 8
    LIST_ALTERED = 9
    LIST_WRONG = 10
    ATTESTATION_UNREADABLE = 11
    ATTESTATION_FORGED = 12
    ATTESTED_OTHER_HISTORY = 13
    ATTESTED_OTHER_TABLE = 14
    ATTESTED_OTHER_EFFECTS = 15
    CURTAILED = 16
    STOP_UNLOGGED = 17
    STOP_LOGGED_LATE = 18
    STOP_PENDING = 19
    NOT_ENFORCED = 20
    GATE_DIFFERS = 21
    NOT_ATTESTED = 22
    OMISSIONS_UNNAMED = 23
    ATTESTATION_GONE = 24
    DOCUMENT_ALTERED = 25
    GATE_OFF = 26
    ARCHIVE_DAMAGED = 27
    LOG_KEY = 28
    NOT_WITNESSED = 29
    WITNESSES_BEHIND = 30
    GUARD_SKIPPED = 31
    GUARD_UNCHECKED = 32
    ATTESTED_OTHER_TIME = 33
    OMISSION_UNFOUNDED = 34
    SUSPENSION_IGNORED = 35
    ENTRY_BACKDATED = 36
    HELD_FOR_NOTHING = 37
    NOT_HELD = 38
    FIREWALL_DIFFERS = 39
    FIREWALL_ALTERED = 40
    FIREWALL_MISSING = 41
    LIST_SEALED = 42
    ASSESSMENT_WRONG = 43
    ATTESTED_OTHER_PIECES = 44
    FIREWALL_UNCHECKED = 45
    NO_GATE = 46
    SUSPENSION_UNLOGGED = 50
    SUSPENSION_LOGGED_LATE = 51
    SUSPENSION_PENDING = 52
    CANARY_UNKNOWN = 53
    BATCH_MISSING = 60
    BATCH_THINNED = 61
    BATCH_ALTERED = 62
    BATCH_WRONG = 63
    EXCEPTION_HIDDEN = 64


SEVERITY: Final = {
    Code.BATCH_MISSING: Severity.INCOMPLETE,
    Code.BATCH_THINNED: Severity.NOTE,
    Code.BATCH_ALTERED: Severity.VIOLATION,
    Code.BATCH_WRONG: Severity.VIOLATION,
    Code.EXCEPTION_HIDDEN: Severity.VIOLATION,
    Code.LEDGER_DAMAGED: Severity.VIOLATION,
    Code.ROLLED_BACK: Severity.VIOLATION,
    Code.FORKED: Severity.VIOLATION,
    Code.ENTRY_UNREADABLE: Severity.VIOLATION,
    Code.ENTRY_INEFFECTIVE: Severity.VIOLATION,
    Code.NO_POLICY: Severity.VIOLATION,
    Code.ONE_PERSON: Severity.VIOLATION,
    Code.LIST_MISSING: Severity.INCOMPLETE,
    Code.LIST_ALTERED: Severity.VIOLATION,
    Code.LIST_WRONG: Severity.VIOLATION,
    Code.LIST_SEALED: Severity.INCOMPLETE,
    Code.ATTESTATION_UNREADABLE: Severity.VIOLATION,
    Code.ATTESTATION_FORGED: Severity.VIOLATION,
    Code.ATTESTED_OTHER_HISTORY: Severity.VIOLATION,
    Code.ATTESTED_OTHER_TABLE: Severity.VIOLATION,
    Code.ATTESTED_OTHER_PIECES: Severity.VIOLATION,
    Code.ATTESTED_OTHER_EFFECTS: Severity.VIOLATION,
    Code.CURTAILED: Severity.NOTE,
    Code.STOP_UNLOGGED: Severity.VIOLATION,
    Code.STOP_LOGGED_LATE: Severity.VIOLATION,
    Code.STOP_PENDING: Severity.NOTE,
    Code.NOT_ENFORCED: Severity.NOTE,
    Code.GATE_DIFFERS: Severity.NOTE,
    Code.NOT_ATTESTED: Severity.NOTE,
    Code.OMISSIONS_UNNAMED: Severity.INCOMPLETE,
    Code.ATTESTATION_GONE: Severity.NOTE,
    Code.DOCUMENT_ALTERED: Severity.VIOLATION,
    Code.GATE_OFF: Severity.NOTE,
    Code.NO_GATE: Severity.NOTE,
    Code.ARCHIVE_DAMAGED: Severity.VIOLATION,
    Code.LOG_KEY: Severity.VIOLATION,
    Code.NOT_WITNESSED: Severity.INCOMPLETE,
    Code.WITNESSES_BEHIND: Severity.NOTE,
    Code.GUARD_SKIPPED: Severity.VIOLATION,
    Code.GUARD_UNCHECKED: Severity.INCOMPLETE,
    Code.HELD_FOR_NOTHING: Severity.VIOLATION,
    Code.NOT_HELD: Severity.VIOLATION,
    Code.FIREWALL_DIFFERS: Severity.NOTE,
    Code.FIREWALL_ALTERED: Severity.NOTE,
    Code.FIREWALL_MISSING: Severity.VIOLATION,
    Code.FIREWALL_UNCHECKED: Severity.INCOMPLETE,
    Code.ATTESTED_OTHER_TIME: Severity.VIOLATION,
    Code.OMISSION_UNFOUNDED: Severity.VIOLATION,
    Code.SUSPENSION_IGNORED: Severity.VIOLATION,
    Code.ENTRY_BACKDATED: Severity.VIOLATION,
    Code.ASSESSMENT_WRONG: Severity.VIOLATION,
    Code.SUSPENSION_UNLOGGED: Severity.VIOLATION,
    Code.SUSPENSION_LOGGED_LATE: Severity.NOTE,
    Code.SUSPENSION_PENDING: Severity.NOTE,
    Code.CANARY_UNKNOWN: Severity.INCOMPLETE,
}

_NAMED_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999: no calendar here goes on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the audit found."""

    code: Code
    words: str
    index: int | None = None
    """The ledger entry that it is about."""
    place: str | None = None
    """The file that it is about, where it is one."""
    notes: tuple[str, ...] = ()
    """The signed notes that prove it to anybody, where there are such."""

    @property
    def severity(self) -> Severity:
        """What it means for the outcome."""
        return SEVERITY[self.code]


def utc(t_ms: int) -> str:
    """Return a time for the words of a finding, to the second; beyond the year 9999 its number.

    What somebody signed may name any time: none may keep the audit from going on.
    """
    if t_ms > _NAMED_MS_MAX:
        return f"{t_ms} ms after 1970"
    return datetime.fromtimestamp(t_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the gravest severity; NOTE when nothing was found."""
    return max((finding.severity for finding in findings), default=Severity.NOTE)
