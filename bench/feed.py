"""What a change costs on the wire: an order of ten names, and new versions of a list of a million.

A real Redis on a Unix socket, the control plane's publisher and list worker, the node's source,
list keeper and list worker; octets are Redis's own count of what it took in and gave out.
The node has a version's list when it is on its disk, hashed and checked line by line. Whole: the
same version without its delta, as it was before there were any. Over the second path: from the
control plane's gRPC server with mTLS, through a relay that counts all octets on the connection to
the node. FEED_NAMES says how many names.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter

from redis.asyncio import Redis

from bench import Row
from bench.path import made_up
from enforcer.api.control_link import GrpcControlLink
from enforcer.api.sync_source import SyncSource
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.content import ContentStore
from enforcer.backends.delta_files import DELTAS, DeltaFiles
from enforcer.backends.memory import MemoryControl
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_server import RedisServer
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core.key import Role
from enforcer.ports import ControlLink, FeedSource
from enforcer.services.lists import ListKeeper
from enforcer.services.sealed_lists import SealedKeeper
from tests.control import Installation
from tests.node_world import Log, open_copy
from tests.people import Land

NAMES = int(os.environ.get("FEED_NAMES", "1000000"))
CHANGED = (1, 100, 10_000)
LIST_BYTES_MAX = 1 << 30
IDLE_SECONDS = 5


@dataclass
class Wire:
    """Counts what Redis took in and gave out."""

    redis: Redis

    async def octets(self) -> tuple[int, int]:
        stats = await self.redis.info("stats")
        return int(stats["total_net_input_bytes"]), int(stats["total_net_output_bytes"])

    async def since(self, before: tuple[int, int]) -> tuple[int, int]:
        now = await self.octets()
        return now[0] - before[0], now[1] - before[1]


class Relay:
    """Stands before a TCP port and counts what goes to whoever connects."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.given = 0
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._to)
        with suppress(OSError):
            await asyncio.gather(self._copy(reader, ours, 0), self._copy(theirs, writer, 1))

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: int
    ) -> None:
        while data := await reader.read(1 << 16):
            self.given += counted * len(data)
            writer.write(data)
            await writer.drain()
        writer.close()


class Sides:
    """A control plane's feed and a node's, with their disks and workers."""

    def __init__(self, base: Path, url: str, ours: ListWorker, theirs: ListWorker) -> None:
        self.base, self.work = base, ours
        self.land = Land.founded()
        self.log = Log(self.land.origin)
        self.book = open_copy(base / "book", self.log)
        self.publisher = RedisFeedPublisher(url, self.land.origin)
        self.source = RedisFeedSource(url, self.land.origin)
        self.wire = Wire(Redis.from_url(url))
        self.lists = ContentStore(base / "node", size_bytes_max=LIST_BYTES_MAX)
        self._theirs = theirs
        self.keeper = self.keeper_of(self.source, MemoryControl())

    def keeper_of(self, source: FeedSource, control: ControlLink) -> ListKeeper:
        """Return a node's lists, on its disk, from one path."""
        sealed = SealedKeeper(
            contents=self.lists,
            wraps=WrapFiles(self.base / "wraps"),
            work=self._theirs,
            source=source,
            control=control,
            receiver=None,
        )
        return ListKeeper(self.lists, self._theirs, source, control, sealed)

    async def publish(self) -> None:
        """Publish what the land recorded since."""
        first = self.book.size
        leaves = self.land.leaves[first:]
        await self.publisher.publish(first, leaves, self.book.append(leaves, self.log.seal))

    async def close(self) -> None:
        await self.publisher.close()
        await self.source.close()
        await self.wire.redis.aclose()
        self.book.close()


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="enforcer-bench-") as name:
        base = Path(name)
        server = RedisServer(base / "redis", unixsocket=base / "redis.sock")
        server.start()
        try:
            return asyncio.run(measured(base, server.url))
        finally:
            server.stop()


async def measured(base: Path, url: str) -> list[Row]:
    async with ready(base, url) as sides:
        lines = [f"exact {name}\n".encode() for name in made_up(NAMES)]
        old = sides.book.lists.put(b"".join(lines))
        await sides.publisher.put_list(old, sides.book.lists.path(old))
        rows = [
            Row("names in the list", len(lines), ""),
            Row("its octets", sides.book.lists.path(old).stat().st_size, "octets"),
            *await small_order(sides),
            *await idle(sides),
        ]
        assert await sides.keeper.bring(old)
        async with second_path(sides) as second:
            for changed in CHANGED:
                rows += await version(sides, second, old, lines, changed)
        return rows


@dataclass
class Second:
    """The control plane's own stream and calls, as a node has them."""

    directory: Path
    keeper: ListKeeper
    relay: Relay


