"""Whether a node's word can be taken: who signed and brought it, and which history it has read.

Decides nothing of what the word says is enforced. What is refused comes back as the outcome to
count and the error to answer. The history is read from the disk: ask for it beside the event loop.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import structlog

from enforcer.core.attestation import CLOCKS_APART_MS_MAX, Attestation
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope
from enforcer.core.key import Role
from enforcer.core.signing import only_signer
from enforcer.core.state import State
from enforcer.errors import ConflictError, EnforcerError, IntegrityError, RefusedError
from enforcer.ports import LedgerFiles
from enforcer.services.fleet import Outcome

ROOTS_REMEMBERED_MAX: Final = 64

Refusal: TypeAlias = tuple[Outcome, EnforcerError]
"""What to count, and what to answer."""

log: Final = structlog.get_logger()


def signer_refusal(
    state: State, envelope: Envelope, attestation: Attestation, bringer: str, now_ms: int
) -> Refusal | None:
    """Return why a word is refused for who signed or brought it, what it is about, or its time."""
    if attestation.node_id != bringer and not attestation.carried:
        return Outcome.MISNAMED, RefusedError(
            f"{bringer} brought the attestation of {attestation.node_id}",
            advice="Each node brings its own, with its own certificate; another's is "
            "brought where that one's node.toml names no control plane.",
            field="node_id",
        )
    if attestation.ledger_origin != state.origin:
        return Outcome.FOREIGN, RefusedError(
            f"the attestation is about the ledger {attestation.ledger_origin}",
            advice=f"This is {state.origin}: send it to the control plane of its own ledger.",
            field="ledger_origin",
        )
    if attestation.t_ms > now_ms + CLOCKS_APART_MS_MAX:
        return Outcome.AHEAD, RefusedError(
            f"the attestation is of {attestation.t_ms}, and it is {now_ms}",
            advice="Set the clock of the node right; it then attests again.",
            field="t_ms",
        )
    try:
        registration = only_signer(state, envelope, now_ms).registration
    except RefusedError as error:
        return Outcome.UNREGISTERED, error
    if registration.role is not Role.NODE or registration.machine_id != attestation.node_id:
        return Outcome.UNREGISTERED, RefusedError(
            f"the key that signed is not that of the node {attestation.node_id}",
            advice="Sign with the key that is registered for this node.",
            field="node_id",
        )
    return None


class ReadHistories:
    """What nodes have read, held against one ledger; use it from one thread."""

    def __init__(self, files: LedgerFiles) -> None:
        self._files = files
        self._roots: dict[int, tuple[str, int | None]] = {}
        """Ledger size -> its root, and when the entry after it was recorded, if there is one."""

    def refusal(self, attestation: Attestation) -> Refusal | None:
        """Return why a word is refused for the history that its node has read.

        Raises:
            IntegrityError: our own files are damaged.
            UnavailableError: they cannot be read.
        """
        size = attestation.ledger_size
        if size > self._files.size:
            return Outcome.ROLLED_BACK, ConflictError(
                f"the node has read {size} entries, and the ledger has {self._files.size}",
                advice="Look where the node has read the others: this ledger was rolled back, "
                "or the node reads another one.",
                field="ledger_size",
                size=self._files.size,
            )
        root, next_at_ms = self._at(size)
        if attestation.root_sha256 != root:
            log.error("split_view", node_id=attestation.node_id, ledger_size=size)
            return Outcome.SPLIT_VIEW, IntegrityError(
                f"the root of {size} entries is {root}, and the node has read another history",
                advice="Keep both: two histories under one key are proof that somebody lies.",
                field="root_sha256",
                expected=root,
                got=attestation.root_sha256,
            )
        behind_ms = 0 if next_at_ms is None else attestation.t_ms - next_at_ms
        if behind_ms > CLOCKS_APART_MS_MAX and not attestation.carried:
            return Outcome.BEHIND, ConflictError(
                f"the node had not read entry {size} when that was {behind_ms} ms old",
                advice="Nothing needs to be done if it is catching up: it then attests again.",
                field="ledger_size",
                size=self._files.size,
            )
        return None

    def _at(self, size: int) -> tuple[str, int | None]:
        """Return the root over the first entries, and when the one after them was recorded."""
        known = self._roots.get(size)
        if known is None or known[1] is None:
            root = known[0] if known is not None else self._files.root_at(size).hex()
            leaves = self._files.entries(size, min(size + 1, self._files.size))
            known = root, next((parse(leaf).recorded_at_ms for leaf in leaves), None)
            self._roots[size] = known
            for oldest in list(self._roots)[:-ROOTS_REMEMBERED_MAX]:
                self._roots.pop(oldest, None)
        return known
