"""What nodes say about themselves: received, checked against our own history, kept.

Kept is only what a registered node signed about this very ledger. Whether the digest in it
is what the ledger says is for the auditor to find: the control plane is no judge of that.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from enforcer.core.attestation import CLOCKS_APART_MS_MAX, Attestation, parse_attestation
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.key import Role
from enforcer.core.signing import only_signer
from enforcer.errors import ConflictError, IntegrityError, RefusedError
from enforcer.ports import KeptFiles
from enforcer.services.ledger import Ledger

KEPT_PER_NODE_MAX: Final = 1_000

log: Final = structlog.get_logger()


class Attestations:
    """The attestations of one ledger, as ``<node id>/<t_ms>-<ledger size>.json``."""

    def __init__(self, ledger: Ledger, kept: KeptFiles) -> None:
        self._ledger = ledger
        self._kept = kept

    async def receive(self, envelope: Envelope, node_id: str) -> Attestation:
        """Check and keep what the node `node_id` brought about itself; again is no error.

        Raises:
            InputError: it is malformed.
            RefusedError: its signer is no registered node, or not the node that it names, or its
                time is to come.
            ConflictError: the node has read more than this ledger holds, or has long since had
                more to read: kept, its word would be proof that we wrote that later than we say.
            IntegrityError: the node has read another history.
            UnavailableError: it could not be kept.
        """
        attestation = parse_attestation(envelope)
        self._check_signer(envelope, attestation, node_id)
        await asyncio.to_thread(self._check_history, attestation)
        await asyncio.to_thread(self._keep, attestation, format_envelope(envelope))
        return attestation

    def _check_signer(self, envelope: Envelope, attestation: Attestation, node_id: str) -> None:
        state = self._ledger.state
        if attestation.node_id != node_id:
            raise RefusedError(
                f"{node_id} brought the attestation of {attestation.node_id}",
                advice="Each node brings its own, with its own certificate.",
                field="node_id",
            )
        if attestation.ledger_origin != state.origin:
            raise RefusedError(
                f"the attestation is about the ledger {attestation.ledger_origin}",
                advice=f"This is {state.origin}: send it to the control plane of its own ledger.",
                field="ledger_origin",
            )
        now_ms = self._ledger.now_ms()
        if attestation.t_ms > now_ms + CLOCKS_APART_MS_MAX:
            raise RefusedError(
                f"the attestation is of {attestation.t_ms}, and it is {now_ms}",
                advice="Set the clock of the node right; it then attests again.",
                field="t_ms",
            )
        registration = only_signer(state, envelope, now_ms).registration
        if registration.role is not Role.NODE or registration.machine_id != attestation.node_id:
            raise RefusedError(
                f"the key that signed is not that of the node {attestation.node_id}",
                advice="Sign with the key that is registered for this node.",
                field="node_id",
            )

    def _check_history(self, attestation: Attestation) -> None:
        files = self._ledger.files
        size = attestation.ledger_size
        if size > files.size:
            raise ConflictError(
                f"the node has read {size} entries, and the ledger has {files.size}",
                advice="Look where the node has read the others: this ledger was rolled back, "
                "or the node reads another one.",
                field="ledger_size",
                size=files.size,
            )
        root = files.root_at(size).hex()
        if attestation.root_sha256 != root:
            log.error("split_view", node_id=attestation.node_id, ledger_size=size)
            raise IntegrityError(
                f"the root of {size} entries is {root}, and the node has read another history",
                advice="Keep both: two histories under one key are proof that somebody lies.",
                field="root_sha256",
                expected=root,
                got=attestation.root_sha256,
            )
        for leaf in files.entries(size, min(size + 1, files.size)):
            behind_ms = attestation.t_ms - parse(leaf).recorded_at_ms
            if behind_ms > CLOCKS_APART_MS_MAX:
                raise ConflictError(
                    f"the node had not read entry {size} when that was {behind_ms} ms old",
                    advice="Nothing needs to be done if it is catching up: it then attests again.",
                    field="ledger_size",
                    size=files.size,
                )

    def _keep(self, attestation: Attestation, data: bytes) -> None:
        # 16 digits: then the order of names is that of time.
        name = f"{attestation.t_ms:016}-{attestation.ledger_size}.json"
        self._kept.write(f"{attestation.node_id}/{name}", data)
        for oldest in self._kept.names(attestation.node_id)[:-KEPT_PER_NODE_MAX]:
            self._kept.remove(oldest)
