"""A ledger that was restored elsewhere, and its former control plane, which comes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec
import pytest

from enforcer.api.witness_server import witness_served
from enforcer.app.control import ControlPlane, serving, witness_links
from enforcer.app.ledger_restore import Wanted, restore
from enforcer.backends.control_marks import serving as mark_of
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory_feed import MemoryFeedPublisher
from enforcer.backends.tiles import TileLedger
from enforcer.config import AskedWitness, Url
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.entry import parse, parse_payload
from enforcer.core.note import Note
from enforcer.core.order import OrderRef
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.services import witnessing
from tests.app.test_standby import ControlPlane as Child
from tests.control import (
    LOG_VKEY,
    ORIGIN,
    REASONS,
    Installation,
    LandClock,
    founding_acts,
    trust_of,
    with_reasons,
)
from tests.people import seal
from tests.ports import held_port
from tests.waiting import WAIT_SECONDS, until
from tests.witnesses import named, open_witness

KEYS = [PrivateKey.generate() for _ in range(3)]
WITNESSES = named(KEYS, 2)
NOW_MS = 1_790_000_000_000  # what the witnesses' clock shows


class Country:
    """One ledger's keys, feed and three witnesses over HTTP; hosts with a control plane each."""

    def __init__(self, directory: Path, ports: list[int]) -> None:
        self.directory = directory
        self.here = Installation(directory)
        self.land = self.here.land
        self.trust = replace(trust_of(self.land), witnesses=WITNESSES)
        asked = [
            AskedWitness(name=key.name, url=Url(f"http://127.0.0.1:{port}/"))
            for key, port in zip(WITNESSES.keys, ports, strict=True)
        ]
        self.config = msgspec.structs.replace(
            self.here.config, witnesses=tuple(asked), reconcile_interval_seconds=0.1
        )

    def on(self, host: str):
        return msgspec.structs.replace(self.config, ledger_dir=self.directory / host)

    @asynccontextmanager
    async def running(self, host: str, **changes):
        """Run the control plane of a host."""
        async with serving(
            msgspec.structs.replace(self.on(host), **changes),
            self.trust,
            MemoryFeedPublisher(self.here.feed),
            self.here.work,
            clock=LandClock(self.land),
        ) as control:
            yield control

    async def restored(self, host: str, *sources: str):
        wanted = Wanted(
            [self.directory / each for each in sources],
            self.directory / host,
            witness_links(self.config, self.trust),
        )
        return await restore(wanted, self.trust, NOW_MS, lambda *_: None)

    def client(self, control, person):
        return self.as_person(control.port, person)

    async def found(self, control) -> None:
        if isinstance(control, ControlPlane):
            self.land.state = control.ledger.state
        async with self.client(control, self.land.proposer) as client:
            for act in founding_acts(self.land):
                await client.record_root_act(act)
            path = self.directory / "targets.txt"
            path.write_bytes(b"exact bad.example.org\nsubtree worse.example.org\n")
            await client.upload_targets(path)

    async def propose(self, control):
        act = seal(with_reasons(self.land), self.land.proposer.key)
        async with self.client(control, self.land.proposer) as client:
            return await client.propose(act, [REASONS])

    def as_person(self, port: int, person):
        files = self.here.issue(person.role, person.person_id)
        return self.here.connect(files, self.trust, port)

    def witnesses_are_at(self, size: int) -> bool:
        return all(each.latest(ORIGIN).size == size for each in self.witnesses)

    def witnessed(self) -> int:
        """Return how many entries nodes may rest on, as the feed shows it."""
        note = self.here.feed.cosigned
        return Checkpoint.parse(Note.parse(note).text).size if note else 0

    def cosigners(self) -> int:
        """Return how many witnesses have cosigned what the feed shows."""
        note = self.here.feed.cosigned
        return len(WITNESSES.cosigned(Note.parse(note), verify)) if note else 0

    def shown(self) -> int:
        head = self.here.feed.head
        return Checkpoint.parse(Note.parse(head).text).size if head else 0


@pytest.fixture
async def country(tmp_path, monkeypatch):
    # A start waits for all that witnesses say, however slow the machine is.
    monkeypatch.setattr(witnessing, "ROUND_SECONDS_MAX", WAIT_SECONDS)
    async with AsyncExitStack() as stack:
        witnesses = [
            open_witness(tmp_path / f"w{at}", LOG_VKEY, key, WITNESSES.keys[at].name)
            for at, key in enumerate(KEYS)
        ]
        ports = [
            await stack.enter_async_context(witness_served(each, "127.0.0.1", 0))
            for each in witnesses
        ]
        country = Country(tmp_path, ports)
        country.witnesses = witnesses
        yield country


async def test_a_former_primary_that_comes_back_takes_no_act_and_leaves_the_feed_alone(country):
    async with country.running("old") as old:
        await country.found(old)
        await until(lambda: country.witnessed() == 7)
    done = await country.restored("new", "old")
    assert done.is_proven
    async with country.running("new") as new:
        country.land.state = new.ledger.state
        await country.propose(new)
        await until(lambda: country.witnessed() == new.ledger.state.size == country.shown())
        # Now the old host is back, with all that it had, and the same address for all it knows.
        async with country.running("old") as old:
            assert (
                old.ledger.replaced is not None
            )  # the witnesses' signed word, fetched at the start
            with pytest.raises(UnavailableError, match="was replaced"):
                await country.propose(old)
            mark = mark_of(country.directory / "old")
            assert "was replaced" in mark.problem
            await country.propose(new)
            await until(lambda: country.witnessed() == new.ledger.state.size == country.shown())
            assert old.ledger.state.size == 7


