"""The firewall in the kernel: one nftables table of our own, kept through netlink.

The table belongs to this process's socket (flags owner and persist, Linux 6.9): no other tool can
change it, and a crash neither drops nor thaws it; who comes next takes it over. Each change is one
transaction. Where the kernel knows no owners, a change counts only for the generation that was
read, so what another tool did meanwhile is never built upon.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from enforcer._native import nft_elements
from enforcer.backends import nft_connections
from enforcer.backends.nft_dump import (
    DORMANT,
    OWNER,
    PERSIST,
    Found,
    read_all,
    read_counters,
    read_table,
)
from enforcer.backends.nft_frame import (
    TABLE,
    buckets,
    counters,
    frame,
    in_table,
    lease,
    protection,
)
from enforcer.backends.nft_socket import NftSocket, away, interrupted
from enforcer.backends.nft_wire import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Verb, message, text, u32
from enforcer.core.firewall import (
    ADDRESS_OCTETS,
    LEASE_SECONDS_MAX,
    PIECES_MAX,
    FirewallRow,
    FirewallState,
    Pieces,
    check_rows,
)
from enforcer.errors import ConflictError, InputError
from enforcer.ports import FirewallChange, FirewallContent, FirewallCount, FirewallHolding

READ_TRIES_MAX: Final = 5
NO_OWNERS: Final = "tables with owners that persist (Linux 6.9)"

_HEADS: Final = {
    version: [in_table(text(2, name)) for name in buckets(version)] for version in ADDRESS_OCTETS
}
_DOES_NOT_FIT: Final = {errno.EEXIST, errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY, errno.ERESTART}
T = TypeVar("T")


class NftFirewall:
    """:class:`enforcer.ports.Firewall` in this process's network namespace."""

    def __init__(
        self, *, with_owner: bool = True, opened: Callable[[], NftSocket] = NftSocket
    ) -> None:
        self._may_own = with_owner
        self._opened = opened
        self._kernel: NftSocket | None = None
        self._is_owned = False
        self._generation = 0
        self._content = FirewallContent()
        """Rows and protections as last written or read; its pieces are nobody's business."""
        self._turn = threading.Lock()
        """Held by the thread that works: a call that is given up is not undone."""
        self._reader: NftSocket | None = None
        self._reading = threading.Lock()
        self._cutter: NftSocket | None = None
        self._cutting = threading.Lock()
        self._commits = 0
        """Changes of pieces so far, counted under `_turn`: what was read across one counts not."""

    async def claim(self, lease_seconds: int) -> FirewallHolding:
        """Make the table ours, as it is, and read it.

        Raises:
            ConflictError: another process has it.
            UnavailableError: no rights, no nf_tables, no memory.
        """
        _check_lease(lease_seconds)
        return await self._run(lambda kernel: self._claim(kernel, lease_seconds), opens=True)

    async def apply(self, change: FirewallChange, lease_seconds: int) -> None:
        """Make one change in one transaction, and renew the lease."""
        _check_lease(lease_seconds)
        check_rows(change.rows, change.protected)
        await self._run(lambda kernel: self._apply(kernel, change, lease_seconds))

    async def replace(self, content: FirewallContent, lease_seconds: int) -> None:
        """Put another table in the place of the one that is there, in one transaction."""
        _check_lease(lease_seconds)
        check_rows(content.rows, content.protected)
        await self._run(lambda kernel: self._replace(kernel, content, lease_seconds))

    async def renew(self, lease_seconds: int) -> None:
        """Let what it holds count for so long from now."""
        _check_lease(lease_seconds)
        await self._run(lambda kernel: self._change(kernel, lambda at: lease(at, lease_seconds)))

    async def cut(self, pieces: Pieces) -> int:
        """End the tracked connections to and from `pieces`, by a socket beside."""
        return await asyncio.to_thread(self._cut_beside, pieces)

    async def read(self) -> FirewallHolding:
        """Read the whole table, by a socket beside: no change waits for that."""
        return await asyncio.to_thread(self._read_beside)

    async def generation(self) -> int:
        """Return the kernel's generation, which a change of any table moves on."""
        return await self._run(NftSocket.generation)

    async def counts(self) -> Mapping[int, FirewallCount]:
        """Return what each order has stopped."""
        counted = await self._run(read_counters)
        return {row.index: count for row, count in counted.items() if row.index}

    async def close(self) -> None:
        """Let go of the table, which stays."""
        await asyncio.to_thread(self._close)

    async def _run(self, work: Callable[[NftSocket], T], *, opens: bool = False) -> T:
        return await asyncio.to_thread(self._work, work, opens=opens)

    def _work(self, work: Callable[[NftSocket], T], *, opens: bool) -> T:
        with self._turn:
            if self._kernel is None and opens:
                self._kernel = self._opened()
            kernel = self._check_claimed()
            try:
                return work(kernel)
            except OSError as error:
                raise _translated(error) from error

    def _check_claimed(self) -> NftSocket:
        if self._kernel is None:
            raise ConflictError("the firewall is not claimed", advice="Claim it first.")
        return self._kernel

    def _close(self) -> None:
        with self._turn:
            if self._kernel is not None:
                self._kernel.close()
                self._kernel = None
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        with self._cutting:
            if self._cutter is not None:
                self._cutter.close()
                self._cutter = None

    def _claim(self, kernel: NftSocket, lease_seconds: int) -> FirewallHolding:
        table = read_table(kernel)
        if table is None:
            self._create(kernel, lease_seconds)
        elif table.flags & OWNER and table.owner != kernel.port:
            raise ConflictError(
                "another process has the firewall's table", advice="End the other node first."
            )
        else:
            self._is_owned = self._may_own and bool(table.flags & PERSIST)
            try:
                self._change(kernel, lambda at: lease(at, lease_seconds), generation=0)
            except OSError as error:  # the table is not as we make it: reading says how
                if error.errno not in _DOES_NOT_FIT:
                    raise
        for _ in range(READ_TRIES_MAX):
            if (holding := self._looked_at(kernel, kernel.port)) is not None:
                return self._taken(holding)
        raise interrupted()

    def _create(self, kernel: NftSocket, lease_seconds: int) -> None:
        self._is_owned = self._may_own
        try:
            self._change(kernel, lambda at: _made(at, lease_seconds), creates=True)
        except OSError as error:
            if not self._is_owned or error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            self._is_owned = self._may_own = False
            self._change(kernel, lambda at: _made(at, lease_seconds), creates=True)

    def _apply(self, kernel: NftSocket, change: FirewallChange, lease_seconds: int) -> None:
        held = self._content
        gone = [row for row in held.rows if row not in set(change.rows)]
        new = [row for row in change.rows if row not in set(held.rows)]

        def parts(at: int) -> Iterator[bytes]:
            yield from lease(at, lease_seconds)
            yield from _packed(at, change.removed, held.rows, is_new=False)
            yield from counters(at, gone, is_new=False)
            yield from counters(at, new, is_new=True)
            yield from _packed(at, change.added, change.rows, is_new=True)
            if change.protected != held.protected:
                yield from protection(at, change.protected)

        self._commits += 1  # also where it fails: nobody knows then what was done
        self._change(kernel, parts)
        self._content = FirewallContent(change.rows, protected=change.protected)

    def _replace(self, kernel: NftSocket, content: FirewallContent, lease_seconds: int) -> None:
        def parts(at: int) -> Iterator[bytes]:
            yield from _made(at, lease_seconds)
            yield from counters(at, content.rows, is_new=True)
            yield from _packed(at, content.pieces, content.rows, is_new=True)
            yield from protection(at, content.protected)

        is_there = read_table(kernel) is not None
        self._is_owned = self._may_own
        self._commits += 1
        self._change(kernel, parts, generation=0, deletes=is_there, creates=True)
        self._content = FirewallContent(content.rows, protected=content.protected)

    def _change(
        self,
        kernel: NftSocket,
        parts: Callable[[int], Iterable[bytes]],
        *,
        generation: int | None = None,
        deletes: bool = False,
        creates: bool = False,
    ) -> None:
        """Commit `parts` behind a message that holds, or makes, the table's flags."""
        number = kernel.next_number()
        batch = []
        if deletes:
            batch.append(message(Verb.DELETE_TABLE, 0, number, in_table()))
        flags = NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if creates else 0)
        whose = u32(2, OWNER | PERSIST if self._is_owned else 0)
        batch.append(message(Verb.NEW_TABLE, flags, number, in_table(whose)))
        batch += parts(number)
        before = self._generation if generation is None else generation
        before = 0 if self._is_owned or creates else before
        kernel.commit(batch, generation=before)
        now = kernel.generation()
        self._generation = now if self._is_owned or not before else before + 1

    def _cut_beside(self, pieces: Pieces) -> int:
        with self._cutting:
            with self._turn:
                self._check_claimed()
                if self._cutter is None:
                    self._cutter = self._opened()
            try:
                return nft_connections.cut(self._cutter, pieces)
            except OSError as error:
                raise _translated(error) from error

    def _read_beside(self) -> FirewallHolding:
        with self._reading:
            for _ in range(READ_TRIES_MAX):
                with self._turn:
                    port, commits = self._check_claimed().port, self._commits
                    if self._reader is None:
                        self._reader = self._opened()
                try:
                    holding = self._looked_at(self._reader, port)
                except OSError as error:
                    raise _translated(error) from error
                with self._turn:
                    if commits != self._commits:
                        break  # who changed it knows, and reads when that is over
                    if holding is not None:
                        return self._taken(holding)
        raise interrupted()

    def _taken(self, holding: FirewallHolding) -> FirewallHolding:
        self._content, self._generation = holding.content, holding.generation
        return holding

    def _looked_at(self, kernel: NftSocket, port: int) -> FirewallHolding | None:
        """Read the table, whose owner must be `port`; None: it changed meanwhile."""
        before = kernel.generation()
        try:
            found = self._find(kernel, port)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None  # something went away while it was read
        after = kernel.generation()
        if before != after and (found.flaw or not self._is_owned):
            return None
        state = FirewallState.DIFFERS if found.flaw else FirewallState.HOLDS
        lacks = () if self._may_own else (NO_OWNERS,)
        return FirewallHolding(state, found.flaw, found.content, after, lacks)

    def _find(self, kernel: NftSocket, port: int) -> Found:
        table = read_table(kernel)
        if table is None:
            return Found(FirewallContent(), "the table is gone")
        if table.flags & DORMANT:
            return Found(FirewallContent(), "the table is switched off")
        found = read_all(kernel)
        if self._may_own and (table.flags != OWNER | PERSIST or table.owner != port):
            return Found(found.content, found.flaw or "the table is not this process's own")
        return found


