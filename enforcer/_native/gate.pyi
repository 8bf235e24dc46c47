from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final

CONNECTIONS_MAX: Final[int]  # clients' streams
DNS64_MAX: Final[int]
UPSTREAM_COUNT_MAX: Final[int]
SOCKETS_EACH_MAX: Final[int]  # UDP, of an upstream
CACHE_LEAST: Final[int]  # octets, where there is a cache
CACHE_MOST: Final[int]

def give_up_rights() -> None: ...
def parent_death_signal() -> int: ...
def set_parent_death_signal(number: int) -> None: ...  # 0: none

@dataclass(frozen=True, kw_only=True)
class GateOptions:
    inflight_max: int = 16_384
    timeout_ms: int = 5_000
    try_ms: int = 500
    drain_ms: int = 2_000
    page4: bytes = b""  # the block page's address, or none
    page6: bytes = b""
    cache_octets_max: int = ...  # 0: no cache
    stale_seconds_max: int = 86_400
    allow: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    proxy_from: tuple[str, ...] = ()
    proxy_to_upstream: bool = False
    responses_per_second_max: int = 0  # 0: any number
    dns64_prefixes: tuple[str, ...] = ("64:ff9b::/96",)
    tcp_connections_max: int = 1_000
    tcp_connections_per_client_max: int = 100
    tcp_idle_ms: int = 10_000
    upstream_idle_ms: int = 5_000  # a stream to an upstream over which nothing goes
    probe_name: bytes = b"\0"  # wire form

@dataclass(frozen=True, kw_only=True)
class GateNow:
    in_flight: int
    streams: int
    upstreams_down: tuple[int, ...]  # by their place in `upstreams`

def check_options(options: GateOptions) -> None: ...
def upstream_streams_max(upstreams: int, proxies_to_upstream: bool) -> int: ...

class Gate:
    # The sockets stay the caller's to close, after both loops have returned; so does `counts`,
    # of which this gate writes the regions of `worker`.
    def __init__(
        self,
        udp_fds: Sequence[int],
        tcp_fds: Sequence[int],
        upstreams: Sequence[Sequence[int]],  # connected UDP sockets of each
        options: GateOptions,
        counts: mmap,
        worker: int = 0,
    ) -> None: ...
    def run_datagrams(self) -> None: ...
    def run_streams(self) -> None: ...
    def stop(self) -> None: ...
    def set_mode(self, mode: int) -> None: ...
    def swap(
        self,
        table: mmap | bytes,
        overlay: mmap | bytes | None = None,
        *,
        time_floor_ms: int = 0,
        order_slots: Mapping[int, int] | None = None,
    ) -> None: ...
    def time_floor_ms(self) -> int: ...
    def state(self) -> GateNow: ...
