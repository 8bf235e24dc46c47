"""Sections that several programs' files have: TLS, and where the control plane is."""

from __future__ import annotations

from pathlib import Path

from enforcer.config.reading import Section
from enforcer.config.values import Address


class ServerTls(Section, frozen=True, kw_only=True):
    """What a gRPC server shows, and whose clients it takes."""

    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None
    """The authority's list of revoked certificates; null: none is known to be revoked."""


class ClientTls(Section, frozen=True, kw_only=True):
    """What a gRPC client shows, and whose servers it believes."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    """For a program that is a server too, as a node is for stops."""


class Control(Section, frozen=True, kw_only=True):
    """Where the control plane is."""

    address: Address
