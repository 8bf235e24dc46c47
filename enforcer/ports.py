"""The Protocols through which services see the world, each with its contract.

Cut by guarantee, not by technology: what is durable when a call returns, what order holds,
what may be called twice, what is raised. Every method may raise UnavailableError, and then
nothing has changed. Implementations are in ``backends``; the in-memory ones there keep the
same contracts, and the same tests run on both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.collateral import CollateralFound, CollateralJob
from enforcer.core.firewall import NO_PIECES, FirewallRow, FirewallState, Pieces
from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.name import Name
from enforcer.core.network import Address, Network
from enforcer.core.receipt import Receipt
from enforcer.core.table import OrderRow
from enforcer.core.target import ListSummary


class Clock(Protocol):
    """The machine's time; it may be wrong, and may step."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""

    def monotonic_ms(self) -> int:
        """Return milliseconds since some moment: nobody can set it, and sleep counts."""


class Signer(Protocol):
    """A private Ed25519 key that never leaves the object."""

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 octets."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 octets (RFC 8032)."""


class Receiver(Protocol):
    """A registered key's private encryption key, which never leaves the object."""

    @property
    def key_id(self) -> str:
        """The id of the registered key that it belongs to: wraps are named by it."""

    def unwrap(self, document: bytes) -> str:
        """Return the secret of the list identity in a wrap.

        Raises:
            IntegrityError: it is no wrap, or for another receiver.
        """


class Sealing(Protocol):
    """Age files (C2SP age.md), made by whoever also has an encryption key of its own."""

    @property
    def recipient(self) -> str:
        """What others wrap for this one."""

    def seal(self, plaintext: bytes, recipient: str) -> bytes:
        """Return `plaintext` sealed for one recipient."""

    def wrap(self, secret: str, recipient: str) -> bytes:
        """Return a list identity's secret, wrapped for one receiver.

        Raises:
            InputError: the secret or the recipient is not one.
        """

    def unwrap(self, document: bytes) -> str:
        """Return the secret in a wrap for this one.

        Raises:
            IntegrityError: it was wrapped for another, or is none.
        """

    def is_for(self, head: bytes, secret: str) -> bool:
        """Tell by a sealed list's first 4,096 octets whether this is the secret that opens it."""


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


class KeptFiles(Protocol):
    """A few small files that one process keeps about itself, by name (``kept/name.json``).

    A file is replaced as a whole, and after a crash is the old or the new one. All calls block.
    """

    def path(self, name: str) -> Path:
        """Return where the file is or would be."""

    def read(self, name: str) -> bytes | None:
        """Return the content, or None where there is no such file.

        Raises:
            IntegrityError: it is larger than any that this process writes.
        """

    def write(self, name: str, data: bytes) -> None:
        """Replace the file; it is durable when this returns."""

    def show(self, name: str, data: bytes) -> None:
        """Replace the file for others to read; a crash of the machine may lose it."""

    def rename(self, name: str, new_name: str) -> None:
        """Give the file another name, in place of what had it."""

    def remove(self, name: str) -> None:
        """Remove the file; one that is not there is no error."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no folder."""


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
    was_forged: bool
    """Something stood in the feed that the ledger does not hold."""


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

    async def put_list(self, sha256: str, path: Path) -> None:
        """Make a target list readable before an order that needs it is published."""

    async def put_wrap(self, sealed_sha256: str, key_id: str, document: bytes) -> None:
        """Make a wrap readable before an order that needs it is published."""

    async def push_stop(self, envelope: bytes) -> None:
        """Show readers a signed stop that is not in the ledger yet."""

    async def reconcile(
        self, ledger: LedgerFiles, lists: Contents, wanted: Sequence[str]
    ) -> Reconciliation:
        """Compare the feed with the ledger and write what is missing or differs.

        `wanted` are the hashes of the target lists that nodes need now.
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

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: the feed does not have it.
        """


