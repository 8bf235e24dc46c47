"""How many descriptors a gate's processes may have, and how many streams that leaves to clients.

By default the kernel allows a process few (getrlimit(2), RLIMIT_NOFILE). A worker that has none
left can take no stream, and open none to a resolver for those it has taken. So the supervisor
raises the soft limit before its first socket, as far as the hard one lets it; workers inherit
it, and take no more streams than it allows.
"""

from __future__ import annotations

import resource
from typing import Final

import structlog

from enforcer._native.gate import upstream_streams_max
from enforcer.backends.gate_settings import GateSettings
from enforcer.backends.gate_sockets import UPSTREAM_SOCKETS

BESIDE: Final = 64
"""For what comes and goes: tables, statistics, logs, epoll, the control socket's peers."""

log: Final = structlog.get_logger()


def raise_descriptors(settings: GateSettings) -> None:
    """Raise this process's soft limit to what it and each worker need; never lower it.

    Where the hard limit is lower, that is said, and the gate serves with what there is.
    """
    needed = max(_fixed(settings) + settings.tcp_connections_max, _supervisors(settings))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.critical(
            "descriptors_too_few",
            needed=needed,
            allowed=allowed,
            consequence=f"a worker takes {streams_allowed(settings)} streams at a time, "
            f"not {settings.tcp_connections_max}",
            advice=f"Set LimitNOFILE={needed} in the gate's unit, or lower tcp_connections_max.",
        )


def streams_allowed(settings: GateSettings) -> int:
    """Return how many clients' streams a worker can have open, by its limit and the settings."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return settings.tcp_connections_max
    return min(settings.tcp_connections_max, max(soft - _fixed(settings), 1))


def _fixed(settings: GateSettings) -> int:
    """Return what a worker needs beside its clients' streams."""
    upstreams = len(settings.upstreams)
    streams = upstream_streams_max(upstreams, settings.proxy_to_upstream)
    return 2 * len(settings.listen) + UPSTREAM_SOCKETS * upstreams + streams + BESIDE


def _supervisors(settings: GateSettings) -> int:
    """Return what the supervisor needs: every worker's sockets, and each worker's twice."""
    of_worker = 2 * len(settings.listen) + 4  # a pidfd and a channel, its successor's too
    return settings.worker_count * of_worker + BESIDE
