"""The firewall, the pieces that it holds, and the host's own networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from enforcer.core.firewall import NO_PIECES, FirewallRow, FirewallState, Pieces
from enforcer.core.network import Network
from enforcer.core.table import OrderRow


@dataclass(frozen=True, slots=True)
class FirewallContent:
    """All that a firewall is to hold, or holds."""

    rows: tuple[FirewallRow, ...] = ()
    """The orders, ascending; one may have no piece."""
    pieces: Pieces = NO_PIECES
    protected: tuple[Network, ...] = ()
    """Addresses that no piece counts for, whatever it says; as `plain_networks` gives them."""


@dataclass(frozen=True, slots=True)
class FirewallChange:
    """From what a firewall holds to what it is to hold."""

    rows: tuple[FirewallRow, ...]
    """All that count afterwards."""
    removed: Pieces
    """Pieces that it holds, exactly."""
    added: Pieces
    protected: tuple[Network, ...]
    """All that count afterwards."""


@dataclass(frozen=True, slots=True)
class FirewallHolding:
    """What was read from a firewall."""

    state: FirewallState
    """HOLDS where all around the pieces is ours and as it must be; whether the pieces are those
    that are wanted is for the reader to compare. NONE where packets are not touched."""
    reason: str
    """What is wrong where it DIFFERS, without an address; empty otherwise."""
    content: FirewallContent
    generation: int
    """While the firewall says this number, nothing in it has changed."""
    lacks: tuple[str, ...] = ()
    """What the kernel cannot do of what was asked of it; the manual says what follows."""


@dataclass(frozen=True, slots=True)
class FirewallCount:
    """What an order has stopped since this firewall has its row."""

    packets: int
    octets: int


class Firewall(Protocol):
    """What blocks packets to and from addresses, outside this process and after its end.

    A packet is blocked when its destination is in a piece and not protected, or else when its
    source is; of local packets only the other side's address counts. REJECT tells who sends to
    the address (ICMP administratively prohibited); what comes from it is dropped. All stays when
    this process ends, until the lease has run out: then everything passes. Calls queue, but for
    `read` and `cut`, which no other waits for.
    UnavailableError names what is missing: rights, the kernel's part, memory.
    """

    async def claim(self, lease_seconds: int) -> FirewallHolding:
        """Make it this process's own, as it is, and read it; one that is not there begins empty.

        Raises:
            ConflictError: another process has it.
        """

    async def apply(self, change: FirewallChange, lease_seconds: int) -> None:
        """Make one change, whole or not at all, and renew the lease.

        Raises:
            ConflictError: it does not hold what the change takes out, or holds already what it
                brings, or somebody changed it meanwhile: read it. Nothing was changed. Pieces
                that overlap others which are held may be found only by reading, as DIFFERS.
            InputError: pieces or rows are not what they must be.
        """

    async def replace(self, content: FirewallContent, lease_seconds: int) -> None:
        """Put `content` in the place of all that it holds, at once, whatever that is.

        Counts begin again. Raises as `apply` does, but for what it holds.
        """

    async def renew(self, lease_seconds: int) -> None:
        """Let what it holds count for so long from now."""

    async def cut(self, pieces: Pieces) -> int:
        """End the connections to and from `pieces` that the kernel tracks; return how many.

        No packet of theirs passes anyway; what was offloaded would go on without this.
        """

    async def read(self) -> FirewallHolding:
        """Read all that it holds, completely or not at all.

        Raises:
            ConflictError: it was changed again and again while it was read.
        """

    async def generation(self) -> int:
        """Return the number that a holding would have now; cheap."""

    async def counts(self) -> Mapping[int, FirewallCount]:
        """Return what each row has stopped, by the order's entry index; cheap."""

    async def close(self) -> None:
        """Let go of it; what it holds stays. Again is no error."""


@dataclass(frozen=True, slots=True)
class PieceJob:
    """What the pieces of a firewall are made of: orders in force, and what passes."""

    orders: tuple[tuple[OrderRow, Path], ...]
    protected_core: tuple[str, Path] | None
    """A list's SHA-256, and where it is."""
    protected_names: tuple[str, Path] | None
    salted: frozenset[str] = frozenset()
    """Lists that begin with their salt, as in a CompileJob."""


@dataclass(frozen=True, slots=True)
class FlatPieces:
    """The pieces of a job."""

    pieces: Pieces
    salts: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """Entry index of each order whose list is hidden -> the list's salt, which nobody is shown."""


class PieceWork(Protocol):
    """Turns the addresses of whole lists into pieces; what it has read it need not read again."""

    async def flatten(self, job: PieceJob) -> FlatPieces:
        """Return the pieces of all orders of `job` together; one call at a time.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: a list is not canonical, or there are too many pieces.
        """

    async def diff(self, old: Pieces, new: Pieces) -> tuple[Pieces, Pieces]:
        """Return what to take out of `old` and what to bring; it waits for no `flatten`."""

    async def keep_rows(self, pieces: Pieces, rows: Collection[int]) -> Pieces:
        """Return the pieces of these rows alone; it waits for no `flatten`."""

    async def digest(
        self, pieces: Pieces, rows: Collection[FirewallRow], salts: Mapping[int, bytes]
    ) -> str:
        """Return the digest of core.firewall.pieces_digest; it waits for no `flatten`."""


class OwnNetworks(Protocol):
    """What this host itself must reach, or be reached at."""

    async def networks(self) -> tuple[Network, ...]:
        """Return the operator's own addresses and prefixes, sorted, none inside another.

        Raises:
            UnavailableError: the host does not tell.
        """