@dataclass(frozen=True, slots=True)
class CompileJob:
    """One table to be compiled from lists on disk: a base, or an overlay of one."""

    origin: str
    ledger_size: int
    time_floor_ms: int
    table_digest: str
    secret: bytes
    register_url: str
    register_domain: str
    orders: tuple[tuple[OrderRow, Path], ...]
    """The orders whose names go into the table; in an overlay those that its base lacks."""
    protected_core: tuple[str, Path] | None
    """A list's SHA-256, and where it is."""
    protected_names: tuple[str, Path] | None
    base_sha256: str | None = None
    """An overlay's base, by its ``body_sha256``; None: this is a base."""
    rows: tuple[OrderRow, ...] = ()
    """In an overlay all rows that count, those of `orders` and those of the base."""
    salted: frozenset[str] = frozenset()
    """Lists, by SHA-256, that begin with their salt: sealed ones, opened in memory."""


@dataclass(frozen=True, slots=True)
class TableStats:
    """What was compiled."""

    name_count: int
    bytes: int
    body_sha256: str


class SealedTable(Protocol):
    """A compiled table in memory that nobody can change any more; no disk has it."""

    def fileno(self) -> int:
        """Return its descriptor.

        Raises:
            ValueError: it was given back.
        """

    def close(self) -> None:
        """Give it back; a gate that has taken it keeps it. Again is no error."""


@dataclass(frozen=True, slots=True)
class GuardJob:
    """One order's list for guards to read, with all that they compare it with."""

    facts: GuardFacts
    paths: Mapping[str, Path]
    """Where each of ``facts.lists`` is, by SHA-256."""
    salted: frozenset[str] = frozenset()
    """Those that begin with their salt, as in a CompileJob."""


@dataclass(frozen=True, slots=True)
class CollateralWork:
    """One order's list to be compared with what is pinned and with other orders'."""

    job: CollateralJob
    paths: Mapping[str, Path]
    """Where each of ``job.lists`` is, by SHA-256."""
    salted: frozenset[str] = frozenset()
    """Those that begin with their salt, as in a CompileJob."""


class OpenedList(Protocol):
    """A sealed list that was opened: salt and text, in memory that nobody can change any more."""

    @property
    def path(self) -> Path:
        """Where this process and its workers can map it; no disk has it."""

    def close(self) -> None:
        """Give it back; whoever has it mapped keeps it. Again is no error."""


class ListWork(Protocol):
    """Work on whole lists; in another process, one job at a time, in order, but for overlays.

    Raises UnavailableError when the process died; the next call starts another.
    """

    async def check_list(self, path: Path) -> ListSummary:
        """Check a canonical target list.

        Raises:
            InputError: the first line that is wrong.
        """

    async def open_list(
        self, sealed: Path, secret: str, sha256: str
    ) -> tuple[OpenedList, ListSummary]:
        """Open a sealed list in memory, with its identity's secret, and check it.

        `sha256` is that of salt and text together. No error says anything of what is in it.

        Raises:
            IntegrityError: it does not open with this secret, or to something else.
            InputError: it is not canonical.
        """

    async def compile(self, job: CompileJob) -> tuple[SealedTable, TableStats]:
        """Compile a base table.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: an order, or all together, have no place in a table.
        """

    async def scan_guards(self, job: GuardJob) -> GuardScan:
        """Let guards read an order's list.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: a list is not canonical.
        """

    async def group_lists(
        self, paths: Mapping[str, Path], salted: frozenset[str]
    ) -> dict[str, int]:
        """Return a number for each list: lists that share a target have the same.

        `paths` says where each is, by SHA-256; those of `salted` begin with their salt.
        """

    async def scan_collateral(self, work: CollateralWork) -> CollateralFound:
        """Compare an order's list with all that is known of addresses.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: a list is not canonical.
        """

    async def compile_overlay(self, job: CompileJob) -> tuple[SealedTable, TableStats]:
        """Compile an overlay, at once, whatever else is being worked on; as `compile` otherwise."""


