"""The agent as a process of its own: a real Redis, stops over gRPC with mTLS, and kill -9."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from redis.asyncio import Redis

from enforcer.api.client import ControlClient
from enforcer.api.server import Server, TlsFiles
from enforcer.app.node import read_secret
from enforcer.backends.certificate_request import Holder
from enforcer.backends.child import tied_to_parent
from enforcer.backends.feed_format import FeedKeys, node_acl
from enforcer.backends.keys import verify
from enforcer.backends.pki import Authority
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_server import RedisServer
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.key import Role
from enforcer.core.order import OrderRef
from enforcer.errors import ConflictError, EnforcerError, IntegrityError, RefusedError
from enforcer.v1 import node_pb2, node_pb2_grpc
from tests.control import key_pem
from tests.node_world import BAD, Log, open_copy, trust_of
from tests.people import ORIGIN, Land, Person, seal
from tests.ports import held_port
from tests.waiting import WAIT_SECONDS, until

KEYS = FeedKeys(ORIGIN)
RUN = [sys.executable, "-m", "enforcer", "node", "--config"]


class Host:
    """A folder with a node's configuration, the feed that it follows, and the agent itself."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.folder = folder
        # Its clock moves a second with each act, and must not get ahead of the machine.
        self.land = Land.founded(now_ms=time.time_ns() // 1_000_000 - 12 * 3_600_000)
        self.log = Log(ORIGIN)
        self.redis = Redis.from_url(redis.url)
        self.publisher = RedisFeedPublisher(redis.url, ORIGIN)
        self.book = open_copy(folder / "book", self.log, is_copy=False)
        self.authority = Authority.create(ORIGIN)
        self.address = f"127.0.0.1:{held_port(self)}"
        self.metrics = f"127.0.0.1:{held_port(self)}"
        self.process: subprocess.Popen[bytes] | None = None
        self.lives = 0
        self._write(redis)

    def _write(self, redis: RedisServer) -> None:
        roots = json.dumps([key.public_key.hex() for key in self.land.roots])
        (self.folder / "trust.toml").write_text(
            f'origin = "{ORIGIN}"\nlog_vkey = "{self.log.vkey.text}"\nroot_keys = {roots}\n'
            "root_threshold = 2\nwitnesses = { quorum = 0 }\n"
        )
        self.land.node.key.save(self.folder / "node.key")
        (self.folder / "password").write_text("secret\n")
        (self.folder / "password").chmod(0o600)
        own = self.issue(Role.NODE, "node-1", ("127.0.0.1",))
        (self.folder / "tls.pem").write_bytes(own.certificate)
        (self.folder / "tls.key").write_bytes(own.key)
        (self.folder / "tls.key").chmod(0o600)
        (self.folder / "ca.pem").write_bytes(own.authority)
        url = redis.url.replace("unix://", "unix://node@")
        (self.folder / "node.toml").write_text(
            f'node_id = "node-1"\nstate_dir = "state"\ntrust_file = "trust.toml"\n'
            f'key_file = "node.key"\ngate_socket = "gate.sock"\nlisten = "{self.address}"\n'
            f'metrics_listen = "{self.metrics}"\n'
            f'[redis]\nurl = "{url}"\npassword_file = "password"\n'
            '[control]\naddress = "127.0.0.1:1"\n'
            '[tls]\ncertificate = "tls.pem"\nkey = "tls.key"\nca = "ca.pem"\n'
        )

    def issue(self, role: Role, identity: str, hosts: tuple[str, ...] = ()) -> TlsFiles:
        key = generate_private_key(SECP256R1())
        holder = Holder(ORIGIN, role, identity)
        pem = self.authority.issue(holder, key.public_key(), hosts=hosts)
        return TlsFiles(pem, key_pem(key), self.authority.pem)

    def client(self, person: Person) -> ControlClient:
        tls = self.issue(person.role, person.person_id)
        return ControlClient(self.address, tls, trust_of(self.land, self.log), verify)

    def start(self) -> None:
        (self.folder / "state" / "status.json").unlink(missing_ok=True)  # its last life's words
        self.lives += 1
        with self.log_file.open("xb") as log:
            self.process = subprocess.Popen(
                tied_to_parent([*RUN, str(self.folder / "node.toml")]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)

    @property
    def log_file(self) -> Path:
        """What it says in this life; a killed one's workers may go on to write into theirs."""
        return self.folder / f"agent-{self.lives}.log"

    @property
    def said(self) -> str:
        return self.log_file.read_text()

    @property
    def status(self) -> dict:
        try:
            return json.loads((self.folder / "state" / "status.json").read_bytes())
        except FileNotFoundError:
            return {}

    @property
    def size(self) -> int:
        return self.status.get("ledger", {}).get("size", 0)

    async def publish(self) -> None:
        first = self.book.size
        leaves = self.land.leaves[first:]
        note = self.book.append(leaves, self.log.seal)
        try:
            await self.publisher.publish(first, leaves, note)
        except ConflictError:
            await self.mend()

    async def mend(self):
        return await self.publisher.reconcile(self.book, self.book.lists, ())

    async def reached(self, size: int | None = None) -> None:
        """Wait until the agent has read so many entries, or all."""
        wanted = len(self.land.leaves) if size is None else size

        def is_there() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said
            return self.size >= wanted

        try:
            await until(is_there)
        except AssertionError:
            raise AssertionError(f"{self.size} of {wanted}: {self.said[-2_000:]}") from None

    async def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        await self.publisher.close()
        await self.redis.aclose()
        self.book.close()


@pytest.fixture
async def host(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Host]:
    host = Host(tmp_path, redis_server)
    rules = ("on", ">secret", *node_acl(ORIGIN))
    await host.redis.execute_command("ACL", "SETUSER", "node", *rules)
    yield host
    await host.close()


async def push(host: Host, person: Person, envelope: Envelope):
    """Push a stop as that person; the server may have just been killed."""
    async with host.client(person) as client:
        return await client.push_stop(envelope)


def get(place: str, path: str) -> bytes:
    with urlopen(f"http://{place}{path}", timeout=WAIT_SECONDS) as answer:
        return answer.read()


async def test_an_agent_with_read_only_rights_follows_and_ends_when_told(host):
    digest = host.book.lists.put(BAD)
    await host.publisher.put_list(digest, host.book.lists.path(digest))
    host.land.in_force_order(BAD)
    await host.publish()
    host.start()
    await host.reached()
    await until(lambda: host.status["orders_in_force"] == 1 and not host.status["missing_lists"])
    await until(lambda: host.status["gate"]["state"] == "UNREACHABLE")
    shown = await asyncio.to_thread(get, host.metrics, "/metrics")
    assert b"\nenforcer_node_orders_in_force 1.0\n" in shown
    with pytest.raises(HTTPError, match="503"):
        await asyncio.to_thread(get, host.metrics, "/health")
    await until((host.folder / "state" / "attestation.json").exists)
    assert (host.folder / "state" / "hash-secret").stat().st_mode & 0o777 == 0o600
    assert host.end() == 0
    assert "Traceback" not in host.said


async def test_a_forged_entry_a_wipe_and_a_restart_of_redis_change_nothing(host, redis_server):
    ref = host.land.in_force_order(BAD)
    await host.publish()
    host.start()
    await host.reached()
    size = host.book.size
    note = host.book.checkpoint_note
    stop = host.land.leaves[-1]
    fake = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
    await host.redis.xadd(KEYS.log, {"entry": stop, "checkpoint": fake}, id=f"{size + 1}-0")
    await until(lambda: host.status["feed"]["state"] == "REFUSING")
    assert "signature" in host.status["feed"]["reason"]
    await host.redis.flushall()
    await until(lambda: host.status["feed"]["state"] == "STALE")
    await host.mend()
    await until(lambda: host.status["feed"]["state"] == "OK")
    redis_server.kill()
    await until(lambda: host.status["feed"]["state"] == "STALE")
    redis_server.start()
    await host.redis.connection_pool.disconnect()
    rules = ("on", ">secret", *node_acl(ORIGIN))
    await host.redis.execute_command("ACL", "SETUSER", "node", *rules)
    host.land.stop(ref)
    await host.publish()
    await host.mend()
    await host.reached()
    assert host.end() == 0


async def test_a_site_with_nothing_but_a_copied_directory_follows_and_obeys_a_stop_in_it(host):
    host.book.lists.put(BAD)
    ref = host.land.in_force_order(BAD)
    await host.publish()
    config, copy = host.folder / "node.toml", host.folder / "copy"
    text = re.sub(r"\[redis\]\n(?:[a-z_]+ = .*\n)+", "", config.read_text())
    config.write_text('copies = ["copy"]\n' + text + "[sync]\nenabled = false\n")
    host.start()
    await until(lambda: "there is no copy" in host.status.get("feed", {}).get("reason", ""))
    shutil.copytree(host.book.path, copy)
    await host.reached()
    await until(lambda: host.status["orders_in_force"] == 1 and not host.status["missing_lists"])
    await until(lambda: host.status["feed"]["paths"]["copy-1"]["state"] == "FEEDS")
    envelope = format_envelope(seal(host.land.stopping(ref), host.land.oversight.key))
    (copy / "stops").mkdir()
    (copy / "stops" / "stop.json").write_bytes(envelope)
    await until(lambda: host.status["unlogged_stops"])
    await until(lambda: host.status["orders_in_force"] == 0)
    older = host.book.checkpoint_note
    host.land.record(parse_envelope(envelope))
    await host.publish()
    (copy / "checkpoint").write_bytes(host.book.checkpoint_note)  # its tiles have yet to come
    await until(lambda: "not whole" in host.status["feed"]["reason"])
    shutil.copytree(host.book.path, copy, dirs_exist_ok=True)
    await host.reached()
    await until(lambda: not host.status["unlogged_stops"])
    (copy / "checkpoint").write_bytes(older)
    await until(lambda: "older copy" in host.status["feed"]["reason"])
    assert host.size == len(host.land.leaves)


async def test_a_stop_pushed_over_mtls_is_obeyed_and_others_are_refused(host):
    ref = host.land.in_force_order(BAD)
    await host.publish()
    host.start()
    await host.reached()
    land = host.land
    stop = seal(land.stopping(ref), land.oversight.key)
    with pytest.raises(RefusedError, match="did not sign"):
        await push(host, land.approver, stop)
    with pytest.raises(RefusedError):
        await push(host, land.stranger, seal(land.stopping(ref), land.stranger.key))
    with pytest.raises(RefusedError, match="cannot call"):
        await push(host, Person("auditor", Role.AUDITOR), stop)
    with pytest.raises(RefusedError, match="only a stop"):
        await push(host, land.approver, seal(land.approval(ref), land.approver.key))
    async with host.client(land.node) as node:
        with pytest.raises(RefusedError, match="takes no attestations"):
            await node.attest(stop)
    assert not host.status["unlogged_stops"]
    pushed = await push(host, land.oversight, stop)
    assert pushed.outcome == node_pb2.STOP_OUTCOME_OBEYED
    await until(lambda: host.status["unlogged_stops"])
    other = seal(land.stopping(ref), land.approver.key)
    pushed = await push(host, land.node, other)  # a node passes on what another signed
    assert pushed.outcome == node_pb2.STOP_OUTCOME_OBEYED


async def test_new_certificates_are_shown_to_both_sides_without_a_restart(host):
    seen: set[bytes] = set()
    tls = host.issue(Role.CONTROL, "control-1", ("127.0.0.1",))
    control = Server("example.org", seen.add)
    node_pb2_grpc.add_NodeServiceServicer_to_server(
        node_pb2_grpc.NodeServiceServicer(), control.grpc
    )
    port = control.bind("127.0.0.1:0", lambda: tls)
    await control.start()
    config = host.folder / "node.toml"
    config.write_text(config.read_text().replace('"127.0.0.1:1"', f'"127.0.0.1:{port}"'))
    await host.publish()
    host.start()
    await host.reached()
    old = (host.folder / "tls.pem").read_bytes()
    await until(lambda: seen == {old})  # its attestation comes with it
    new = host.issue(Role.NODE, "node-1", ("127.0.0.1",))
    (host.folder / "tls.key").write_bytes(new.key)
    (host.folder / "tls.pem").write_bytes(new.certificate)
    host.process.send_signal(signal.SIGHUP)
    await until(lambda: "certificates_taken" in host.said)
    place = ("127.0.0.1", int(host.address.rpartition(":")[2]))
    shown = await asyncio.to_thread(ssl.get_server_certificate, place, timeout=WAIT_SECONDS)
    assert shown.encode() == new.certificate
    host.land.in_force_order(BAD)
    await host.publish()
    await host.reached()
    await until(lambda: seen == {old, new.certificate})
    assert host.end() == 0
    await control.stop(0)


async def test_a_second_agent_on_the_same_folder_is_refused(host):
    await host.publish()
    host.start()
    await host.reached()
    config = str(host.folder / "node.toml")
    second = await asyncio.create_subprocess_exec(
        *RUN, config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(second.communicate(), WAIT_SECONDS)
    assert second.returncode == ConflictError.exit_code, said
    assert host.end() == 0


async def kill_at_random(host: Host, seed: int, rounds: int) -> None:
    """Kill the agent while acts and pushed stops come; what it answered must be there after."""
    dice = random.Random(seed)
    oversight = host.land.oversight
    obeyed: set[int] = set()
    seen = 0

    async def stop(ref: OrderRef) -> None:
        await push(host, oversight, seal(host.land.stopping(ref), oversight.key))
        obeyed.add(ref.entry_index)

    await host.publish()
    for _ in range(rounds):
        host.start()
        await host.reached(max(seen, 1))  # which it has said before it was killed
        if not obeyed:  # one for certain, however slow the machine is: else nothing is shown
            first = host.land.in_force_order(BAD)
            await host.publish()
            await host.reached()
            await stop(first)
        kill_at = time.monotonic() + dice.uniform(0.0, 0.4)
        refs = []
        while time.monotonic() < kill_at:
            refs.append(host.land.in_force_order(BAD))
            await host.publish()
            if dice.random() < 0.7:
                with suppress(EnforcerError):
                    await stop(dice.choice(refs))
            seen = max(seen, host.size)
        host.end(signal.SIGKILL)
    host.start()
    await host.reached()
    await until(lambda: host.status["feed"]["state"] == "OK")

    def kept() -> set[int]:
        return {stop["order_index"] for stop in host.status["unlogged_stops"]}

    # Shown a moment after the entries that prove the last of them were read.
    await until(lambda: obeyed <= kept())
    assert host.size >= seen
    assert host.status["ledger"]["root_sha256"] == host.book.root.hex()
    assert host.end() == 0
    assert "Traceback" not in host.said


async def test_an_agent_killed_at_random_moments_has_lost_nothing_it_answered(host):
    await kill_at_random(host, seed=4, rounds=4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
async def test_an_agent_killed_very_often_has_lost_nothing_it_answered(host, seed):
    await kill_at_random(host, seed, rounds=60)


def test_a_hash_secret_is_made_once_and_a_cut_one_is_refused(tmp_path):
    path = tmp_path / "hash-secret"
    secret = read_secret(path)
    assert len(secret) == 16
    assert read_secret(path) == secret
    path.write_bytes(secret[:7])
    with pytest.raises(IntegrityError):
        read_secret(path)
