"""A control plane for tests: really signed acts, a real ledger on disk, the rest as asked.

`Desk` has the services in this process and loop; `Installation` serves them over gRPC with
mTLS on loopback. Both share one clock with their `Land`, whose state is the server's.
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

import grpc
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from enforcer.api.client import ControlClient
from enforcer.api.server import TlsFiles
from enforcer.app.control import ControlPlane, serving
from enforcer.app.lost_ledger import mark_unused
from enforcer.backends.certificate_request import Holder
from enforcer.backends.clock import SystemClock
from enforcer.backends.collateral_scan import scan_collateral
from enforcer.backends.delta_files import DeltaFiles
from enforcer.backends.guard_scan import scan_guards
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.list_delta import diff
from enforcer.backends.list_sealed import open_here
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedPublisher
from enforcer.backends.own_sealing import OwnSealing
from enforcer.backends.pki import Authority
from enforcer.backends.tiles import TileLedger
from enforcer.config import Address, ControlConfig, Redis, ServerTls
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.collateral import CollateralFound
from enforcer.core.envelope import Envelope
from enforcer.core.guard import GuardScan
from enforcer.core.guard_data import check_text
from enforcer.core.key import Role
from enforcer.core.note import VerifierKey
from enforcer.core.order import OrderRef
from enforcer.core.target import ListSummary
from enforcer.core.trust import Trust
from enforcer.errors import UnavailableError
from enforcer.ports import CollateralWork, GuardJob
from enforcer.services.assessments import Assessments
from enforcer.services.deltas import Deltas
from enforcer.services.guards import Guards
from enforcer.services.ledger import Ledger, Recorded
from enforcer.services.list_secrets import ListSecrets
from enforcer.services.order_reader import OrderReader
from enforcer.services.orders import Orders
from enforcer.services.publication import Publication
from enforcer.services.stopping import Stopping
from enforcer.services.uploads import Uploads
from enforcer.services.wrapping import Wrapping
from tests.people import ORIGIN, Land, Person, seal
from tests.ports import held_port

REASONS = b"s" * 32 + "Lừa đảo: trang giả mạo ngân hàng.".encode()
TARGETS = b"exact bad.example.org\nsubtree worse.example.org\n"
LOG_KEY = PrivateKey.generate()
LOG_VKEY = VerifierKey(ORIGIN, LOG_KEY.public_key)
NEVER_SECONDS = 3_600.0


class LandClock:
    """The time of a land, which a test moves on, and a clock that shows it, which a test steps."""

    def __init__(self, land: Land) -> None:
        self.land = land
        self.stepped_ms = 0

    def now_ms(self) -> int:
        return self.land.now_ms + self.stepped_ms

    def monotonic_ms(self) -> int:
        return self.land.now_ms


class FaultyFiles:
    """A real ledger whose disk can fail, or take its time."""

    def __init__(self, files: TileLedger) -> None:
        self._files = files
        self.fault: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_held = False
        """An append has begun and waits until it may go on."""
        self.appends: list[int] = []
        """How many leaves each append had."""

    def append(self, leaves, seal_with):
        self.is_held = not self.may_go_on.is_set()
        self.may_go_on.wait()
        self.is_held = False
        self.appends.append(len(leaves))
        if self.fault is not None:
            raise self.fault
        return self._files.append(leaves, seal_with)

    def __getattr__(self, name):
        return getattr(self._files, name)


class PlainListWork:
    """`ListWork` by the core's own check, in this process; lists in tests are short."""

    def __init__(self) -> None:
        self.scans: list[GuardJob] = []
        self.diffs: list[tuple[str, str]] = []
        self._one_at_a_time = asyncio.Lock()

    async def check_list(self, path: Path) -> ListSummary:
        return await asyncio.to_thread(lambda: check_text(path.read_bytes()))

    async def open_list(self, sealed: Path, secret: str, sha256: str):
        return await asyncio.to_thread(open_here, sealed, secret, sha256)

    async def diff_lists(self, base: Path, path: Path, to: Path) -> bool:
        self.diffs.append((base.name, path.name))
        return await asyncio.to_thread(diff, base, path, to)

    async def scan_collateral(self, work: CollateralWork) -> CollateralFound:
        return await asyncio.to_thread(scan_collateral, work)

    async def scan_guards(self, job: GuardJob) -> GuardScan:
        self.scans.append(job)
        async with self._one_at_a_time:
            return await asyncio.to_thread(scan_guards, job)


def with_reasons(land: Land, targets: bytes = TARGETS, **changes: object):
    """Return an order whose statement of reasons is REASONS."""
    reasons = sha256(REASONS).hexdigest()
    return land.order(targets, statement_of_reasons_sha256=reasons, **changes)


