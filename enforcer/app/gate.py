"""The gate's wiring: its file, as the settings that its process takes."""

from __future__ import annotations

from enforcer.backends.gate_process import GateSettings, run
from enforcer.config import GateConfig


def run_gate(config: GateConfig) -> None:
    """Serve until SIGTERM.

    Raises:
        InputError, UnavailableError: it cannot start.
    """
    run(
        GateSettings(
            origin=config.origin,
            listen=tuple((each.host, each.port) for each in config.listen),
            upstream=(config.upstream.host, config.upstream.port),
            state_dir=config.state_dir,
            control_socket=config.control_socket,
            user=config.user,
            group=config.group,
            block_page_ipv4=config.block_page.ipv4,
            block_page_ipv6=config.block_page.ipv6,
            allowed_uids=config.allowed_uids,
        )
    )
