"""Fixtures that any test may use; what one area alone needs stands in that area's conftest."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from enforcer.backends import pkcs8
from enforcer.backends.redis_server import RedisServer, find_redis_server
from enforcer.errors import UnavailableError

SIDE_BY_SIDE = "::test_killed_a_thousand_times"
"""Tests of which each has an installation of its own, for many minutes."""
ROOT = Path(__file__).resolve().parent.parent

# The same examples each time, however slow the machine; `make long` looks at others.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", UNHURRIED, derandomize=True)
settings.register_profile("others", UNHURRIED)
settings.load_profile("same")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let the thousand rounds go side by side where else a file's tests stay on one worker.

    xdist's own groups do not work with pytest 9.2, which keeps the ids of tests elsewhere.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            is_alone = SIDE_BY_SIDE in nodeid
            return nodeid if is_alone else super()._split_scope(nodeid)

    return ByFile(config, log)


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
