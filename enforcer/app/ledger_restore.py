"""``enforcer ledger restore``: a ledger made anew from copies, and what shows that none is missing.

The fullest copy is verified leaf by leaf and audited; receipts and witnesses say how much the log
had. Nothing stands at the target before all of that is done, and a copy that lacks an entry
that anybody named never does. What no copy has is told, with what follows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from enforcer.app.audit import Finding, Summary, audit_directory, open_ledger
from enforcer.app.audit_archive import ledger_copy
from enforcer.app.ledger_copying import Copied, copy_beside, copy_entries, other_files
from enforcer.backends import durable
from enforcer.backends.cosigned_file import AHEAD_FILE, COSIGNED_FILE
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import verify
from enforcer.backends.tile_checkpoint import BEGUN_FILE
from enforcer.backends.tile_tail import TailFile
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.cosignature import CosignerKey
from enforcer.core.note import NOTE_BYTES_MAX, VerifierKey
from enforcer.core.receipt import RECEIPT_BYTES_MAX
from enforcer.core.trust import Trust
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    IntegrityError,
    NotFoundError,
    RefusedError,
)
from enforcer.ports import WitnessLink
from enforcer.services.audit import Progress
from enforcer.services.findings import Code
from enforcer.services.ledger_copies import (
    Answer,
    Claim,
    Copy,
    ask_witness,
    check_nothing_missing,
    claim_of_receipt,
    claims_of_note,
    fullest,
    is_proven,
)

UNFINISHED: Final = ".restoring"
"""Where a ledger is made, below the directory where it is to be."""
FATAL: Final = frozenset((Code.LEDGER_DAMAGED, Code.ROLLED_BACK, Code.FORKED, Code.LOG_KEY))
"""What no control plane can go on from; other findings are of the ledger as it always was."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a restoration is to go by."""

    sources: Sequence[Path]
    to: Path
    links: Mapping[CosignerKey, WitnessLink]
    """The way to each witness that can be asked."""
    cosigned: Sequence[Path] = ()
    """Checkpoints that witnesses cosigned last, as their operators gave them."""
    receipts: Sequence[Path] = ()
    """Folders with receipts that callers kept."""
    unproven: str = ""
    """Why it is to be restored although witnesses cannot show that nothing is missing."""


@dataclass(slots=True)
class Restored:
    """What was restored, and what shows that it is all."""

    source: str
    size: int
    root: str
    answers: dict[str, Answer]
    receipts: int
    is_proven: bool
    left_out: list[str] = field(default_factory=list)
    """Sources that could not be used, each with the reason."""
    copied: Copied = field(default_factory=Copied)
    summary: Summary | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Source:
    """A copy that was opened and is whole."""

    copy: Copy
    files: TileLedger
    others: list[Path]
    """What lies beside it, relative to its directory."""


async def restore(wanted: Wanted, trust: Trust, now_ms: int, progress: Progress) -> Restored:
    """Make the ledger at `wanted.to`.

    Raises:
        ConflictError: there is something already.
        NotFoundError, UnavailableError: nothing can be read, or the disk did not take it.
        IntegrityError: all copies are damaged, or two histories were shown.
        RefusedError: entries that the log had are missing, or nobody can tell and no reason was
            given, also where the log has signed more to a source than what can be read. Nothing
            was made in any of these cases.
    """
    _check_free(wanted.to)
    with ExitStack() as stack:
        opened, left_out, known = _open(wanted.sources, trust, stack, progress)
        best = fullest([source.copy for source in opened])
        given = _given(wanted.cosigned, trust, now_ms)
        asked = [
            await ask_witness(key, link, best, trust, verify, now_ms)
            for key, link in wanted.links.items()
        ]
        answers = _answers(given, asked, trust)
        claims = [answer.claim for answer in (*given, *asked) if answer.claim is not None]
        receipts = _receipts(wanted.receipts, best, trust)
        check_nothing_missing(best, [*claims, *receipts])
        if not wanted.unproven:
            _check_none_longer(best, known)
        proven = is_proven(trust.witnesses, answers, best.files.size)
        if not proven and not wanted.unproven:
            raise _unproven(trust, answers)
        done = Restored(
            best.place,
            best.files.size,
            best.files.root.hex(),
            answers,
            len(receipts),
            proven,
            left_out,
        )
        with _made_whole(wanted.to) as fresh:
            _copy(opened, best, fresh, trust, done.copied, progress)
            done.summary, findings = audit_directory(
                fresh, trust, as_of_ms=now_ms, progress=progress
            )
            done.findings = list(findings)
            _check_audit(done.findings)
            record = json.dumps(_record(done, wanted, now_ms), indent=2).encode()
            KeptFiles(fresh / "restored").write(f"{now_ms}.json", record + b"\n")
    return done