def trust_of(land: Land) -> Trust:
    return Trust(land.origin, LOG_VKEY.text, land.state.roots)


def sealing(checkpoint):
    return sign_checkpoint(checkpoint, LOG_VKEY, LOG_KEY.sign)


async def chunks_of(data: bytes, size: int = 1 << 16):
    for at in range(0, len(data), size):
        yield data[at : at + size]


@dataclass
class Desk:
    """The services of a control plane, without the wire."""

    path: Path
    land: Land = field(default_factory=Land)
    feed: MemoryFeed = field(default_factory=MemoryFeed)
    interval_seconds: float = NEVER_SECONDS

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        opened = TileLedger.open(
            self.path, origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=True
        )
        self.files = FaultyFiles(self._stack.enter_context(opened))
        self.lists, self.side = opened.lists, opened.side
        self.clock = LandClock(self.land)
        self.ledger = await Ledger.open(
            self.files, trust_of(self.land), verify, sealing, self.clock
        )
        self.work = PlainListWork()
        publisher = MemoryFeedPublisher(self.feed)
        deltas = Deltas(publisher, opened.lists, DeltaFiles(self.path / "deltas"), self.work)
        self.publication = Publication(
            publisher, self.ledger, opened.lists, deltas, self.interval_seconds
        )
        self.wraps = opened.wraps
        own = self.land.control
        self.sealing = OwnSealing(own.encryption)
        self.secrets = ListSecrets(
            self.ledger, opened.lists, opened.wraps, self.work, self.sealing, own.key.key_id
        )
        self.wrapping = Wrapping(
            self.ledger, self.secrets, opened.wraps, self.sealing, MemoryFeedPublisher(self.feed)
        )
        self.publication.on_mended(self.wrapping.show_again)
        self.publication.on_compared(self.wrapping.show_some_again)
        self.uploads = Uploads(opened.lists, opened.wraps, self.work, self.ledger, self.secrets)
        self.guards = Guards(
            self.ledger, self.secrets, opened.side, self.work, own.key, self.sealing
        )
        self.assessments = Assessments(
            self.ledger, opened.lists, self.secrets, opened.side, self.work
        )
        self.orders = Orders(
            self.ledger,
            self.uploads,
            opened.side,
            self.publication,
            self.guards,
            self.secrets,
            self.wrapping,
            self.assessments,
        )
        self.stopping = Stopping(self.ledger, opened.side, self.publication)
        self.reader = OrderReader(self.ledger)
        await self._stack.enter_async_context(self.ledger)
        await self._stack.enter_async_context(self.publication)
        self.land.state = self.ledger.state
        return self

    async def __aexit__(self, *_: object) -> None:
        self.files.may_go_on.set()
        await self._stack.aclose()

    async def found(self) -> None:
        """Adopt a policy and register everybody."""
        for act in founding_acts(self.land):
            await self.ledger.record(act)

    async def bring(self, targets: bytes = TARGETS) -> ListSummary:
        """Upload a list."""
        return await self.uploads.receive(
            sha256(targets).hexdigest(), len(targets), chunks_of(targets)
        )

    async def propose(self, targets: bytes = TARGETS, **changes: object) -> OrderRef:
        """Bring the list and propose an order for it."""
        await self.bring(targets)
        envelope = seal(with_reasons(self.land, targets, **changes), self.land.proposer.key)
        proposed = await self.orders.propose(envelope, [REASONS], validate_only=False)
        return self.land.ref(proposed.recorded.index)

    async def approve(self, ref: OrderRef, by: Person | None = None) -> Recorded:
        envelope = seal(self.land.approval(ref), (by or self.land.approver).key)
        return await self.orders.approve(envelope, validate_only=False)

    def stop_of(self, ref: OrderRef, by: Person | None = None) -> Envelope:
        return seal(self.land.stopping(ref), (by or self.land.oversight).key)


def founding_acts(land: Land) -> list[Envelope]:
    """Return a first policy and everybody's registration, signed by the roots."""
    return [
        seal(land.policy(), *land.roots[:2]),
        *(seal(person.registration(land.now_ms), *land.roots[1:]) for person in land.everybody),
    ]


async def persistently(call, *arguments):
    """Call until it is not away any more."""
    for _ in range(1_000):
        with suppress(UnavailableError):
            return await call(*arguments)
        await asyncio.sleep(0.02)
    raise AssertionError("it stayed away")


