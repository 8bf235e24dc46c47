"""The gate's wiring: its file, as the settings that its process takes."""

from __future__ import annotations

from pathlib import Path

from enforcer.backends.gate_messages import ModeName
from enforcer.backends.gate_process import check, run
from enforcer.backends.gate_settings import OWN_CLIENTS, GateSettings
from enforcer.backends.gate_socket import GateClient
from enforcer.config import GateConfig
from enforcer.ports import GateReport


def run_gate(config: GateConfig) -> None:
    """Serve until SIGTERM.

    Raises:
        InputError, UnavailableError: it cannot start.
    """
    run(settings_of(config))


def check_gate(config: GateConfig) -> str:
    """Return in one line what a reload cannot change; a running gate compares it.

    Raises:
        InputError: the file's values do not make a gate.
    """
    return check(settings_of(config))


async def set_mode(
    socket: Path, mode: ModeName, *, by: str, reason: str, seconds: int
) -> GateReport:
    """Have the gate at `socket` do something else than its configuration says.

    Raises:
        InputError: who, why or how long is out of bounds.
        UnavailableError: no gate answers.
    """
    return await GateClient(socket).set_mode(mode, by=by, reason=reason, seconds=seconds)


def settings_of(config: GateConfig) -> GateSettings:
    """Return what the gate's process takes."""
    allow = OWN_CLIENTS if config.allow is None else tuple(map(str, config.allow))
    return GateSettings(
        origin=config.origin,
        listen=tuple((each.host, each.port) for each in config.listen),
        upstreams=tuple((each.host, each.port) for each in config.upstreams),
        state_dir=config.state_dir,
        control_socket=config.control_socket,
        user=config.user,
        group=config.group,
        allowed_uids=config.allowed_uids,
        workers=config.workers,
        mode=config.mode,
        golden_names=config.golden_names,
        probe_name=config.probe_name,
        block_page_ipv4=config.block_page.ipv4,
        block_page_ipv6=config.block_page.ipv6,
        cache_bytes_max=config.cache_bytes_max,
        serve_stale_seconds_max=config.serve_stale_seconds_max,
        responses_per_second_max=config.responses_per_second_max,
        proxy_from=tuple(map(str, config.proxy_from)),
        proxy_to_upstream=config.proxy_to_upstream,
        tcp_connections_max=config.tcp_connections_max,
        tcp_connections_per_client_max=config.tcp_connections_per_client_max,
        tcp_idle_ms=config.tcp_idle_ms,
        upstream_timeout_ms=config.upstream_timeout_ms,
        upstream_try_ms=config.upstream_try_ms,
        dns64_prefixes=tuple(map(str, config.dns64_prefixes)),
        allow=allow,
    )
