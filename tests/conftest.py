"""Fixtures that any test may use; what one area alone needs stands in that area's conftest."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.backends import pkcs8
from enforcer.backends.redis_server import RedisServer, find_redis_server
from enforcer.errors import UnavailableError

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker under ``--dist loadgroup``, unless they name a group."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The shared data: ENFORCER_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("ENFORCER_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder}; ENFORCER_DATA names another place")
    return folder


@pytest.fixture
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passphrases cost nothing, where what they cost is not the question."""
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2)


@pytest.fixture(scope="session")
def redis_executable() -> Path:
    """The redis-server to test with."""
    try:
        return find_redis_server()
    except UnavailableError as error:
        pytest.skip(f"{error.message}: {error.advice}")


@pytest.fixture
def start_redis(
    redis_executable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., RedisServer]]:
    """Start servers, each on a Unix socket of its own (or on ``port=``); all end with the test."""
    servers: list[RedisServer] = []

    def start(*, port: int | None = None, **settings: str) -> RedisServer:
        folder = tmp_path_factory.mktemp("redis")
        socket = None if port else folder / "redis.sock"
        server = RedisServer(
            folder,
            port=port,
            unixsocket=socket,
            settings={name.replace("_", "-"): value for name, value in settings.items()},
            executable=redis_executable,
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """One running redis-server, empty, on a Unix socket."""
    return start_redis()