class GateMode(IntEnum):
    """What a gate does with a verdict that says block."""

    UNSPECIFIED = 0
    ENFORCE = 1
    SHADOW = 2
    """Counts it, and passes the query."""
    BYPASS = 3
    """Judges nothing: the operator has switched blocking off."""


@dataclass(frozen=True, slots=True)
class ModeOverride:
    """The operator's word that the gate does something else than its configuration says."""

    mode: GateMode
    reason: str
    by: str
    since_ms: int
    until_ms: int
    """When it ends by itself."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took, as counts of it by duration since the start."""

    bounds_us: tuple[int, ...]
    """Ascending; a duration of just as much belongs to the bound."""
    counts: tuple[int, ...]
    """Between one bound and the next, not cumulative; the last is what lies above all bounds."""
    sum_us: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate says it holds; empty digests where it holds no table."""

    table_digest: str
    """Of what counts: the overlay's where there is one, else the base's."""
    body_sha256: str
    """Of the base's bytes in use, when they were last hashed: at the load, or to verify."""
    ledger_size: int
    name_count: int
    rows: tuple[OrderRow, ...]
    """Read back from the table in use, not from what was sent: the rows that count."""
    counters: dict[str, int]
    order_counters: dict[int, int]
    """Order's entry index -> queries blocked."""
    overlay_sha256: str = ""
    """Of the overlay's bytes, as the base's; empty where there is no overlay."""
    mode: GateMode = GateMode.UNSPECIFIED
    override: ModeOverride | None = None
    """Why `mode` is not the configuration's."""
    upstreams_down: tuple[str, ...] = ()
    """Resolvers behind the gate that do not answer it."""
    upstreams: tuple[str, ...] = ()
    """The addresses of all resolvers behind the gate."""
    confirmed_at_ms: int = 0
    """When a node last handed over tables or had them verified; 0: never since the start."""
    order_outcomes: dict[int, dict[str, int]] = field(default_factory=dict)
    """Order's entry index -> what it did to queries, by outcome, without what is 0."""
    histograms: dict[str, Histogram] = field(default_factory=dict)
    """Latencies by stage: blocked, cached, upstream."""


class Gate(Protocol):
    """The data plane, in its own process.

    A base that is loaded replaces base and overlay at once, an overlay only the overlay; queries
    see the pair as it was or as it is. What is older than the pair in use, by the ledger size and
    the time floor of its overlay (or of its base alone), is refused.
    """

    async def load(self, base: SealedTable, overlay: SealedTable | None = None) -> GateReport:
        """Hand over a base, and its overlay; when it returns, new queries are judged by them.

        Raises:
            IntegrityError, ConflictError: the gate refused it and keeps what it has.
        """

    async def overlay(self, overlay: SealedTable) -> GateReport:
        """Hand over an overlay of the base in use; as `load` otherwise.

        Raises:
            IntegrityError, ConflictError: the gate refused it and keeps what it has; also
                when it has another base.
        """

    async def status(self, *, verify: bool = False) -> GateReport:
        """Ask what it holds; cheap, unless its tables are to be hashed again (`verify`)."""


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
    `read`, which no other waits for.
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


class PieceWork(Protocol):
    """Turns the addresses of whole lists into pieces; what it has read it need not read again."""

    async def flatten(self, job: PieceJob) -> Pieces:
        """Return the pieces of all orders of `job` together; one call at a time.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: a list is not canonical, or there are too many pieces.
        """

    async def diff(self, old: Pieces, new: Pieces) -> tuple[Pieces, Pieces]:
        """Return what to take out of `old` and what to bring; it waits for no `flatten`."""

    async def keep_rows(self, pieces: Pieces, rows: Collection[int]) -> Pieces:
        """Return the pieces of these rows alone; it waits for no `flatten`."""


