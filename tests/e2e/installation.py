"""A whole installation for tests: what ``enforcer init --demo`` writes, run as its programs.

A real redis-server, `enforcer control`, `enforcer node`, `enforcer gate`, a resolver behind the
gate; people sign and call over gRPC with mTLS; queries go over UDP. Every answer to a mutation is
kept, so that nothing answered can be lost unseen. The methods block; calls run in a loop of
their own thread. At the end the ledger is audited and every file searched for clients and names.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

import redis

from enforcer.api.client import ControlClient, Pushed
from enforcer.app.acts import read_act
from enforcer.app.audit import audit_directory, open_ledger
from enforcer.app.demo_land import AUTHORITY, acts_of, install_demo, lists_of
from enforcer.app.installation_files import Plan
from enforcer.app.people import Person as Account
from enforcer.backends.feed_format import node_acl, publisher_acl
from enforcer.backends.gate_last_good import LastGood
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.redis_server import RedisServer
from enforcer.config import Address, read_trust
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope
from enforcer.core.fold import apply
from enforcer.core.note import VerifierKey
from enforcer.core.order import OrderRef
from enforcer.core.receipt import verify_receipt
from enforcer.core.state import State
from enforcer.errors import EnforcerError, NotFoundError, RefusedError, UnavailableError
from enforcer.ports import GateReport
from enforcer.services.audit import Summary
from enforcer.services.findings import Severity
from enforcer.services.ledger import Recorded
from enforcer.v1 import order_pb2
from tests.e2e.dns import CLIENT_HOST, Answer, Questions, Upstream, ask
from tests.e2e.programs import Program, peaks_mb, wait_for
from tests.people import Land, Person, seal
from tests.ports import free_ports
from tests.waiting import WAIT_SECONDS

ORIGIN = "e2e.example.org/ledger"
REASONS = b"s" * 32 + "Lừa đảo: trang giả mạo ngân hàng.".encode()
PROGRAMS = ("control", "node", "gate")
PASSWORDS = {"publisher": "for-writing-the-feed", "node": "for-reading-only"}
CALL_SECONDS_MAX = 90.0
"""Longer than a call waits by itself."""
STEP_SECONDS_MAX = 120.0
"""For what has to start, and for a path that withheld again and again: it is looked at once in
some 72 seconds.
"""
NUDGE = b"exact nudge.example.org\n"
ENDINGS_MAX = 5
PATIENT = "upstream_timeout_ms = 6000\nupstream_try_ms = 6000\n"
"""The resolver behind a gate is a thread of ours: when we stand still, so does that."""
INSIST_SECONDS_MAX = STEP_SECONDS_MAX
"""Longest that a call is repeated while the control plane is away."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Installation:
    """Everything of one installation on this machine; a context manager that starts it whole."""

    is_patient = True
    """Whether its gates wait longer for their resolver than they do as they are shipped."""

    def __init__(self, **plan: Any) -> None:
        """Write everything; what `plan` says goes before what is usual."""
        # Sockets live here, whose paths have to be short; and the gate's user has to get in.
        self.directory = Path(mkdtemp(prefix="e2e-"))
        self.directory.chmod(0o711)
        self.desk = self.directory / "desk"
        """Where people prepare their lists; the only names outside target lists are here."""
        self.answered: list[Recorded] = []
        self._verified = 0
        """How many of the answers' receipts were verified already."""
        self.upstream = Upstream()
        self._asked: set[str] = set()
        self.enforcer = str(Path(sys.executable).with_name("enforcer"))
        self._clients: dict[str, ControlClient] = {}
        self._stack = ExitStack()
        self._loop = asyncio.new_event_loop()
        self.is_kept = False
        """Whether the folder stays, for somebody to look at."""
        self._prepare(plan)

    def _prepare(self, changes: dict[str, Any]) -> None:
        top = self.directory / "installation"
        self.dns_port, control_port, node_port = free_ports(3)
        self.redis = self._redis()
        plan = Plan(
            origin=ORIGIN,
            root_keys=(),
            control_address=Address(f"127.0.0.1:{control_port}"),
            redis_url=self.redis.url,
            dns_listen=(Address(f"127.0.0.1:{self.dns_port}"),),
            dns_upstream=Address(f"127.0.0.1:{self.upstream.port}"),
            node_listen=Address(f"127.0.0.1:{node_port}"),
            reconcile_interval_seconds=1.0,
            **changes,
        )
        self.node_address = str(plan.node_listen)
        self.files = install_demo(top, plan)
        self.trust = read_trust(self.files.trust_file)
        self._admit("control", "publisher")
        self._admit("node", "node")
        self.desk.mkdir()
        self.land = self._people()
        self.programs = {name: self._program(name) for name in PROGRAMS}
        self.gate_folders: list[Path] = []
        """Of all gates that there are, that of the first node first."""
        self.gate_controls: list[GateClient] = []
        """The ways to them."""
        self.add_gate(self.files.gate)

    def _redis(self) -> RedisServer:
        """Return the feed's Redis, which admits its two users, and us to everything."""
        users = {"publisher": publisher_acl(ORIGIN), "node": node_acl(ORIGIN)}
        rules = [
            " ".join(("user", user, "on", f">{PASSWORDS[user]}", *rules))
            for user, rules in users.items()
        ]
        acl = self.directory / "redis.acl"
        acl.write_text("\n".join(("user default on nopass ~* &* +@all", *rules, "")))
        return RedisServer(
            self.directory / "redis",
            unixsocket=self.directory / "redis.sock",
            settings={"aclfile": str(acl)},
        )

    def _admit(self, program: str, user: str) -> None:
        """Give a program the Redis user that it should have."""
        folder = getattr(self.files, program)
        config = folder / f"{program}.toml"
        file = folder / "redis.password"
        file.write_text(PASSWORDS[user])
        file.chmod(0o600)
        scheme, _, rest = self.redis.url.partition("://")
        text = config.read_text().replace(self.redis.url, f"{scheme}://{user}@{rest}")
        config.write_text(text.replace("# password_file = ", "password_file = "))

    def _people(self) -> Land:
        """Return the land of these people; its state has the policy and the keys when founded."""
        land = Land(now_ms=now_ms(), origin=ORIGIN)
        for person in (land.proposer, land.approver, land.second_approver, land.oversight):
            folder = self.files.person(person.person_id)
            person.key = PrivateKey.load(folder / "signing.key")
        land.state = State(ORIGIN, self.trust.roots, verify)
        return land

    def _program(self, name: str, called: str = "") -> Program:
        called = called or name
        folder = getattr(self.files, name)
        command = [self.enforcer, name, "--config", str(folder / f"{name}.toml")]
        return Program(called, command, self.directory / f"{called}.log", self._env(called))

    def _env(self, _name: str) -> dict[str, str]:
        """Return what a program's environment has beside our own."""
        return {}

    # Its life.

    def __enter__(self) -> Self:
        try:
            thread = threading.Thread(target=self._loop.run_forever, name="calls")
            thread.start()
            self._stack.callback(self._end_loop, thread)
            self._stack.callback(self._close_clients)
            self._stack.enter_context(self.upstream)
            self._stack.enter_context(self.redis)
            for program in self.programs.values():
                self._stack.callback(program.kill)
                program.start()
            self._found()
            self.mend()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        if not self.is_kept:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _found(self) -> None:
        """Record what the roots signed: the policy, then everybody's key."""
        auditor = self.client("auditor")
        self.wait_until(self.control_serves, "the control plane serves", STEP_SECONDS_MAX)
        for path in lists_of(self.files):
            self.call(auditor.upload_targets(path))
        for path in acts_of(self.files):
            recorded = self._keep(self.call(auditor.record_root_act(read_act(path)[0])))
            effect = apply(self.land.state, parse(recorded.leaf))
            assert effect.is_effective, effect.refusal

    def start(self, name: str) -> None:
        if name == "redis":
            self.redis.start()
        else:
            self.programs[name].start()

    def end_with_us(self, program: Program) -> None:
        """Have a program that a test starts itself killed with the others, at the latest."""
        self._stack.callback(program.kill)

    def kill(self, *names: str) -> None:
        """End programs as a crash does."""
        for name in names:
            if name == "redis":
                self.redis.kill()
            else:
                self.programs[name].kill()

    def mend(self) -> None:
        """Start what does not run, and wait until everybody is in step again."""
        self.redis.start()
        for program in self.programs.values():
            if not program.is_running:
                program.start()
        since_ms = now_ms()
        self.wait_until(self.control_serves, "the control plane serves", STEP_SECONDS_MAX)
        if self.land.state.policy is not None:
            # Something new makes the node look at its gate now, and not at its next turn.
            self._nudge()
        self.wait_until(
            lambda: self.is_in_step(since_ms),
            "node and gate are in step with the ledger",
            STEP_SECONDS_MAX,
        )

    def _nudge(self) -> None:
        """Have something recorded; the same act again, should its answer not come."""
        insist(lambda: self.upload(NUDGE))
        nudge = self.proposal(NUDGE)
        insist(lambda: self.submit(self.land.proposer, "propose", nudge, [REASONS]))

    def stop_in_order(self) -> dict[str, int]:
        """Tell every program to end, and return their exit codes."""
        return {name: program.stop() for name, program in self.programs.items()}

    # What people do.

    def client(self, identity: str, address: str | None = None) -> ControlClient:
        """Return somebody's connection, to the control plane or the node at `address`."""
        name = f"{identity} {address}"
        if name not in self._clients:
            account = Account.load(self.files.person(identity) / "client.toml")

            async def connect() -> ControlClient:
                return account.client(address)

            self._clients[name] = self.call(connect())
        return self._clients[name]

    def call(self, coroutine: Coroutine[Any, Any, Any], seconds: float = CALL_SECONDS_MAX) -> Any:
        """Run a call to its end, from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def upload(self, targets: bytes) -> None:
        path = self.desk / sha256(targets).hexdigest()
        path.write_bytes(targets)
        self.call(self.client(self.land.proposer.person_id).upload_targets(path))

    def proposal(self, targets: bytes, **changes: object) -> Envelope:
        """Return a signed proposal, as of now."""
        self.land.now_ms = now_ms()
        changes = {
            "authority": AUTHORITY,
            "statement_of_reasons_sha256": sha256(REASONS).hexdigest(),
        } | changes
        return seal(self.land.order(targets, **changes), self.land.proposer.key)

    def submit(self, person: Person, method: str, envelope: Envelope, *rest: object) -> Recorded:
        """Call ``client.<method>``, which verifies the receipt, and keep the answer."""
        client = self.client(person.person_id)
        return self._keep(self.call(getattr(client, method)(envelope, *rest)))

    def propose(self, targets: bytes, **changes: object) -> OrderRef:
        self.upload(targets)
        envelope = self.proposal(targets, **changes)
        recorded = self.submit(self.land.proposer, "propose", envelope, [REASONS])
        return ref_of(recorded)

    def approve(self, ref: OrderRef, by: Person | None = None) -> Recorded:
        self.land.now_ms = now_ms()
        person = by or self.land.approver
        return self.submit(person, "approve", seal(self.land.approval(ref), person.key))

    def stop(self, ref: OrderRef, by: Person | None = None) -> Recorded:
        person = by or self.land.oversight
        return self.submit(person, "stop", self.stopping(ref, person))

    def stopping(self, ref: OrderRef, person: Person) -> Envelope:
        self.land.now_ms = now_ms()
        return seal(self.land.stopping(ref), person.key)

    def extend(self, ref: OrderRef, expires_at_ms: int) -> Recorded:
        self.land.now_ms = now_ms()
        payload = self.land.extension(ref, expires_at_ms)
        envelope = seal(payload, self.land.proposer.key, self.land.approver.key)
        return self.submit(self.land.approver, "extend", envelope)

    def push_stop_to_node(self, ref: OrderRef, by: Person) -> Pushed:
        client = self.client(by.person_id, self.node_address)
        return self.call(client.push_stop(self.stopping(ref, by)))

    def order(self, targets: bytes, **changes: object) -> OrderRef:
        """Have two persons order it."""
        ref = self.propose(targets, **changes)
        self.approve(ref)
        return ref

    def blocked_until(self, name: str, seconds: float) -> int:
        """Have a name blocked by an order that ends so soon, and return when it does (ms).

        If it ends before two persons have signed it, or the block is seen, so does one that lasts
        twice as long, and so on: how fast this machine is, is not the question.
        """
        for doubled in range(ENDINGS_MAX):
            ends_ms = now_ms() + int(seconds * 1_000) * 2**doubled
            with suppress(RefusedError):  # it has ended already
                self.order(
                    f"exact {name}\n".encode(), expires_at_ms=ends_ms, review_due_at_ms=ends_ms
                )
            self.wait_until(
                lambda ends_ms=ends_ms: self.is_blocked(name) or now_ms() > ends_ms,
                f"{name} is blocked, or should not be any more",
            )
            if self.is_blocked(name):
                return ends_ms
        raise AssertionError(f"{name} was never seen blocked")

    # What can be seen.

    def ask(self, qname: str, qtype: str = "A") -> Answer:
        self._asked.add(qname)
        return ask(self.dns_port, qname, qtype)

    @property
    def dns_ports(self) -> tuple[int, ...]:
        """Return where each gate answers."""
        return (self.dns_port,)

    def verdicts(self, qname: str) -> list[bool]:
        """Ask each gate for a name, and return whether it blocks it."""
        self._asked.add(qname)
        return [ask(port, qname).is_blocked for port in self.dns_ports]

    def note_asked(self, qname: str) -> None:
        """Have a name that was asked elsewhere looked for where none may stand."""
        self._asked.add(qname)

    def is_blocked(self, *qnames: str) -> bool:
        return all(self.ask(qname).is_blocked for qname in qnames)

    def questions(
        self, names: Sequence[str], per_second: int = 100, *, port: int = 0, **more: Any
    ) -> Questions:
        """Return a client that asks one gate; without `port` the first."""
        self._asked.update(names)
        return Questions(port or self.dns_port, names, per_second, **more)

    def node_status(self) -> dict[str, Any]:
        """Return what the node says of itself; empty before it says anything."""
        path = self.files.node / "state" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def statuses(self) -> list[dict[str, Any]]:
        """Return what each node says of itself."""
        return [self.node_status()]

    def gate_status(self) -> GateReport | None:
        """Return what the gate holds; None while it does not answer."""
        try:
            return self.call(self.gate_controls[0].status())
        except UnavailableError:
            return None

    def add_gate(self, folder: Path) -> None:
        """Hear that there is one more gate, by the folder of its files."""
        if self.is_patient:
            config = folder / "gate.toml"
            config.write_text(PATIENT + config.read_text())
        self.gate_folders.append(folder)
        self.gate_controls.append(GateClient(folder / "gate.sock"))

    def gates_keep(self) -> bool:
        """Tell whether each gate has on its disk what it serves by: what it begins with when it is
        killed.
        """
        return all(map(self._keeps, self.gate_folders, self.gate_controls))

    def _keeps(self, folder: Path, gate: GateClient) -> bool:
        kept = LastGood(folder / "state")
        try:
            tables = kept.open(ORIGIN)
            with suppress(NotFoundError):
                tables = kept.open_overlay(tables.base, ORIGIN)
            report = self.call(gate.status())
        except EnforcerError:  # the gate does not serve, or the disk has half of it so far
            return False
        return tables.key == (report.body_sha256, report.overlay_sha256)

    def feed(self, user: str | None = None) -> redis.Redis:
        """Return a way into the feed's Redis: for us with all rights, else as one of its users."""
        path = self.redis.url.removeprefix("unix://")
        return redis.Redis(unix_socket_path=path, username=user, password=PASSWORDS.get(user))

    def redis_peak_mb(self) -> float:
        assert self.redis.pid is not None
        return peaks_mb(self.redis.pid, "redis")["redis"]

    def ledger_size(self) -> int:
        with open_ledger(self.files.ledger, self.trust) as ledger:
            return ledger.size

    def is_in_step(self, since_ms: int = 0) -> bool:
        """Tell whether the node is at the ledger's end and follows the feed, and whether it has
        found its gate to hold what it should, not before `since_ms`.
        """
        status = self.node_status()
        return (
            bool(status)
            and status["t_ms"] >= since_ms
            and status["planned_size"] == self.ledger_size()
            and status["feed"]["state"] == "OK"
            and status["gate"]["state"] == "HOLDS_TABLE"
        )

    def wait_until(
        self, predicate: Callable[[], object], what: str, seconds: float = WAIT_SECONDS
    ) -> Any:
        """Return what `predicate` returns once it is true; by then all of a gate's workers do."""
        found = wait_for(predicate, what, list(self.programs.values()), seconds)
        self._settle()
        return found

    def _settle(self) -> None:
        """Let each gate end what it is at: one worker may have a table before another."""
        for gate in self.gate_controls:
            with suppress(UnavailableError):
                self.call(gate.status())

    # What must be true at the end.

    def audit(self, ahead_ms: int = 0) -> Summary:
        """Audit the ledger's directory offline, as of so much later; only notes may be found."""
        as_of_ms = now_ms() + ahead_ms
        summary, findings = audit_directory(self.files.ledger, self.trust, as_of_ms=as_of_ms)
        grave = [each for each in findings if each.severity is not Severity.NOTE]
        assert not grave, "\n".join(map(str, grave))
        return summary

    def check_answers(self) -> None:
        """Check that everything answered stands in the ledger, by file and by receipt."""
        key = VerifierKey.parse(self.trust.log_vkey)
        with open_ledger(self.files.ledger, self.trust) as ledger:
            leaves = list(ledger.entries(0, ledger.size))
        for recorded in self.answered:
            assert leaves[recorded.index] == recorded.leaf, f"entry {recorded.index} is lost"
        for recorded in self.answered[self._verified :]:
            verify_receipt(recorded.receipt, recorded.leaf, ORIGIN, key, verify)
        self._verified = len(self.answered)

    def check_privacy(self) -> None:
        """Search every file for a client's address and the names that were asked.

        Target lists are left out, because orders are public; so is nothing else.
        """
        words = [CLIENT_HOST, *self._asked]
        found = [
            f"{path.relative_to(self.directory)}: {word}"
            for path, data in self.written()
            for lower in [data.lower()]
            for word in words
            if word.lower().encode() in lower
        ]
        report = self.gate_status()
        found += [f"gate's report: {word}" for word in words if word in str(report)]
        assert not found, "written down: " + "\n".join(found)

    def written(self) -> Iterator[tuple[Path, bytes]]:
        """Yield what programs and people have written, but for lists, with where."""
        for path in self._readable_files():
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # a program has just put it in another one's place
                continue
            yield path, data

    def _readable_files(self) -> Iterator[Path]:
        for path in self.directory.rglob("*"):
            is_list = "lists" in path.parts or self.desk in path.parents
            if path.is_file() and not is_list:
                yield path

    # Parts.

    def _keep(self, recorded: Recorded) -> Recorded:
        self.answered.append(recorded)
        return recorded

    def control_serves(self) -> bool:
        try:
            self.call(self.client("auditor").list_orders())
        except UnavailableError:
            return False
        except EnforcerError:
            return True
        return True

    def _close_clients(self) -> None:
        for client in self._clients.values():
            self.call(client.__aexit__(None, None, None))

    def _end_loop(self, thread: threading.Thread) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        self._loop.close()


def insist(call: Callable[[], Any]) -> Any:
    """Repeat a call while the control plane is away."""
    deadline = time.monotonic() + INSIST_SECONDS_MAX
    while True:
        try:
            return call()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def ref_of(recorded: Recorded) -> OrderRef:
    """Return how later acts name the order that was proposed."""
    envelope = parse(recorded.leaf).envelope
    order_id = json.loads(envelope.payload)["order_id"]
    return OrderRef(order_id, recorded.index, envelope.payload_sha256)


def order_ref(order: order_pb2.Order) -> OrderRef:
    """Return how later acts name an order that the control plane showed."""
    return OrderRef(order.order_id, order.entry_index, order.payload_sha256)
