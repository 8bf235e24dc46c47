"""Recorded batches of attestations, against the entries that name them.

Each is opened when the fold comes to the least size that is in it, and judged again at the size
that the control plane judged it by; so memory holds one or two at a time. Refuses nothing: a
batch that is not here, not what was signed, or an exception that was kept quiet is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from enforcer.core.attestation import Attestation, parse_attestation
from enforcer.core.attested import EXCEPTIONS_MAX, AttestationsRecorded, Exceptional
from enforcer.core.batch import parse_batch, root_of
from enforcer.core.entry import parse, parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.ports import Batches, LedgerFiles
from enforcer.services.audit_claims import Claim
from enforcer.services.digests import Digests
from enforcer.services.exceptions import exceptions
from enforcer.services.findings import Code, Finding

ALL_KEPT_MS: Final = 30 * DAY_MS
"""So long a control plane keeps each batch; then the last of each day (UTC)."""

_MARK: Final = AttestationsRecorded.TYPE.encode("ascii")


def recorded_in(ledger: LedgerFiles) -> Iterator[tuple[int, AttestationsRecorded]]:
    """Yield the entries that name batches, with their indices."""
    for index, leaf in enumerate(ledger.entries(0, ledger.size)):
        if _MARK not in leaf:
            continue
        try:
            payload = parse_payload(parse(leaf).envelope)
        except EnforcerError:
            continue  # the fold says what is wrong with it
        if isinstance(payload, AttestationsRecorded):
            yield index, payload


@dataclass(slots=True)
class _Recorded:
    index: int
    payload: AttestationsRecorded
    words: dict[str, Attestation] | None = None
    """What the batch says, node by node; None: it was not opened, or cannot be."""

    @property
    def day(self) -> int:
        return self.payload.until_ms // DAY_MS


@dataclass(slots=True)
class BatchAudit:
    """Checks the batches of one ledger, in the order of the ledger."""

    batches: Batches
    digests: Digests
    as_of_ms: int
    count: int = 0
    """Batches that were opened and are what was signed."""
    _to_open: list[_Recorded] = field(default_factory=list)
    _to_judge: list[_Recorded] = field(default_factory=list)
    _absent: list[_Recorded] = field(default_factory=list)
    _last_of: dict[int, int] = field(default_factory=dict)
    """Day -> the entry of its last batch."""

    def expect(self, ledger: LedgerFiles) -> None:
        """Look through the ledger for the entries that name batches."""
        self._to_open = [_Recorded(*each) for each in recorded_in(ledger)]
        self._last_of = {each.day: each.index for each in self._to_open}
        self._to_open.sort(key=lambda each: -each.payload.read_from_size)

    def open(self, size: int) -> Iterator[Claim | Finding]:
        """Yield what is in the batches whose least size the ledger has come to."""
        while self._to_open and self._to_open[-1].payload.read_from_size <= size:
            recorded = self._to_open.pop()
            payload = recorded.payload
            try:
                data = self.batches.read(payload.until_ms, payload.batch_sha256)
                envelopes = parse_batch(data)
            except NotFoundError:
                self._absent.append(recorded)
                continue
            except IntegrityError as error:
                yield Finding(Code.BATCH_ALTERED, error.message, recorded.index, _place(recorded))
                continue
            yield from self._opened(recorded, envelopes)

    def judge(self, state: State) -> Iterator[Finding]:
        """Judge the exceptions again of the batches that were judged by just so much."""
        due = [each for each in self._to_judge if each.payload.ledger_size <= state.size]
        for recorded in due:
            self._to_judge.remove(recorded)
            if recorded.payload.ledger_size == state.size and state.policy is not None:
                yield from self._compare(state, recorded)

    def finish(self) -> Iterator[Finding]:
        """Say which batches are not here."""
        thinned = [each for each in self._absent if self._may_be_gone(each)]
        missing = [each for each in self._absent if each not in thinned]
        for absent, code, words in (
            (missing, Code.BATCH_MISSING, "what nodes attested then cannot be checked"),
            (thinned, Code.BATCH_THINNED, f"kept is one a day after {ALL_KEPT_MS // DAY_MS} days"),
        ):
            if absent:
                first, last = absent[0].index, absent[-1].index
                yield Finding(
                    code,
                    f"{len(absent)} recorded batches of attestations, of entries {first} to "
                    f"{last}, are not here: {words}",
                    first,
                )

    def _opened(self, recorded: _Recorded, envelopes: list[Envelope]) -> Iterator[Claim | Finding]:
        payload, place = recorded.payload, _place(recorded)
        claims: list[Claim] = []
        for number, envelope in enumerate(envelopes):
            claim = _claim(envelope, f"{place}#{number}")
            if isinstance(claim, Claim):
                claims.append(claim)
            yield claim
        words = {claim.attestation.node_id: claim.attestation for claim in claims}
        sizes = [each.ledger_size for each in words.values()]
        problem = ""
        if root_of(envelopes) != payload.root_sha256:
            problem = "its root is another"
        elif len(envelopes) != payload.node_count or list(words) != sorted(words):
            problem = f"it has {len(envelopes)} attestations, or not one a node, sorted"
        elif len(claims) == len(words) == len(envelopes) and sizes:
            if min(sizes) != payload.read_from_size or max(sizes) > payload.ledger_size:
                problem = f"what its nodes have read is {min(sizes)} to {max(sizes)} entries"
        else:
            problem = "not all in it are attestations, of one node each"
        if problem:
            yield Finding(
                Code.BATCH_WRONG,
                f"a batch is not what entry {recorded.index} says of it: {problem}",
                recorded.index,
                place,
            )
            return
        self.count += 1
        recorded.words = words
        self._to_judge.append(recorded)

    def _compare(self, state: State, recorded: _Recorded) -> Iterator[Finding]:
        """Compare the exceptions that were recorded with those that there were."""
        payload, words = recorded.payload, recorded.words or {}
        said = {each.node_id: each.kind for each in payload.exceptions}
        split = {node_id for node_id, kind in said.items() if kind is Exceptional.SPLIT_VIEW}
        found = exceptions(state, words, payload.until_ms, self.digests, split)
        first = dict(list(found.items())[:EXCEPTIONS_MAX])
        if (said, payload.exception_count) == (first, len(found)):
            return
        at = next((n for n in (*first, *said) if first.get(n) is not said.get(n)), None)
        what = f"{payload.exception_count} nodes, and there were {len(found)}"
        if at is not None:
            what = f"{at} as {_name(said.get(at))}, and it was {_name(first.get(at))}"
        yield Finding(
            Code.EXCEPTION_HIDDEN,
            f"entry {recorded.index} tells of exceptions otherwise than its batch: {what}",
            recorded.index,
            _place(recorded),
        )

    def _may_be_gone(self, recorded: _Recorded) -> bool:
        is_old = recorded.payload.until_ms < self.as_of_ms - ALL_KEPT_MS
        return is_old and self._last_of[recorded.day] != recorded.index


def _claim(envelope: Envelope, place: str) -> Claim | Finding:
    """Return what one attestation of a batch claims, or what is wrong with it."""
    try:
        return Claim(place, envelope, parse_attestation(envelope))
    except InputError as error:
        return Finding(Code.ATTESTATION_UNREADABLE, error.message, place=place)


def _place(recorded: _Recorded) -> str:
    return f"batches/{recorded.payload.until_ms:016}-{recorded.payload.batch_sha256}.zlib"


def _name(kind: Exceptional | None) -> str:
    return kind.name if kind is not None else "as it should be"
