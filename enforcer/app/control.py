"""``enforcer control``: the control plane as one process, wired and run until it is told to end.

At start everything is checked and a fault is fatal, the feed excepted: what it lacks is mended
later. At the end calls in progress finish, what was answered is published, the lock is given up.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from enforcer.api.access import Access
from enforcer.api.audit_service import AuditService
from enforcer.api.identity import trust_domain
from enforcer.api.node_service import NodeService
from enforcer.api.order_service import OrderService, TrustService
from enforcer.api.server import Server
from enforcer.app.control_fleet import FleetParts, fleet_of
from enforcer.app.live_tls import LiveTls
from enforcer.app.log_keys import LogKeys
from enforcer.app.lost_ledger import check_not_lost, spend_mark
from enforcer.app.redis_place import place_of
from enforcer.app.standby import Taken, fold_of, stand_by
from enforcer.app.standby_settings import settings_of
from enforcer.backends.clock import SystemClock
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.control_marks import SERVING, Mark, MarkFile
from enforcer.backends.delta_files import DELTAS, DeltaFiles
from enforcer.backends.json_log import log_to_stderr
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import EncryptionKey, PrivateKey, verify
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.own_sealing import OwnSealing
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.service_manager import notify_ready, notify_stopping
from enforcer.backends.tiles import TileLedger
from enforcer.backends.witness_http import HttpWitness
from enforcer.config import ControlConfig, read_trust
from enforcer.core.cosignature import CosignerKey
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import Clock, FeedPublisher, ListWork, WitnessLink
from enforcer.services.assessments import Assessments
from enforcer.services.cosigned import Cosigned
from enforcer.services.deltas import Deltas
from enforcer.services.guards import Guards
from enforcer.services.ledger import Ledger
from enforcer.services.ledger_fold import keep_fold
from enforcer.services.list_secrets import ListSecrets
from enforcer.services.order_reader import OrderReader
from enforcer.services.order_watch import OrderWatch
from enforcer.services.orders import Orders
from enforcer.services.publication import Publication
from enforcer.services.recheck import Recheck
from enforcer.services.stopping import Stopping
from enforcer.services.sync_feed import SyncFeed
from enforcer.services.uploads import Uploads
from enforcer.services.warm_fold import Progress
from enforcer.services.witnessing import Witnessing
from enforcer.services.wrapping import Wrapping
from enforcer.v1 import audit_pb2_grpc, node_pb2_grpc, order_pb2_grpc, trust_pb2_grpc

GRACE_SECONDS: Final = 5
"""How long calls in progress may go on after the process was told to end."""
BIND_SECONDS_MAX: Final = 5.0
BIND_PAUSE_SECONDS: Final = 0.005
BEAT_SECONDS: Final = 1.0

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that serves."""

    port: int
    ledger: Ledger
    publication: Publication
    sync: SyncFeed
    nodes: FleetParts
    tls: LiveTls
    door: Access
    tasks: frozenset[asyncio.Task[None]]
    """They end only when something is broken; then the process must."""