def _check_free(to: Path) -> None:
    if (to / UNFINISHED).is_dir():
        return
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConflictError(
            f"there is something in {to} already",
            advice="Move it away and keep it: it may have entries that no copy has. Then repeat, "
            "with it as one of the sources.",
            path=str(to),
        )


def _open(
    sources: Sequence[Path], trust: Trust, stack: ExitStack, progress: Progress
) -> tuple[list[_Source], list[str], dict[str, int]]:
    """Open and verify every source.

    Return those that are whole, what is wrong with others, and how much the log signed to each.
    """
    opened: list[_Source] = []
    left_out = []
    known: dict[str, int] = {}
    first: EnforcerError | None = None
    for source in sources:
        try:
            directory = stack.enter_context(ledger_copy(source, progress)).directory
            if not (directory / "checkpoint").exists() and (directory / "ledger").is_dir():
                directory /= "ledger"  # a node's state directory
            known[str(source)] = _known_size(directory, trust)
            others = other_files(directory)
            files = stack.enter_context(open_ledger(directory, trust))
            files.verify_all(partial(progress, f"verify {source.name}"))
        except EnforcerError as error:
            size = known.get(str(source))
            told = f" (the log has signed {size} entries to it)" if size else ""
            left_out.append(f"{source}{told}: {error.message}")
            first = first or error
            continue
        opened.append(_Source(Copy(str(source), files), files, others))
    if not opened and first is not None:
        raise first
    return opened, left_out, known


def _known_size(directory: Path, trust: Trust) -> int:
    """Return how many entries the log has signed to a copy, whatever is damaged there."""
    notes: list[bytes] = []
    with suppress(EnforcerError):
        notes += TailFile(directory).notes()
    for name in ("checkpoint", COSIGNED_FILE, AHEAD_FILE):
        with suppress(EnforcerError):
            notes.append(durable.read_file(directory / name, size_bytes_max=NOTE_BYTES_MAX))
    size = 0
    for note in notes:
        with suppress(EnforcerError):
            signed = open_checkpoint(note, trust.origin, trust.key_of(note), verify)
            size = max(size, signed.size)
    return size


def _check_none_longer(best: Copy, known: Mapping[str, int]) -> None:
    """Refuse to go on from less than what the log has signed to a source.

    Witnesses cannot show that it is nothing: an act is answered before they have seen it.
    """
    place = max(known, key=lambda each: known[each])
    first, size = best.files.size, known[place]
    if size > first:
        raise RefusedError(
            f"the log has signed {size} entries to {place}, which is not whole, and the fullest "
            f"whole copy has {first}: entries {first} to {size - 1} would be lost",
            advice="Copy that source again, or give another that has them. Where nobody has, "
            'say so: --unproven "…". That is kept beside the ledger.',
            index=first,
            expected=size,
        )


def _given(paths: Sequence[Path], trust: Trust, now_ms: int) -> list[Answer]:
    """Read what witnesses have cosigned, at whatever time: all of it must be there."""
    given: list[Answer] = []
    for path in paths:
        note = durable.read_file(path, size_bytes_max=NOTE_BYTES_MAX)
        given += claims_of_note(str(path), note, trust, verify, now_ms)
    return given


def _answers(given: Sequence[Answer], asked: Sequence[Answer], trust: Trust) -> dict[str, Answer]:
    """Return what counts of each witness: a word of now before an older one, and that before none.

    Of two alike the one that was asked for counts.
    """
    answers = {
        key.name: Answer(key.name, None, "nothing says where it is asked")
        for key in trust.witnesses.keys
    }
    for answer in (*given, *asked):
        if _weight(answer) >= _weight(answers[answer.witness]):
            answers[answer.witness] = answer
    return answers


