"""The ledger on disk, and what lies beside it: lists, side files, wraps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.receipt import Receipt


class LedgerFiles(Protocol):
    """One ledger on disk: entries, tiles and checkpoint; one writer at a time."""

    @property
    def size(self) -> int:
        """Entries under the present checkpoint."""

    @property
    def root(self) -> bytes:
        """RFC 6962 root over them, 32 octets."""

    @property
    def checkpoint_note(self) -> bytes | None:
        """The signed checkpoint; None while the ledger is empty."""

    @property
    def cosigned_note(self) -> bytes | None:
        """The newest checkpoint that is known to have cosignatures; None: there is none yet."""

    def keep_cosigned(self, note: bytes) -> None:
        """Keep a checkpoint with cosignatures, in the place of the former; durable on return.

        Raises:
            IntegrityError: it is not one that the log signed, of this very history.
            UnavailableError: the disk did not take it.
        """

    def append(self, leaves: Sequence[bytes], seal: Callable[[Checkpoint], bytes]) -> bytes:
        """Append all of `leaves` or none, and return the signed checkpoint.

        When it returns, the leaves are durable, re-read, re-hashed, and covered by the
        checkpoint that `seal` gave for them. When it raises, nothing was appended.

        Raises:
            UnavailableError: the disk is full or failed.
            IntegrityError: the disk does not hold what was written, or `seal` refused.
        """

    def stage(self, leaves: Sequence[bytes]) -> None:
        """Write leaves that the next `append` covers before its own; until then they do not count.

        For a copy that is further behind than one append can take. An append or a stage that
        raises, `unstage`, and the end of the process forget all that was staged.

        Raises:
            UnavailableError, IntegrityError: as for `append`.
        """

    def unstage(self) -> None:
        """Forget what was staged; nothing staged is no error."""

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the leaves ``start <= index < end`` in order, reading a bundle at a time."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return a hash tile of `width` hashes (C2SP tlog-tiles)."""

    def bundle(self, index: int, width: int) -> bytes:
        """Return an entry bundle of `width` entries (C2SP tlog-tiles)."""

    def receipt(self, index: int) -> Receipt:
        """Return the proof that entry `index` is under a checkpoint, a cosigned one if it can."""

    def consistency_proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the proof that the first `first` entries begin the first `second` (RFC 6962).

        Raises:
            InputError: `first` is 0, or above `second`, or the ledger has fewer.
        """

    def root_at(self, size: int) -> bytes:
        """Return the root of the first `size` entries: what an earlier checkpoint must say.

        Raises:
            InputError: the ledger has fewer.
        """


class ContentWriter(Protocol):
    """A content-addressed file in the making; nothing exists before `commit` returns."""

    def write(self, chunk: bytes) -> None:
        """Append `chunk`."""

    def commit(self, expected_sha256: str | None = None) -> str:
        """Make the file durable under its SHA-256 and return that, in hex.

        Raises:
            IntegrityError: the content does not have the expected hash; nothing is kept.
        """


class Contents(Protocol):
    """Files named by the SHA-256 of their content: target lists, or side files."""

    def has(self, sha256: str) -> bool:
        """Tell whether the file is here."""

    def path(self, sha256: str) -> Path:
        """Return where the file is (or would be), for a worker that maps it."""

    def read(self, sha256: str) -> bytes:
        """Return the content, its hash checked.

        Raises:
            NotFoundError: it is not here.
            IntegrityError: what is here has another hash.
        """

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield the content in parts of at most 1 MiB; the hash is left to who has them all.

        Raises:
            NotFoundError: it is not here.
        """

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its SHA-256 in hex; again is no error."""

    def remove(self, sha256: str) -> None:
        """Forget a file that nothing recorded names; one that is not here is no error."""

    def is_erased(self, sha256: str) -> bool:
        """Tell whether the file was erased by law: it can never be put again."""

    def names(self) -> list[str]:
        """Return the hashes of all files here, the oldest file first."""

    def writer(self) -> AbstractContextManager[ContentWriter]:
        """Return a writer for content that comes in chunks; leaving without commit discards."""


class Wraps(Protocol):
    """The keys of sealed lists, each wrapped for one receiver; small, and not to be believed.

    Named by the SHA-256 of the sealed list and the key id of the receiver's registered key.
    """

    def read(self, sealed_sha256: str, key_id: str) -> bytes | None:
        """Return a wrap; None where there is none."""

    def put(self, sealed_sha256: str, key_id: str, document: bytes) -> None:
        """Keep a wrap durably, in the place of a former one."""

    def put_all(self, sealed_sha256: str, documents: Mapping[str, bytes]) -> None:
        """Keep wraps by their receivers' key ids, durably."""

    def receivers(self, sealed_sha256: str) -> list[str]:
        """Return the key ids of those that have a wrap of a sealed list here, sorted."""

    def forget(self, sealed_sha256: str) -> None:
        """Remove all wraps of a sealed list that nothing recorded names; none is no error."""
