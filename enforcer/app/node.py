"""``enforcer node``: the agent as one process, wired and run until it is told to end.

At start everything local is checked, and a fault is fatal; Redis, gate and control plane may be
away. The agent has no way to the gate but tables, and writes nowhere but in its own folder.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from enforcer.api.client import ControlClient
from enforcer.api.control_link import GrpcControlLink
from enforcer.api.identity import trust_domain
from enforcer.api.server import Server, TlsFiles
from enforcer.api.stop_service import StopService
from enforcer.api.sync_source import SyncSource
from enforcer.app.live_tls import LiveTls
from enforcer.app.redis_place import place_of
from enforcer.backends import durable
from enforcer.backends.clock import SystemClock
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.directory_source import DirectorySource
from enforcer.backends.fold_file import FOLD_FILE, FoldFile
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.heap import keep_heap_small
from enforcer.backends.json_log import log_to_stderr
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import EncryptionKey, PrivateKey, verify
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.sealing import Receiver
from enforcer.backends.service_manager import notify_ready, notify_stopping
from enforcer.backends.tiles import TileLedger
from enforcer.config import NodeConfig, read_trust
from enforcer.core.envelope import key_id
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import IntegrityError, NotFoundError
from enforcer.services.attest import Attester
from enforcer.services.canaries import Canaries
from enforcer.services.canary_blame import BlameFile
from enforcer.services.enforce import Enforcer
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.lists import ListKeeper
from enforcer.services.no_control import NoControl
from enforcer.services.no_gate import NoGate
from enforcer.services.node import Node
from enforcer.services.node_time import NodeTime
from enforcer.services.paths import (
    COPIES,
    REDIS,
    SYNC,
    SYNC_HEAD_SECONDS_MAX,
    FeedPath,
    FeedPaths,
)
from enforcer.services.replica import Replica
from enforcer.services.scans import Scans
from enforcer.services.sealed_lists import SealedKeeper
from enforcer.services.split_views import SplitViews
from enforcer.services.stops import StopKeeper
from enforcer.services.suspensions import SuspensionKeeper
from enforcer.services.witness_watch import Cosigner
from enforcer.v1 import node_pb2_grpc

SECRET_BYTES: Final = 16
HASH_KEY_FILE: Final = "hash-secret"
GRACE_SECONDS: Final = 1
WORKER_SECONDS: Final = 30.0
"""So long a worker for lists may have nothing to do: then what it has grown to is given back."""

_log: Final = structlog.get_logger(__name__)


async def run_node(config: NodeConfig, progress: Callable[[int, int], None] | None = None) -> None:
    """Enforce until SIGTERM or SIGINT; `progress` hears how far the own copy has been read.

    Raises:
        EnforcerError: it cannot start: a file, a key, its own copy of the ledger, its address.
    """
    keep_heap_small()
    log_to_stderr()
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    tls = LiveTls(config.tls, serves=config.listen is not None) if config.tls is not None else None
    loop.add_signal_handler(signal.SIGHUP, tls.wake if tls is not None else told.is_set)
    async with assembled(config, tls) as node:
        await node.start(progress)
        async with _listening(config, node, tls), _shown(config, node):
            notify_ready("follows the ledger")
            working = {asyncio.create_task(node.run())}
            if tls is not None:
                working.add(asyncio.create_task(tls.watch()))
            ending = asyncio.create_task(told.wait())
            await asyncio.wait({*working, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            broken = [task for task in working if task.done()]
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            for task in broken:
                task.result()
            notify_stopping()
            _log.info("ends")


@asynccontextmanager
async def assembled(config: NodeConfig, tls: LiveTls | None) -> AsyncIterator[Node]:
    """Open what a node needs, put it together, and close everything at the end.

    `tls` is needed where the configuration has a section for it.

    Raises:
        EnforcerError: a file or a key is not what it must be, or another node runs here.
    """
    trust = read_trust(config.trust_file)
    key = PrivateKey.load(config.key_file)
    files = KeptFiles(config.state_dir)
    durable.make_directory(config.state_dir / "stops")
    receiver = _receiver(config, key)
    secret = read_secret(config.state_dir / HASH_KEY_FILE)
    vkey = VerifierKey.parse(trust.log_vkey)
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(
            await asyncio.to_thread(
                lambda: TileLedger.open(
                    config.state_dir / "ledger",
                    origin=trust.origin,
                    vkey=vkey,
                    verify=verify,
                    writer=True,
                    is_copy=True,
                )
            )
        )
        client, followed = await _clients(config, tls, trust, stack)
        control = GrpcControlLink(client) if client is not None else NoControl()
        node_time = NodeTime(SystemClock(), files)
        paths, copies = await _paths(config, trust.origin, client, node_time, stack)
        # Two processes: a table, and so a stop, never waits for a list to be checked.
        checking = await stack.enter_async_context(ListWorker(idle_seconds=WORKER_SECONDS))
        compiling = await stack.enter_async_context(ListWorker(idle_seconds=WORKER_SECONDS))
        folds = FoldKeeper(FoldFile(config.state_dir / FOLD_FILE, trust, key, verify))
        replica = Replica(trust, verify, ledger, folds)
        own = trust.witnesses.key_of(key.public_key)
        cosigner = None
        if own is not None and client is not None:
            cosigner = Cosigner(own, key, control, node_time)
        sealed = SealedKeeper(
            contents=ledger.lists,
            wraps=ledger.wraps,
            work=checking,
            source=paths,
            control=control,
            receiver=receiver,
            copies=copies,
        )
        lists = ListKeeper(ledger.lists, checking, paths, control, sealed, copies)
        gate = GateClient(config.gate_socket) if config.gate_socket is not None else None
        firewall = None
        if config.firewall.backend != "none":
            from enforcer.app.node_firewall import firewall_of

            firewall = firewall_of(config, gate, lists, node_time, files, stack)
        yield Node(
            node_id=config.node_id,
            replica=replica,
            time=node_time,
            stops=StopKeeper(files),
            suspensions=SuspensionKeeper(files),
            lists=lists,
            enforcer=(
                Enforcer(gate=gate, work=compiling, lists=lists, files=files, secret=secret)
                if gate is not None
                else NoGate()
            ),
            attester=Attester(config.node_id, key, control if client is not None else None, files),
            paths=paths,
            control=control,
            files=files,
            scans=Scans(checking, lists, blocks_names=gate is not None),
            split_views=SplitViews(trust, verify, ledger, files),
            cosigner=cosigner,
            firewall=firewall,
            canaries=Canaries(
                followed,
                wait_seconds=config.canary.wait_seconds,
                is_canary=config.canary.role == "canary",
                blame=BlameFile(files),
            ),
        )


async def _clients(
    config: NodeConfig, tls: LiveTls | None, trust: Trust, stack: AsyncExitStack
) -> tuple[ControlClient | None, list[ControlClient]]:
    """Return the ways to the control plane, if one is named, and to canaries; renew their TLS."""
    if tls is None:
        return None, []
    named = config.control.address if config.control is not None else None
    made = [
        await stack.enter_async_context(ControlClient(address, tls.files, trust, verify))
        for address in (*filter(None, (named,)), *config.canary.follows)
    ]
    tls.taken = partial(_renew, made)
    return (made[0], made[1:]) if named is not None else (None, made)


async def _renew(clients: Sequence[ControlClient], files: TlsFiles) -> None:
    for client in clients:
        await client.use(files)


async def _paths(
    config: NodeConfig,
    origin: str,
    client: ControlClient | None,
    node_time: NodeTime,
    stack: AsyncExitStack,
) -> tuple[FeedPaths, tuple[DirectorySource, ...]]:
    """Return the ways by which the ledger comes here, in their order; the copies apart too.

    Raises:
        InputError: the Redis URL is none.
    """
    paths: list[FeedPath] = []
    if config.redis is not None:
        redis = RedisFeedSource(
            place_of(config.redis), origin, poll_interval_ms=config.poll_interval_ms
        )
        stack.push_async_callback(redis.close)
        paths.append(FeedPath(REDIS, redis))
    if config.sync.enabled and client is not None:
        sync = await stack.enter_async_context(SyncSource(client))
        paths.append(FeedPath(SYNC, sync, SYNC_HEAD_SECONDS_MAX))
    copies = tuple(map(DirectorySource, config.copies))
    paths += map(FeedPath, COPIES, copies)
    made = FeedPaths(paths, node_time.now_ms, unheard_seconds_max=config.sync.unheard_seconds_max)
    return made, copies


def _receiver(config: NodeConfig, key: PrivateKey) -> Receiver | None:
    """Return what opens sealed lists here; from then on this process leaves no core dump.

    Raises:
        NotFoundError, InputError, UnavailableError: the key file cannot be read.
    """
    if config.encryption_key_file is None:
        _log.warning(
            "no encryption key: sealed lists are left out until they are published",
            advice="Name its file as encryption_key_file, and have the roots register it.",
        )
        return None
    # Not 0: a core pattern that is a pipe heeds nothing but 1 (core(5)). Children inherit it.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    secret = EncryptionKey.load(config.encryption_key_file).secret
    return Receiver(key_id(key.public_key), secret)


def read_secret(path: Path) -> bytes:
    """Return this node's hash secret; the first time it is made, for this user alone.

    Raises:
        IntegrityError: the file does not hold one.
        UnavailableError: it cannot be read or written.
    """
    try:
        secret = durable.read_file(path, size_bytes_max=SECRET_BYTES)
    except NotFoundError:
        secret = secrets.token_bytes(SECRET_BYTES)
        durable.write_file(path, secret, mode=durable.PRIVATE_MODE)
    if len(secret) != SECRET_BYTES:
        raise IntegrityError(
            f"{path} has {len(secret)} bytes, and a hash secret has {SECRET_BYTES}",
            advice="Remove it: the node makes another, and a new table with it.",
            path=str(path),
        )
    return secret


@asynccontextmanager
async def _shown(config: NodeConfig, node: Node) -> AsyncIterator[None]:
    """Serve /metrics and /health, if the configuration says where."""
    at = config.metrics_listen
    if at is None:
        yield
        return
    from enforcer.api.metrics_server import metrics_served

    async with metrics_served((at.host, at.port), node.view):
        yield


@asynccontextmanager
async def _listening(config: NodeConfig, node: Node, tls: LiveTls | None) -> AsyncIterator[None]:
    """Take stops over gRPC, if the configuration says where."""
    if config.listen is None or tls is None:
        yield
        return
    server = Server(trust_domain(node.state.origin), tls.check_peer)
    node_pb2_grpc.add_NodeServiceServicer_to_server(StopService(node), server.grpc)
    server.bind(config.listen, tls.current)
    await server.start()
    try:
        yield
    finally:
        await server.stop(GRACE_SECONDS)
