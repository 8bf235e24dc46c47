"""An installation whose feed is behind three sentinels: a primary and replicas, set up by files.

Killing "redis" kills the primary of the moment; started again it is a replica of what took its
place. Besides the users of the files there is one for tests, who may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import redis

from tests.backends.redis_world import PRIMARY, Installed
from tests.e2e.installation import ORIGIN, Installation
from tests.e2e.programs import wait_for
from tests.ports import free_ports

ANYBODY = "for-tests"
SENTINELS = 3


class Cluster:
    """The servers, in the place of one; `url` is what names them to those behind sentinels."""

    url = f"redis://{PRIMARY}"

    def __init__(self, folder: Path, replicas: int) -> None:
        ports = free_ports(1 + replicas + SENTINELS)
        servers, self._sentinel_ports = ports[:-SENTINELS], ports[-SENTINELS:]
        self.installed = Installed(folder, "redis", servers, origin=ORIGIN)
        for users in folder.glob("*/users.acl"):
            text = users.read_text()
            users.write_text(f"{text}user {ANYBODY} on >{ANYBODY} ~* &* +@all\n")

    def __enter__(self) -> Self:
        self.installed.start_all()
        self.installed.start_sentinels(self._sentinel_ports)
        self.installed.wait_until_watched()
        return self

    def __exit__(self, *_: object) -> None:
        self.installed.kill_all()

    @property
    def port(self) -> int:
        """Where the primary is, as the first sentinel has it."""
        return self.installed.primary_port()

    @property
    def replica_port(self) -> int:
        """Where the first of those is that are not the primary."""
        return min(set(self.installed.ports) - {self.port})

    def start(self) -> None:
        """Start what does not run; it finds out itself who the primary is."""
        for server in self.installed.servers:
            if server.process is None:
                server.start()

    def kill(self) -> None:
        """Kill the primary, and return when another one is."""
        before = self.port
        self.installed.primary().kill()
        wait_for(lambda: self.port != before, "the sentinels chose another primary", seconds=40)

    def fail_over(self) -> None:
        """Have the sentinels move to a replica while the primary lives."""
        before = self.port
        ask = (self._sentinel_ports[0], "sentinel", "failover", PRIMARY)
        wait_for(lambda: self.installed.cli(*ask) == ["OK"], "a failover begins")
        wait_for(lambda: self.port != before, "another one is the primary", seconds=40)

    def client(self, port: int, user: str = ANYBODY, password: str = ANYBODY) -> redis.Redis:
        return redis.Redis("127.0.0.1", port, username=user, password=password)


class Behind(Installation):
    """The installation."""

    redis: Any
    replicas = 1

    def _redis(self) -> Any:
        return Cluster(self.directory / "redis", self.replicas)

    def _admit(self, program: str, user: str) -> None:
        super()._admit(program, user)
        folder = getattr(self.files, program)
        (folder / "redis.password").write_bytes(self.redis.installed.passwords[user])
        sentinels = ", ".join(f'"127.0.0.1:{port}"' for port in self.redis._sentinel_ports)
        config = folder / f"{program}.toml"
        lines = [
            f"sentinels = [{sentinels}]" if line.startswith("# sentinels = ") else line
            for line in config.read_text().splitlines()
        ]
        config.write_text("\n".join(lines) + "\n")

    def feed(self, user: str | None = None) -> redis.Redis:
        return self.redis.client(self.redis.port)

    def _readable_files(self) -> Iterator[Path]:
        """Leave out what a replica wrote of its primary's keys: lists are among them."""
        return (path for path in super()._readable_files() if path.name != "dump.rdb")
