"""What is recorded of attestations: one root over a fleet's words, and who is an exception.

One entry an interval. The attestations themselves are a batch beside the ledger, named by its
hash; their root (RFC 6962) is over each one's envelope, ascending by node id. An entry changes
no order, and is no news to a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final

from enforcer.core.fields import EntryIndex, Identifier, Items, Range, Sha256, UnixMs
from enforcer.core.payload import Payload

NODES_MAX: Final = 16_384
"""Nodes in one batch."""
EXCEPTIONS_MAX: Final = 200
LAG_MS_MAX: Final = 180_000
"""A node that was not heard for so long lags: each attests once a minute."""
CARRIED_MS_MAX: Final = 7 * 86_400_000
"""One whose word is carried lags when the newest is so old, by its own time."""

NodeCount = Annotated[int, Range(0, NODES_MAX)]


class Exceptional(IntEnum):
    """What is not as it should be with a node; of several the first is named."""

    UNSPECIFIED = 0
    SPLIT_VIEW = 1
    """It showed another history than the ledger's; its word was refused."""
    DIFFERS = 2
    """Its gate or firewall holds something else than the ledger gives, or does not answer."""
    OFF = 3
    """Its operator has it block nothing: bypass, or shadow mode."""
    LAGS = 4
    """Its newest word is older than `LAG_MS_MAX`, or from before entries as old as that."""
    SILENT = 5
    """It is registered, and said nothing in the interval."""


@dataclass(frozen=True, slots=True)
class NodeException:
    """One node with which something is not as it should be."""

    node_id: Identifier
    kind: Exceptional
    seen_at_ms: UnixMs | None
    """Its own time in its newest word that was taken, also before the interval; null: none was."""


@dataclass(frozen=True, slots=True)
class AttestationsRecorded(Payload):
    """The newest word of each node that said anything in an interval."""

    TYPE: ClassVar = "application/vnd.enforcer.attestations-recorded.v1+json"

    from_ms: UnixMs
    """The interval, by when the control plane received them; its end is not part of it."""
    until_ms: UnixMs
    ledger_size: EntryIndex
    """How much of the ledger the exceptions were judged by; no node had read more."""
    read_from_size: EntryIndex
    """The least that a node of the batch had read."""
    node_count: NodeCount
    """Attestations in the batch."""
    root_sha256: Sha256
    batch_sha256: Sha256
    """SHA-256 of the batch's octets."""
    exception_count: Annotated[int, Range(0)]
    """All nodes with which something is not as it should be."""
    exceptions: Annotated[tuple[NodeException, ...], Items(0, EXCEPTIONS_MAX)]
    """The first of them, ascending by kind and then by node id."""