@dataclass
class Installation:
    """A control plane that serves on loopback, and clients with certificates of its own."""

    directory: Path
    land: Land = field(default_factory=Land)
    feed: MemoryFeed = field(default_factory=MemoryFeed)
    work: object = field(default_factory=PlainListWork)

    def __post_init__(self) -> None:
        self.authority = Authority.create(ORIGIN)
        log_key_file = self.directory / "log.key"
        if not log_key_file.exists():
            LOG_KEY.save(log_key_file)
            mark_unused(log_key_file)
        if not (self.directory / "signing.key").exists():
            self.land.control.key.save(self.directory / "signing.key")
            self.land.control.encryption.save(self.directory / "signing.age.key")
        files = self.issue(Role.CONTROL, "control-1", hosts=("127.0.0.1",))
        tls = ServerTls(
            certificate=self.directory / "server.pem",
            key=self.directory / "server.key",
            client_ca=self.directory / "ca.pem",
        )
        tls.certificate.write_bytes(files.certificate)
        tls.key.write_bytes(files.key)
        tls.key.chmod(0o600)
        tls.client_ca.write_bytes(files.authority)
        self.config = ControlConfig(
            ledger_dir=self.directory / "ledger",
            trust_file=self.directory / "trust.toml",
            log_key_file=log_key_file,
            signing_key_file=self.directory / "signing.key",
            encryption_key_file=self.directory / "signing.age.key",
            listen=Address("127.0.0.1:0"),
            tls=tls,
            redis=Redis(url="redis://127.0.0.1:1"),
            reconcile_interval_seconds=NEVER_SECONDS,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        if not self.config.listen.port:
            # Started again it has the same address, as clients expect.
            listen = Address(f"127.0.0.1:{held_port(self)}")
            self.config = msgspec.structs.replace(self.config, listen=listen)
        self._stack = AsyncExitStack()
        self.control: ControlPlane = await self._stack.enter_async_context(
            serving(
                self.config,
                trust_of(self.land),
                MemoryFeedPublisher(self.feed),
                self.work,
                clock=LandClock(self.land),
            )
        )
        self.land.state = self.control.ledger.state

    async def stop(self) -> None:
        await self._stack.aclose()

    async def found(self) -> None:
        """Adopt a policy and register everybody, over the wire."""
        async with self.client(self.land.oversight) as client:
            for act in founding_acts(self.land):
                await client.record_root_act(act)

    def write_config(self, redis_url: str = "redis://127.0.0.1:1") -> Path:
        """Write trust and configuration as files, for a control plane that is a process.

        A process has the real time, and so has the land from here on.
        """
        self.land.now_ms = SystemClock().now_ms()
        roots = [key.hex() for key in self.land.state.roots.public_keys]
        self.config.trust_file.write_text(
            f'origin = "{ORIGIN}"\nlog_vkey = "{LOG_VKEY.text}"\n'
            f"root_keys = {json.dumps(roots)}\nroot_threshold = 2\nwitnesses = {{ quorum = 0 }}\n"
        )
        path = self.directory / "control.toml"
        path.write_text(
            'ledger_dir = "ledger"\ntrust_file = "trust.toml"\nlog_key_file = "log.key"\n'
            'signing_key_file = "signing.key"\nencryption_key_file = "signing.age.key"\n'
            'listen = "127.0.0.1:0"\nreconcile_interval_seconds = 0.1\n'
            '[tls]\ncertificate = "server.pem"\nkey = "server.key"\nclient_ca = "ca.pem"\n'
            f'[redis]\nurl = "{redis_url}"\n'
        )
        return path

    def issue(self, role: Role, identity: str, hosts: tuple[str, ...] = ()) -> TlsFiles:
        """Return a new key with a certificate for it."""
        key = generate_private_key(SECP256R1())
        holder = Holder(ORIGIN, role, identity)
        pem = self.authority.issue(holder, key.public_key(), hosts=hosts)
        return TlsFiles(pem, key_pem(key), self.authority.pem)

    def client(self, person: Person, **changes: object) -> ControlClient:
        """Return a client with the certificate of a person, or of what `changes` make of them."""
        person = replace(person, **changes)
        return self.connect(self.issue(person.role, person.person_id))

    def deaf(self, identity: str) -> grpc.aio.Channel:
        """Return a node's channel whose flow control lets next to nothing through unread."""
        files = self.issue(Role.NODE, identity)
        return grpc.aio.secure_channel(
            f"127.0.0.1:{self.control.port}",
            grpc.ssl_channel_credentials(files.authority, files.key, files.certificate),
            options=[("grpc.http2.lookahead_bytes", 5), ("grpc.http2.bdp_probe", 0)],
        )

    def connect(
        self, files: TlsFiles, trust: Trust | None = None, port: int | None = None
    ) -> ControlClient:
        address = f"127.0.0.1:{port or self.control.port}"
        return ControlClient(address, files, trust or trust_of(self.land), verify)


def key_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
