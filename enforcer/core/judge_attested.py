"""The rules for recorded attestations: who records them, and that intervals follow each other.

Whether the exceptions are all there are is for auditors, who have the batch: a judge has only
the entry.
"""

from __future__ import annotations

from itertools import pairwise

from enforcer.core.attested import EXCEPTIONS_MAX, AttestationsRecorded
from enforcer.core.key import Role
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, State
from enforcer.errors import ConflictError, RefusedError


def judge_attested(
    state: State, payload: AttestationsRecorded, signer: KeyRecord, recorded_at_ms: int
) -> None:
    """Check one interval's entry against those before it.

    Raises:
        RefusedError, ConflictError: the rule that it breaks.
    """
    if signer.registration.role is not Role.CONTROL:
        raise RefusedError(
            f"a {signer.registration.role.name} cannot record attestations",
            advice="The control plane alone records them, with its registered key.",
            field="signatures",
        )
    if not payload.from_ms < payload.until_ms <= recorded_at_ms:
        raise field_error("until_ms", "the interval is none, or not over", "Record it when it is.")
    if payload.from_ms < state.attested_until_ms:
        raise ConflictError(
            f"attestations are recorded up to {state.attested_until_ms} already",
            advice="Begin where the last interval ended.",
            field="from_ms",
            until_ms=state.attested_until_ms,
        )
    if not payload.read_from_size <= payload.ledger_size <= state.size:
        raise field_error(
            "ledger_size",
            f"the ledger has {state.size} entries, and no node can have read more",
            "Judge the batch by the ledger as it is.",
        )
    _check_exceptions(payload)


def _check_exceptions(payload: AttestationsRecorded) -> None:
    named, count = payload.exceptions, payload.exception_count
    if len(named) != min(count, EXCEPTIONS_MAX):
        raise field_error(
            "exceptions",
            f"{len(named)} of {count} exceptions are named",
            f"Name all of them, or the first {EXCEPTIONS_MAX}.",
        )
    keys = [(each.kind, each.node_id) for each in named]
    if len({node_id for _, node_id in keys}) != len(keys) or any(
        before > after for before, after in pairwise(keys)
    ):
        raise field_error(
            "exceptions", "a node is named twice, or they do not ascend", "Sort them, each once."
        )
