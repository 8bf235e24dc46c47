"""Ten thousand nodes, simulated from what one costs: a change's way to all, and what it takes.

Measured in this run: how long Redis's one thread works to have a node wait and to send it an entry,
over TLS, and to answer a poll; what an Attest call costs the control plane; how long a node alone
takes from the answer to in force at its gate. Assumed: a node reads from one of k replicas, which
have the entry a millisecond after the primary; round trips are log-normal, 20 ms in the middle, 150
for one in a hundred; one packet in a hundred is lost and sent again after 200 ms; a replica has
1 Gbit/s; each node polls five times a second and attests once a minute and after each change, at
a time of its own within 30 s. Left out: TLS handshakes of nodes that come back all at once, links
that are full, nodes that are away, and that processors elsewhere are other ones. SIMULATED_NODES.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import ceil, exp, log
from pathlib import Path
from random import Random
from secrets import token_hex
from statistics import median, quantiles

import redis

from bench import Row, median_row
from bench._fleet import Fleet, cpu_seconds
from bench.fleet import Probe, Times, small, tell
from enforcer.app.people import Person as Account
from enforcer.app.redis_files import write_redis
from enforcer.backends import pki
from enforcer.backends.keys import PrivateKey
from enforcer.backends.redis_server import RedisServer
from enforcer.core.attestation import parse_attestation
from enforcer.core.envelope import parse_envelope
from tests.e2e.installation import now_ms
from tests.people import seal
from tests.ports import free_ports

NODES = int(os.environ.get("SIMULATED_NODES", "10000"))
SEED = 6
CLIENTS = 200
ROUNDS = 40
POLLS = 4_000
ATTESTS = 300
ORDERS = 40
ENTRY_OCTETS = 1_600
"""An approval with the checkpoint over it, as the stream has them."""
LIST_OCTETS = 20_000_000
"""A list of a million names."""

POLLS_A_SECOND = 5
BUSY_MAX = 0.5
"""A replica that is busier than half of the time makes nodes wait for each other's polls."""
REPLICA_SECONDS = 0.001
ROUND_TRIP_SECONDS = 0.020
ROUND_TRIP_SECONDS_P99 = 0.150
LOST = 0.01
AGAIN_SECONDS = 0.2
OCTETS_A_SECOND = 125e6
SPREAD_SECONDS = 30.0
Z99 = 2.326
"""Of the normal distribution."""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        tell(f"measuring Redis with {CLIENTS} nodes that wait")
        send_seconds, poll_seconds, octets = redis_costs(Path(folder))
    tell("measuring a node alone, and the control plane")
    local_seconds, attest_seconds = node_and_control()
    rows = [
        Row("measured: Redis sends an entry to a node", 1e6 * send_seconds, "µs", ROUNDS),
        Row("measured: … octets on the wire", octets, ""),
        Row("measured: Redis answers a poll", 1e6 * poll_seconds, "µs", POLLS),
        Row("measured: control plane takes an attestation", 1e3 * attest_seconds, "ms", ATTESTS),
        median_row("measured: a node alone, answered → in force", local_seconds, "s"),
    ]
    needed = ceil(NODES * POLLS_A_SECOND * poll_seconds / BUSY_MAX)
    rows.append(Row(f"{NODES:,} nodes: replicas needed for their polls", needed, ""))
    for replicas in sorted({1, needed, 4 * needed}):
        rows += simulated(replicas, send_seconds, poll_seconds, octets, local_seconds)
    at_rest = NODES / 60 * attest_seconds
    rows.append(Row("control plane: processors for attestations, at rest", at_rest, ""))
    after = at_rest + NODES / min(NODES / 100, SPREAD_SECONDS) * attest_seconds
    rows.append(Row("… in the seconds after a change", after, ""))
    return rows


