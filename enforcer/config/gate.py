"""``gate.toml``: a gate."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from enforcer.config.reading import File, Section
from enforcer.config.values import Address, Origin, Prefix, check_socket_path
from enforcer.core.name import Name
from enforcer.errors import InputError


class BlockPage(Section, frozen=True, kw_only=True):
    """The operator's page for orders with the measure BLOCK_PAGE."""

    ipv4: str | None = None
    ipv6: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no address of its family."""
        if self.ipv4 is not None:
            ipaddress.IPv4Address(self.ipv4)
        if self.ipv6 is not None:
            ipaddress.IPv6Address(self.ipv6)


class GateConfig(File, frozen=True, kw_only=True):
    """``enforcer gate``."""

    origin: Origin
    listen: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=64)]
    """UDP and TCP at each; 0.0.0.0 and [::] are all of this host's addresses."""
    upstreams: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=8)]
    """The resolvers behind the gate, in the order of preference."""
    state_dir: Path
    control_socket: Path
    user: str | None = None
    group: str | None = None
    allowed_uids: Annotated[tuple[int, ...], Meta(max_length=64)] | None = None
    """Who may speak at the control socket; null: this process's user and root."""
    block_page: BlockPage = BlockPage()
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    """0: one for each core."""
    mode: Literal["enforce", "shadow"] = "enforce"
    """shadow: decide and count, and pass everything."""
    golden_names: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """Names that no table may block: one that does is given back."""
    probe_name: str = "."
    """Asked with type NS to see whether an upstream, or the gate itself, answers."""
    allow: Annotated[tuple[Prefix, ...], Meta(max_length=4_000)] | None = None
    """Who may ask; null: loopback, private, link-local and shared addresses."""
    cache_bytes_max: Annotated[int, Meta(ge=0, le=(1 << 40) - 1)] = 64 << 20
    """Of each worker; 0 switches the cache off."""
    serve_stale_seconds_max: Annotated[int, Meta(ge=0, le=604_800)] = 86_400
    """How long an expired answer may stand in for an upstream that is away (RFC 8767)."""
    responses_per_second_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Over UDP to one /24 or /56; 0: no limit."""
    proxy_from: Annotated[tuple[Prefix, ...], Meta(max_length=4_000)] = ()
    """From these a PROXY header (version 2) says who the client is."""
    proxy_to_upstream: bool = False
    """Say the same to the upstream; switches the cache off."""
    tcp_connections_max: Annotated[int, Meta(ge=1, le=60_000)] = 1_000
    """Of each worker."""
    tcp_connections_per_client_max: Annotated[int, Meta(ge=1, le=60_000)] = 100
    """Of each worker; raise it for a proxy that stands before the gate."""
    tcp_idle_ms: Annotated[int, Meta(ge=100, le=600_000)] = 10_000
    upstream_timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 2_000
    """In all, over every try."""
    upstream_try_ms: Annotated[int, Meta(ge=10, le=60_000)] = 600
    dns64_prefixes: Annotated[tuple[Prefix, ...], Meta(max_length=8)] = (Prefix("64:ff9b::/96"),)

    def __post_init__(self) -> None:
        """Raise ValueError for a socket's path that is too long, or a name that is none."""
        check_socket_path(self.control_socket, "control_socket")
        for name in (*self.golden_names, self.probe_name):
            try:
                Name.from_text(name)
            except InputError as error:
                raise ValueError(f"{name!r} is no domain name: {error.message}") from error
