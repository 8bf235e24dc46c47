"""What nodes say about themselves: received, checked against our own history, kept, counted.

Kept is only what a registered node signed about this very ledger, and newer than what it said
before. Whether the digest in it is what the ledger says is shown, and for the auditor to find: it
keeps nothing out. A few of each node are kept as files until they are recorded, as a batch.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import structlog

from enforcer.core.attestation import CLOCKS_APART_MS_MAX, Attestation, parse_attestation
from enforcer.core.batch import PAYLOAD_BYTES_MAX
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.key import Role
from enforcer.core.signing import only_signer, past_signer
from enforcer.core.state import State
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import KeptFiles
from enforcer.services.exceptions import nodes_of
from enforcer.services.fleet import Fleet, Outcome, Word
from enforcer.services.ledger import Ledger

KEPT_PER_NODE_MAX: Final = 1_000
KEPT_MAX: Final = 200_000
"""Of all nodes together, but two of each: what is older is in recorded batches."""
ROOTS_REMEMBERED_MAX: Final = 64

log: Final = structlog.get_logger()


class Attestations:
    """The attestations of one ledger, as ``<node id>/<t_ms>-<ledger size>.json``."""

    def __init__(self, ledger: Ledger, kept: KeptFiles, fleet: Fleet) -> None:
        self._ledger = ledger
        self._kept = kept
        self.fleet: Final = fleet
        self._names: dict[str, deque[str]] = {}
        """Node id -> the names of what is kept, oldest first."""
        self._turn = threading.Lock()  # of what is done beside the event loop
        self._roots: dict[int, tuple[str, int | None]] = {}
        """Ledger size -> its root, and when the entry after it was recorded, if there is one."""

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

    async def receive(self, envelope: Envelope, node_id: str) -> Attestation:
        """Check and keep what the node `node_id` brought about itself; again is no error.

        Raises:
            InputError: it is malformed.
            RefusedError: its signer is no registered node, or not the node that it names, or its
                time is to come.
            ConflictError: the node has said something newer, has read more than this ledger
                holds, or has long since had more to read: kept, its word would be proof that we
                wrote that later than we say.
            IntegrityError: the node has read another history.
            UnavailableError: it could not be kept.
        """
        try:
            attestation = _read(envelope)
        except InputError as error:
            raise self.refused(Outcome.MALFORMED, error) from error
        former = self.fleet.words.get(node_id)
        if former is not None and former.envelope == envelope:
            self.fleet.outcomes[Outcome.REPEATED] += 1
            return attestation
        self._check_signer(envelope, attestation, node_id)
        if former is not None and _age(attestation) < _age(former.attestation):
            raise self.refused(Outcome.OLDER, _older(attestation, former.attestation))
        received_at_ms = self._ledger.now_ms()
        outcome, problem = await asyncio.to_thread(self._check_and_keep, envelope, attestation)
        if problem is not None:
            if outcome is Outcome.SPLIT_VIEW:
                self.fleet.split_views[node_id] = received_at_ms
            raise self.refused(outcome, problem)
        self.fleet.outcomes[outcome] += 1
        newest = self.fleet.words.get(node_id)
        if newest is None or _age(newest.attestation) <= _age(
            attestation
        ):  # another came meanwhile
            self.fleet.take(Word(attestation, envelope, received_at_ms))
        return attestation

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
            for each, word in sorted(self.fleet.words.items()):
                if each > after and from_ms <= word.attestation.t_ms < until_ms:
                    yield each, each, format_envelope(word.envelope)
            return
        for name in await asyncio.to_thread(self._kept_names, node_id):
            if name > after and from_ms <= int(name.partition("-")[0]) < until_ms:
                data = await asyncio.to_thread(self._kept.read, f"{node_id}/{name}")
                if data:  # else it has made room for newer ones
                    yield node_id, name, data

    def _kept_names(self, node_id: str) -> list[str]:
        """Return the names of what is kept of one node, without its folder, oldest first."""
        if node_id not in self.fleet.words and node_id not in self._names:
            raise NotFoundError(
                f"nothing is kept of a node {node_id[:64]!r}",
                advice="Ask without a node for the newest of each.",
                field="node_id",
            )
        with self._turn:
            return [name.partition("/")[2] for name in self._names_of(node_id)]

    def refused(self, outcome: Outcome, error: EnforcerError) -> EnforcerError:
        """Count what could not be taken, and return the error."""
        self.fleet.outcomes[outcome] += 1
        return error

    def _check_signer(self, envelope: Envelope, attestation: Attestation, node_id: str) -> None:
        state = self._ledger.state
        if attestation.node_id != node_id:
            raise self.refused(
                Outcome.MISNAMED,
                RefusedError(
                    f"{node_id} brought the attestation of {attestation.node_id}",
                    advice="Each node brings its own, with its own certificate.",
                    field="node_id",
                ),
            )
        if attestation.ledger_origin != state.origin:
            raise self.refused(
                Outcome.FOREIGN,
                RefusedError(
                    f"the attestation is about the ledger {attestation.ledger_origin}",
                    advice=f"This is {state.origin}: send it to the control plane of its own "
                    "ledger.",
                    field="ledger_origin",
                ),
            )
        now_ms = self._ledger.now_ms()
        if attestation.t_ms > now_ms + CLOCKS_APART_MS_MAX:
            raise self.refused(
                Outcome.AHEAD,
                RefusedError(
                    f"the attestation is of {attestation.t_ms}, and it is {now_ms}",
                    advice="Set the clock of the node right; it then attests again.",
                    field="t_ms",
                ),
            )
        try:
            registration = only_signer(state, envelope, now_ms).registration
        except RefusedError as error:
            raise self.refused(Outcome.UNREGISTERED, error) from error
        if registration.role is not Role.NODE or registration.machine_id != attestation.node_id:
            raise self.refused(
                Outcome.UNREGISTERED,
                RefusedError(
                    f"the key that signed is not that of the node {attestation.node_id}",
                    advice="Sign with the key that is registered for this node.",
                    field="node_id",
                ),
            )

    def _check_and_keep(
        self, envelope: Envelope, attestation: Attestation
    ) -> tuple[Outcome, EnforcerError | None]:
        with self._turn:
            outcome, problem = self._check_history(attestation)
            if problem is None:
                try:
                    self._keep(attestation, format_envelope(envelope))
                except UnavailableError as error:
                    return Outcome.UNKEPT, error
            return outcome, problem

    def _check_history(self, attestation: Attestation) -> tuple[Outcome, EnforcerError | None]:
        files = self._ledger.files
        size = attestation.ledger_size
        if size > files.size:
            return Outcome.ROLLED_BACK, ConflictError(
                f"the node has read {size} entries, and the ledger has {files.size}",
                advice="Look where the node has read the others: this ledger was rolled back, "
                "or the node reads another one.",
                field="ledger_size",
                size=files.size,
            )
        root, next_at_ms = self._history_at(size)
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
        if behind_ms > CLOCKS_APART_MS_MAX:
            return Outcome.BEHIND, ConflictError(
                f"the node had not read entry {size} when that was {behind_ms} ms old",
                advice="Nothing needs to be done if it is catching up: it then attests again.",
                field="ledger_size",
                size=files.size,
            )
        return Outcome.TAKEN, None

    def _history_at(self, size: int) -> tuple[str, int | None]:
        """Return the root over the first entries, and when the one after them was recorded."""
        known = self._roots.get(size)
        files = self._ledger.files
        if known is None or known[1] is None:
            root = known[0] if known is not None else files.root_at(size).hex()
            leaves = files.entries(size, min(size + 1, files.size))
            known = root, next((parse(leaf).recorded_at_ms for leaf in leaves), None)
            self._roots[size] = known
            for oldest in list(self._roots)[:-ROOTS_REMEMBERED_MAX]:
                self._roots.pop(oldest, None)
        return known

    def _keep(self, attestation: Attestation, data: bytes) -> None:
        # 16 digits: then the order of names is that of time.
        node_id = attestation.node_id
        name = f"{node_id}/{attestation.t_ms:016}-{attestation.ledger_size}.json"
        names = self._names_of(node_id)
        # Not durably: the next one is a minute away, and what is recorded is durable as a batch.
        self._kept.show(name, data)
        if not names or names[-1] != name:
            names.append(name)
        most = max(min(KEPT_PER_NODE_MAX, KEPT_MAX // len(self._names)), 2)
        while len(names) > most:
            self._kept.remove(names.popleft())

    def _names_of(self, node_id: str) -> deque[str]:
        if node_id not in self._names:
            self._names[node_id] = deque(self._kept.names(node_id))
        return self._names[node_id]

    def _newest_kept(self, state: State, node_id: str) -> Word | None:
        names = self._names_of(node_id)
        while names:
            data = self._kept.read(names[-1]) or b""
            try:
                envelope = parse_envelope(data)
                attestation = _read(envelope)
            except InputError:  # the machine stopped before the disk had it
                log.warning("attestation_dropped", name=names[-1])
                self._kept.remove(names.pop())
                continue
            try:
                registration = past_signer(state, envelope).registration
            except RefusedError:
                return None
            is_its_own = (registration.role, registration.machine_id) == (Role.NODE, node_id)
            return Word(attestation, envelope, attestation.t_ms) if is_its_own else None
        return None


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
