"""One gate for all conformance tests, and a way to others with settings of a test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.conformance.client import Client
from tests.conformance.upstream import Upstream
from tests.conformance.world import World, world_of


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(tmp_path_factory.mktemp("conformance")) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """The gate that all share, still well."""
    assert shared_world.gate.process.poll() is None, shared_world.gate.log.read_text()
    return shared_world


@pytest.fixture
def upstream(world: World) -> Upstream:
    return world.upstream


@pytest.fixture
def client(world: World) -> Client:
    return world.client


@pytest.fixture
def start_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Start a gate with settings of the test's own; it ends with the test."""
    numbers = count()
    with ExitStack() as stack:

        def start(**settings: object) -> World:
            base = tmp_path / str(next(numbers))
            base.mkdir()
            return stack.enter_context(world_of(base, **settings))

        yield start
