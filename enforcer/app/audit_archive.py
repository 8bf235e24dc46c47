"""A ledger as one archive: written from a directory, and opened where a directory is expected.

The members stand where they stand in a ledger's directory, so an unpacked archive is one. What is
written is what the checkpoint covers and what its entries name, nothing else that lies about; the
tiles are verified on the way. Sealed lists that were not published, and their wraps, are left out
unless they are asked for: what nobody has can never be opened by a key that is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from enforcer.app.audit import (
    Summary,
    audit_directory,
    earlier_in,
    kept_attestations,
    open_ledger,
    read_note,
)
from enforcer.backends.archive import ABOUT, Content, unpack, write_archive
from enforcer.backends.batch_files import batch_name
from enforcer.backends.content import MARK
from enforcer.backends.sealing import WRAP_BYTES_MAX
from enforcer.backends.tiles import LIST_BYTES_MAX, SIDE_BYTES_MAX, TileLedger
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.batch import BATCH_BYTES_MAX
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.entry import AnyPayload, parse, parse_payload
from enforcer.core.note import NOTE_BYTES_MAX, Note
from enforcer.core.order import OrderProposed, OrderPublished
from enforcer.core.policy import PolicyAdopted
from enforcer.core.tile import BUNDLE, BUNDLE_BYTES_MAX, TILE_BYTES, Tile, width_at
from enforcer.core.trust import Trust
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.services.audit import Progress
from enforcer.services.audit_claims import KeptAttestation
from enforcer.services.findings import Code, Finding
from enforcer.services.side_files import named_by

FORMAT: Final = "enforcer-ledger-archive-v1"
ABOUT_BYTES_MAX: Final = 65_536
ATTESTATION_BYTES_MAX: Final = 65_535

_ATTESTATION: Final = r"attestations/[a-z0-9][a-z0-9._-]{0,63}/[0-9]{1,16}-[0-9]{1,16}\.json"
_SIZES: Final = (
    (re.compile(re.escape(ABOUT)), ABOUT_BYTES_MAX),
    (re.compile("checkpoint"), NOTE_BYTES_MAX),
    (re.compile("checkpoints/[0-9]{1,16}-[0-9a-f]{16}"), NOTE_BYTES_MAX),
    (re.compile("cosigned"), NOTE_BYTES_MAX),
    (re.compile(_ATTESTATION), ATTESTATION_BYTES_MAX),
    (re.compile(r"batches/[0-9]{16}-[0-9a-f]{64}\.zlib"), BATCH_BYTES_MAX),
    (re.compile("lists/[0-9a-f]{64}"), LIST_BYTES_MAX),
    (re.compile("wraps/[0-9a-f]{64}/[0-9a-f]{64}"), WRAP_BYTES_MAX),
    (re.compile("side/[0-9a-f]{64}"), SIDE_BYTES_MAX),
    (re.compile(rf"side/[0-9a-f]{{64}}{re.escape(MARK)}"), ABOUT_BYTES_MAX),
)


@dataclass(slots=True)
class Exported:
    """What an archive was made of."""

    size: int
    root: str
    sums_sha256: str = ""
    """SHA-256 of its list of hashes: the same for the same content, however it is packed."""
    lists: int = 0
    documents: int = 0
    attestations: int = 0
    checkpoints: int = 0
    withheld: int = 0
    """Sealed lists, which not everybody may read yet, and that were left out."""
    wraps: int = 0
    """Keys of sealed lists, each for one receiver, that stand beside them."""


@dataclass(slots=True)
class Named:
    """What the entries of a ledger name."""

    lists: set[str] = field(default_factory=set)
    documents: set[str] = field(default_factory=set)
    restricted: set[str] = field(default_factory=set)
    """Those of the lists that not everybody may read yet."""
    batches: set[str] = field(default_factory=set)
    """Names of files."""


@dataclass(frozen=True, slots=True)
class LedgerCopy:
    """A ledger's directory, and when it was taken, if it says so."""

    directory: Path
    taken_at_ms: int | None = None


