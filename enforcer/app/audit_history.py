"""A ledger at a time, a target's story, and what two ledgers or two times differ in; offline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path

from enforcer.app.acts import SALT_BYTES
from enforcer.app.assessment_draft import words
from enforcer.app.audit import open_ledger
from enforcer.app.check import Replay, name_of
from enforcer.backends.keys import verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.entry import Entry, parse, parse_payload
from enforcer.core.hold import AssessmentRecorded
from enforcer.core.name import Name
from enforcer.core.network import Address
from enforcer.core.trust import Trust
from enforcer.errors import InputError
from enforcer.services.audit import Progress
from enforcer.services.explain_target import Mention, TargetStory, tell
from enforcer.services.replay import (
    Act,
    Change,
    Changed,
    Story,
    Then,
    at_time,
    changes,
    common_size,
    fold,
    read_entries,
    tell_all,
)

__all__ = [
    "Act",
    "Change",
    "Changed",
    "Comparison",
    "Mention",
    "Side",
    "TargetStory",
    "Then",
    "assessments_told",
    "compare_ledgers",
    "compare_sizes",
    "compare_times",
    "replay_at",
    "tell_target",
]


@dataclass(frozen=True, slots=True)
class Side:
    """One of two ledgers that are compared."""

    size: int
    root: str
    checkpoint: str | None
    """Its signed note; None where an earlier size of a ledger is meant."""
    added: tuple[Act, ...]
    """Its entries beyond what both have."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two ledgers have in common, and what each has beyond."""

    common_size: int
    first: Side
    second: Side

    @property
    def is_fork(self) -> bool:
        """Tell whether neither continues the other."""
        return bool(self.first.added) and bool(self.second.added)


def replay_at(
    directory: Path, trust: Trust, t_ms: int | None, now_ms: int, progress: Progress
) -> Then:
    """Say how things stood at `t_ms`, by the entries recorded until then; else how they stand.

    Raises:
        NotFoundError: there is no ledger.
        IntegrityError: it is not what the trusted key signed, or cannot be understood.
    """
    _, story = _replayed(directory, trust, t_ms, progress)
    return at_time(story.then, _moment(story, t_ms, now_ms))


def tell_target(
    directory: Path,
    trust: Trust,
    target: str,
    t_ms: int | None,
    now_ms: int,
    progress: Progress,
    identity: str | None = None,
) -> TargetStory:
    """Tell what decides a name or an address, and everything that ever named it.

    Sealed lists are read where they were published, or `identity` opens them.

    Raises:
        InputError: it is neither.
        NotFoundError: there is no ledger, or a protected list is not here.
        IntegrityError: the ledger is not what the trusted key signed, or cannot be understood.
    """
    wanted = target_of(target)
    ledger, story = _replayed(directory, trust, t_ms, progress)
    acts = {
        order_id: list(some)
        for order_id, some in groupby(
            sorted(
                (act for act in story.acts if act.order_id is not None),
                key=lambda act: (act.order_id, act.index),
            ),
            key=lambda act: act.order_id or "",
        )
    }
    lists = Replay(story.now, ledger, identity).text
    return tell(story.then, story.now, acts, lists, wanted, _moment(story, t_ms, now_ms))


def assessments_told(directory: Path, trust: Trust, story: TargetStory) -> dict[int, str]:
    """Return what the assessments of a story said, by their entries, as far as that is here.

    Raises:
        NotFoundError: there is no ledger.
        IntegrityError: it or a document is not what was signed.
    """
    acts = {act.index: act for mention in story.mentions for act in mention.acts}
    wanted = [at for at, act in acts.items() if act.kind == AssessmentRecorded.__name__]
    told: dict[int, str] = {}
    if not wanted:
        return told
    ledger = open_ledger(directory, trust)
    for index in wanted:
        [leaf] = ledger.entries(index, index + 1)
        payload = parse_payload(parse(leaf).envelope)
        if isinstance(payload, AssessmentRecorded):
            names = (payload.facts_sha256, payload.necessity_sha256)
            told[index] = words(*(_document(ledger, each) for each in names))
    return told


