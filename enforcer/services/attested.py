"""One entry an interval: what nodes attested is recorded, with those that are exceptions.

The batch is durable before its entry, which the control plane signs. Nothing is recorded of an
interval in which nobody said anything; what could not be recorded is tried again with the next.
All work is beside the event loop, on a copy of the state: no act waits for it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from enforcer.core import fields
from enforcer.core.attested import (
    EXCEPTIONS_MAX,
    NODES_MAX,
    AttestationsRecorded,
    NodeException,
)
from enforcer.core.batch import format_batch, root_of
from enforcer.core.envelope import key_id, sign
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State
from enforcer.errors import EnforcerError
from enforcer.ports import Batches, Signer
from enforcer.services.digests import Digests
from enforcer.services.exceptions import exceptions, nodes_of
from enforcer.services.fleet import Fleet, Word
from enforcer.services.ledger import Ledger

log: Final = structlog.get_logger()


class AttestedRecorder:
    """Records what the nodes of one ledger attest; `run` it beside everything else."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        batches: Batches,
        signer: Signer,
        interval_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._batches = batches
        self._signer = signer
        self._interval_seconds = interval_seconds
        self._since_ms = ledger.now_ms()
        self._digests = Digests()

    async def run(self, first: Callable[[], Awaitable[None]]) -> None:
        """Call `first`, then record at each interval's end; it never returns."""
        await first()
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self.record()
            except EnforcerError as error:
                log.warning("attestations_unrecorded", problem=error.message, advice=error.advice)

    async def record(self) -> int | None:
        """Record what came since the last interval; return the entry, or None if nothing did.

        Raises:
            EnforcerError: the disk or the ledger did not take it.
        """
        state, until_ms = self._ledger.state.copy(), self._ledger.now_ms()
        from_ms = state.attested_until_ms or min(self._since_ms, until_ms - 1)
        words = {
            node_id: word
            for node_id, word in sorted(self._fleet.words.items())
            if from_ms <= word.received_at_ms < until_ms
            and word.attestation.ledger_size <= state.size
        }
        if not words:
            return None
        split = self._fleet.split_since(until_ms)
        seen = {node_id: word.attestation.t_ms for node_id, word in self._fleet.words.items()}
        words = dict(list(words.items())[:NODES_MAX])
        payload = await asyncio.to_thread(
            self._made, state, (from_ms, until_ms), words, split, seen
        )
        await asyncio.to_thread(self._batches.thin, until_ms)
        identity = key_id(self._signer.public_key)
        envelope = sign(
            AttestationsRecorded.TYPE, fields.dump(payload), [(identity, self._signer.sign)]
        )
        recorded = await self._ledger.record(envelope)
        self._fleet.forget(nodes_of(self._ledger.state, until_ms))
        log.info(
            "attestations_recorded",
            index=recorded.index,
            nodes=payload.node_count,
            exceptions=payload.exception_count,
        )
        return recorded.index

    def _made(
        self,
        state: State,
        interval_ms: tuple[int, int],
        words: Mapping[str, Word],
        split: set[str],
        seen: Mapping[str, int],
    ) -> AttestationsRecorded:
        """Make the batch and keep it, and say what is to be recorded of it."""
        from_ms, until_ms = interval_ms
        envelopes = [word.envelope for word in words.values()]
        said = {node_id: word.attestation for node_id, word in words.items()}
        # Its own digests: those of the fleet belong to the event loop.
        found = exceptions(state, said, until_ms, self._digests, split)
        named = list(found.items())[:EXCEPTIONS_MAX]
        return AttestationsRecorded(
            ledger_origin=state.origin,
            request_id=secrets.token_hex(16),
            valid_until_ms=until_ms + DAY_MS,
            from_ms=from_ms,
            until_ms=until_ms,
            ledger_size=state.size,
            read_from_size=min(each.ledger_size for each in said.values()),
            node_count=len(envelopes),
            root_sha256=root_of(envelopes),
            batch_sha256=self._batches.put(until_ms, format_batch(envelopes)),
            exception_count=len(found),
            exceptions=tuple(
                NodeException(node_id, kind, seen.get(node_id)) for node_id, kind in named
            ),
        )
