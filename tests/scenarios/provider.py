"""A provider in a scenario: a real node, its gate as a process, a resolver, and one who asks.

The node follows the control plane's feed, fetches lists and attests over gRPC with mTLS. Its
firewall is in memory, and judges packets as the kernel's would. What the resolver knows is in
`addresses`; what it was asked, by whomever, is in `asked`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from dnslib import QTYPE, RR, A, DNSRecord

from enforcer.api.control_link import GrpcControlLink
from enforcer.backends.address_pieces import PieceWorker
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import verify
from enforcer.backends.memory import InlineListWork
from enforcer.backends.memory_feed import MemoryFeedSource
from enforcer.backends.memory_firewall import FirewallMemory, MemoryFirewall
from enforcer.backends.sealing import Receiver
from enforcer.backends.tiles import TileLedger
from enforcer.core.table import IpMeasure
from enforcer.services.attest import Attester
from enforcer.services.enforce import Enforcer
from enforcer.services.firewall_pace import FirewallPace
from enforcer.services.firewalling import Firewalling
from enforcer.services.lists import ListKeeper
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
from tests.backends.gate_client import Asking, query
from tests.backends.gate_resolver import Resolver
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.control import LOG_VKEY, Installation, LandClock, trust_of
from tests.node_world import Host
from tests.people import ORIGIN, Person

QUICK = Pace(
    *[0.02] * 9, show_after_seconds=0.0, tell_within_seconds_max=0.0, relay_after_seconds=0.02
)
ADDRESS = "192.0.2.1"
"""Of every name that has none of its own."""


class Provider:
    """One node, its gate and its resolver; connected while its context lasts."""

    def __init__(
        self, served: Installation, folder: Path, person: Person, env: dict[str, str]
    ) -> None:
        self._served = served
        self._folder = folder
        self._person = person
        self._env = env
        self.addresses: dict[str, str] = {}
        self.asked: list[str] = []
        self.host = Host()

    async def __aenter__(self) -> Self:
        self._folder.mkdir()
        async with AsyncExitStack() as stack:
            resolver = Resolver()
            resolver.respond = self._respond
            stack.callback(resolver.close)
            place = stack.enter_context(gate_folder(self._folder))
            self.gate = GateUnderTest(place, resolver.place, env=self._env, origin=ORIGIN)
            stack.callback(self.gate.end)
            await asyncio.to_thread(self.gate.start)
            self._client = stack.enter_context(closing(Asking(self.gate.place)))
            node = await self._node(stack)
            await node.start()
            self._task = asyncio.create_task(node.run())
            stack.push_async_callback(self._end_node)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _node(self, stack: AsyncExitStack) -> Node:
        land, state = self._served.land, self._folder / "node"
        trust, files = trust_of(land), KeptFiles(state)
        ledger = stack.enter_context(
            TileLedger.open(
                state / "ledger", origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=True
            )
        )
        clock = LandClock(land)
        self.firewall, self._clock = FirewallMemory(), clock
        control = GrpcControlLink(
            await stack.enter_async_context(self._served.client(self._person))
        )
        source = MemoryFeedSource(self._served.feed, poll_interval_ms=5)
        work = InlineListWork()
        sealed = SealedKeeper(
            contents=ledger.lists,
            wraps=ledger.wraps,
            work=work,
            source=source,
            control=control,
            receiver=Receiver(self._person.key.key_id, self._person.encryption_secret),
        )
        lists = ListKeeper(ledger.lists, work, source, control, sealed)
        time = NodeTime(clock, files)
        pieces = PieceWorker()
        stack.callback(pieces.close)
        firewalling = Firewalling(
            firewall=MemoryFirewall(self.firewall, clock),
            work=pieces,
            lists=lists,
            own=self.host,
            node_time=time,
            pace=FirewallPace(0.1, retry_seconds=0.02, count_seconds=0.02),
        )
        return Node(
            node_id=self._person.person_id,
            replica=Replica(trust, verify, ledger),
            time=time,
            stops=StopKeeper(files),
            suspensions=SuspensionKeeper(files),
            lists=lists,
            enforcer=Enforcer(
                gate=self.gate.client,
                work=work,
                lists=lists,
                files=files,
                secret=bytes(16),
            ),
            attester=Attester(self._person.person_id, self._person.key, control, files),
            paths=FeedPaths((FeedPath(REDIS, source),), time.now_ms, QUICK),
            control=control,
            files=files,
            scans=Scans(work, lists),
            split_views=SplitViews(trust, verify, ledger, files),
            cosigner=None,
            firewall=firewalling,
            pace=QUICK,
        )

    async def _end_node(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._task.cancelled():
            self._task.result()

    # What can be seen.

    @property
    def status(self) -> dict[str, Any]:
        """What the node shows of itself; empty before it shows anything."""
        path = self._folder / "node" / "status.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    async def is_in_step(self, size: int, t_ms: int) -> None:
        """Wait until all have done what the ledger of so many entries says, then."""

        def is_there() -> bool:
            status = self.status
            return (
                bool(status)
                and status["t_ms"] >= t_ms
                and status["planned_size"] == size
                and status["gate"]["state"] == "HOLDS_TABLE"
                and status["firewall"]["state"] == "HOLDS"
                and not status["missing_lists"]
                and not status["omissions"]
            )

        await self.eventually(is_there)

    async def eventually(self, look: Callable[[], Any]) -> Any:
        """Return what a look returns once that is true; fail when it is not for 20 seconds."""
        for _ in range(4_000):
            if found := look():
                return found
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.005)
        raise AssertionError(f"it never came to hold: {self.status}")

    def is_blocked(self, name: str) -> bool:
        """Ask the gate for a name's address."""
        answer = DNSRecord.parse(self._client.ask(query(name)))
        addresses = [str(each.rdata) for each in answer.rr if each.rtype == QTYPE.A]
        assert addresses in ([], [self.addresses.get(name, ADDRESS)]), addresses
        return not addresses

    def passes(self, address: str) -> bool:
        """Send a packet to an address, and one from it."""
        firewall = MemoryFirewall(self.firewall, self._clock)
        client, other = ip_address("0.0.0.0"), ip_address(address)
        judged = {firewall.judge(client, other), firewall.judge(other, client)}
        assert (IpMeasure.NONE in judged) == (judged == {IpMeasure.NONE})
        return judged == {IpMeasure.NONE}

    def _respond(self, asked: bytes) -> Iterator[bytes]:
        message = DNSRecord.parse(asked)
        name = str(message.q.qname).rstrip(".")
        self.asked.append(name)
        reply = message.reply(ra=1, aa=0)
        address = self.addresses.get(name, ADDRESS)
        reply.add_answer(RR(message.q.qname, QTYPE.A, ttl=60, rdata=A(address)))
        yield reply.pack()
