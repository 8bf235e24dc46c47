"""The gate in bad weather: loss, reordering, doubles, slow and dead upstreams, new tables.

Every query that reaches the gate is answered; every one that does not come back was lost by the
network, which knows which. The counters add up, and memory stays what it was.
"""

from __future__ import annotations

import asyncio
import random
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.backends.gate_tables import compiled, order
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.conformance.client import framed
from tests.e2e.lossy import Link, Weather
from tests.ports import bound_pair
from tests.waiting import WAIT_SECONDS, eventually

CLIENTS = 16
DATAGRAMS_PER_SECOND = 250
STREAMS = 4
STREAM_QUERIES_PER_SECOND = 20
TABLE_SECONDS = 1.0
GIVE_UP_SECONDS = 8.0
"""Longer than the gate waits for all its upstreams together."""
GROWTH_KB_MAX = 4_096
NAMES = b"subtree blocked.example\n"
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
KINDS = {
    "hot": (40, {NOERROR, SERVFAIL}),
    "fresh": (28, {NOERROR, SERVFAIL}),
    "blocked": (20, {NXDOMAIN}),
    "leading": (5, {NXDOMAIN, SERVFAIL}),  # an alias of a blocked name
    "slow": (5, {NOERROR, SERVFAIL}),
    "dead": (2, {SERVFAIL}),
}
"""How often each kind of name is asked for, and what may be answered."""


def wire_name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def query(qid: int, name: str) -> bytes:
    head = struct.pack("!6H", qid, 0x0100, 1, 0, 0, 1)
    return head + wire_name(name) + b"\0\1\0\1" + b"\0" + struct.pack("!HHIH", 41, 1_232, 0, 0)


def answer(asked: bytes) -> bytes:
    """Return what the resolver says: an address, or an alias of a blocked name."""
    end = asked.index(b"\0", 12) + 5
    kind = asked[13 : 13 + asked[12]].split(b"-")[0]
    if kind == b"leading":
        target = wire_name("www.blocked.example")
        record = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 2, len(target)) + target
    else:
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 2, 4) + b"\xc0\0\2\1"
    return asked[:2] + b"\x81\x80" + struct.pack("!4H", 1, 1, 0, 0) + asked[12:end] + record