@asynccontextmanager
async def second_path(sides: Sides) -> AsyncIterator[Second]:
    directory = sides.base / "control"
    directory.mkdir()
    async with Installation(directory) as control:
        relay = Relay(control.control.port)
        files = control.issue(Role.NODE, "node-1")
        async with relay.open(), control.connect(files, port=relay.port) as client:
            keeper = sides.keeper_of(SyncSource(client), GrpcControlLink(client))
            yield Second(directory / "ledger", keeper, relay)


@asynccontextmanager
async def ready(base: Path, url: str) -> AsyncIterator[Sides]:
    async with ListWorker() as ours, ListWorker() as theirs:
        sides = Sides(base, url, ours, theirs)
        await sides.publish()
        try:
            yield sides
        finally:
            await sides.close()


async def small_order(sides: Sides) -> list[Row]:
    """An order of ten names: proposed, approved, its list fetched."""
    targets = b"".join(b"exact n%d.example.org\n" % number for number in range(10))
    size = sides.book.size
    before = await sides.wire.octets()
    digest = sides.book.lists.put(targets)
    await sides.publisher.put_list(digest, sides.book.lists.path(digest))
    for is_approved in (False, True):
        if is_approved:
            sides.land.approve(sides.land.ref(size))
        else:
            sides.land.propose(targets)
        await sides.publish()
        assert await sides.source.next(sides.book.size - 1, 1_000) is not None
    assert await sides.keeper.bring(digest)
    taken, given = await sides.wire.since(before)
    return [
        Row("an order of 10 names: published", taken, "octets"),
        Row("an order of 10 names: to each node, list and both acts", given, "octets"),
    ]


async def idle(sides: Sides) -> list[Row]:
    """A node for which nothing comes."""
    before = await sides.wire.octets()
    assert await sides.source.next(sides.book.size, IDLE_SECONDS * 1_000) is None
    taken, given = await sides.wire.since(before)
    return [Row("a node at rest, both ways", (taken + given) / IDLE_SECONDS, "octets a second")]


async def version(
    sides: Sides, second: Second, old: str, lines: list[bytes], changed: int
) -> list[Row]:
    """A version that takes out half so many lines as it adds, or the one line."""
    chance, what = Random(changed), f"{changed:,} lines changed"
    gone = set(chance.sample(range(len(lines)), changed // 2))
    more = [b"exact v%d-%d.example.org\n" % (changed, at) for at in range(changed - len(gone))]
    text = b"".join(sorted([line for at, line in enumerate(lines) if at not in gone] + more))
    digest = sides.book.lists.put(text)
    path, base = sides.book.lists.path(digest), sides.book.lists.path(old)
    await sides.publisher.put_list(digest, path)
    began = perf_counter()
    assert await sides.work.diff_lists(base, path, sides.base / "delta")
    made_seconds = perf_counter() - began
    await sides.publisher.put_delta(digest, old, sides.base / "delta")
    rows = [Row(f"{what}: delta made", made_seconds, "s")]
    found = {}
    for way, bases in (("by the delta", {digest: old}), ("whole", {})):
        sides.keeper.distrust(digest)
        sides.lists.remove(digest)
        sides.keeper.expect({}, [digest], bases)
        before, began = await sides.wire.octets(), perf_counter()
        assert await sides.keeper.bring(digest)
        seconds = perf_counter() - began
        found[way] = (await sides.wire.since(before))[1]
        rows.append(Row(f"{what}: to a node, {way}", found[way], "octets"))
        rows.append(Row(f"{what}: until the node has it, {way}", seconds, "s"))
    rows.append(Row(f"{what}: whole in times", found["whole"] / found["by the delta"], "times"))
    return [*rows, *await by_the_second_path(sides, second, (digest, old), what)]


async def by_the_second_path(
    sides: Sides, second: Second, delta: tuple[str, str], what: str
) -> list[Row]:
    """The same version, where Redis is away."""
    digest, old = delta
    files = DeltaFiles(second.directory / DELTAS)
    files.path(delta).parent.mkdir(exist_ok=True)
    files.path(delta).write_bytes((sides.base / "delta").read_bytes())
    ContentStore(second.directory / "lists", size_bytes_max=LIST_BYTES_MAX).put_file(
        sides.book.lists.path(digest)
    )
    rows = []
    for way, bases in (("by the delta", {digest: old}), ("whole", {})):
        second.keeper.distrust(digest)
        sides.lists.remove(digest)
        second.keeper.expect({}, [digest], bases)
        before = second.relay.given
        assert await second.keeper.bring(digest)
        octets = second.relay.given - before
        rows.append(Row(f"{what}: to a node, {way}, over the second path", octets, "octets"))
    return rows
