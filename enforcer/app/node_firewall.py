"""A node's firewall, put together by its configuration.

What this host must reach or be reached at is known here alone: the machines that the
configuration names, and the resolvers that the gate says it asks.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlsplit

import structlog

from enforcer.app.redis_place import place_of
from enforcer.backends.address_pieces import PieceWorker
from enforcer.backends.clock import SystemClock
from enforcer.backends.dry_firewall import DryFirewall
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.host_networks import HostNetworks
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.nft_firewall import NftFirewall
from enforcer.backends.redis_machines import machines
from enforcer.backends.told_hosts import Teller, ToldHosts
from enforcer.config import NodeConfig
from enforcer.ports import Firewall
from enforcer.services.firewall_pace import FirewallPace
from enforcer.services.firewalling import Firewalling
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import NodeTime

_log = structlog.get_logger(__name__)


def firewall_of(
    config: NodeConfig,
    gate: GateClient | None,
    lists: ListKeeper,
    node_time: NodeTime,
    files: KeptFiles,
    stack: AsyncExitStack,
) -> Firewalling | None:
    """Return what keeps this host's firewall, if the configuration names one; `stack` ends it."""
    part = config.firewall
    if part.backend == "none":
        return None
    is_real = part.backend == "nftables"
    firewall: Firewall = NftFirewall() if is_real else DryFirewall(SystemClock(), _tell)
    stack.push_async_callback(firewall.close)
    work = PieceWorker()
    stack.callback(work.close)

    told = ToldHosts(files, _tellers(config, gate))
    return Firewalling(
        firewall=firewall,
        work=work,
        lists=lists,
        own=HostNetworks(protect=part.protect, hosts=hosts_of(config), told=told),
        node_time=node_time,
        pace=FirewallPace(part.check_seconds, part.lease_seconds),
        is_real=is_real,
    )


def hosts_of(config: NodeConfig) -> set[str]:
    """Return the machines that a node cannot do without, and where it is reached itself.

    Behind sentinels the servers' addresses are theirs to tell.
    """
    named = [each.host for each in (config.listen, config.metrics_listen) if each is not None]
    if config.redis is not None:
        redis = urlsplit(config.redis.url).hostname
        named += [each.host for each in config.redis.sentinels]
        if redis is not None and not config.redis.sentinels:
            named.append(redis)
    if config.control is not None:
        named.append(config.control.address.host)
    return set(named)


def _tellers(config: NodeConfig, gate: GateClient | None) -> dict[str, Teller]:
    """Return who names machines that change, for as long as this node runs."""
    tellers: dict[str, Teller] = {}
    if gate is not None:
        tellers["gate"] = partial(_upstreams, gate)
    if config.redis is not None and config.redis.sentinels:
        tellers["sentinels"] = partial(machines, place_of(config.redis))
    return tellers


async def _upstreams(gate: GateClient) -> tuple[str, ...]:
    return (await gate.status()).upstreams


def _tell(words: str) -> None:
    _log.info("the firewall, in a dry run", what=words)
