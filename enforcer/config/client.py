"""``client.toml``: whatever a person runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from enforcer.config.parts import ClientTls, Control
from enforcer.config.reading import File
from enforcer.config.values import Address


class ClientConfig(File, frozen=True, kw_only=True):
    """``enforcer order`` and the rest of what a person runs."""

    control: Control
    tls: ClientTls
    trust_file: Path
    key_file: Path
    """The person's own Ed25519 key, PEM."""
    nodes: Annotated[tuple[Address, ...], Meta(max_length=10_000)] = ()
    """A safety officer's own nodes, where suspensions are brought to at once."""