class Resolver(asyncio.DatagramProtocol):
    """Answers what is asked; slow names late, also too late, and dead ones never."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        kind = data[13 : 13 + data[12]].split(b"-")[0]
        if kind == b"dead":
            return
        delay = self._chance.uniform(0.2, 3.0) if kind == b"slow" else 0.0
        asyncio.get_running_loop().call_later(delay, self._transport.sendto, answer(data), addr)


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer over TCP, in the resolver's place; there the kernel deals with the weather."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            asked = await reader.readexactly(length)
            if not asked[13:].startswith((b"dead", b"slow")):
                writer.write(framed(answer(asked)))
    writer.close()


@dataclass
class Story:
    """What was asked, what came of it, and what the network did."""

    chance: random.Random
    asked: int = 0
    waiting: dict[tuple[int, int], str] = field(default_factory=dict)
    lost: set[tuple[int, int]] = field(default_factory=set)
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    doubles: int = 0
    streamed: Counter[tuple[str, int]] = field(default_factory=Counter)

    def name(self) -> str:
        kind = self.chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        number = self.chance.randrange(50) if kind == "hot" else self.asked
        zone = "blocked.example" if kind == "blocked" else "free.example"
        return f"{kind}-{number}.{zone}"

    def hear(self, client: int, wire: bytes) -> None:
        """Take an answer; a double of one, as the network makes them, is no second answer."""
        name = self.waiting.pop((client, wire[0] << 8 | wire[1]), None)
        if name is None:
            self.doubles += 1
            return
        kind = name.split("-")[0]
        self.answered[kind, wire[3] & 15] += 1
        assert wire[2] & 0x80
        assert wire[3] & 15 in KINDS[kind][1], f"{name}: rcode {wire[3] & 15}"
        assert kind != "leading" or b"\xc0\0\2\1" not in wire


class Asker(asyncio.DatagramProtocol):
    def __init__(self, story: Story, number: int) -> None:
        self._story, self._number = story, number

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._story.hear(self._number, data)


async def ask_datagrams(story: Story, links: list[Link], seconds: float) -> None:
    """Ask at a steady rate from several clients, each behind a link of its own."""
    loop = asyncio.get_running_loop()
    askers = [
        (
            await loop.create_datagram_endpoint(
                lambda number=number: Asker(story, number), remote_addr=("127.0.0.1", link.port)
            )
        )[0]
        for number, link in enumerate(links)
    ]
    begun = loop.time()
    while (passed := loop.time() - begun) < seconds:
        while story.asked < passed * DATAGRAMS_PER_SECOND:
            name = story.name()
            client, qid = story.asked % CLIENTS, story.asked // CLIENTS & 0xFFFF
            story.waiting[client, qid] = name
            askers[client].sendto(query(qid, name))
            story.asked += 1
        await asyncio.sleep(0.01)
    await patience(lambda: not set(story.waiting) - story.lost)
    await asyncio.sleep(2 * Weather().delay_most)  # for doubles that are on their way to it
    await patience(lambda: datagrams_back(links) == datagrams_there(links))
    for asker in askers:
        asker.close()


def datagrams_there(links: list[Link]) -> int:
    """Return how many datagrams came through to the gate."""
    return sum(link.there.delivered for link in links)


def datagrams_back(links: list[Link]) -> int:
    """Return how many the gate has sent back."""
    return sum(link.back.seen for link in links)


async def ask_streams(story: Story, place: tuple[str, int], seconds: float) -> None:
    """Ask over TCP connections that are used again; there every query is answered."""

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection(*place)
        names: dict[int, str] = {}

        async def hear() -> None:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                kind = names.pop(wire[0] << 8 | wire[1]).split("-")[0]
                story.streamed[kind, wire[3] & 15] += 1
                assert wire[3] & 15 in KINDS[kind][1]

        hearing = asyncio.ensure_future(hear())
        for qid in range(int(seconds * STREAM_QUERIES_PER_SECOND / STREAMS)):
            names[qid & 0xFFFF] = name = story.name()
            writer.write(framed(query(qid & 0xFFFF, name)))
            await asyncio.sleep(STREAMS / STREAM_QUERIES_PER_SECOND)
        await patience(lambda: not names or hearing.done())
        assert not names, names
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        writer.close()

    await asyncio.gather(*(one(number) for number in range(STREAMS)))


async def patience(is_over: Callable[[], object]) -> None:
    """Wait until it is over, and no longer than an answer can take."""
    for _ in range(int(GIVE_UP_SECONDS / 0.05)):
        if is_over():
            return
        await asyncio.sleep(0.05)


async def change_tables(gate: GateUnderTest, base: Path, is_over: asyncio.Event) -> int:
    """Hand the gate a newer table with the same block, again and again."""
    count = 0
    while not is_over.is_set():
        count += 1
        path = compiled(base / "next", order(1, NAMES), ledger_size=100 + count)
        await asyncio.to_thread(gate.load, path)
        await asyncio.sleep(TABLE_SECONDS)
    return count


async def resident_kb(gate: GateUnderTest) -> int:
    """Return the memory of the gate's own in all its processes.

    Not while one of them writes a table to the disk: it is a copy of the first, soon ends, and
    shares meanwhile what is that one's own else.
    """
    pid = gate.process.pid
    lasting = {pid, *gate.workers()}
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        if processes(pid) == lasting:
            kb = sum(map(private_kb, lasting))
            if processes(pid) == lasting:
                return kb
        await asyncio.sleep(0.01)
    raise AssertionError(f"it has other processes than its workers: {processes(pid) - lasting}")


def processes(pid: int) -> set[int]:
    """Return a process and all that descend from it, whichever thread of theirs made them."""
    found = {pid}
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            for child in thread.read_text().split():
                found |= processes(int(child))
    return found


def private_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


async def soak(gate: GateUnderTest, story: Story, upstreams: list[Link], seconds: float) -> None:
    """Let it rain for so long."""
    base = gate.control.parent
    clients = []
    for number in range(CLIENTS):

        def on_lost(data: bytes, is_there: bool, number: int = number) -> None:
            story.lost.add((number, data[0] << 8 | data[1]))

        clients.append(Link(gate.place, Weather(), story.chance, on_lost))
        await clients[-1].open()
    is_over = asyncio.Event()
    tables = asyncio.ensure_future(change_tables(gate, base, is_over))
    settled_kb = 0

    async def measure() -> None:
        nonlocal settled_kb
        await asyncio.sleep(seconds / 4)  # the cache and Python have taken what they take
        settled_kb = await resident_kb(gate)

    await asyncio.gather(
        ask_datagrams(story, clients, seconds), ask_streams(story, gate.place, seconds), measure()
    )
    is_over.set()
    assert await tables >= seconds / (TABLE_SECONDS + 1)
    grown_kb = await resident_kb(gate) - settled_kb
    unaccounted = set(story.waiting) - story.lost
    assert not unaccounted, [story.waiting[each] for each in unaccounted]
    assert grown_kb <= GROWTH_KB_MAX
    there, back = datagrams_there(clients), datagrams_back(clients)
    counters = await asyncio.to_thread(eventually, lambda: settled(gate))
    streamed = story.streamed.total()
    assert story.streamed["hot", SERVFAIL] == story.streamed["fresh", SERVFAIL] == 0
    assert story.answered["fresh", SERVFAIL] <= story.answered["fresh", NOERROR] / 20
    assert counters["received"] == there + streamed
    assert back == there, "the gate answers each datagram once"
    assert counters["replies_unsent"] == counters["undecided"] == counters["lost"] == 0
    assert counters["evicted"] == 0
    for link in [*clients, *upstreams]:
        link.close()


def settled(gate: GateUnderTest) -> dict[str, int] | None:
    counters = gate.counters()
    return counters if counters["in_flight"] == 0 else None


@pytest.mark.parametrize("seconds", [5, pytest.param(600, marks=pytest.mark.long)])
def test_every_query_is_answered_or_was_lost_by_the_network(tmp_path, seconds):
    asyncio.run(rain(tmp_path, seconds))


DESCENDING = """
import subprocess, sys, threading
child = [sys.executable, "-c", "import os; os.fork(); os.read(0, 1)"]
threading.Thread(target=subprocess.run, args=(child,)).start()
"""


def test_what_any_thread_has_forked_is_among_the_processes_and_so_is_what_that_forked():
    with subprocess.Popen([sys.executable, "-c", DESCENDING], stdin=subprocess.PIPE) as begun:
        eventually(lambda: len(processes(begun.pid)) == 3)
        begun.stdin.close()


async def rain(tmp_path: Path, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    chance = random.Random(1)
    resolvers, links, servers = [], [], []
    for _ in range(2):
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Resolver(chance), local_addr=("127.0.0.1", 0)
        )
        resolvers.append(transport)
        links.append(Link(transport.get_extra_info("sockname"), Weather(), chance))
        udp, tcp = bound_pair()
        await links[-1].open(udp)
        servers.append(await asyncio.start_server(serve_stream, sock=tcp))
    places = [("127.0.0.1", link.port) for link in links]
    with gate_folder(tmp_path) as folder:
        gate = GateUnderTest(
            folder,
            places[0],
            upstreams=places,
            upstream_timeout_ms=2_000,
            upstream_try_ms=600,
            cache_bytes_max=1 << 20,
        )
        await asyncio.to_thread(gate.start)
        try:
            table = compiled(folder / "table", order(1, NAMES), ledger_size=100)
            await asyncio.to_thread(gate.load, table)
            await soak(gate, Story(chance), links, seconds)
        finally:
            assert await asyncio.to_thread(gate.end) == 0, gate.log.read_text()
            for each in (*resolvers, *servers):
                each.close()
