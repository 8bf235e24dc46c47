"""The words of nodes as files, a few of each, until they are recorded as a batch.

Names are ``<node id>/<t_ms>-<ledger size>.json``, t_ms with 16 digits: so their order is that of
time. Not durable one by one: the next is a minute away, and what is recorded is durable as a
batch. Bounded for each node and for all of them; all calls block, and may come from any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

import structlog

from enforcer.core.attestation import Attestation, parse_attestation
from enforcer.core.envelope import Envelope, parse_envelope
from enforcer.errors import InputError
from enforcer.ports import KeptFiles

KEPT_PER_NODE_MAX: Final = 1_000
KEPT_MAX: Final = 200_000
"""Of all nodes together, but two of each: what is older is in recorded batches."""

log: Final = structlog.get_logger()


class KeptWords:
    """What is kept of the nodes of one ledger."""

    def __init__(self, files: KeptFiles) -> None:
        self._files = files
        self._names: dict[str, deque[str]] = {}
        """Node id -> the names of what is kept, oldest first."""
        self._turn = threading.Lock()

    def keep(self, attestation: Attestation, data: bytes) -> None:
        """Keep one more, and remove the oldest of its node that there is no more room for.

        Raises:
            UnavailableError: the disk did not take it.
        """
        node_id = attestation.node_id
        name = f"{node_id}/{attestation.t_ms:016}-{attestation.ledger_size}.json"
        with self._turn:
            names = self._names_of(node_id)
            self._files.show(name, data)
            if not names or names[-1] != name:
                names.append(name)
            most = max(min(KEPT_PER_NODE_MAX, KEPT_MAX // len(self._names)), 2)
            while len(names) > most:
                self._files.remove(names.popleft())

    def knows(self, node_id: str) -> bool:
        """Tell whether something of that node was ever kept or looked for here."""
        return node_id in self._names

    def names(self, node_id: str) -> list[str]:
        """Return the names of what is kept of one node, without its folder, oldest first."""
        with self._turn:
            return [name.partition("/")[2] for name in self._names_of(node_id)]

    def read(self, node_id: str, name: str) -> bytes | None:
        """Return one, or None when it has made room for newer ones.

        Raises:
            IntegrityError, UnavailableError: it cannot be read.
        """
        return self._files.read(f"{node_id}/{name}")

    def newest(self, node_id: str) -> tuple[Envelope, Attestation] | None:
        """Return the newest that can be read; what cannot is no evidence, and is removed.

        Raises:
            IntegrityError, UnavailableError: the disk does not give it.
        """
        with self._turn:
            names = self._names_of(node_id)
            while names:
                try:
                    envelope = parse_envelope(self._files.read(names[-1]) or b"")
                    return envelope, parse_attestation(envelope)
                except InputError:  # the machine stopped before the disk had it
                    log.warning("attestation_dropped", name=names[-1])
                    self._files.remove(names.pop())
            return None

    def _names_of(self, node_id: str) -> deque[str]:
        if node_id not in self._names:
            self._names[node_id] = deque(self._files.names(node_id))
        return self._names[node_id]