async def run_control(
    config: ControlConfig, progress: Progress | None = None, *, standby: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT; `progress` hears how far the ledger has been read.

    A standby waits first, for as long as another process has the ledger.

    Raises:
        EnforcerError: it cannot start: a file, a key, the ledger, or the address.
    """
    log_to_stderr()
    trust = read_trust(config.trust_file)
    feed = RedisFeedPublisher(place_of(config.redis), trust.origin)
    try:
        try:
            await feed.check_server()
        except UnavailableError as error:
            log.warning("feed_away", problem=error.message, advice=error.advice)
        async with ListWorker() as work, AsyncExitStack() as stack:
            taken = await stand_by(config, trust, work, progress) if standby else None
            if standby and taken is None:
                return
            await check_not_lost(config, trust, feed, witness_links(config, trust))
            control = await stack.enter_async_context(
                serving(config, trust, feed, work, progress=progress, taken=taken)
            )
            spend_mark(config.log_key_file, control.ledger)
            told = _signals(control.tls)
            address = f"{config.listen.host}:{control.port}"
            log.info("control_serves", address=address, entries=control.ledger.state.size)
            notify_ready(f"serves {address}")
            await _until_told(told, control.tasks)
            notify_stopping()
            log.info("control_ends")
    finally:
        await feed.close()


@asynccontextmanager
async def serving(
    config: ControlConfig,
    trust: Trust,
    feed: FeedPublisher,
    work: ListWork,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
    taken: Taken | None = None,
) -> AsyncIterator[ControlPlane]:
    """Open the ledger and serve it; on leaving, end in order.

    `taken` is what a standby has of it already.

    Raises:
        EnforcerError: it cannot start.
    """
    key_files = [config.log_key_file, config.second_log_key_file]
    seal = LogKeys(trust, [path for path in key_files if path is not None])
    signing_key = PrivateKey.load(config.signing_key_file)
    sealing = OwnSealing(EncryptionKey.load(config.encryption_key_file))
    # Not 0: a core pattern that is a pipe heeds nothing but 1 (core(5)). Children inherit it.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    tls = LiveTls(config.tls, serves=True)
    lock, fold = (taken.lock, taken.fold) if taken else (None, fold_of(config, trust))
    files = await asyncio.to_thread(_open, config.ledger_dir, trust, lock)
    with files, taken.mark if taken is not None else MarkFile(config.ledger_dir) as mark:
        ledger = await Ledger.open(
            files, trust, verify, seal, clock or SystemClock(), progress, fold
        )
        seal.check(ledger.state)
        async with ledger, AsyncExitStack() as stack:
            delta_files = DeltaFiles(config.ledger_dir / DELTAS)
            publication = Publication(
                feed,
                ledger,
                files.lists,
                Deltas(feed, files.lists, delta_files, work),
                config.reconcile_interval_seconds,
            )
            secrets = ListSecrets(
                ledger, files.lists, files.wraps, work, sealing, signing_key.key_id
            )
            wrapping = Wrapping(ledger, secrets, files.wraps, sealing, feed)
            publication.on_mended(wrapping.show_again)
            publication.on_compared(wrapping.show_some_again)
            uploads = Uploads(files.lists, files.wraps, work, ledger, secrets)
            guards = Guards(ledger, secrets, files.side, work, signing_key, sealing)
            assessments = Assessments(ledger, files.lists, secrets, files.side, work)
            orders = Orders(
                ledger,
                uploads,
                files.side,
                publication,
                guards,
                secrets,
                wrapping,
                assessments,
                log_vkeys=seal.vkeys,
            )
            cosigned = _cosigned(files, trust, ledger)
            sync = await _sync_feed(ledger, cosigned)
            stopping = Stopping(ledger, files.side, publication, sync.show_stop)
            witnessing = await stack.enter_async_context(
                Witnessing(
                    ledger,
                    cosigned,
                    witness_links(config, trust),
                    feed,
                    config.reconcile_interval_seconds,
                )
            )
            if taken is None:
                await witnessing.first_word()  # who was replaced is to leave the feed alone
            await stack.enter_async_context(publication)
            reader = OrderReader(ledger)
            nodes = await stack.enter_async_context(fleet_of(ledger, config, signing_key))
            watch = OrderWatch(ledger, reader, nodes.watch)
            server = Server(trust_domain(trust.origin), tls.check_peer)
            _add_services(
                server,
                OrderService(
                    ledger, orders, stopping, reader, watch, uploads, guards, nodes.orders
                ),
                TrustService(ledger, orders, reader, sealing.recipient),
                AuditService(
                    files,
                    files.lists,
                    delta_files,
                    files.side,
                    files.wraps,
                    cosigned,
                    ledger,
                    attestations=nodes.attestations,
                    walk=nodes.walk,
                ),
                NodeService(ledger, orders, stopping, nodes.attestations, sync),
            )
            port = await _bind(server, config, tls, seconds_max=BIND_SECONDS_MAX if taken else 0)
            recheck = Recheck(ledger, guards, KeptFiles(config.ledger_dir / "guards"))
            beside = (
                _every(config.reconcile_interval_seconds, stopping.record_unlogged),
                _show(mark, ledger, settings_of(config, trust)),
                *(tls.watch(), recheck.run(), wrapping.run()),
                *([keep_fold(ledger, fold.keeper)] if fold.keeper is not None else ()),
            )
            own = [asyncio.create_task(each) for each in beside]
            tasks = frozenset(
                filter(None, (ledger.writer, publication.task, *own, nodes.task, *witnessing.tasks))
            )
            await server.start()
            try:
                yield ControlPlane(port, ledger, publication, sync, nodes, tls, server.door, tasks)
            finally:
                watch.close()
                sync.close()
                await server.stop(GRACE_SECONDS)
                for task in own:
                    task.cancel()
                await asyncio.gather(*own, return_exceptions=True)


def _add_services(
    server: Server, order: OrderService, trust: TrustService, audit: AuditService, node: NodeService
) -> None:
    order_pb2_grpc.add_OrderServiceServicer_to_server(order, server.grpc)
    trust_pb2_grpc.add_TrustServiceServicer_to_server(trust, server.grpc)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(audit, server.grpc)
    node_pb2_grpc.add_NodeServiceServicer_to_server(node, server.grpc)


def _open(path: Path, trust: Trust, lock: DirectoryLock | None) -> TileLedger:
    vkey = VerifierKey.parse(trust.log_vkey)
    return TileLedger.open(
        path, origin=trust.origin, vkey=vkey, verify=verify, writer=True, lock=lock
    )


async def _bind(server: Server, config: ControlConfig, tls: LiveTls, *, seconds_max: float) -> int:
    """Take the address; whoever had the ledger before may let go of it a moment later.

    Raises:
        UnavailableError: it is taken, and was for so long.
    """
    end = asyncio.get_running_loop().time() + seconds_max
    while True:
        try:
            return server.bind(config.listen, tls.current)
        except UnavailableError:
            if asyncio.get_running_loop().time() >= end:
                raise
        await asyncio.sleep(BIND_PAUSE_SECONDS)


async def _show(mark: MarkFile, ledger: Ledger, settings: dict[str, str]) -> None:
    """Say that this process serves, again and again: a standby hears when it falls silent."""
    while True:
        error = ledger.replaced or ledger.doubted
        problem = error.message if error is not None else ""
        mark.say(Mark(os.getpid(), SERVING, ledger.state.size, settings, problem))
        await asyncio.sleep(BEAT_SECONDS)


def _cosigned(files: TileLedger, trust: Trust, ledger: Ledger) -> Cosigned:
    """Return what gathers cosignatures; the ledger hears when witnesses have left it."""
    cosigned = Cosigned(files, trust, verify)
    cosigned.fence.on_replaced(ledger.replace_by)
    cosigned.fence.on_doubt(ledger.doubt)
    return cosigned


async def _sync_feed(ledger: Ledger, cosigned: Cosigned) -> SyncFeed:
    """Return what streams the feed to nodes that ask."""
    feed = SyncFeed(ledger, lambda: cosigned.best)
    cosigned.on_best(feed.cosigned_came)
    await feed.restore()
    return feed


def witness_links(config: ControlConfig, trust: Trust) -> dict[CosignerKey, WitnessLink]:
    """Return the way to each witness that is to be asked.

    Raises:
        InputError: the trust file does not name one of them.
    """
    keys = {key.name: key for key in trust.witnesses.keys}
    for each in config.witnesses:
        if each.name not in keys:
            raise InputError(
                f"the trust file names no witness {each.name!r}",
                advice="Use the name in its vkey, or have the trust file name it.",
                field="witnesses.name",
            )
    return {keys[each.name]: HttpWitness(each.url) for each in config.witnesses}


async def _every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await act()


def _signals(tls: LiveTls) -> asyncio.Event:
    """Return what SIGTERM and SIGINT set from now on; SIGHUP has the certificates read again."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, tls.wake)
    return told


async def _until_told(told: asyncio.Event, tasks: frozenset[asyncio.Task[None]]) -> None:
    """Return when told to end; raise what a task that must not end has ended with."""
    waiting = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done & tasks:
        task.result()
