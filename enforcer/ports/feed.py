"""The feed, from both sides; nobody believes what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from enforcer.ports.ledger import Contents, LedgerFiles


@dataclass(frozen=True, slots=True)
class FeedUpdate:
    """What the feed had next: leaves after the reader's size, and the checkpoint over them.

    All of it is untrusted. If it is honest, ``checkpoint_note`` covers exactly
    ``first_index + len(leaves)`` entries; or more, when that was too much for one update, and
    the rest comes next.
    """

    first_index: int
    leaves: tuple[bytes, ...]
    checkpoint_note: bytes


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What the publisher found missing or wrong in the feed, and wrote again."""

    entries: int
    bundles: int
    lists: int
    """Lists and deltas."""
    was_forged: bool
    """Something stood in the feed that the ledger does not hold."""


WAYPOINT_ENTRIES: Final = 4_096
"""A checkpoint of each multiple of this stands in the feed, for nodes that are further behind."""
Delta: TypeAlias = tuple[str, str]
"""What a list differs in from another: by its own SHA-256, and that one's."""
NO_DELTAS: Final[Mapping[Delta, Path]] = {}


class FeedPublisher(Protocol):
    """The control plane's side of the feed; every call may be repeated."""

    async def publish(self, first_index: int, leaves: Sequence[bytes], checkpoint: bytes) -> None:
        """Show readers new leaves and the checkpoint over them; complete bundles as well.

        Raises:
            ConflictError: the feed does not end where these leaves begin, because it was wiped
                or written to; `reconcile` mends it, and nothing is lost by calling that at once.
        """

    async def show_cosigned(self, note: bytes) -> None:
        """Show readers the newest checkpoint that has cosignatures."""

    async def show_waypoints(self, notes: Mapping[int, bytes]) -> int:
        """Have readers find these older checkpoints, by size; return how many they did not find."""

    async def put_list(self, sha256: str, path: Path) -> None:
        """Make a target list readable before an order that needs it is published."""

    async def put_delta(self, sha256: str, base_sha256: str, path: Path) -> None:
        """Make readable what a list differs in from the one that it follows."""

    async def put_wrap(self, sealed_sha256: str, key_id: str, document: bytes) -> None:
        """Make a wrap readable before an order that needs it is published."""

    async def push_stop(self, envelope: bytes) -> None:
        """Show readers a signed stop that is not in the ledger yet."""

    async def reconcile(
        self,
        ledger: LedgerFiles,
        lists: Contents,
        wanted: Sequence[str],
        deltas: Mapping[Delta, Path] = NO_DELTAS,
    ) -> Reconciliation:
        """Compare the feed with the ledger and write what is missing or differs.

        `wanted` are the hashes of the target lists that nodes need now, `deltas` where those are
        that should be there.
        """

    async def keep_lists(self, lists: Collection[str], deltas: Collection[Delta]) -> int:
        """Remove all lists, deltas and wraps but those of `lists`, and `deltas`; say how many keys.

        `lists` are the hashes of the files that lists travel as.
        """


class FeedSource(Protocol):
    """A node's side of the feed: read only, and nothing that it returns is to be believed."""

    @property
    def faults(self) -> Mapping[str, int]:
        """How often something unreadable stood in the feed and was passed over, by what it was."""

    async def next(self, size: int, wait_ms_max: int) -> FeedUpdate | None:
        """Return entries from index `size` on, or None if there were none for `wait_ms_max`."""

    async def head(self) -> bytes | None:
        """Return the checkpoint note at the head key, if there is one."""

    async def cosigned(self) -> bytes | None:
        """Return the newest checkpoint that has cosignatures, if there is one."""

    def stops(self) -> AsyncIterator[bytes]:
        """Yield signed stops as they come, also those of the last hour at the start."""

    def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes.

        Raises:
            NotFoundError: the feed does not have it.
        """

    def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from one that is at hand.

        Raises:
            NotFoundError: the feed does not have it.
        """

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: the feed does not have it.
        """

    def count_fault(self, what: str) -> None:
        """Count that something in the feed turned out to be wrong when it was used."""
