"""A node in a world of its own for tests: a land whose acts are published, and what surrounds it.

Feed, control plane and gate are the memory twins, ledger and lists are on disk, every signature
is real. A test reads as a story: ``world.land.in_force_order(...)``, ``await world.publish()``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path

from enforcer.backends.address_pieces import PieceWorker
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory import InlineListWork, ManualClock, MemoryControl, MemoryGate
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedPublisher, MemoryFeedSource
from enforcer.backends.memory_firewall import FirewallMemory, MemoryFirewall
from enforcer.backends.sealing import Receiver
from enforcer.backends.tiles import TileLedger
from enforcer.core.attestation import (
    Attestation,
    GateState,
    NotEnforced,
    expected_digest,
    parse_attestation,
)
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import NOBODY
from enforcer.core.entry import parse
from enforcer.core.envelope import format_envelope, parse_envelope
from enforcer.core.fold import apply
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.network import Network
from enforcer.core.note import VerifierKey
from enforcer.core.order import PublicationMode
from enforcer.core.policy import DAY_MS
from enforcer.core.table import IpMeasure
from enforcer.core.trust import Trust
from enforcer.errors import UnavailableError
from enforcer.ports import FeedSource, FeedUpdate, Gate, ListWork
from enforcer.services.attest import Attester
from enforcer.services.canaries import Canaries
from enforcer.services.enforce import Enforcer
from enforcer.services.firewall_pace import FirewallPace
from enforcer.services.firewalling import Firewalling
from enforcer.services.lists import ListKeeper
from enforcer.services.no_gate import NoGate
from enforcer.services.node import Node
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import Pace
from enforcer.services.paths import REDIS, FeedPath, FeedPaths
from enforcer.services.replica import Replica
from enforcer.services.scans import Scans
from enforcer.services.sealed_lists import SealedKeeper
from enforcer.services.split_views import SplitViews
from enforcer.services.stops import StopKeeper
from enforcer.services.suspensions import SuspensionKeeper
from enforcer.services.witness_watch import Cosigner
from tests.people import Land, seal
from tests.sealed import SealedText
from tests.waiting import until

MINUTE_MS = 60_000
YEAR_MS = 365 * 24 * 60 * MINUTE_MS
BAD = b"exact bad.example.org\n"
WORSE = b"subtree worse.example.org\n"
LOG_KEY = PrivateKey.generate()
SECRET = bytes(range(16))
QUICK = Pace(
    *[0.02] * 9,
    show_after_seconds=0.0,
    tell_within_seconds_max=0.0,
    relay_after_seconds=0.02,
    tell_progress_seconds=0.0,
    path_look_seconds=0.02,
    path_lag_seconds=0.1,
    path_retry_seconds=0.05,
    path_retry_seconds_max=0.2,
    path_slow_seconds=0.5,
    clock_wait_seconds=0.02,
)


class Log:
    """The log's key: it signs a checkpoint over any leaves, honest or not."""

    def __init__(self, origin: str, key: PrivateKey = LOG_KEY) -> None:
        self.origin = origin
        self.vkey = VerifierKey(origin, key.public_key)
        self._key = key

    def seal(self, checkpoint: Checkpoint) -> bytes:
        return sign_checkpoint(checkpoint, self.vkey, self._key.sign)

    def note(self, leaves: list[bytes]) -> bytes:
        tree = CompactRange.over(map(leaf_hash, leaves))
        return self.seal(Checkpoint(self.origin, len(leaves), tree.root()))

    def update(self, leaves: list[bytes], first_index: int = 0) -> FeedUpdate:
        return FeedUpdate(first_index, tuple(leaves[first_index:]), self.note(leaves))


def trust_of(land: Land, log: Log) -> Trust:
    return Trust(land.origin, log.vkey.text, land.state.roots)


def open_copy(path: Path, log: Log, *, is_copy: bool = True) -> TileLedger:
    return TileLedger.open(
        path, origin=log.origin, vkey=log.vkey, verify=verify, writer=True, is_copy=is_copy
    )


class Host:
    """What a host tells of its own addresses."""

    def __init__(self) -> None:
        self.own: tuple[str, ...] = ()
        self.is_away = False

    async def networks(self) -> tuple[Network, ...]:
        if self.is_away:
            raise UnavailableError("the host is away", advice="Call `is_away = False`.")
        return tuple(map(ip_network, self.own))


