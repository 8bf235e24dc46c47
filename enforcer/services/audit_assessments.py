"""Assessments, judged again by the audit: whether their facts are what ledger and data said.

The control plane computes the facts before it records an assessment; here it is seen whether it
did. A document that is not in this copy, or was erased, says nothing either way; nor does a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from enforcer.core.collateral import (
    CollateralFound,
    CollateralJob,
    collateral_job,
    difference,
    facts_document,
    read_necessity,
)
from enforcer.core.hold import AssessmentRecorded
from enforcer.core.state import State
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.services.findings import Code, Finding
from enforcer.services.side_files import SALT_BYTES


class DocumentContent(Protocol):
    """Reads documents beside a ledger."""

    def content(self, sha256: str) -> bytes:
        """Return a document, its salt before it.

        Raises:
            NotFoundError: it is not here, or was erased.
            IntegrityError: what is here has another hash.
        """


class CollateralScan(Protocol):
    """Compares an order's list with all that is known of addresses."""

    def compare(self, job: CollateralJob) -> CollateralFound:
        """Compare the lists beside a ledger.

        Raises:
            NotFoundError: a list is not here.
            IntegrityError, InputError: one is not what it must be.
        """


def judge_assessment(
    state: State,
    act: AssessmentRecorded,
    index: int,
    documents: DocumentContent,
    scan: CollateralScan,
) -> Iterator[Finding]:
    """Judge the assessment that entry `index` is; `state` is what the ledger was right after it."""
    order = state.orders[act.order.entry_index]
    order_id = order.payload.order_id
    try:
        necessity = documents.content(act.necessity_sha256)[SALT_BYTES:]
    except (NotFoundError, IntegrityError):
        pass
    else:
        try:
            read_necessity(necessity)
        except InputError as error:
            words = f"{order_id} was assessed without its necessity: {error.message}"
            yield Finding(Code.ASSESSMENT_WRONG, words, index)
    try:
        given = documents.content(act.facts_sha256)[SALT_BYTES:]
        found = scan.compare(collateral_job(state, order))
    except (NotFoundError, IntegrityError, InputError):
        return  # there is a finding for what is not what it must be
    except EnforcerError as error:
        words = f"the facts about {order_id} could not be computed: {error.message}"
        yield Finding(Code.GUARD_UNCHECKED, words, index)
        return
    problem = difference(facts_document(state, order, found, state.recorded_at_ms), given)
    if problem is not None:
        words = f"{order_id} was assessed by other facts than its ledger and data say, in {problem}"
        yield Finding(Code.ASSESSMENT_WRONG, words, index)