def simulated(
    replicas: int, send: float, poll: float, octets: float, local: list[float]
) -> list[Row]:
    """Send one change to all nodes, over so many replicas."""
    chance = Random(SEED)
    spread = log(ROUND_TRIP_SECONDS_P99 / ROUND_TRIP_SECONDS) / Z99
    a_replica = ceil(NODES / replicas)
    busy = a_replica * POLLS_A_SECOND * poll
    said = f"{replicas} replicas" if replicas > 1 else "1 replica"
    rows = [Row(f"{said}: busy with polls", 100 * busy, "%")]
    if busy < 1:
        each = max(send / (1 - busy), octets / OCTETS_A_SECOND)
        taken = []
        for node in range(NODES):
            trip = ROUND_TRIP_SECONDS * exp(chance.gauss(0, spread))
            lost = AGAIN_SECONDS if chance.random() < LOST else 0.0
            sent = REPLICA_SECONDS + (node // replicas + 1) * each
            taken.append(sent + trip / 2 + lost + chance.choice(local))
        rows += [
            Row(f"{said}: answered → in force: p50", median(taken), "s", NODES),
            Row("… p99", quantiles(taken, n=100)[-1], "s", NODES),
            Row("… the last node", max(taken), "s", NODES),
        ]
    rows.append(Row(f"{said}: octets of a change at each", a_replica * octets / 1e6, "MB"))
    fetched = a_replica * LIST_OCTETS / OCTETS_A_SECOND
    rows.append(Row(f"{said}: a new list of a million names is at all nodes", fetched / 60, "min"))
    return rows


def redis_costs(folder: Path) -> tuple[float, float, float]:
    """Return Redis's seconds for an entry and for a poll, of one node, and the entry's octets."""
    with waiting_nodes(folder) as (server, adding, nodes):
        assert server.pid is not None
        before, after = octets_sent(nodes), b"0-0"
        began = cpu_seconds(server.pid)
        for _ in range(ROUNDS):
            for node in nodes:
                node.sendall(b"XREAD BLOCK 0 STREAMS log " + after + b"\r\n")
            time.sleep(0.02)  # all of them wait
            added = adding.xadd("log", {"entry": os.urandom(ENTRY_OCTETS)})
            assert isinstance(added, bytes)
            after = added
            receive(nodes)
        cpu = cpu_seconds(server.pid) - began
        octets = (octets_sent(nodes) - before) / ROUNDS / len(nodes)
        adding.set("head", os.urandom(200))
        began = cpu_seconds(server.pid)
        for _ in range(POLLS // len(nodes)):
            for node in nodes:
                node.sendall(b"GETRANGE head 0 1000\r\n")
            receive(nodes)
        polled = cpu_seconds(server.pid) - began
    return cpu / ROUNDS / CLIENTS, polled / (POLLS // CLIENTS) / CLIENTS, octets


@contextmanager
def waiting_nodes(
    folder: Path,
) -> Iterator[tuple[RedisServer, redis.Redis, list[ssl.SSLSocket]]]:
    """Yield a Redis, a way to write to it, and connections over TLS."""
    (port,) = free_ports(1)
    authority = pki.Authority.create("example.org/ledger")
    write_redis(folder / "tls", "example.org/ledger", f"rediss://127.0.0.1:{port}", authority)
    settings = {"tls-port": str(port), "tls-auth-clients": "no"}
    for name in ("tls-cert-file", "tls-key-file", "tls-ca-cert-file"):
        file = {"tls-cert-file": "tls.crt", "tls-key-file": "tls.key"}.get(name, "ca.crt")
        settings[name] = str(folder / "tls" / file)
    context = ssl.create_default_context(cafile=str(folder / "tls" / "ca.crt"))
    socket_path = folder / "redis.sock"
    with ExitStack() as stack:
        server = RedisServer(folder / "redis", unixsocket=socket_path, settings=settings)
        stack.enter_context(server)
        adding = stack.enter_context(redis.Redis(unix_socket_path=str(socket_path)))
        nodes = []
        for _ in range(CLIENTS):
            plain = socket.create_connection(("127.0.0.1", port))
            node = context.wrap_socket(plain, server_hostname="127.0.0.1")
            nodes.append(stack.enter_context(node))
        yield server, adding, nodes


def receive(nodes: list[ssl.SSLSocket]) -> None:
    """Read one short answer from each."""
    left = {node.fileno(): node for node in nodes}
    while left:
        for fd in select.select(list(left), [], [], 10.0)[0]:
            left.pop(fd).recv(65_536)


def octets_sent(nodes: list[ssl.SSLSocket]) -> int:
    """Return the octets that have come to the nodes, from tcp_info."""
    at = 128  # tcpi_bytes_received, in linux/tcp.h
    info = [node.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256) for node in nodes]
    return sum(int.from_bytes(each[at : at + 8], "little") for each in info)


def node_and_control() -> tuple[list[float], float]:
    """Return how long a node alone takes, and what the control plane works for an attestation."""
    begun, ended = Times("approval"), Times("stop")
    with Fleet(0) as fleet:
        probe = Probe(fleet.dns_port)
        try:
            chance = Random(SEED)
            for at in range(ORDERS):
                small(fleet, probe, at, round(1_000 ** chance.random()), begun, ended)
        finally:
            probe.close()
        fleet.kill("node", "gate")
        return [ms / 1e3 for ms in begun.gate], attest_cost(fleet)


def attest_cost(fleet: Fleet) -> float:
    """Return the processor seconds of the control plane for one Attest call."""
    place = fleet.files.node
    shown = (fleet.files.person("auditor") / "client.toml").read_text()
    (place / "client.toml").write_text(shown.replace('"../../', '"../'))
    key = PrivateKey.load(place / "signing.key")
    said = parse_attestation(parse_envelope((place / "state" / "attestation.json").read_bytes()))

    async def attest() -> float:
        async with Account.load(place / "client.toml").client() as client:
            words = [
                seal(replace(said, request_id=token_hex(16), t_ms=now_ms() + at), key)
                for at in range(ATTESTS)
            ]
            await client.attest(words[0])
            began = cpu_seconds(fleet.programs["control"].pid)
            for each in words[1:]:
                await client.attest(each)
            return cpu_seconds(fleet.programs["control"].pid) - began

    return float(fleet.call(attest())) / (ATTESTS - 1)
