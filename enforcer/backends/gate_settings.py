"""What a gate is told at its start, by its file or by a test; supervisor and workers share it.

Owns the names, defaults and bounds, and how the settings travel to a worker. Sizes and times
have their unit in the name; addresses are text, and never names to be looked up.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from enforcer._native.gate import CACHE_LEAST, CACHE_MOST, DNS64_MAX, UPSTREAM_COUNT_MAX
from enforcer.errors import InputError

Place: TypeAlias = tuple[str, int]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

WORKERS_MAX: Final = 64
LISTEN_MAX: Final = 64
PREFIXES_MAX: Final = 4_000
OWN_CLIENTS: Final = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
    "100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
"""Who may ask where nothing else is said: loopback, private, link-local, shared (RFC 6598)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What a gate needs to know to start."""

    origin: str
    listen: tuple[Place, ...]
    """UDP and TCP at each; port 0 lets the kernel choose."""
    upstreams: tuple[Place, ...]
    """In the order of preference."""
    state_dir: Path
    control_socket: Path
    user: str | None = None
    group: str | None = None
    """Only with `user`; its own group where this is None."""
    allowed_uids: tuple[int, ...] | None = None
    """Who may speak at the control socket; None: this process's user, and root."""
    workers: int = 1
    """0: as many as there are cores for this process."""
    mode: Literal["enforce", "shadow"] = "enforce"
    golden_names: tuple[str, ...] = ()
    probe_name: str = "."
    """Asked with type NS to see whether an upstream, or this gate, answers."""
    block_page_ipv4: str | None = None
    block_page_ipv6: str | None = None
    cache_bytes_max: int = 64 << 20
    """Of each worker; 0 switches the cache off."""
    serve_stale_seconds_max: int = 86_400
    """0: what has expired is not served."""
    allow: tuple[str, ...] = OWN_CLIENTS
    responses_per_second_max: int = 0
    """To one client prefix over UDP; 0: no limit."""
    proxy_from: tuple[str, ...] = ()
    """From these prefixes a PROXY header says who the client is."""
    proxy_to_upstream: bool = False
    """Switches the cache off: the upstream may answer by client."""
    tcp_connections_max: int = 1_000
    tcp_connections_per_client_max: int = 100
    tcp_idle_ms: int = 10_000
    upstream_timeout_ms: int = 2_000
    """In all, over every try."""
    upstream_try_ms: int = 600
    inflight_max: int = 16_384
    dns64_prefixes: tuple[str, ...] = ("64:ff9b::/96",)
    floor_interval_ms: int = 60_000
    """How often the time floor is kept on disk, at least: a kill takes a restart back by no more.
    It is kept when an order begins or ends, too."""

    @property
    def worker_count(self) -> int:
        """How many workers there are to be."""
        return self.workers or min(len(os.sched_getaffinity(0)), WORKERS_MAX)

    @property
    def clients(self) -> tuple[str, ...]:
        """Who may ask: those who are allowed, and the gate itself, to see whether it serves."""
        addresses = [ipaddress.ip_address(host) for host, _ in self.listen]
        own = [str(ipaddress.ip_network(each)) for each in addresses if not each.is_unspecified]
        return (*self.allow, "127.0.0.1/32", "::1/128", *own)

    @property
    def fixed(self) -> tuple[object, ...]:
        """What cannot change while the sockets stay the same: a reload keeps it."""
        return (self.origin, self.listen, self.worker_count, self.state_dir, self.control_socket)


def check_settings(settings: GateSettings) -> None:
    """Refuse what no worker could serve with, as far as a gate's options do not say it.

    Raises:
        InputError: ``data["field"]`` is what is wrong.
    """
    _bounded("listen", len(settings.listen), 1, LISTEN_MAX)
    _bounded("upstreams", len(settings.upstreams), 1, UPSTREAM_COUNT_MAX)
    _bounded("workers", settings.workers, 0, WORKERS_MAX)
    if settings.cache_bytes_max:
        _bounded("cache_bytes_max", settings.cache_bytes_max, CACHE_LEAST, CACHE_MOST)
    for name, most in (
        ("allow", PREFIXES_MAX), ("proxy_from", PREFIXES_MAX), ("dns64_prefixes", DNS64_MAX)
    ):  # fmt: skip
        prefixes = getattr(settings, name)
        _bounded(name, len(prefixes), 0, most)
        for text in prefixes:
            network_of(text, name)


def network_of(text: str, field_name: str) -> Network:
    """Return the prefix that `text` spells.

    Raises:
        InputError: it is none, or has bits behind its length.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} in {field_name} is no prefix: {error}",
            advice="Write an address, a slash and a length, such as 192.0.2.0/24.",
            field=field_name,
        ) from error


def dump(settings: GateSettings) -> bytes:
    """Return the settings as JSON, for a worker or a successor."""
    return msgspec.json.encode(settings, enc_hook=str)


def parse(data: bytes) -> GateSettings:
    """Return what `dump` wrote.

    Raises:
        msgspec.MsgspecError: another release wrote it.
    """
    return msgspec.json.decode(data, type=GateSettings, dec_hook=lambda kind, value: kind(value))


def _bounded(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InputError(
            f"{value} is no number for {name}", advice=f"Use {least} to {most}.", field=name
        )