class World:
    """Everything around one node, and the node while `running`."""

    def __init__(self, directory: Path, land: Land | None = None) -> None:
        self.directory = directory
        self.land = land or Land.founded()
        self.log = Log(self.land.origin)
        self.clock = ManualClock(self.land.now_ms)
        self.feed = MemoryFeed()
        self.publisher = MemoryFeedPublisher(self.feed)
        self.control = MemoryControl()
        self.paths: tuple[FeedPath, ...] = ()
        """Paths beside the first."""
        self.copies: tuple[FeedSource, ...] = ()
        """Those of them that lists are asked of at the last."""
        self.gate: Gate = MemoryGate(self.clock)
        self.has_gate = True
        self.work: ListWork = InlineListWork()
        self.firewall: FirewallMemory | None = None
        """Where the node's firewall holds what it holds; None: the node has none."""
        self.host = Host()
        self.firewall_pace = FirewallPace(0.1, retry_seconds=0.02, count_seconds=0.02)
        self.pace = QUICK
        self.is_dry_run = False
        self.pieces = PieceWorker()
        self.replica = Replica
        self.canaries: Callable[[], Canaries] = Canaries
        """Makes what the node knows of canaries, at each start."""
        node = self.land.node
        self.receiver: Receiver | None = Receiver(node.key.key_id, node.encryption_secret)
        self.witnesses = NOBODY
        self.state_dir = directory / "node"
        self.book = open_copy(directory / "book", self.log)

    def bring(self, targets: bytes) -> str:
        """Put a list where nodes fetch lists."""
        digest = sha256(targets).hexdigest()
        self.feed.lists[digest] = targets
        return digest

    def seal(
        self, targets: bytes, mode: PublicationMode = PublicationMode.RESTRICTED_TARGETS
    ) -> SealedText:
        """Seal a list and put it, and a wrap for the node, where nodes fetch them."""
        made = SealedText.of(targets, mode, self.land.now_ms + 20 * DAY_MS)
        self.feed.lists[made.sealed_sha256] = made.octets
        self.feed.wraps[made.sealed_sha256, self.land.node.key.key_id] = made.wrap(self.land.node)
        return made

    async def publish(self) -> None:
        """Publish what the land recorded since, and set the machine's clock to its time."""
        self.clock.ms = max(self.clock.ms, self.land.now_ms)
        first = self.book.size
        leaves = self.land.leaves[first:]
        note = self.book.append(leaves, self.log.seal)
        await self.publisher.publish(first, leaves, note)

    async def mend(self) -> None:
        """Fill the feed again from the ledger."""
        await self.publisher.reconcile(self.book, self.book.lists, ())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        """Run a node on what its folder holds; leaving ends it as a kill would."""
        threads = ThreadPoolExecutor()
        asyncio.get_running_loop().set_default_executor(threads)
        with open_copy(self.state_dir / "ledger", self.log) as ledger:
            files = KeptFiles(self.state_dir)
            source = MemoryFeedSource(self.feed, poll_interval_ms=5)
            time = NodeTime(self.clock, files)
            feeds = FeedPaths((FeedPath(REDIS, source), *self.paths), time.now_ms, self.pace)
            sealed = SealedKeeper(
                contents=ledger.lists,
                wraps=ledger.wraps,
                work=self.work,
                source=feeds,
                control=self.control,
                receiver=self.receiver,
            )
            lists = ListKeeper(ledger.lists, self.work, feeds, self.control, sealed, self.copies)
            trust = replace(trust_of(self.land, self.log), witnesses=self.witnesses)
            firewall = self._firewall_of(lists, time)
            node = Node(
                node_id="node-1",
                replica=self.replica(trust, verify, ledger),
                time=time,
                stops=StopKeeper(files),
                suspensions=SuspensionKeeper(files),
                lists=lists,
                enforcer=self._enforcer_of(lists, files),
                attester=Attester("node-1", self.land.node.key, self.control, files),
                paths=feeds,
                control=self.control,
                files=files,
                scans=Scans(self.work, lists, blocks_names=self.has_gate),
                split_views=SplitViews(trust, verify, ledger, files),
                cosigner=self.cosigner(time),
                firewall=firewall,
                canaries=self.canaries(),
                pace=self.pace,
            )
            await node.start()
            task = asyncio.create_task(node.run())
            try:
                yield node
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                # A cancelled task leaves its thread behind, which would go on to write files.
                threads.shutdown()
                asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
                if self.firewall is not None:
                    self.firewall.owner = None
                if not task.cancelled():
                    task.result()

    def _enforcer_of(self, lists: ListKeeper, files: KeptFiles) -> Enforcer | NoGate:
        if not self.has_gate:
            return NoGate()
        return Enforcer(gate=self.gate, work=self.work, lists=lists, files=files, secret=SECRET)

    def _firewall_of(self, lists: ListKeeper, time: NodeTime) -> Firewalling | None:
        if self.firewall is None:
            return None
        is_real = not self.is_dry_run
        return Firewalling(
            firewall=MemoryFirewall(self.firewall, self.clock, packets_are_touched=is_real),
            work=self.pieces,
            lists=lists,
            own=self.host,
            node_time=time,
            pace=self.firewall_pace,
            is_real=is_real,
        )

    def blocks(self, address: str) -> bool:
        """Tell whether a packet to that address is stopped."""
        assert self.firewall is not None
        firewall = MemoryFirewall(self.firewall, self.clock)
        measure = firewall.judge(ip_address("0.0.0.0"), ip_address(address))
        return measure is not IpMeasure.NONE

    def cosigner(self, time: NodeTime) -> Cosigner | None:
        """Return what cosigns for the node, if it is one of the witnesses."""
        key = self.witnesses.key_of(self.land.node.key.public_key)
        return Cosigner(key, self.land.node.key, self.control, time) if key else None

    @property
    def status(self) -> dict:
        """What the node shows about itself."""
        path = self.state_dir / "status.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    @property
    def attested(self) -> Attestation | None:
        """The last attestation that arrived."""
        if not self.control.attestations:
            return None
        return parse_attestation(parse_envelope(self.control.attestations[-1]))

    def expected_digest(self, attestation: Attestation) -> str:
        """Recompute a digest as an auditor does."""
        state = trust_of(self.land, self.log).genesis(verify)
        for leaf in self.land.leaves[: attestation.ledger_size]:
            apply(state, parse(leaf))
        return expected_digest(state, attestation)

    def stop_bytes(self, ref, by=None) -> bytes:
        """Sign a stop that is not recorded."""
        return format_envelope(seal(self.land.stopping(ref), (by or self.land.oversight).key))


