"""An installation with many nodes: one with a gate, the others light, all over TLS to one Redis.

Light nodes are the real `enforcer node`, without a gate: each follows, proves, keeps and attests,
and compiles no table. Everything that was started ends with the context.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from bench._installation import Installation
from enforcer.app.acts import signed, write_act
from enforcer.app.keys import KeyRequest, make_request, new_key, registration
from enforcer.app.pki import certify
from enforcer.app.redis_files import write_redis
from enforcer.backends import durable
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.keys import PrivateKey
from enforcer.backends.redis_server import RedisServer
from enforcer.core.key import Role
from enforcer.core.policy import DAY_MS
from tests.e2e.installation import ORIGIN, PASSWORDS, now_ms
from tests.e2e.programs import Program
from tests.ports import free_ports

CLOCK_TICKS = 100
START_SECONDS_MAX = 300.0
STEP_SECONDS_MAX = 60.0
PLANNED = ("planned_size", "planned_at_ms")


class Fleet(Installation):
    """An installation with `count` light nodes beside the one that has a gate."""

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__()

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        top = self.files.directory
        authority = AuthorityFiles(self.files.authority).load(None)
        (port,) = free_ports(1)
        self._redis_port = port
        self._redis_url = f"rediss://node@127.0.0.1:{port}"
        tls = self.directory / "redis-tls"
        write_redis(tls, ORIGIN, f"rediss://127.0.0.1:{port}", authority)
        self.redis = RedisServer(
            self.directory / "redis",
            unixsocket=self.directory / "redis.sock",
            settings={
                "aclfile": str(self.directory / "redis.acl"),
                "tls-port": str(port),
                "tls-cert-file": str(tls / "tls.crt"),
                "tls-key-file": str(tls / "tls.key"),
                "tls-ca-cert-file": str(tls / "ca.crt"),
                "tls-auth-clients": "no",
            },
        )
        config = self.files.node / "node.toml"
        config.write_text(self._over_tls(config.read_text()))
        roots = [PrivateKey.load(top / "roots" / f"root-{number}.key") for number in (1, 2)]
        self._planned: dict[str, tuple[int, tuple[int, int]]] = {}
        self.light: list[str] = []
        """The light nodes that were started."""
        self._waiting: dict[str, Program] = {}
        for name in (f"light-{number:04}" for number in range(self._count)):
            asked = self._equip(name, config.read_text())
            act = signed(registration(asked, now_ms(), now_ms() + 30 * DAY_MS), *roots)
            write_act(top / "acts" / f"5-{name}-KeyRegistered.json", act)
            command = [str(Path(sys.executable).with_name("enforcer")), "node", "--config"]
            command.append(str(self._place(name) / "node.toml"))
            self._waiting[name] = Program(name, command, self.directory / f"{name}.log")

    def _over_tls(self, text: str) -> str:
        return re.sub(r'url = "unix://.*"', f'url = "{self._redis_url}"\nca = "../ca/ca.crt"', text)

    def _place(self, name: str) -> Path:
        return self.files.directory / "nodes" / name

    def _equip(self, name: str, text: str) -> KeyRequest:
        """Write a light node's folder, and return what the roots are to register."""
        place = self._place(name)
        place.mkdir(parents=True)
        new_key(place / "signing.key")
        asked = make_request(place / "signing.key", ORIGIN, Role.NODE, name, operator="isp")
        files = AuthorityFiles(self.files.authority)
        durable.write_file(place / "tls.crt", certify(asked, files, files.load(None)))
        durable.write_file(
            place / "redis.password", PASSWORDS["node"].encode(), mode=durable.PRIVATE_MODE
        )
        text = re.sub("^(gate_socket|listen) = .*$", "", text, flags=re.MULTILINE)
        text = text.replace('"../', '"../../').replace('"node-1"', json.dumps(name))
        text = re.sub("^node_id = .*$", f"node_id = {json.dumps(name)}", text, flags=re.MULTILINE)
        (place / "node.toml").write_text(text)
        return asked

    def start_light(self) -> None:
        """Start the light nodes, and wait until every node is in step."""
        for name, program in self._waiting.items():
            self._stack.callback(program.kill)
            program.start()
            self.programs[name] = program
            self.light.append(name)
        self._waiting.clear()
        self.await_step("every node is in step", START_SECONDS_MAX)

    # What can be seen.

    def planned(self, name: str) -> tuple[int, int]:
        """Return of how many entries a light node's newest plan is, and since when (ms).

        Looked at often, by whom the nodes share two processors with: so a file is read only when
        it is another, and no JSON is decoded.
        """
        path = self._place(name) / "state" / "status.json"
        try:
            changed_ns = path.stat().st_mtime_ns
            if (known := self._planned.get(name)) is None or known[0] != changed_ns:
                text = path.read_text()
                numbers = [int(re.findall(rf'"{key}": (\d+)', text)[0]) for key in PLANNED]
                known = self._planned[name] = changed_ns, (numbers[0], numbers[1])
        except FileNotFoundError:
            return 0, 0
        return known[1]

    def are_light_in_step(self, size: int) -> bool:
        """Tell whether all light nodes have planned by so many entries."""
        return all(self.planned(name)[0] >= size for name in self.light)

    def await_step(self, what: str, seconds: float = STEP_SECONDS_MAX) -> None:
        """Wait until all nodes have planned by the whole ledger, as it is now."""
        size = self.ledger_size()
        self.wait_until(lambda: self.are_light_in_step(size), what, seconds)
        self.wait_until(self.is_in_step, what, seconds)

    def planned_at_ms(self, size: int) -> list[int]:
        """Return when each light node had its plan of just `size` entries, once all have it.

        One that has gone on meanwhile, because attestations were recorded, is left out.
        """
        self.wait_until(
            lambda: self.are_light_in_step(size), f"all have {size} entries", STEP_SECONDS_MAX
        )
        planned = map(self.planned, self.light)
        return [at_ms for planned_size, at_ms in planned if planned_size == size]

    def yield_to_others(self) -> None:
        """Give the light nodes only what the others leave of the processors (SCHED_IDLE), for
        good: they stand for other machines, which take nothing from this one.

        That counts within one session: Linux shares processors out between sessions first, each
        the same (sched(7), autogroup).
        """
        groups = {autogroup(program.pid) for program in self.programs.values()}
        assert self.redis.pid is not None
        assert groups == {autogroup(self.redis.pid)}, f"more than one session: {sorted(groups)}"
        for name in self.light:
            for pid in (self.programs[name].pid, *children(self.programs[name].pid)):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))

    def traffic(self) -> tuple[int, int]:
        """Return the octets that nodes have got from Redis and sent to it, TLS's own included."""
        command = ["ss", "-Htin", f"sport = :{self._redis_port}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return sum_of("bytes_sent", text), sum_of("bytes_received", text)


def sum_of(what: str, text: str) -> int:
    """Return the sum of a number that ss(8) tells of each connection."""
    return sum(map(int, re.findall(rf"\b{what}:(\d+)", text)))


def autogroup(pid: int) -> str:
    """Return the name of the group that a process shares processors with; empty without groups."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text().partition(" ")[0]
    except FileNotFoundError:
        return ""


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of its live and ended children."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, parts[11:15])) / CLOCK_TICKS
    return own + sum(map(cpu_seconds, children(pid)))


def memory_mb(pid: int, field: str = "Pss") -> float:
    """Return a process's and its children's share of memory in MB of 10^6 octets.

    PSS: what is shared counts for each by its part.
    """
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    own = int(match[1]) * 1_024 / 1e6 if match else 0.0
    return own + sum(memory_mb(child, field) for child in children(pid))


class Peak:
    """The most memory, in MB of 10^6 octets by PSS, that a process and its children have meanwhile.

    Looked at ten times a second: what lasts shorter may be missed.
    """

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._pid = pid
        self._ended = Event()
        self._looking = Thread(target=self._look)

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            with suppress(FileNotFoundError, ProcessLookupError):  # a child that has just ended
                self.mb = max(self.mb, memory_mb(self._pid))


def children(pid: int) -> list[int]:
    """Return the live children of a process, whichever of its threads made them."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, thread.read_text().split())
    return found
