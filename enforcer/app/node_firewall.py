"""A node's firewall, put together by its configuration.

What this host must reach or be reached at is known here alone: the machines that the
configuration names, and the resolvers that the gate says it asks.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import structlog

from enforcer.backends.address_pieces import PieceWorker
from enforcer.backends.clock import SystemClock
from enforcer.backends.dry_firewall import DryFirewall
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.host_networks import HostNetworks
from enforcer.backends.nft_firewall import NftFirewall
from enforcer.config import NodeConfig
from enforcer.ports import Firewall
from enforcer.services.firewalling import Firewalling, FirewallPace
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import NodeTime

_log = structlog.get_logger(__name__)


def firewall_of(
    config: NodeConfig,
    gate: GateClient | None,
    lists: ListKeeper,
    node_time: NodeTime,
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

    async def upstreams() -> tuple[str, ...]:
        return (await gate.status()).upstreams if gate is not None else ()

    return Firewalling(
        firewall=firewall,
        work=work,
        lists=lists,
        own=HostNetworks(protect=part.protect, hosts=hosts_of(config), upstreams=upstreams),
        node_time=node_time,
        pace=FirewallPace(part.check_seconds, part.lease_seconds),
        is_real=is_real,
    )


def hosts_of(config: NodeConfig) -> set[str]:
    """Return the machines that a node cannot do without, and where it is reached itself.

    Behind sentinels the primary's address is theirs to tell: `protect` is for that.
    """
    redis = urlsplit(config.redis.url).hostname
    named = [each.host for each in (config.listen, config.metrics_listen) if each is not None]
    named += [each.host for each in config.redis.sentinels]
    if redis is not None and not config.redis.sentinels:
        named.append(redis)
    return {config.control.address.host, *named}


def _tell(words: str) -> None:
    _log.info("the firewall, in a dry run", what=words)
