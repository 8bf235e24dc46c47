"""Guards over the lists of one store, in this process: for whoever has a copy of a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from enforcer._native.sharing import Sharing
from enforcer.backends.content import ContentStore
from enforcer.backends.guard_scan import scan_guards
from enforcer.backends.list_tasks import mapped
from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.errors import NotFoundError
from enforcer.ports import GuardJob


@dataclass(frozen=True, slots=True)
class GuardStore:
    """Reads the lists of `store`."""

    store: ContentStore

    def groups(self, lists: Iterable[str]) -> dict[str, int]:
        """Return a number for each list that is here: lists that share a target have the same."""
        here = [sha256 for sha256 in dict.fromkeys(lists) if self.store.has(sha256)]
        target_count = sum(
            chunk.count(b"\n") for sha256 in here for chunk in self.store.chunks(sha256)
        )
        sharing = Sharing(len(here), target_count + len(here))
        for number in range(sharing.passes):
            sharing.begin(number)
            for read in (sharing.add, sharing.cover):
                for owner, sha256 in enumerate(here):
                    with mapped(self.store.path(sha256)) as text:
                        read(owner, text)
        return dict(zip(here, sharing.groups(), strict=True))

    def scan(self, facts: GuardFacts) -> GuardScan:
        """Scan one order's list.

        Raises:
            NotFoundError: a list is not here.
            IntegrityError, InputError: one is not what it must be.
        """
        for sha256 in facts.lists:
            if not self.store.has(sha256):
                raise NotFoundError(
                    f"the target list {sha256} is not in {self.store.directory}",
                    advice="Copy the ledger's lists as well.",
                    path=str(self.store.path(sha256)),
                )
        return scan_guards(GuardJob(facts, {each: self.store.path(each) for each in facts.lists}))
