"""What the gate's workers count, in memory that outlives each of them.

Owns the shared memory, which worker counts where, and which order has which slot. An order keeps
its slot until the memory is made anew, so no count is ever another order's; those that found none
are counted together. A successor takes the memory over if it reads it as its maker did, and
makes new memory if not. Nothing here names a client or a query.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from typing import Final

from enforcer._native import counts
from enforcer.errors import InputError, IntegrityError
from enforcer.ports import Histogram

WORKERS_MAX: Final = counts.WORKERS_MAX // 2
"""Of one supervisor; the other half of the regions is its successor's."""

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def map_counts(fd: int) -> mmap.mmap:
    """Map the counters' memory, to be counted in or read.

    Raises:
        IntegrityError: it could be cut, or another release laid it out.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:  # not a memfd
        seals = 0
    if seals & _SEALS != _SEALS or os.fstat(fd).st_size != counts.MEMORY_OCTETS:
        raise _misfit()
    memory = mmap.mmap(fd, counts.MEMORY_OCTETS)
    if not counts.fits(memory):
        memory.close()
        raise _misfit()
    return memory


class GateStats:
    """The supervisor's view of the memory."""

    def __init__(self, fd: int, memory: mmap.mmap) -> None:
        self.fd = fd
        """To be handed to workers and to a successor; this object's to close."""
        self._memory = memory
        self._slots = {index: slot for slot, index in enumerate(counts.directory(memory), 1)}

    @classmethod
    def create(cls) -> GateStats:
        """Make memory in which nothing was counted yet; only what is written takes room."""
        fd = os.memfd_create("enforcer-counts", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, counts.MEMORY_OCTETS)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            memory = mmap.mmap(fd, counts.MEMORY_OCTETS)
            counts.begin(memory)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, memory)

    @classmethod
    def adopt(cls, fd: int) -> GateStats:
        """Take over the memory of a supervisor that this one follows; `fd` is its own from now.

        Raises:
            IntegrityError: it is not laid out as here; `fd` stays the caller's.
        """
        memory = map_counts(fd)
        counts.generation(memory, 1)
        return cls(fd, memory)

    def close(self) -> None:
        """Give it back; workers that map it go on counting, unread."""
        self._memory.close()
        os.close(self.fd)

    def region_of(self, worker: int) -> int:
        """Return where worker number `worker` of this supervisor is to count.

        Its successor's workers count elsewhere, as two must never write one word; the
        successor's successor uses these places again.

        Raises:
            InputError: there is no place for so many.
        """
        if not 0 <= worker < WORKERS_MAX:
            raise InputError(
                f"worker {worker} has no place to count",
                advice=f"Set workers to {WORKERS_MAX} at most.",
                field="workers",
            )
        region = counts.generation(self._memory) % 2 * WORKERS_MAX + worker
        counts.claim(self._memory, region)
        return region

    def bury(self, region: int) -> int:
        """Count what the worker at `region`, which has died, had in flight; return how much."""
        return counts.bury(self._memory, region)

    def slots(self, indices: Iterable[int]) -> dict[int, int]:
        """Return the slots of the orders with these ledger indices, new ones for new orders.

        Slot 0 is everybody's once all are given out.
        """
        return {index: self._slot(index) for index in indices}

    def _slot(self, index: int) -> int:
        slot = self._slots.get(index)
        if slot is None:
            slot = len(self._slots) + 1
            if slot >= counts.ORDERS_MAX:
                return 0
            counts.enter(self._memory, slot, index)
            self._slots[index] = slot
        return slot

    def counters(self) -> dict[str, int]:
        """Return every counter of the gate: see native/stats.pxd for what they are and sum to."""
        return counts.counters(self._memory, counts.claimed(self._memory))

    def order_counts(self) -> dict[int, dict[str, int]]:
        """Return by ledger index what orders did, without what is 0.

        Orders that have no slot of their own are together at index -1.
        """
        found = counts.orders(self._memory, counts.claimed(self._memory), len(self._slots) + 1)
        indices = {slot: index for index, slot in self._slots.items()} | {0: -1}
        return {indices[slot]: outcomes for slot, outcomes in found.items()}

    def histograms(self) -> dict[str, Histogram]:
        """Return the latencies of each stage."""
        regions = counts.claimed(self._memory)
        found = {}
        for name in counts.STAGE_NAMES:
            buckets, sum_ns = counts.stage(self._memory, regions, name)
            found[name] = Histogram(counts.BUCKET_BOUNDS_US, buckets, sum_ns // 1_000)
        return found


def _misfit() -> IntegrityError:
    return IntegrityError(
        "the counters' memory is not laid out as this release has it",
        advice="Count from zero again, in new memory.",
    )
