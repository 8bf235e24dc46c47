"""Which of several copies of a ledger to go on from, and what shows that nothing answered is lost.

Pure but for the questions to witnesses. Refuses copies that contradict each other, and one that
has less than what the log is known to have signed: by a receipt, or by a checkpoint that a witness
cosigned. Always true: a copy that passes holds every entry that anybody here has named by a
signature; words that nobody signed neither pass it nor refuse it. What nobody has seen, and nobody
kept a receipt for, cannot be known, and no one says it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.cosignature import CosignerKey, Witnesses, cosigned_at, with_lines
from enforcer.core.merkle import leaf_hash, verify_inclusion
from enforcer.core.note import Note, SignatureLine, Verify
from enforcer.core.receipt import Receipt
from enforcer.core.trust import Trust
from enforcer.core.witness import AddCheckpoint
from enforcer.errors import ConflictError, EnforcerError, IntegrityError, RefusedError
from enforcer.ports import LedgerFiles, WitnessLink

FRESH_MS_MAX: Final = 600_000
"""As far may a witness's clock and ours be apart."""
LINES_MAX: Final = 16
NOT_EXTENDED_STATUS: Final = 422
_ANOTHER_HISTORY: Final = "it is said that it has seen another history"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a ledger that was opened, and where it is."""

    place: str
    files: LedgerFiles


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says that the log had so many entries."""

    who: str
    size: int
    root: bytes
    """What the log signed for them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness said, or why it said nothing."""

    witness: str
    claim: Claim | None
    problem: str = ""
    """Why that is nothing, or not what it says now: it may have seen more since."""


def fullest(copies: Sequence[Copy]) -> Copy:
    """Return the longest of the copies, which the others must begin.

    Raises:
        IntegrityError: two of them contradict each other (``problem`` is ``split view``).
    """
    best = max(copies, key=lambda copy: copy.files.size)
    for copy in copies:
        check_claim(best, Claim(copy.place, copy.files.size, copy.files.root))
    return best


def check_claim(copy: Copy, claim: Claim) -> None:
    """Refuse a claim about another history; one about more entries is `check_nothing_missing`'s.

    Raises:
        IntegrityError: the log signed two roots for one size (``problem`` is ``split view``).
    """
    if not 0 < claim.size <= copy.files.size:
        return
    root = copy.files.root_at(claim.size)
    if root != claim.root:
        raise IntegrityError(
            f"{copy.place} and {claim.who} contradict each other: the log signed two histories of "
            f"{claim.size} entries",
            advice="Keep both: together they prove it. Nothing can be restored before it is known "
            "which of them witnesses and nodes have; see `enforcer audit diff`.",
            problem="split view",
            expected=root.hex(),
            got=claim.root.hex(),
            size=claim.size,
        )


def check_nothing_missing(copy: Copy, claims: Iterable[Claim]) -> None:
    """Refuse a copy that has less than somebody knows of.

    Raises:
        RefusedError: entries ``data["index"]`` to before ``data["expected"]`` are missing.
        IntegrityError: as :func:`check_claim`.
    """
    most = None
    for claim in claims:
        check_claim(copy, claim)
        if most is None or claim.size > most.size:
            most = claim
    if most is None or most.size <= copy.files.size:
        return
    first, last = copy.files.size, most.size - 1
    raise RefusedError(
        f"{most.who} knows of {most.size} entries, and the fullest copy has {first}: entries "
        f"{first} to {last} are missing",
        advice="Give a copy that has them as another SOURCE: a node's state directory, an "
        "auditor's copy, a backup. Without them no witness that saw them goes on with this ledger.",
        index=first,
        expected=most.size,
    )


def claim_of_receipt(who: str, data: bytes, copy: Copy, trust: Trust, verify: Verify) -> Claim:
    """Return what a receipt says of the log, proven for the entry in `copy` if that has it.

    Raises:
        IntegrityError: it is no receipt of this log, or proves another entry than the copy's.
    """
    receipt = Receipt.parse(data)
    key = trust.key_of(receipt.checkpoint_note)
    checkpoint = open_checkpoint(receipt.checkpoint_note, trust.origin, key, verify)
    claim = Claim(who, checkpoint.size, checkpoint.root)
    check_claim(copy, claim)
    if receipt.index < copy.files.size:
        (leaf,) = copy.files.entries(receipt.index, receipt.index + 1)
        try:
            verify_inclusion(
                leaf_hash(leaf), receipt.index, checkpoint.size, receipt.hashes, checkpoint.root
            )
        except IntegrityError as error:
            raise IntegrityError(
                f"{who} is not the receipt of entry {receipt.index} in {copy.place}: "
                f"{error.message}",
                advice="Keep both: an answered act may have been replaced by another.",
                problem="split view",
                index=receipt.index,
            ) from error
    return claim