async def all_shown(world: World) -> dict:
    """Wait until a node shows that it has read all and has every list; return what it shows."""
    size = len(world.land.leaves)
    await until(lambda: world.status["ledger"]["size"] == size)
    await until(lambda: not world.status["missing_lists"])
    return world.status


async def feed_is(world: World, state: str) -> str:
    """Wait until a node shows its feed so, and return the reason that it shows."""
    await until(lambda: world.status.get("feed", {}).get("state") == state)
    return world.status["feed"]["reason"]


async def blocking(world: World, targets: bytes = BAD, name: str = "bad.example.org", **changes):
    """Have an order in force and enforced; return how acts name it."""
    world.bring(targets)
    ref = world.land.in_force_order(targets, **changes)
    await world.publish()
    await until(lambda: world.gate.blocks(name))
    return ref


async def in_the_ledger(world: World, targets: bytes, **changes):
    """Have an order in force by the ledger, and read by the node; return how acts name it."""
    world.bring(targets)
    ref = world.land.in_force_order(targets, **changes)
    await world.publish()
    await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
    return ref


def holds(world: World) -> bool:
    """Tell whether the last attestation says that the gate holds all there is to enforce."""
    attested = world.attested
    return (
        attested is not None
        and attested.gate is GateState.HOLDS_TABLE
        and not attested.omissions
        and attested.ledger_size == len(world.land.leaves)
    )


def omitted(world: World) -> list[int]:
    """Return the orders that the last attestation says are not enforced."""
    attested = world.attested
    return [each.order_index for each in attested.omissions] if attested is not None else []


def cannot(world: World) -> list[int]:
    """Return the orders that the last attestation says cannot be enforced here."""
    return [
        each.order_index
        for each in (world.attested.omissions if world.attested is not None else ())
        if each.reason is NotEnforced.CANNOT_ENFORCE
    ]


def stopped_here(world: World) -> list[int]:
    """Return the orders that the last attestation says are stopped ahead of the ledger."""
    return [
        each.order_index
        for each in (world.attested.omissions if world.attested is not None else ())
        if each.reason is NotEnforced.STOPPED_UNLOGGED
    ]
