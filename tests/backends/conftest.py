"""What tests ask for: a gate on loopback, the feed in both its media, a ledger in files.

A test file's own fixtures go before.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from enforcer.backends.redis_server import RedisServer
from tests.backends.feed_world import Book, MemoryMedium, RedisMedium
from tests.backends.gate_resolver import Resolver
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.backends.tile_world import LEAVES, opened, seal


@pytest.fixture
def resolver():
    made = Resolver()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    with gate_folder(tmp_path) as path:
        yield path


@pytest.fixture
def start_gate(folder, resolver):
    """Start a gate with settings of the test's own; it ends with the test."""
    started = []

    def start(**settings):
        started.append(GateUnderTest(folder, resolver.place, **settings))
        return started[-1].start()

    yield start
    for gate in started:
        gate.open.close()
        if gate.process is not None:
            if "allowed_uids" not in gate.settings:  # else it may not tell us
                gate.counters()
            assert gate.end() == 0, gate.log.read_text()


@pytest.fixture
def gate(start_gate):
    return start_gate()


@pytest.fixture
def asking(gate):
    return gate.asking()


@pytest.fixture(params=["memory", "redis"])
async def medium(request: pytest.FixtureRequest) -> AsyncIterator[MemoryMedium | RedisMedium]:
    if request.param == "memory":
        yield MemoryMedium()
        return
    medium = RedisMedium(request.getfixturevalue("redis_server"))
    await medium.admit()
    yield medium
    await medium.redis.aclose()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisMedium]:
    medium = RedisMedium(redis_server)
    await medium.admit()
    yield medium
    await medium.redis.aclose()


@pytest.fixture
async def book(medium, tmp_path: Path) -> AsyncIterator[Book]:
    publisher = medium.publisher()
    yield Book(tmp_path / "ledger", publisher)
    await publisher.close()


@pytest.fixture
async def source(medium):
    source = medium.source()
    yield source
    await source.close()


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A closed ledger of 600 entries in appends of many sizes, to be copied."""
    path = tmp_path_factory.mktemp("pattern") / "ledger"
    with opened(path) as ledger:
        at = 0
        for count in (1, 2, 250, 10, 300, 37):
            ledger.append(LEAVES[at : at + count], seal)
            at += count
        assert ledger.size == 600
        ledger.lists.put(b"exact example.org\n")
    return path


@pytest.fixture
def path(pattern, tmp_path):
    """A ledger of 600 entries of the test's own."""
    return Path(shutil.copytree(pattern, tmp_path / "ledger"))
