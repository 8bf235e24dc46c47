"""Pieces from the lists beside one ledger, in this process: for whoever has a copy of a ledger."""

from __future__ import annotations

from collections.abc import Sequence

from enforcer.backends.address_pieces import ReadLists
from enforcer.backends.ledger_lists import LedgerLists
from enforcer.core.firewall import FirewallRow, pieces_digest
from enforcer.core.table import OrderRow
from enforcer.errors import NotFoundError
from enforcer.ports import PieceJob


class PieceStore:
    """Reads lists, those that are sealed only if they were opened; each once for many sets."""

    def __init__(self, lists: LedgerLists) -> None:
        self._lists = lists
        self._read = ReadLists()

    def digest(
        self, rows: Sequence[OrderRow], core: str | None, protected_names: str | None
    ) -> str:
        """Return the digest of what a firewall holds for `rows` under two lists, by SHA-256.

        Raises:
            NotFoundError: a list is not here, or is sealed.
            IntegrityError, InputError: one is not what it must be.
        """
        pins = [each for each in (core, protected_names) if each is not None]
        wanted = [*pins, *(row.target_list_sha256 for row in rows)]
        for sha256 in wanted:
            if not self._lists.has(sha256):
                raise NotFoundError(
                    f"the target list {sha256} is not here, or is sealed",
                    advice="Copy the ledger's lists as well.",
                )
        with self._lists.paths(dict.fromkeys(wanted)) as (paths, salted):
            job = PieceJob(
                orders=tuple((row, paths[row.target_list_sha256]) for row in rows),
                protected_core=(core, paths[core]) if core is not None else None,
                protected_names=(
                    (protected_names, paths[protected_names])
                    if protected_names is not None
                    else None
                ),
                salted=salted,
            )
            flat = self._read.flatten(job)
        given = [FirewallRow(row.index, row.ip_measure) for row in rows]
        return pieces_digest(flat.pieces, given, flat.salts)
