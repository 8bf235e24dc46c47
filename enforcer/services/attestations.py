"""What nodes say about themselves: received, checked against our own history, kept, counted.

Kept is only what a registered node signed about this very ledger, and newer than what it said
before. Whether the digest in it is what the ledger says is shown, and for the auditor to find: it
keeps nothing out. They are checked one by one, and whatever else the event loop has to do goes
between two of them: no approval and no stop waits for a fleet that attests.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.core.attestation import Attestation, parse_attestation
from enforcer.core.batch import PAYLOAD_BYTES_MAX
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.key import Role
from enforcer.core.signing import past_signer
from enforcer.core.state import State
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    NotFoundError,
    RefusedError,
)
from enforcer.ports import KeptFiles
from enforcer.services.attestation_checks import ReadHistories, Refusal, signer_refusal
from enforcer.services.exceptions import nodes_of
from enforcer.services.fleet import Fleet, Outcome, Word
from enforcer.services.kept_words import KeptWords
from enforcer.services.ledger import Ledger

AT_ONCE_MAX: Final = 64
"""So many are compared with the ledger and written together."""
READ_AT_ONCE: Final = 32

log: Final = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Brought:
    """One attestation that waits for its turn."""

    bringer: str
    """Who brought it, by id."""
    envelope: Envelope
    answer: asyncio.Future[Attestation]

    def give(self, attestation: Attestation) -> None:
        """Answer, if anybody still waits."""
        if not self.answer.done():
            self.answer.set_result(attestation)

    def fail(self, error: Exception) -> None:
        """Answer with an error, if anybody still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Attestations:
    """The attestations of one ledger; use it from one event loop."""

    def __init__(self, ledger: Ledger, kept: KeptFiles, fleet: Fleet) -> None:
        self._ledger = ledger
        self._kept = KeptWords(kept)
        self.fleet: Final = fleet
        self._waiting: deque[_Brought] = deque()
        self._working: asyncio.Task[None] | None = None
        # Its own thread, and only one: many would wait for each other, and cost more than the work.
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="attested")
        self._histories = ReadHistories(ledger.files)

    async def restore(self) -> None:
        """Take up each node's newest word from the files that an earlier process left."""
        state, now_ms = self._ledger.state, self._ledger.now_ms()
        for node_id in sorted(nodes_of(state, now_ms)):
            try:
                word = await asyncio.to_thread(self._newest_kept, state, node_id)
            except EnforcerError as error:
                log.warning("attestation_unread", node_id=node_id, problem=error.message)
                continue
            if word is not None and node_id not in self.fleet.words:
                self.fleet.take(word)

    async def receive(self, envelope: Envelope, bringer: str) -> Attestation:
        """Check and keep what a node says about itself; again is no error.

        A node brings its own word, by its id; of one that no network reaches anybody may.

        Raises:
            InputError: it is malformed.
            RefusedError: its signer is no registered node, or not the node that it names, its time
                is to come, or it is not the bringer's and not one that is carried.
            ConflictError: the node has said something newer, has read more than this ledger
                holds, or has long since had more to read: kept, its word would be proof that we
                wrote that later than we say.
            IntegrityError: the node has read another history.
            UnavailableError: it could not be kept.
        """
        brought = _Brought(bringer, envelope, asyncio.get_running_loop().create_future())
        self._waiting.append(brought)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await brought.answer

    async def _work(self) -> None:
        """Take in what waits, until nothing does."""
        while self._waiting:
            checked: list[tuple[_Brought, Attestation]] = []
            while self._waiting and len(checked) < AT_ONCE_MAX:
                brought = self._waiting.popleft()
                try:
                    attestation, is_known = self._checked(brought.envelope, brought.bringer)
                except EnforcerError as error:
                    brought.fail(error)
                except Exception as error:  # the caller must hear of it, and the others go on
                    log.exception("attestation_failed")
                    brought.fail(error)
                else:
                    if is_known:
                        brought.give(attestation)
                    else:
                        checked.append((brought, attestation))
                await asyncio.sleep(0)
            if checked:
                await self._take_all(checked)

    async def _take_all(self, checked: list[tuple[_Brought, Attestation]]) -> None:
        """Have some compared with the ledger and written, and take in those that were."""
        received_at_ms = self._ledger.now_ms()
        keeping = asyncio.get_running_loop().run_in_executor(
            self._disk, self._check_and_keep, [(each.envelope, said) for each, said in checked]
        )
        await asyncio.wait([keeping])
        for at, (brought, attestation) in enumerate(checked):
            try:
                self._take(brought, attestation, received_at_ms, keeping.result()[at])
            except EnforcerError as error:
                brought.fail(error)
            except Exception as error:
                log.exception("attestation_failed")
                brought.fail(error)
            await asyncio.sleep(0)

    def _take(
        self,
        brought: _Brought,
        attestation: Attestation,
        received_at_ms: int,
        refusal: Refusal | None,
    ) -> None:
        """Take in what was kept, and answer.

        Raises:
            EnforcerError: it was refused.
        """
        if refusal is not None:
            if refusal[0] is Outcome.SPLIT_VIEW:
                self.fleet.split_views[attestation.node_id] = received_at_ms
            raise self.refused(*refusal)
        self.fleet.outcomes[Outcome.TAKEN] += 1
        newest = self.fleet.words.get(attestation.node_id)
        # Another may have come meanwhile.
        if newest is None or _age(newest.attestation) <= _age(attestation):
            self.fleet.take(Word(attestation, brought.envelope, received_at_ms))
        brought.give(attestation)

    def _checked(self, envelope: Envelope, bringer: str) -> tuple[Attestation, bool]:
        """Return what the node says, and whether the very same is here already.

        Raises:
            EnforcerError: why it is refused.
        """
        try:
            attestation = _read(envelope)
        except InputError as error:
            raise self.refused(Outcome.MALFORMED, error) from error
        node_id = attestation.node_id
        former = self.fleet.words.get(node_id)
        if former is not None and former.envelope == envelope:
            self.fleet.outcomes[Outcome.REPEATED] += 1
            return attestation, True
        refusal = signer_refusal(
            self._ledger.state, envelope, attestation, bringer, self._ledger.now_ms()
        )
        if refusal is not None:
            raise self.refused(*refusal)
        if former is not None and _age(attestation) < _age(former.attestation):
            raise self.refused(Outcome.OLDER, _older(attestation, former.attestation))
        return attestation, False

    async def read(
        self, node_id: str, from_ms: int, until_ms: int, after: str = ""
    ) -> AsyncIterator[tuple[str, str, bytes]]:
        """Yield node id, a name to go on after, and envelope of what was taken.

        Of one node what is kept, oldest first; without one the newest of each, by node id. The
        node's own time decides, from `from_ms` to before `until_ms`.

        Raises:
            NotFoundError: nothing is kept of that node.
        """
        if not node_id:
            heard = self.fleet.heard
            for at, each in enumerate(heard[bisect_right(heard, after) :]):
                if at % READ_AT_ONCE == 0:
                    await asyncio.sleep(0)
                word = self.fleet.words.get(each)
                if word is not None and from_ms <= word.attestation.t_ms < until_ms:
                    yield each, each, format_envelope(word.envelope)
            return
        if node_id not in self.fleet.words and not self._kept.knows(node_id):
            raise NotFoundError(
                f"nothing is kept of a node {node_id[:64]!r}",
                advice="Ask without a node for the newest of each.",
                field="node_id",
            )
        for name in await asyncio.to_thread(self._kept.names, node_id):
            if name > after and from_ms <= int(name.partition("-")[0]) < until_ms:
                data = await asyncio.to_thread(self._kept.read, node_id, name)
                if data:  # else it has made room for newer ones
                    yield node_id, name, data

    def refused(self, outcome: Outcome, error: EnforcerError) -> EnforcerError:
        """Count what could not be taken, and return the error."""
        self.fleet.outcomes[outcome] += 1
        return error

    def _check_and_keep(self, said: list[tuple[Envelope, Attestation]]) -> list[Refusal | None]:
        """Keep each, or tell why it is refused; in the thread of its own."""
        found: list[Refusal | None] = []
        for envelope, attestation in said:
            try:
                refusal = self._histories.refusal(attestation)
                if refusal is None:
                    self._kept.keep(attestation, format_envelope(envelope))
            except EnforcerError as error:
                refusal = Outcome.UNKEPT, error
            found.append(refusal)
        return found

    def _newest_kept(self, state: State, node_id: str) -> Word | None:
        newest = self._kept.newest(node_id)
        if newest is None:
            return None
        envelope, attestation = newest
        try:
            registration = past_signer(state, envelope).registration
        except RefusedError:
            return None
        is_its_own = (registration.role, registration.machine_id) == (Role.NODE, node_id)
        return Word(attestation, envelope, attestation.t_ms) if is_its_own else None


def _read(envelope: Envelope) -> Attestation:
    """Read an attestation that fits into a batch.

    Raises:
        InputError: it does not, or is malformed.
    """
    if len(envelope.payload) > PAYLOAD_BYTES_MAX:
        raise InputError(
            f"the attestation has {len(envelope.payload)} octets, over {PAYLOAD_BYTES_MAX}",
            advice="Name fewer omissions and effects; their counts say the rest.",
            field="payload",
        )
    return parse_attestation(envelope)


def _age(attestation: Attestation) -> tuple[int, int]:
    return attestation.t_ms, attestation.ledger_size


def _older(attestation: Attestation, newest: Attestation) -> ConflictError:
    return ConflictError(
        f"{attestation.node_id} has attested at {newest.t_ms}, and this is of {attestation.t_ms}",
        advice="Only a newer word counts; a node whose clock was ahead goes on once it is past.",
        field="t_ms",
        newest_ms=newest.t_ms,
    )
