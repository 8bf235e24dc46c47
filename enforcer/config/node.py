"""``node.toml``: a node, the paths to it, what it waits for and what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from enforcer.config.parts import ClientTls, Control
from enforcer.config.reading import File, Section
from enforcer.config.redis import Redis
from enforcer.config.values import Address, Identifier, Prefix, check_socket_path


class FirewallPart(Section, frozen=True, kw_only=True):
    """How a node blocks addresses."""

    backend: Literal["none", "dry-run", "nftables"] = "none"
    """none: orders against addresses are left out here; dry-run: so too, and what would be done is
    logged."""
    protect: Annotated[tuple[Prefix, ...], Meta(max_length=1_000)] = ()
    """What no order can cut off, beside what this host itself must reach or be reached at."""
    check_seconds: Annotated[float, Meta(ge=1, le=3_600)] = 60.0
    """How often it is read back, and the host's own addresses are looked up."""
    lease_seconds: Annotated[int, Meta(ge=60, le=604_800)] = 3_600
    """How long rules count without a word from the node; no longer than the next order anyway."""

    def __post_init__(self) -> None:
        """Raise ValueError when the lease would run out between two looks."""
        if self.lease_seconds < 2 * self.check_seconds:
            raise ValueError("lease_seconds is less than twice check_seconds")


class CanaryPart(Section, frozen=True, kw_only=True):
    """Which nodes of a network take new blocks first."""

    role: Literal["none", "canary"] = "none"
    """canary: this node waits for nobody, and tells others what its gate said."""
    follows: Annotated[tuple[Address, ...], Meta(max_length=16)] = ()
    """The canaries that this node waits for, where they take stops (their ``listen``)."""
    wait_seconds: Annotated[float, Meta(ge=0, le=60)] = 10.0
    """How long a new block waits for a word of theirs, at most; 0: not at all."""

    def __post_init__(self) -> None:
        """Raise ValueError for a canary that waits for others."""
        if self.role == "canary" and self.follows:
            raise ValueError("a canary follows nobody: take out role or follows")


class SyncPart(Section, frozen=True, kw_only=True):
    """The second path: the control plane streams the ledger itself, when Redis is away or lies."""

    enabled: bool = True
    unheard_seconds_max: Annotated[int, Meta(ge=60, le=2_592_000)] = 900
    """After so long without the control plane's word, and without an entry, it is said that the
    ledger may be withheld. Half as much again as the control plane's interval for attestations."""


class NodeConfig(File, frozen=True, kw_only=True):
    """``enforcer node``."""

    node_id: Identifier
    state_dir: Path
    trust_file: Path
    key_file: Path
    """The node's own Ed25519 key, PEM: signs attestations."""
    encryption_key_file: Path | None = None
    """The node's own X25519 key, PEM: opens sealed lists, if it may have any."""
    gate_socket: Path | None = None
    """Where its gate answers; null: it has none, and does nothing for orders against names."""
    redis: Redis | None = None
    """The first path; null: the others alone."""
    control: Control | None = None
    """Null: no network leads there. Attestations then stay in `state_dir`, to be carried back."""
    sync: SyncPart = SyncPart()
    copies: Annotated[tuple[Path, ...], Meta(max_length=4)] = ()
    """Copies of the ledger's directory, the last paths: for sites that no network reaches."""
    tls: ClientTls | None = None
    """Null for a node that nobody reaches and that reaches nobody over gRPC."""
    listen: Address | None = None
    """Where this node takes stops over gRPC, if it does."""
    metrics_listen: Address | None = None
    """Where /metrics and /health are served over plain HTTP, if they are."""
    poll_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000
    """How often the feed's head is read, pushed or not."""
    firewall: FirewallPart = FirewallPart()
    canary: CanaryPart = CanaryPart()

    def __post_init__(self) -> None:
        """Raise ValueError for a path of a socket that is too long, a node or canary cut off."""
        if self.gate_socket is not None:
            check_socket_path(self.gate_socket, "gate_socket")
        if self.canary.role == "canary" and (self.listen is None or self.gate_socket is None):
            raise ValueError("a canary needs listen, where others ask it, and a gate_socket")
        is_synced = self.sync.enabled and self.control is not None
        if self.redis is None and not is_synced and not self.copies:
            raise ValueError("the ledger has no path to this node: name redis, control or copies")
        if self.tls is None and (self.control or self.listen or self.canary.follows):
            raise ValueError("control, listen and canary.follows need a certificate: name tls")
