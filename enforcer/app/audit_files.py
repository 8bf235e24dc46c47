"""What lies beside a ledger, as the audit reads it: lists and documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enforcer.backends.content import ContentStore
from enforcer.backends.ledger_lists import LedgerLists, check_octets
from enforcer.backends.list_tasks import check_list
from enforcer.core.sealed import SealedList
from enforcer.core.target import ListSummary


@dataclass(frozen=True, slots=True)
class DiskLists:
    """The target lists beside one ledger, mapped one at a time."""

    lists: LedgerLists

    @property
    def recipient(self) -> str | None:
        """The recipient of the identity that opens sealed lists, if there is one."""
        return self.lists.recipient

    def open(self, sealed: SealedList, key_ids: Sequence[str]) -> ListSummary | None:
        """Open and check a sealed list; None: nothing that is here opens it.

        Raises:
            NotFoundError: its octets are not here.
            IntegrityError: they were altered (``problem``), or do not open to what is named.
            InputError: it is not canonical.
        """
        return self.lists.open(sealed, key_ids)

    def check(self, sha256: str) -> ListSummary:
        """Read the list and check its hash, grammar and order.

        Raises:
            NotFoundError: it is not here.
            IntegrityError: what is here has another hash.
            InputError: it is not canonical.
        """
        check_octets(
            self.lists.store,
            sha256,
            f"the target list {sha256}",
            advice="Fetch the list again, from the control plane or another copy.",
        )
        return check_list(self.lists.store.path(sha256))


@dataclass(frozen=True, slots=True)
class DiskDocuments:
    """The documents of one store."""

    store: ContentStore

    def is_here(self, sha256: str) -> bool:
        """Tell whether the document is here, and as it was.

        Raises:
            IntegrityError: what is here has another hash.
        """
        if not self.store.has(sha256):
            return False
        self.store.read(sha256)
        return True

    def content(self, sha256: str) -> bytes:
        """Return a document, its salt before it.

        Raises:
            NotFoundError: it is not here, or was erased.
            IntegrityError: what is here has another hash.
        """
        return self.store.read(sha256)

    def is_erased(self, sha256: str) -> bool:
        """Tell whether a mark says that it was erased by law."""
        return self.store.is_erased(sha256)