def _weight(answer: Answer) -> tuple[bool, bool]:
    return not answer.problem, answer.claim is not None


def _receipts(folders: Sequence[Path], best: Copy, trust: Trust) -> list[Claim]:
    """Check every receipt in the folders."""
    claims = []
    for folder in folders:
        found = sorted(folder.rglob("*.tlog-proof")) if folder.is_dir() else [folder]
        if not found:
            raise NotFoundError(
                f"there is no receipt (*.tlog-proof) in {folder}",
                advice="Name the folder where receipts were kept, or leave --receipts out.",
                path=str(folder),
            )
        for path in found:
            data = durable.read_file(path, size_bytes_max=RECEIPT_BYTES_MAX)
            claims.append(claim_of_receipt(str(path), data, best, trust, verify))
    return claims


def _unproven(trust: Trust, answers: Mapping[str, Answer]) -> RefusedError:
    needed = len(trust.witnesses.keys) - trust.witnesses.quorum + 1
    silent = [f"{each.witness}: {each.problem}" for each in answers.values() if each.problem]
    words = (
        f"{needed} witnesses must say, signed, how much they have seen; these have not: "
        f"{'; '.join(silent)}"
        if trust.witnesses.quorum
        else "the trust file names no witness, so nobody can tell how much the log had"
    )
    return RefusedError(
        f"it cannot be shown that nothing is missing: {words}",
        advice="Get what they cosign now (--cosigned), or restore by receipts alone and say "
        'why: --unproven "…". That is kept beside the ledger.',
        needed=needed,
    )


@contextmanager
def _made_whole(to: Path) -> Iterator[Path]:
    """Give a directory whose content is in `to` when the block ends well; else nothing is there.

    `begun` comes before all else, and `checkpoint` last: killed in between, no control plane
    takes what is there for a ledger that is still to begin, and the next restoration clears it.
    """
    fresh = to / UNFINISHED
    if fresh.exists():
        _clear(to)
    durable.make_directory(fresh)
    try:
        durable.write_file(to / BEGUN_FILE, b"")
        yield fresh
        durable.remove_quietly(fresh / BEGUN_FILE)
        last = fresh / "checkpoint"
        rest = sorted(path for path in fresh.iterdir() if path != last)
        with durable.reporting(to, "put in place"):
            for path in (*rest, last):
                path.rename(to / path.name)
                durable.sync_directory(to)
            fresh.rmdir()
        durable.sync_directory(to)
    except BaseException:
        _clear(to)
        raise


def _clear(to: Path) -> None:
    """Take away what a restoration left, and `checkpoint` before all else."""
    durable.remove_quietly(to / "checkpoint")
    for path in sorted(to.iterdir(), key=lambda path: path.name == UNFINISHED):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            durable.remove_quietly(path)


def _copy(
    sources: Sequence[_Source],
    best: Copy,
    to: Path,
    trust: Trust,
    copied: Copied,
    progress: Progress,
) -> None:
    """Copy the best, and what it lacks beside its entries from the others."""
    key = VerifierKey.parse(trust.log_vkey)
    with TileLedger.open(to, origin=trust.origin, vkey=key, verify=verify, writer=True) as target:
        for source in sorted(sources, key=lambda each: each.copy is not best):
            copy_beside(source.files, source.others, to, copied, replace=False)
            if source.copy is best:
                copy_entries(source.files, target, copied, progress)
    copied.damaged = tuple(name for name in copied.damaged if not (to / name).exists())


def _check_audit(findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.code in FATAL:
            raise IntegrityError(
                f"the restored ledger is no good: {finding.words}",
                advice="Give another copy as a SOURCE, and keep this one as evidence.",
                problem=finding.code.name,
            )


def _record(done: Restored, wanted: Wanted, now_ms: int) -> dict[str, object]:
    """Return what is kept of it beside the ledger."""
    return {
        "restored_at_ms": now_ms,
        "source": done.source,
        "size": done.size,
        "root": done.root,
        "is_proven": done.is_proven,
        "receipts": done.receipts,
        "unproven": wanted.unproven,
        "left_out": done.left_out,
        "witnesses": {
            name: answer.claim.size if answer.claim else answer.problem
            for name, answer in done.answers.items()
        },
    }
