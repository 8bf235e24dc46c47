"""The target lists beside a ledger, for whoever has a copy: as they lie there, or sealed.

A sealed list is opened with the secret that the ledger made public, or with the wrap for an
identity that the reader has; in memory, and anew each time that it is read. Refuses nothing
that it cannot open: it says so. Always true: no secret and no opened list is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from hashlib import file_digest
from pathlib import Path

from enforcer.backends import durable, sealing
from enforcer.backends.content import ContentStore
from enforcer.backends.list_sealed import open_here
from enforcer.backends.list_tasks import Text, mapped
from enforcer.backends.sealed_table import SealedFile
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core.sealed import SealedList
from enforcer.core.target import ListSummary
from enforcer.errors import IntegrityError, NotFoundError


class LedgerLists:
    """The lists of `store`, and what `identity` opens of the sealed ones."""

    def __init__(
        self, store: ContentStore, wraps: WrapFiles | None = None, identity: str | None = None
    ) -> None:
        """Take an age identity's secret, if there is one.

        Raises:
            InputError: it is none.
        """
        self.store = store
        self._wraps = wraps
        self._identity = identity
        self.recipient = None if identity is None else sealing.recipient_of(identity)
        """The identity's recipient, by which its registered keys are found."""
        self._opened: dict[str, tuple[SealedList, str]] = {}  # SHA-256 -> a list and its secret

    def open(self, sealed: SealedList, key_ids: Sequence[str] = ()) -> ListSummary | None:
        """Open and check a sealed list; None: nothing that is here opens it.

        `key_ids` are the keys that the identity was registered with.

        Raises:
            NotFoundError: its octets are not here.
            IntegrityError: they were altered (``problem``), or do not open to what is named.
            InputError: it is not canonical.
        """
        check_octets(
            self.store,
            sealed.sealed_sha256,
            f"the sealed list of {sealed.order_id}",
            advice="Fetch it again, from the control plane or another copy.",
        )
        secret = sealed.secret or self._unwrapped(sealed, key_ids)
        if secret is None:
            return None
        file, summary = open_here(self.store.path(sealed.sealed_sha256), secret, sealed.sha256)
        file.close()
        self._opened[sealed.sha256] = sealed, secret
        return summary

    def has(self, sha256: str) -> bool:
        """Tell whether a list can be read."""
        return sha256 in self._opened or self.store.has(sha256)

    def count(self, sha256: str) -> int:
        """Return how many lines a list that can be read has."""
        with self.text(sha256) as text:
            return bytes(text).count(b"\n")

    @contextmanager
    def text(self, sha256: str) -> Iterator[Text | memoryview]:
        """Give the text of a list that can be read; its hash is left to whoever checks it."""
        if sha256 not in self._opened:
            with mapped(self.store.path(sha256)) as text:
                yield text
            return
        with self._file(sha256) as file, mapped(file.path) as text:
            yield memoryview(text)[sealing.SALT_OCTETS :]

    @contextmanager
    def paths(self, wanted: Iterable[str]) -> Iterator[tuple[dict[str, Path], frozenset[str]]]:
        """Give the files of lists for as long as the block lasts, and which begin with a salt."""
        found: dict[str, Path] = {}
        salted = set()
        with ExitStack() as stack:
            for sha256 in wanted:
                if sha256 in self._opened:
                    found[sha256] = stack.enter_context(self._file(sha256)).path
                    salted.add(sha256)
                else:
                    found[sha256] = self.store.path(sha256)
            yield found, frozenset(salted)

    @contextmanager
    def _file(self, sha256: str) -> Iterator[SealedFile]:
        sealed, secret = self._opened[sha256]
        file, _ = open_here(self.store.path(sealed.sealed_sha256), secret, sha256)
        with closing(file):
            yield file

    def _unwrapped(self, sealed: SealedList, key_ids: Sequence[str]) -> str | None:
        """Return the secret in a wrap for the identity; wraps that are wrong do not count."""
        if self._wraps is None or self._identity is None:
            return None
        for key_id in key_ids:
            document = self._wraps.read(sealed.sealed_sha256, key_id)
            if document is None:
                continue
            try:
                secret = sealing.unwrap(document, self._identity)
            except IntegrityError:
                continue
            if sealing.recipient_of(secret) == sealed.recipient:
                return secret
        return None


def check_octets(store: ContentStore, sha256: str, what: str, *, advice: str) -> None:
    """Check that a file is in a store and hashes to its name; `what` it is, as in ``the list X``.

    `advice` is for one that was altered.

    Raises:
        NotFoundError: it is not here.
        IntegrityError: what is here has another hash.
        UnavailableError: it cannot be read.
    """
    path = store.path(sha256)
    if not path.is_file():
        raise NotFoundError(
            f"{what} is not in {store.directory}",
            advice="Copy the ledger's lists as well.",
            path=str(path),
        )
    with durable.reporting(path, "read"), path.open("rb") as file:
        got = file_digest(file, "sha256").hexdigest()
    if got != sha256:
        raise IntegrityError(
            f"{what} was altered: its bytes hash to {got}",
            advice=advice,
            problem="altered",
            path=str(path),
            expected=sha256,
            got=got,
        )
