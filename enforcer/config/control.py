"""``control.toml``: the control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from enforcer.config.parts import ServerTls
from enforcer.config.reading import File, Section
from enforcer.config.redis import Redis
from enforcer.config.values import Address, Url
from enforcer.core.cosignature import WITNESSES_MAX


class AskedWitness(Section, frozen=True, kw_only=True):
    """Where a witness of the trust file is asked (C2SP tlog-witness)."""

    name: str
    """The name in its vkey."""
    url: Url
    """Its submission prefix."""


class ControlConfig(File, frozen=True, kw_only=True):
    """``enforcer control``."""

    ledger_dir: Path
    trust_file: Path
    log_key_file: Path
    """Ed25519, PEM: signs the checkpoints; its public half is the trust file's ``log_vkey``."""
    second_log_key_file: Path | None = None
    """Signs them too, from before a LogKeyRotated until no trust file names the former key."""
    signing_key_file: Path
    """Ed25519, PEM: signs what the control plane itself records, such as holds; the roots
    register it with the role CONTROL."""
    encryption_key_file: Path
    """X25519, PEM: opens sealed lists; its recipient stands in the same registration."""
    listen: Address = Address("127.0.0.1:7443")
    tls: ServerTls
    redis: Redis
    reconcile_interval_seconds: Annotated[float, Meta(ge=0.1, le=3_600)] = 5.0
    """How often the feed is compared with the ledger."""
    metrics_listen: Address | None = None
    """Where the control plane shows its nodes to Prometheus (`/metrics`), and that it serves
    (`/health`); without it nowhere."""
    attestations_interval_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    """How often what nodes attested is recorded, if they said anything."""
    witnesses: Annotated[tuple[AskedWitness, ...], Meta(max_length=WITNESSES_MAX)] = ()
    """Who is asked for a cosignature after each append; nodes bring theirs by themselves."""
