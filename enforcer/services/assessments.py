"""Assessments of what an order would hit: their facts are computed here, and nobody else's count.

Who assesses signs for the facts and for the statement of necessity; this control plane computes
the facts anew, from the ledger and what the policy pins, and refuses an assessment with others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from enforcer.core.collateral import (
    CollateralFound,
    CollateralJob,
    collateral_job,
    difference,
    facts_document,
    read_necessity,
)
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.hold import AssessmentRecorded
from enforcer.core.state import OrderRecord, State
from enforcer.errors import InputError, RefusedError
from enforcer.ports import CollateralWork, Contents, ListWork
from enforcer.services.ledger import Ledger
from enforcer.services.list_secrets import ListSecrets
from enforcer.services.side_files import SALT_BYTES
from enforcer.services.waiting import Check


class Assessments:
    """What is asked of assessments before one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        lists: Contents,
        secrets: ListSecrets,
        side: Contents,
        work: ListWork,
    ) -> None:
        self._ledger = ledger
        self._lists = lists
        self._secrets = secrets
        self._side = side
        self._work = work

    async def facts(self, order: OrderRecord) -> bytes:
        """Return what is known of an order's targets now, as a document without its salt.

        Raises:
            NotFoundError, UnavailableError, IntegrityError: a list cannot be read.
        """
        _, found = await self._compare(order)
        return facts_document(self._ledger.state, order, found, self._ledger.now_ms())

    async def _compare(self, order: OrderRecord) -> tuple[CollateralJob, CollateralFound]:
        job = collateral_job(self._ledger.state, order)
        paths = {sha256: self._lists.path(sha256) for sha256 in job.lists}
        own = GuardFacts(job.target_list_sha256, job.pins)
        async with self._secrets.at_hand(order.payload, own) as (opened, salted):
            work = CollateralWork(job, {**paths, **opened}, salted)
            return job, await self._work.scan_collateral(work)

    async def check(self, act: AssessmentRecorded, files: Mapping[str, bytes]) -> Check:
        """Check the two documents of an assessment, which are in `files` or here already.

        Returns what makes sure, when the assessment is recorded, that its facts still hold.

        Raises:
            RefusedError: its facts are not what the ledger and the pinned data say now.
            InputError: its statement of necessity is not in its form.
            NotFoundError, UnavailableError, IntegrityError: a document or a list cannot be read.
        """
        read_necessity(await self._content(act.necessity_sha256, files))
        given = await self._content(act.facts_sha256, files)
        index = act.order.entry_index
        job, found = await self._compare(self._ledger.state.orders[index])

        def check(state: State, recorded_at_ms: int) -> None:
            order = state.orders[index]
            is_same = collateral_job(state, order) == job
            facts = facts_document(state, order, found, recorded_at_ms) if is_same else b""
            problem = difference(facts, given)
            if problem is not None:
                raise RefusedError(
                    f"the facts of the assessment differ from what the ledger and its data say, "
                    f"in {problem}",
                    advice="Draft it anew: enforcer order assess --draft; complete the statement "
                    "of necessity, and leave the facts as they are.",
                    field="facts_sha256",
                )

        check(self._ledger.state, self._ledger.now_ms())
        return check

    async def _content(self, sha256: str, files: Mapping[str, bytes]) -> bytes:
        data = files.get(sha256)
        if data is None:
            data = await asyncio.to_thread(self._side.read, sha256)
        if len(data) <= SALT_BYTES:
            raise InputError("the document is empty", advice="Send it anew.", field="side_files")
        return data[SALT_BYTES:]