def _made(number: int, lease_seconds: int) -> Iterator[bytes]:
    yield from frame(number)
    yield from lease(number, lease_seconds)


def _packed(
    number: int, pieces: Pieces, rows: Iterable[FirewallRow], *, is_new: bool
) -> Iterator[bytes]:
    if len(pieces) > PIECES_MAX:
        raise InputError(
            f"{len(pieces)} pieces are more than {PIECES_MAX}",
            advice="End orders for addresses before others begin.",
            index=PIECES_MAX,
        )
    known = tuple(rows)
    for version, heads in _HEADS.items():
        packed = pieces.packed(version)
        if packed:
            yield from nft_elements.encode(
                packed, version, known, heads, is_new=is_new, number=number
            )


def _check_lease(seconds: int) -> None:
    if not 1 <= seconds <= LEASE_SECONDS_MAX:
        raise InputError(
            f"a lease of {seconds} s",
            advice=f"Give 1 to {LEASE_SECONDS_MAX} seconds.",
            field="lease_seconds",
        )


def _translated(error: OSError) -> Exception:
    number = error.errno or 0
    if number in _DOES_NOT_FIT:
        return ConflictError(
            f"the table {TABLE} does not hold what the change is about"
            f" ({errno.errorcode.get(number, '')})",
            advice="Read it again; nothing was changed.",
        )
    if number == errno.EPERM:
        return ConflictError(
            "the firewall's table belongs to another process", advice="End the other node first."
        )
    return away(error)
