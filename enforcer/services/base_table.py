"""The base table of a gate: what was compiled into it, remembered over restarts of the node.

A base is the big table, compiled in the background; what changed since lies over it as an
overlay. Of a base that an earlier process compiled it is enough to know which lists are in it:
the gate has the table itself. Refuses to guess: what was kept by halves is not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

from enforcer.core.table import DnsMeasure, OrderRow
from enforcer.errors import EnforcerError
from enforcer.ports import KeptFiles, SealedTable
from enforcer.services.plan import Protections

BASE_FILE: Final = "base.json"

RowKey: TypeAlias = tuple[int, str, str]
"""An order's entry index, the SHA-256 of its list, its overrides: what names are in a table."""

_log: Final = structlog.get_logger(__name__)


def key_of(row: OrderRow) -> RowKey:
    """Return what tells whether a row's names are in a table."""
    return row.index, row.target_list_sha256, "|".join(row.overrides)


def table_targets(row: OrderRow) -> int:
    """Return how many targets a table has of a row: without a DNS measure none, and no list."""
    return row.target_count if row.dns_measure is not DnsMeasure.NONE else 0


@dataclass(frozen=True, slots=True)
class Made:
    """How a table looks from outside: what a gate reports that holds it."""

    sha256: str
    """Its ``body_sha256``."""
    rows: tuple[OrderRow, ...]
    """The rows that count."""
    digest: str
    ledger_size: int
    time_floor_ms: int
    register: tuple[str, str]
    """The register's URL and domain, as the policy has them."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base table, and what overlays over it must know."""

    sha256: str
    """Its ``body_sha256``."""
    counts: Mapping[RowKey, int]
    """The orders whose names are in it -> their targets."""
    protections: Protections | None
    """What it was compiled with; None: not known, so that nothing new can lie over it."""
    made: Made | None = None
    """None: compiled before this process began."""
    table: SealedTable | None = None
    """The table itself; None: only the gate has it."""

    @property
    def is_known(self) -> bool:
        """Whether it is certain what is in it."""
        return self.protections is not None

    def close(self) -> None:
        """Give the table back."""
        if self.table is not None:
            self.table.close()


def unknown_base(sha256: str, rows: tuple[OrderRow, ...]) -> Base:
    """Return a base that a gate has and this node does not know: its orders can only end."""
    return Base(sha256, {key_of(row): row.target_count for row in rows}, None)


def keep(files: KeptFiles, base: Base) -> None:
    """Remember a base; it blocks, and is durable when it returns.

    Raises:
        UnavailableError: the disk did not take it.
    """
    protections = base.protections or Protections(None, None)
    plain = {
        "body_sha256": base.sha256,
        "core": protections.core,
        "names": protections.names,
        "orders": [[*key, count] for key, count in base.counts.items()],
    }
    files.write(BASE_FILE, json.dumps(plain).encode("ascii"))


def read_kept(files: KeptFiles) -> Base | None:
    """Return the base that was kept last; None when that is not known."""
    try:
        data = files.read(BASE_FILE)
    except EnforcerError as error:
        _log.warning("cannot read what is in the base table", problem=error.message)
        return None
    try:
        plain = json.loads(data or b"null")
        counts = {
            (int(index), str(sha256), str(overrides)): int(n)
            for index, sha256, overrides, n in plain["orders"]
        }
        return Base(str(plain["body_sha256"]), counts, Protections(plain["core"], plain["names"]))
    except (ValueError, TypeError, KeyError):
        return None
