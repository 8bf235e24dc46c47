"""Proposals and approvals a second, each on the disk before it is answered.

A real `enforcer control` with redis-server, gRPC with mTLS and all guards over the data in
`rules/`, founded for each round; node and gate are ended, so that they take no time from it. Every
act is signed, and every receipt verified, by this process on the same machine. Each order has a
list of one name of its own, uploaded before. The floor is measured in the same run under the same
directory: plain appends of an entry's size with fsync, and the ledger's own append of one entry.
CONTROL_ORDERS says how many orders in each part, CONTROL_ROUNDS how many rounds.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import median
from time import perf_counter

from bench import Row, median_row
from bench._installation import Installation
from enforcer.core.order import OrderRef
from tests.e2e.installation import REASONS, ref_of
from tests.node_world import Log, open_copy
from tests.people import ORIGIN, seal

ORDERS = int(os.environ.get("CONTROL_ORDERS", "200"))
ROUNDS = int(os.environ.get("CONTROL_ROUNDS", "3"))
IN_FLIGHT = 16
ENTRY_BYTES = 2_048
FLOOR_APPENDS = 200

Found = dict[tuple[str, str], list[float]]


def run() -> list[Row]:
    found: Found = defaultdict(list)
    for _ in range(ROUNDS):
        with Installation() as installation:
            installation.kill("node", "gate")
            for person in (installation.land.proposer, installation.land.approver):
                installation.client(person.person_id)  # connect before, and not from a call
            floor(installation.directory, found)
            one_at_a_time(installation, found)
            many_at_a_time(installation, found)
    return [median_row(what, values, unit) for (what, unit), values in found.items()]


def floor(directory: Path, found: Found) -> None:
    """Append entries with nothing around them."""
    entry = os.urandom(ENTRY_BYTES)
    began = perf_counter()
    with (directory / "floor").open("ab", buffering=0) as file:
        for _ in range(FLOOR_APPENDS):
            file.write(entry)
            os.fsync(file.fileno())
    plain = FLOOR_APPENDS / (perf_counter() - began)
    found[f"floor: plain append of {ENTRY_BYTES} octets and fsync", "a second"].append(plain)
    log = Log(ORIGIN)
    with open_copy(directory / "floor-ledger", log) as ledger:
        began = perf_counter()
        for _ in range(FLOOR_APPENDS):
            ledger.append([entry], log.seal)
        ours = FLOOR_APPENDS / (perf_counter() - began)
    found["floor: the ledger's append of one entry", "a second"].append(ours)


def one_at_a_time(installation: Installation, found: Found) -> None:
    """Have one order proposed and approved after another."""
    lists = lists_of("single")
    began = perf_counter()
    for text in lists:
        installation.upload(text)
    found["upload of a list of one name", "ms"].append(1_000 * (perf_counter() - began) / ORDERS)
    proposing, approving = [], []
    for text in lists:
        began = perf_counter()
        ref = installation.call(propose(installation, text))
        proposed = perf_counter()
        installation.call(approve(installation, ref))
        proposing.append(proposed - began)
        approving.append(perf_counter() - proposed)
    found["proposal answered, one at a time", "ms"].append(1_000 * median(proposing))
    found["approval answered, one at a time", "ms"].append(1_000 * median(approving))
    both = ORDERS / (sum(proposing) + sum(approving))
    found["proposed and approved, one at a time", "orders a second"].append(both)


def many_at_a_time(installation: Installation, found: Found) -> None:
    """Have many people propose and approve at once."""
    lists = lists_of("many")
    for text in lists:
        installation.upload(text)

    async def order(text: bytes) -> None:
        await approve(installation, await propose(installation, text))

    began = perf_counter()
    installation.call(together(lists, order), seconds=600)
    speed = ORDERS / (perf_counter() - began)
    found[f"proposed and approved, {IN_FLIGHT} at a time", "orders a second"].append(speed)


async def together(lists: Sequence[bytes], order: Callable[[bytes], Awaitable[None]]) -> None:
    """Do it for all, `IN_FLIGHT` at a time."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(text: bytes) -> None:
        async with room:
            await order(text)

    async with asyncio.TaskGroup() as tasks:
        for text in lists:
            tasks.create_task(one(text))


async def propose(installation: Installation, text: bytes) -> OrderRef:
    """Sign and send a proposal, and verify its receipt."""
    client = installation.client(installation.land.proposer.person_id)
    recorded = await client.propose(installation.proposal(text), [REASONS])
    assert recorded is not None
    return ref_of(recorded)


async def approve(installation: Installation, ref: OrderRef) -> None:
    """Sign and send an approval, and verify its receipt."""
    land = installation.land
    client = installation.client(land.approver.person_id)
    await client.approve(seal(land.approval(ref), land.approver.key))


def lists_of(part: str) -> list[bytes]:
    """Return a list of its own for each order."""
    names = [sha256(f"{part} {at}".encode()).hexdigest()[:16] for at in range(ORDERS)]
    return [f"exact {name}.example.org\n".encode() for name in names]
