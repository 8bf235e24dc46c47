"""A whole country for scenarios: its people at a served control plane, its providers before it.

Acts go over gRPC with mTLS, a provider is a real node with a real gate and a resolver behind it.
A scenario reads as a story: ``order = await country.proposes("exact bad.example.org")``. Providers
are connected when somebody first looks; what they say is looked at when they are in step.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import pytest

from enforcer.api.client import ControlClient
from enforcer.backends.clock import SystemClock
from enforcer.backends.feed_format import StreamEntry
from enforcer.backends.keys import PrivateKey
from enforcer.core import fields
from enforcer.core.attestation import Attestation, parse_attestation
from enforcer.core.collateral import Necessity
from enforcer.core.entry import Entry, encode, parse
from enforcer.core.envelope import format_envelope, parse_envelope
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded, HoldLifted
from enforcer.core.key import Role
from enforcer.core.order import (
    Measure,
    OrderPublished,
    OrderRef,
    OrderRejected,
    PublicationMode,
)
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.state import in_force
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.v1 import order_pb2
from tests.backends.gate_tables import HOUR_MS
from tests.backends.wall_clock import WallClock
from tests.control import LOG_VKEY, REASONS, Installation, PlainListWork, with_reasons
from tests.people import ORIGIN, Land, Person, seal
from tests.scenarios.protections import CORE, PROTECTED, SHARED, SUFFIXES, text_of
from tests.scenarios.provider import Provider
from tests.sealed import SealedText

DOCUMENT = b"d" * 32 + b"What else is at these addresses, and why nothing milder would do."


NECESSITY = fields.dump(
    Necessity(
        considered=("The host was asked to take the site down, and did not answer.",),
        why_no_dns_order="Those who fall for it follow links with the bare address.",
        attested_by="An Nguyen, head of the incident desk",
    )
)


def measure_of(*lines: str) -> Measure:
    """Return the measure that says what is done to each kind of target in a list, and no more."""
    has_addresses = [line.startswith(("ip ", "net ")) for line in lines]
    return Measure(
        DnsMeasure.NONE if all(has_addresses) else DnsMeasure.NEGATIVE,
        IpMeasure.REJECT if any(has_addresses) else IpMeasure.NONE,
    )


class Country:
    """People, their control plane and their providers."""

    def __init__(self, directory: Path, clock: WallClock | None = None) -> None:
        self.directory = directory
        self._clock = clock
        # Gates are processes, and have the real time.
        self.land = Land(now_ms=SystemClock().now_ms())
        self.served = Installation(directory, land=self.land, work=PlainListWork())
        self.held: set[str] = set()
        """The guards that held the last proposal, and their report."""
        self.report = b""
        self._nodes = {self.land.node.person_id: self.land.node}
        self._providers: dict[str, Provider] = {}
        self._clients: dict[str, ControlClient] = {}

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self.served)
        await self.served.found()
        for person in (self.land.control, self.land.officer):
            await self._roots(person.registration(self.land.now_ms))
        await self.adopts()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # What people do.

    async def adopts(self, **changes: Any) -> None:
        """Have the roots adopt a policy with this country's protections."""
        lists = (text_of(*lines) for lines in (CORE, PROTECTED, SUFFIXES, SHARED))
        pins = Pins(*[await self.uploads(text) for text in lists])
        await self._roots(self.land.policy(**{"pins": pins} | changes))

    async def uploads(self, text: bytes) -> str:
        """Have the proposer upload a list, and return its name."""
        path = self.directory / "list.txt"
        path.write_bytes(text)
        async with self._as(self.land.proposer) as client:
            return (await client.upload_targets(path)).sha256

    async def proposes(self, *lines: str, by: Person | None = None, **changes: Any) -> OrderRef:
        """Have somebody propose an order for these lines."""
        who, text = by or self.land.proposer, text_of(*lines)
        await self.uploads(text)
        order = with_reasons(self.land, text, **{"measure": measure_of(*lines)} | changes)
        async with self._as(who) as client:
            recorded, said = await client.propose_held(seal(order, who.key), [REASONS])
        self.held = {Guard(each.guard).name for each in said.findings}
        self.report = said.guard_report
        return self.land.ref(recorded.index)

    async def hides(self, *lines: str, publish_at_ms: int) -> tuple[OrderRef, SealedText]:
        """Have two persons order these lines, which are to be public by then."""
        who = self.land.proposer
        made = SealedText.of(text_of(*lines), PublicationMode.DELAYED, publish_at_ms)
        path = self.directory / "list.age"
        path.write_bytes(made.octets)
        order = replace(
            with_reasons(self.land, made.text),
            publication=made.publication,
            target_list_sha256=made.sha256,
        )
        async with self._as(who) as client:
            wrap = made.wrap_for((await client.receivers()).encryption_key)
            await client.upload_targets(path, wrap=wrap)
            ref = self.land.ref((await client.propose(seal(order, who.key), [REASONS])).index)
        await self.approves(ref)
        return ref, made

    async def publishes(self, order: OrderRef, made: SealedText) -> None:
        act = self.land.act(OrderPublished, order, list_secret=made.secret)
        await self._records(act, self.land.proposer)

    async def approves(self, order: OrderRef, by: Person | None = None) -> None:
        who = by or self.land.approver
        async with self._as(who) as client:
            await client.approve(seal(self.land.approval(order), who.key))

    async def orders(self, *lines: str, **changes: Any) -> OrderRef:
        """Have two persons order it."""
        order = await self.proposes(*lines, **changes)
        await self.approves(order)
        return order

    async def stops(self, order: OrderRef, by: Person | None = None) -> None:
        who = by or self.land.approver
        async with self._as(who) as client:
            await client.stop(seal(self.land.stopping(order), who.key))

    async def returns(self, order: OrderRef) -> str:
        """Have the approver reject a proposal, with the reason as a document; return its name."""
        who, name = self.land.approver, sha256(DOCUMENT).hexdigest()
        act = self.land.act(OrderRejected, order, reason_sha256=name)
        async with self._as(who) as client:
            await client.reject(seal(act, who.key), [DOCUMENT])
        return name

    async def assesses(self, order: OrderRef) -> int:
        """Have the proposer attest what the order would hit beside its aim; return the entry."""
        return await self.attests_facts(order, await self.facts(order))

    async def facts(self, order: OrderRef) -> bytes:
        """Return what is known of what an order would hit, as its assessor gets it."""
        async with self._as(self.land.proposer) as client:
            return await client.draft_assessment(order.order_id, order.entry_index)

    async def attests_facts(self, order: OrderRef, facts: bytes) -> int:
        """Have the proposer attest facts, and why the order is needed all the same."""
        files = [b"f" * 32 + facts, b"n" * 32 + NECESSITY]
        names = ("facts_sha256", "necessity_sha256")
        named = {name: sha256(each).hexdigest() for name, each in zip(names, files, strict=True)}
        act = self.land.act(AssessmentRecorded, order, **named)
        return await self._records(act, self.land.proposer, files)

    async def lifts(
        self,
        order: OrderRef,
        *guards: Guard,
        by: Person | None = None,
        overrides: tuple[str, ...] = (),
        assessment: int | None = None,
    ) -> None:
        """Have a third person lift what holds an order."""
        act = self.land.act(
            HoldLifted,
            order,
            guards=guards,
            overrides=overrides,
            assessment_index=assessment,
            reason_sha256=None,
        )
        await self._records(act, by or self.land.second_approver)

    def days_on(self, days: float) -> int:
        """Return the time so many days from now."""
        return self.land.now_ms + round(days * DAY_MS)

    def pass_days(self, days: float) -> None:
        """Let so many days go by, for everybody and for every gate's clock."""
        if self._clock is None:
            pytest.skip("no C compiler to make a clock that can be set")
        self.land.now_ms = self.days_on(days)
        ahead_ms = self.land.now_ms - SystemClock().now_ms()
        self._clock.set_ahead(-(-ahead_ms // HOUR_MS))

    # What can be seen.

    @property
    def size(self) -> int:
        return self.served.control.ledger.files.size

    @property
    def in_force(self) -> list[str]:
        """The numbers of the orders that block now."""
        return [row.order_id for row in in_force(self.land.state, self.land.now_ms)]

    async def reads(self, order: OrderRef) -> order_pb2.Order:
        """Have somebody who has nothing to do with an order read it."""
        async with self._as(self.land.other_officer) as client:
            return await client.get(order.order_id)

    async def document(self, sha256: str) -> bytes:
        async with self._as(self.land.other_officer) as client:
            return await client.get_side_file(sha256)

    async def status(self, order: OrderRef) -> str:
        name = order_pb2.OrderStatus.Name((await self.reads(order)).status)
        return name.removeprefix("ORDER_STATUS_")

    async def history(self, order: OrderRef) -> list[str]:
        """Return what the ledger says of an order: every act, and who signed it."""
        async with self._as(self.land.node) as client:
            entries = [each async for each in client.watch_orders(0, order.order_id, once=True)]
        return [f"{parse(each.entry).kind} by {' '.join(each.signed_by)}" for each in entries]

    async def passes(self, address: str, at: str = "node-1") -> bool:
        """Send a packet to an address through a provider's firewall, when its node is in step."""
        provider = await self.provider(at)
        await provider.is_in_step(self.size, self.land.now_ms)
        return provider.passes(address)

    async def is_blocked(self, name: str, at: str = "node-1") -> bool:
        """Ask a provider's gate for a name's address, when its node is in step."""
        provider = await self.provider(at)
        await provider.is_in_step(self.size, self.land.now_ms)
        return provider.is_blocked(name)

    async def provider(self, name: str = "node-1") -> Provider:
        """Return a provider; the first time, it is connected."""
        if name not in self._providers:
            env = self._clock.env if self._clock is not None else {}
            provider = Provider(self.served, self.directory / name, self._node(name), env)
            await self._stack.enter_async_context(provider)
            self._providers[name] = provider
        return self._providers[name]

    async def registers(self, person: Person | str) -> None:
        """Have the roots register somebody, or one more provider's node by its name."""
        who = self._node(person) if isinstance(person, str) else person
        await self._roots(who.registration(self.land.now_ms))

    async def attests(self, node: str) -> Attestation:
        """Return what a node attested of all that the ledger has now."""
        provider = await self.provider(node)
        await provider.is_in_step(self.size, self.land.now_ms)
        folder = self.served.config.ledger_dir / "attestations" / node

        def said() -> list[Attestation]:
            files = sorted(folder.glob("*.json"))  # by time
            each = [parse_attestation(parse_envelope(path.read_bytes())) for path in files]
            return [one for one in each if one.ledger_size == self.size]

        return (await provider.eventually(said))[-1]

    def audit_words(self) -> list[str]:
        """Return the words of the audit of this country's ledger, as of a second from now."""
        trust = self.directory / "audit.toml"
        roots = json.dumps([key.hex() for key in self.land.state.roots.public_keys])
        trust.write_text(
            f'origin = "{ORIGIN}"\nlog_vkey = "{LOG_VKEY.text}"\nroot_keys = {roots}\n'
            "root_threshold = 2\n[witnesses]\nquorum = 0\n"
        )
        at = datetime.fromtimestamp(self.land.now_ms / 1_000 + 1, UTC).isoformat()
        ledger = str(self.served.config.ledger_dir)
        return ["audit", "verify", ledger, "--trust", str(trust), "--at", at, "--json"]

    # What intruders do.

    def forges(self, act: Any, *keys: PrivateKey) -> None:
        """Put an act of a stranger's into the feed, as the ledger's next entry."""
        feed, size = self.served.feed, self.size
        entry = encode(Entry(self.land.now_ms, seal(act, *keys)))
        note = self.served.control.ledger.files.checkpoint_note
        grown = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
        feed.log[size] = StreamEntry(size, entry, grown)
        feed.wake()

    def pushes(self, act: Any, *keys: PrivateKey) -> None:
        """Put an act of a stranger's among the stops that nodes obey before the ledger has them."""
        self.served.feed.stops.append(format_envelope(seal(act, *keys)))
        self.served.feed.wake()

    def wipes_the_feed(self) -> None:
        """Empty the feed, as FLUSHALL does."""
        self.served.feed.clear()
        self.served.feed.wake()

    # How it is done.

    def _node(self, name: str) -> Person:
        if name not in self._nodes:
            self._nodes[name] = Person(name, Role.NODE, operator="isp-2")
        return self._nodes[name]

    @asynccontextmanager
    async def _as(self, person: Person) -> AsyncIterator[ControlClient]:
        """Call as somebody; what is then done is a second's work."""
        if person.person_id not in self._clients:
            client = await self._stack.enter_async_context(self.served.client(person))
            self._clients[person.person_id] = client
        yield self._clients[person.person_id]
        self.land.now_ms += 1_000

    async def _roots(self, act: Any) -> None:
        async with self._as(self.land.oversight) as client:
            await client.record_root_act(seal(act, *self.land.roots[:2]))

    async def _records(self, act: Any, by: Person, files: list[bytes] | tuple[()] = ()) -> int:
        async with self._as(by) as client:
            return (await client.record_act(seal(act, by.key), files)).index
