"""Guards over the lists beside one ledger, in this process: for whoever has a copy of a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from enforcer.backends.collateral_scan import scan_collateral
from enforcer.backends.guard_groups import grouped
from enforcer.backends.guard_scan import scan_guards
from enforcer.backends.ledger_lists import LedgerLists
from enforcer.core.collateral import CollateralFound, CollateralJob
from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.errors import NotFoundError
from enforcer.ports import CollateralWork, GuardJob


@dataclass(frozen=True, slots=True)
class GuardStore:
    """Reads lists, those that are sealed only if they were opened."""

    lists: LedgerLists

    def groups(self, lists: Iterable[str]) -> dict[str, int]:
        """Return a number for each list that is here: lists that share a target have the same."""
        here = [sha256 for sha256 in dict.fromkeys(lists) if self.lists.has(sha256)]
        return grouped(here, self.lists.text, sum(map(self.lists.count, here)))

    def compare(self, job: CollateralJob) -> CollateralFound:
        """Compare one order's list with all that is known of addresses.

        Raises:
            NotFoundError: a list is not here.
            IntegrityError, InputError: one is not what it must be.
        """
        self._check_here(job.lists)
        with self.lists.paths(job.lists) as (paths, salted):
            return scan_collateral(CollateralWork(job, paths, salted))

    def scan(self, facts: GuardFacts) -> GuardScan:
        """Scan one order's list.

        Raises:
            NotFoundError: a list is not here.
            IntegrityError, InputError: one is not what it must be.
        """
        self._check_here(facts.lists)
        with self.lists.paths(facts.lists) as (paths, salted):
            return scan_guards(GuardJob(facts, paths, salted))

    def _check_here(self, lists: Iterable[str]) -> None:
        for sha256 in lists:
            if not self.lists.has(sha256):
                raise NotFoundError(
                    f"the target list {sha256} is not here, or is sealed",
                    advice="Copy the ledger's lists as well.",
                )
