"""Guards over one order's list, in the list worker's process or in a program of its own.

The same answer, and the same octets of a report, wherever it is asked for: it depends on the
facts and on lists with the hashes that these name, and on nothing else. Keeps the compiled data
of the last policies, and hashes a past order's list once for as long as its file is untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from enforcer._native.guards import GuardIndex, ScanFound
from enforcer.backends import durable
from enforcer.backends.guard_index import GUARD_NAMES, compile_index
from enforcer.backends.list_tasks import Text, bounded_memory, mapped, verified
from enforcer.backends.sealing import SALT_OCTETS
from enforcer.core.guard import EVIDENCE_MAX, Guard, GuardScan
from enforcer.core.guard_data import PINNED_BYTES_MAX
from enforcer.core.guard_facts import GuardFacts, evidence_of, related
from enforcer.core.guard_report import HITS_BYTES_MAX, report_head, report_tail
from enforcer.core.history import Relation
from enforcer.core.policy import Pins
from enforcer.ports import GuardJob

_INDICES_MAX: Final = 2
_FILES_MAX: Final = 65_536

_File = tuple[str, int, int, int]
_indices: dict[Pins, GuardIndex] = {}
_hashed: set[_File] = set()


def scan_guards(job: GuardJob) -> GuardScan:
    """Scan one order's list.

    Raises:
        IntegrityError: a list does not have its SHA-256, which is ``expected`` in the data.
        InputError: a line is no target, or pinned data is not canonical.
        UnavailableError: a list cannot be read, or memory has run out.
    """
    facts = job.facts
    with (
        bounded_memory(),
        verified(facts.target_list_sha256, job.paths[facts.target_list_sha256], job.salted) as text,
    ):
        found = _index(facts.pins, job.paths).scan(
            text,
            guard_names=GUARD_NAMES,
            emergencies=_evident(job, Guard.EMERGENCY_REPEATED),
            stops=_evident(job, Guard.STOPPED_BEFORE),
            hidden=_evident(job, Guard.HIDDEN_BEFORE),
            administrative=(
                (each.blocked_ms, past) for each, past in _past(job, Guard.ADMINISTRATIVE_TIME)
            ),
            administrative_ms=facts.administrative_ms,
            administrative_ms_max=facts.administrative_ms_max,
            administrative_evidence=facts.administrative_evidence.encode("ascii"),
            report_bytes_max=HITS_BYTES_MAX,
        )
    return _result(facts, found)


def _result(facts: GuardFacts, found: ScanFound) -> GuardScan:
    counts = {Guard(guard): count for guard, count in sorted(found.counts.items())}
    evidence = {
        guard: sorted(line.decode("ascii") for line in found.evidence[guard]) for guard in counts
    }
    report = b""
    if counts:
        report = report_head(facts, counts) + found.report + report_tail(found.left_out)
    return GuardScan(
        counts=counts,
        evidence={guard: tuple(lines[:EVIDENCE_MAX]) for guard, lines in evidence.items()},
        evidence_counts={guard: len(lines) for guard, lines in evidence.items()},
        report=report,
    )


def _index(pins: Pins, paths: Mapping[str, Path]) -> GuardIndex:
    """Return the index of what is pinned, made anew when it is not one of the last."""
    if pins in _indices:
        return _indices[pins]
    texts = []
    for sha256 in (
        pins.protected_core,
        pins.protected_names,
        pins.public_suffixes,
        pins.shared_ranges,
    ):
        if sha256 is None:
            texts.append(b"")
            continue
        with verified(sha256, paths[sha256]) as text:
            texts.append(bytes(text[: PINNED_BYTES_MAX + 1]))
    index = compile_index(*texts)
    while len(_indices) >= _INDICES_MAX:
        del _indices[next(iter(_indices))]
    _indices[pins] = index
    return index


def _evident(job: GuardJob, guard: Guard) -> Iterator[tuple[bytes, Text | memoryview]]:
    for each, past in _past(job, guard):
        yield evidence_of(each).encode("ascii"), past


def _past(job: GuardJob, guard: Guard) -> Iterator[tuple[Relation, Text | memoryview]]:
    """Yield the past orders that matter for a guard with their lists, mapped one at a time."""
    for each in related(job.facts, guard):
        sha256 = each.target_list_sha256
        with _once_verified(sha256, job.paths[sha256], job.salted) as text:
            yield each, text


@contextmanager
def _once_verified(sha256: str, path: Path, salted: frozenset[str]) -> Iterator[Text | memoryview]:
    with durable.reporting(path, "read"):
        found = path.stat()
    file = (sha256, found.st_ino, found.st_size, found.st_mtime_ns)
    if file in _hashed:
        with mapped(path) as text:
            yield memoryview(text)[SALT_OCTETS:] if sha256 in salted else text
        return
    with verified(sha256, path, salted) as text:
        if len(_hashed) >= _FILES_MAX:
            _hashed.clear()
        _hashed.add(file)
        yield text