def claims_of_note(
    who: str, data: bytes, trust: Trust, verify: Verify, now_ms: int
) -> list[Answer]:
    """Return what a cosigned checkpoint says for each witness that cosigned it, now or earlier.

    Raises:
        IntegrityError: the log did not sign it, or a named witness's line does not hold.
        RefusedError: no witness that the trust names has cosigned it.
    """
    checkpoint = open_checkpoint(data, trust.origin, trust.key_of(data), verify)
    cosigners = trust.witnesses.cosigned(Note.parse(data), verify)
    if not cosigners:
        raise RefusedError(
            f"no witness that the trust file names has cosigned {who}",
            advice="Give the newest checkpoint that a witness cosigned, as its operator has it.",
        )
    return [
        Answer(
            key.name,
            Claim(key.name, checkpoint.size, checkpoint.root),
            "" if _is_of_now(at_seconds, now_ms) else "what is given of it was not cosigned now",
        )
        for key, at_seconds in cosigners.items()
    ]


async def ask_witness(
    key: CosignerKey, link: WitnessLink, copy: Copy, trust: Trust, verify: Verify, now_ms: int
) -> Answer:
    """Ask a witness for the newest size that it cosigned (C2SP tlog-witness, add-checkpoint).

    It is shown the copy's checkpoint: who saw no more cosigns that, now, and so proves it. Anybody
    on the way may refuse in its name; so who does not cosign is asked for what it has signed, and
    without that has not answered.
    """
    asked = _Asked(key, link, copy, verify, now_ms)
    try:
        refusal = await asked.ask()
    except EnforcerError as error:
        return Answer(key.name, None, error.message)
    if not refusal:
        return Answer(key.name, Claim(key.name, copy.files.size, copy.files.root))
    try:
        note = await link.latest(trust.origin)
        signed = claims_of_note(f"the answer of {key.name}", note, trust, verify, now_ms)
    except EnforcerError as error:
        return Answer(key.name, None, f"{refusal}, unsigned; {error.message}")
    own = [answer for answer in signed if answer.witness == key.name]
    return own[0] if own else Answer(key.name, None, f"{refusal}, unsigned")


def is_proven(witnesses: Witnesses, answers: Mapping[str, Answer], size: int) -> bool:
    """Tell whether no quorum can have seen more than `size` entries.

    Any quorum and any ``n - quorum + 1`` of n witnesses have one in common. Who says now that it
    has seen no more counts; what one said earlier does not.
    """
    names = {key.name for key in witnesses.keys}
    said = [answer for name, answer in answers.items() if name in names and not answer.problem]
    seen_all = [each for each in said if each.claim is not None and each.claim.size <= size]
    return bool(witnesses.quorum) and len(seen_all) > len(names) - witnesses.quorum


@dataclass(frozen=True, slots=True)
class _Asked:
    """One witness that is asked about one copy."""

    key: CosignerKey
    link: WitnessLink
    copy: Copy
    verify: Verify
    now_ms: int

    async def ask(self) -> str:
        """Return what an answer says that is no cosignature of now; empty: it cosigned the copy.

        Raises:
            EnforcerError: there is no answer.
        """
        size = self.copy.files.size
        seen = await self._add(size)
        if isinstance(seen, int) and seen < size:
            seen = await self._add(seen)
        if isinstance(seen, int) and seen > size:
            return f"it is said that it has seen {seen} entries"
        return _ANOTHER_HISTORY if isinstance(seen, int) else seen

    async def _add(self, old_size: int) -> int | str:
        """Bring the copy's checkpoint; return the size or the words of a refusal, or nothing."""
        files = self.copy.files
        size, note = files.size, files.checkpoint_note or b""
        between = 0 < old_size < size
        proof = files.consistency_proof(old_size, size) if between else ()
        try:
            answer = await self.link.add_checkpoint(AddCheckpoint(old_size, proof, note).format())
        except ConflictError as error:
            at = error.data.get("size")
            if not isinstance(at, int):
                raise
            return at
        except RefusedError as error:
            if error.data.get("status") != NOT_EXTENDED_STATUS:
                raise
            return _ANOTHER_HISTORY
        self._check_fresh(note, answer)
        return ""

    def _check_fresh(self, note: bytes, answer: bytes) -> None:
        """Refuse what is not this witness's word of now: anybody may have answered in its place."""
        lines = answer.decode("utf-8", "replace").splitlines()[:LINES_MAX]
        try:
            cosigned = with_lines(Note.parse(note), map(SignatureLine.parse, lines))
            at_seconds = cosigned_at(cosigned, self.key, self.verify)
        except IntegrityError as error:
            raise RefusedError(error.message, advice="Look who answers at its URL.") from error
        if at_seconds is None or not _is_of_now(at_seconds, self.now_ms):
            raise RefusedError(
                "the answer has no cosignature of now by the key that the trust file names",
                advice="Compare its vkey with the trust file's, and the clocks.",
            )


def _is_of_now(at_seconds: int, now_ms: int) -> bool:
    return abs(1_000 * at_seconds - now_ms) <= FRESH_MS_MAX