class OwnNetworks(Protocol):
    """What this host itself must reach, or be reached at."""

    async def networks(self) -> tuple[Network, ...]:
        """Return the operator's own addresses and prefixes, sorted, none inside another.

        Raises:
            UnavailableError: the host does not tell.
        """


class ControlLink(Protocol):
    """A node's way to the control plane; never on the query path."""

    async def attest(self, envelope: bytes) -> None:
        """Deliver a signed attestation; again is no error."""

    async def push_stop(self, envelope: bytes) -> None:
        """Deliver a stop that this node obeys already, so that it gets into the ledger."""

    async def add_cosignature(self, note: bytes) -> None:
        """Deliver a checkpoint with this node's own cosignature; again is no error."""

    def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes, where the feed does not have it.

        Raises:
            NotFoundError: the control plane does not have it either.
        """

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver, where the feed does not have it.

        Raises:
            NotFoundError: the control plane does not have it either.
        """


class WitnessLink(Protocol):
    """The way to one witness (C2SP tlog-witness)."""

    async def add_checkpoint(self, body: bytes) -> bytes:
        """Bring an add-checkpoint request and return the signature lines of the answer, unread.

        Raises:
            ConflictError: 409; ``data["size"]`` is the size that the witness is at.
            RefusedError: 400, 403, 404 or 422: the witness will not cosign this.
            UnavailableError: it did not answer in time, or with something else.
        """


class Transport(IntEnum):
    """How a resolver is asked."""

    UNSPECIFIED = 0
    UDP = 1
    TCP = 2


class Silence(IntEnum):
    """Why a question has no answer that can be read."""

    UNSPECIFIED = 0
    TIMEOUT = 1
    UNREACHABLE = 2
    """Nobody is there, or the connection was closed."""
    MALFORMED = 3


@dataclass(frozen=True, slots=True)
class DnsReply:
    """One answer to a query for addresses, as its asker got it; nothing in it is verified."""

    rcode: int
    is_truncated: bool
    has_answer: bool
    """Whether its answer section has a record."""
    addresses: tuple[str, ...]
    """Those of A records, in the message's order."""
    soa: tuple[str, str] | None
    """Owner and MNAME of the SOA in its authority section, in lower case, without final dots."""
    extended_errors: tuple[tuple[int, str], ...]
    """Info code and text of each (RFC 8914)."""


class ResolverUnderTest(Protocol):
    """A resolver that is asked from outside."""

    def ask(self, name: Name, transport: Transport) -> DnsReply | Silence:
        """Ask for the A records of a name, and wait for the answer within a bound."""


@dataclass(frozen=True, slots=True)
class DnsMessage:
    """One DNS message that was seen, of class IN, as far as it can decide anything."""

    t_ms: int
    qname: Name
    qtype: int
    octets: int
    reply: DnsReply | None = None
    """None for a query."""
    links: tuple[Name, ...] = ()
    """The names that a response leads to, as `core.response` takes them."""
    addresses: tuple[Address, ...] = ()


class Octets(Protocol):
    """Anything whose octets can be read in place, such as bytes or a mapped file."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the octets."""


class FlowIndex(Protocol):
    """Which of many lists the ends of flows are in; made once, then asked."""

    def add(self, owner: int, text: Octets) -> None:
        """Take in the addresses and prefixes of a canonical list under an owner's number.

        Raises:
            ValueError: something was asked already.
        """

    def match(self, flows: Octets) -> list[tuple[int, int, int, int]]:
        """Return (number of the flow, 1 source or 2 target, owner, prefix length of 128 bits).

        Only of flows that some list has an end of; the longest prefix of an end comes first.
        """


class LineIndex(Protocol):
    """Which of many lists may have a line; made once, then asked."""

    def add(self, owner: int, text: Octets) -> None:
        """Take in all lines of a canonical list under an owner's number.

        Raises:
            ValueError: something was asked already.
        """

    def find(self, line: bytes) -> list[int]:
        """Return the owners whose lists may have the line, and all that have it; ascending."""