def _document(ledger: TileLedger, sha256: str) -> bytes | None:
    return ledger.side.read(sha256)[SALT_BYTES:] if ledger.side.has(sha256) else None


def target_of(text: str) -> Name | Address:
    """Read a name or an address as people write it.

    Raises:
        InputError: it is neither; a URL or a prefix is refused.
    """
    try:
        return ip_address(text)
    except ValueError:
        pass
    if "/" in text and ":" not in text.partition("/")[0] and text.partition("/")[2].isdecimal():
        raise InputError(
            f"{text!r} is a prefix", advice="Give one address, or a name.", field="target"
        )
    return name_of(text)


def compare_ledgers(first: Path, second: Path, trust: Trust, progress: Progress) -> Comparison:
    """Compare two copies of one ledger.

    Raises:
        NotFoundError: there is no ledger.
        IntegrityError: one is not what the trusted key signed, or cannot be understood.
    """
    one, other = open_ledger(first, trust), open_ledger(second, trust)
    same = common_size(one, other)
    return Comparison(
        same,
        _side(one, trust, same, one.size, progress),
        _side(other, trust, same, other.size, progress),
    )


def compare_sizes(
    directory: Path, sizes: tuple[int, int], trust: Trust, progress: Progress
) -> Comparison:
    """Say what was added to a ledger between two of its sizes.

    Raises:
        InputError: the ledger has no such sizes, in this order.
    """
    ledger = open_ledger(directory, trust)
    first, second = sizes
    if not 0 <= first <= second <= ledger.size:
        raise InputError(
            f"a ledger of {ledger.size} entries has no sizes {first} and {second}, in this order",
            advice=f"Give two sizes from 0 to {ledger.size}, the smaller one first.",
            field="sizes",
        )
    return Comparison(
        first,
        _side(ledger, trust, first, first, progress),
        _side(ledger, trust, first, second, progress),
    )


def compare_times(
    directory: Path, times_ms: tuple[int, int], trust: Trust, progress: Progress
) -> tuple[Then, Then, list[Changed]]:
    """Say what came into force and what ended between two times.

    Raises:
        InputError: the second is before the first.
    """
    first_ms, second_ms = times_ms
    if second_ms < first_ms:
        raise InputError(
            "the second time is before the first", advice="Turn them round.", field="times"
        )
    _, story = _replayed(directory, trust, first_ms, progress)
    earlier = at_time(story.then, first_ms)
    _, story = _replayed(directory, trust, second_ms, progress)
    later = at_time(story.then, second_ms)
    return earlier, later, changes(earlier, later)


def _replayed(
    directory: Path, trust: Trust, t_ms: int | None, progress: Progress
) -> tuple[TileLedger, Story]:
    ledger = open_ledger(directory, trust)
    entries = _watched(ledger, ledger.size, progress)
    return ledger, tell_all(trust.genesis(verify), entries, t_ms)


def _moment(story: Story, t_ms: int | None, now_ms: int) -> int:
    # What the ledger has recorded has happened, whatever this machine's clock says.
    return max(now_ms, story.now.recorded_at_ms) if t_ms is None else t_ms


def _side(ledger: TileLedger, trust: Trust, same: int, size: int, progress: Progress) -> Side:
    note = ledger.checkpoint_note
    added: tuple[Act, ...] = ()
    if size > same:  # what it does rests on all that stands before it
        acts = fold(trust.genesis(verify), _watched(ledger, size, progress))
        added = tuple(act for act in acts if act.index >= same)
    return Side(
        size,
        ledger.root_at(size).hex(),
        note.decode("utf-8") if note is not None and size == ledger.size else None,
        added,
    )


def _watched(ledger: TileLedger, size: int, progress: Progress) -> Iterator[Entry]:
    for done, entry in enumerate(read_entries(ledger, 0, size), 1):
        progress("replay entries", done, size)
        yield entry