def export_archive(
    directory: Path,
    to: Path,
    trust: Trust,
    *,
    taken_at_ms: int,
    earlier: Sequence[Path] = (),
    with_restricted: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Exported:
    """Write the ledger in `directory`, live or a copy, into the archive `to`.

    Always true: the same directory, earlier checkpoints and time give the same bytes.

    Raises:
        NotFoundError, UnavailableError, ConflictError: something cannot be read, or be written.
        IntegrityError: the checkpoint or a tile is not what it must be.
    """
    # Before the checkpoint: what a node of a live ledger attests later is not in this tree.
    kept = kept_attestations(directory / "attestations")
    notes = [read_note(path) for path in (*earlier, *earlier_in(directory))]
    ledger = open_ledger(directory, trust)
    named = named_by_entries(ledger, progress)
    done = Exported(ledger.size, ledger.root.hex())
    about = {
        "format": FORMAT,
        "origin": trust.origin,
        "size": ledger.size,
        "root": ledger.root.hex(),
        "taken_at_ms": taken_at_ms,
    }

    def members() -> Iterator[tuple[str, Content]]:
        for name, envelope in _attestations(kept):
            done.attestations += 1
            yield name, envelope
        for name in sorted(named.batches):
            if (path := directory / "batches" / name).is_file():
                yield f"batches/{name}", path
        yield "checkpoint", ledger.checkpoint_note or b""
        for name, note in sorted({_note_name(note): note for note in notes}.items()):
            done.checkpoints += 1
            yield name, note
        if ledger.cosigned_note is not None:
            yield "cosigned", ledger.cosigned_note
        for sha256_ in sorted(named.lists):
            if sha256_ in named.restricted and not with_restricted:
                done.withheld += 1
            elif ledger.lists.has(sha256_):
                done.lists += 1
                yield f"lists/{sha256_}", ledger.lists.path(sha256_)
        for sha256_ in sorted(named.documents):
            if ledger.side.has(sha256_):
                done.documents += 1
                yield f"side/{sha256_}", ledger.side.path(sha256_)
            elif ledger.side.is_erased(sha256_):
                yield f"side/{sha256_}{MARK}", ledger.side.mark(sha256_)
        for at, tile in enumerate(tiles := _tiles(ledger.size), 1):
            yield tile.path, ledger.tile(tile.level, tile.index, tile.width)
            progress("write tiles", at, len(tiles))
        for sha256_ in sorted(named.restricted) if with_restricted else ():
            for key_id in ledger.wraps.receivers(sha256_):
                done.wraps += 1
                yield f"wraps/{sha256_}/{key_id}", ledger.wraps.read(sha256_, key_id) or b""

    done.sums_sha256 = write_archive(to, _json(about), members())
    return done


@contextmanager
def ledger_copy(
    path: Path, progress: Progress = lambda _stage, _done, _total: None
) -> Iterator[LedgerCopy]:
    """Give a ledger's directory: `path` itself, or what the archive `path` holds, for a while.

    An archive is unpacked below TMPDIR; what was unpacked is gone when the block ends.

    Raises:
        NotFoundError: there is nothing.
        IntegrityError, UnavailableError: as :func:`enforcer.backends.archive.unpack`.
    """
    if path.is_dir() or not path.exists():
        yield LedgerCopy(path)
        return
    with TemporaryDirectory(prefix="enforcer-audit-") as fresh:
        to = Path(fresh) / "ledger"
        unpack(path, to, layout, partial(progress, "unpack the archive"))
        yield LedgerCopy(to, _taken_at_ms(path, (to / ABOUT).read_bytes()))


def audit_copy(
    path: Path,
    trust: Trust,
    *,
    now_ms: int,
    as_of_ms: int | None = None,
    earlier: Sequence[Path] = (),
    progress: Progress = lambda _stage, _done, _total: None,
    identity: str | None = None,
    must_open: bool = False,
) -> tuple[Summary, list[Finding], int]:
    """Audit a directory or an archive, as of `as_of_ms`, else of when it was taken, else of now.

    Returns also the time that it is of.

    Raises:
        NotFoundError, UnavailableError, InputError: as :func:`enforcer.app.audit.audit_directory`.
    """
    try:
        with ledger_copy(path, progress) as copy:
            as_of_ms = as_of_ms or copy.taken_at_ms or now_ms
            summary, findings = audit_directory(
                copy.directory,
                trust,
                as_of_ms=as_of_ms,
                earlier=earlier,
                progress=progress,
                identity=identity,
                must_open=must_open,
            )
            return summary, [_in_place(each, copy.directory) for each in findings], as_of_ms
    except IntegrityError as error:
        member = error.data.get("member")
        place = member if isinstance(member, str) and member else str(path)
        found = Finding(Code.ARCHIVE_DAMAGED, error.message, place=place)
        return Summary(trust.origin), [found], as_of_ms or now_ms


def layout(name: str) -> int | None:
    """Return the most bytes that a member has; None where it has no place in an archive."""
    for pattern, size_bytes_max in _SIZES:
        if pattern.fullmatch(name):
            return size_bytes_max
    try:
        tile = Tile.parse(name)
    except InputError:
        return None
    return BUNDLE_BYTES_MAX if tile.level == BUNDLE else TILE_BYTES


def named_by_entries(ledger: TileLedger, progress: Progress) -> Named:
    """Read which files beside the ledger its entries name."""
    named, public = Named(), set()
    sealed: dict[int, set[str]] = {}
    for done, leaf in enumerate(ledger.entries(0, ledger.size), 1):
        progress("read entries", done, ledger.size)
        try:
            payload = parse_payload(parse(leaf).envelope)
        except EnforcerError:
            continue  # a rule that somebody broke; the archive is to show it
        named.documents |= named_by(payload)
        lists = _lists_of(payload)
        named.lists |= lists
        if isinstance(payload, OrderProposed) and payload.publication.is_sealed:
            named.restricted |= lists
            sealed[done - 1] = lists
        elif isinstance(payload, AttestationsRecorded):
            named.batches.add(batch_name(payload.until_ms, payload.batch_sha256))
        elif isinstance(payload, OrderPublished):
            public |= sealed.get(payload.order.entry_index, set())
        else:
            public |= lists
    named.restricted -= public
    return named


def _attestations(kept: Sequence[KeptAttestation]) -> Iterator[tuple[str, bytes]]:
    for attestation in kept:  # ascending by place, that is by name
        if re.fullmatch(_ATTESTATION, attestation.place):
            with suppress(NotFoundError):  # a live control plane drops the oldest
                yield attestation.place, attestation.read()


def _lists_of(payload: AnyPayload) -> set[str]:
    match payload:
        case OrderProposed():
            return {payload.list_file_sha256}
        case PolicyAdopted(pins=pins):
            return set(pins.lists)
        case _:
            return set()


def _tiles(size: int) -> list[Tile]:
    """Return the tiles and bundles of a tree, in the order of their paths."""
    found, level = [], BUNDLE
    while level == BUNDLE or width_at(level, 0, size):
        index = 0
        while width := width_at(level, index, size):
            found.append(Tile(level, index, width))
            index += 1
        level += 1
    return sorted(found, key=lambda tile: tile.path)


def _note_name(note: bytes) -> str:
    """Return where an earlier checkpoint stands: by the size that it says, and its own hash."""
    size = Checkpoint.parse(Note.parse(note).text).size
    return f"checkpoints/{size}-{sha256(note).hexdigest()[:16]}"


def _taken_at_ms(path: Path, about: bytes) -> int:
    """Read when an archive was made; nobody signs that, so whoever relies on it says so."""
    try:
        plain = json.loads(about)
        if plain["format"] == FORMAT and type(plain["taken_at_ms"]) is int:
            return int(plain["taken_at_ms"])
    except (ValueError, KeyError, TypeError):
        pass
    raise IntegrityError(
        f"the {ABOUT} in {path} is not that of an archive of a ledger",
        advice="Get an archive that `enforcer audit export` made.",
        problem="malformed",
        path=str(path),
        member=ABOUT,
    )


def _in_place(finding: Finding, directory: Path) -> Finding:
    """Return a finding that names files as they are named in a ledger, wherever this one is."""
    if finding.place is None or not finding.place.startswith(f"{directory}/"):
        return finding
    return replace(
        finding,
        place=finding.place.removeprefix(f"{directory}/"),
        words=finding.words.replace(f"{directory}/", ""),
    )


def _json(plain: dict[str, object]) -> bytes:
    return json.dumps(plain, indent=2).encode("ascii") + b"\n"