async def test_of_two_that_run_at_once_the_one_without_witnesses_finds_out_by_its_next_append(
    country,
):
    # All witnesses, and their answers: whom it still had to ask would tell it too early, and so
    # would those that it looks at in between.
    async with country.running("old", reconcile_interval_seconds=600.0) as old:
        await country.found(old)
        await until(lambda: (country.witnessed(), country.cosigners()) == (7, 3))
        await country.restored("new", "old")
        async with country.running("new") as new:
            country.land.state = new.ledger.state
            await country.propose(new)
            await until(lambda: country.witnessed() == 8)
            # The old one has no way to know yet: it answers, and nothing comes of it.
            await country.propose(old)
            await until(lambda: old.ledger.replaced is not None)
            with pytest.raises(UnavailableError, match="was replaced"):
                await country.propose(old)
            # What the feed shows may still be from before it knew, and is never beyond this.
            await until(lambda: country.witnessed() == 8)
            await country.propose(new)
            await until(lambda: country.witnessed() == new.ledger.state.size)
            await until(lambda: country.shown() == new.ledger.state.size)
        # What the old one has beyond is another history, and no source to restore from.
    with pytest.raises(IntegrityError, match="contradict"):
        await country.restored("third", "new", "old")


class Way:
    """The way from one host to a witness, which can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.is_cut = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _carry(self, reader, writer) -> None:
        if not self.is_cut:
            back, there = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(_copy(reader, there), _copy(back, writer))
        writer.close()


async def _copy(reader, writer) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


class Process:
    """A control plane as a process on a host of its own, and its clients."""

    def __init__(self, country: Country, host: str, ports: list[int]) -> None:
        self.country = country
        self.ledger_dir = country.directory / host
        self.port = held_port(self)
        text = country.here.write_config().read_text()
        text = text.replace('"ledger"', f'"{host}"').replace(":0", f":{self.port}")
        for key, port in zip(WITNESSES.keys, ports, strict=True):
            text += f'[[witnesses]]\nname = "{key.name}"\nurl = "http://127.0.0.1:{port}/"\n'
        path = country.directory / f"{host}.toml"
        path.write_text(text)
        trust = country.here.config.trust_file
        vkeys = [key.text for key in WITNESSES.keys]
        trust.write_text(
            trust.read_text().partition("witnesses")[0]
            + f"[witnesses]\nquorum = {WITNESSES.quorum}\nvkeys = {json.dumps(vkeys)}\n"
        )
        self.child = Child(path)

    async def __aenter__(self) -> Self:
        await self.child.start()
        await self.child.hear("control_serves")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.child.kill()

    def size(self) -> int:
        with TileLedger.open(
            self.ledger_dir, origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=False
        ) as files:
            return files.size


def ref_of(recorded) -> OrderRef:
    envelope = parse(recorded.leaf).envelope
    return OrderRef(parse_payload(envelope).order_id, recorded.index, envelope.payload_sha256)


async def test_a_primary_that_was_cut_off_records_nothing_more_once_it_is_connected_again(country):
    """Real processes. Nobody brings it the witnesses' word: it asks, though no act comes."""
    land = country.land
    ports = [urlsplit(each.url).port for each in country.config.witnesses]
    async with AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(Way(port)) for port in ports]
        old = Process(country, "old", [way.port for way in ways])
        await stack.enter_async_context(old)
        await country.found(old)
        ref = ref_of(await country.propose(old))
        size = old.size()
        await until(lambda: country.witnesses_are_at(size))
        for way in ways:
            way.is_cut = True
        assert (await country.restored("new", "old")).is_proven
        new = await stack.enter_async_context(Process(country, "new", ports))
        await country.propose(new)
        await until(lambda: country.witnesses_are_at(size + 1))
        for way in ways:
            way.is_cut = False
        await old.child.hear("ledger_replaced")
        await until(lambda: "was replaced" in mark_of(old.ledger_dir).problem)
        with pytest.raises(UnavailableError, match="was replaced"):
            await country.propose(old)
        stop = seal(land.stopping(ref), land.oversight.key)
        with pytest.raises(UnavailableError, match="was replaced"):
            async with country.client(old, land.oversight) as client:
                await client.stop(stop)
        assert old.size() == size
        async with country.client(new, land.oversight) as client:
            await client.stop(stop)
        await until(lambda: country.witnesses_are_at(size + 2))


async def test_without_witnesses_that_answer_a_control_plane_starts_all_the_same(country):
    async with country.running("old") as old:
        await country.found(old)
    away = [
        AskedWitness(name=each.name, url=Url("http://127.0.0.1:1/"))
        for each in country.config.witnesses
    ]
    country.config = msgspec.structs.replace(country.config, witnesses=tuple(away))
    async with country.running("old") as old:
        country.land.state = old.ledger.state
        await country.propose(old)
        assert (old.ledger.replaced, old.ledger.doubted) == (None, None)
