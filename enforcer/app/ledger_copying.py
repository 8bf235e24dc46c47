"""Copying a ledger and what lies beside it: each octet verified on the way, and durable.

Entries are appended to the copy as a node does it: the tiles are computed from them, written, read
back and hashed again, and the checkpoint is put in place last. So a copy that was interrupted
is the former one; and every step can be repeated. What an earlier copy has is not read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.backends.content import MARK, ContentStore
from enforcer.backends.control_marks import FOLDER as CONTROL_FOLDER
from enforcer.backends.cosigned_file import AHEAD_FILE
from enforcer.backends.fold_file import FOLD_FILE
from enforcer.backends.tile_growth import APPEND_BYTES_MAX, APPEND_LEAVES_MAX
from enforcer.backends.tile_tail import DAMAGED_FILE, LAID_FILE, TAIL_FILE
from enforcer.backends.tile_writer import received
from enforcer.backends.tiles import LOCK_FILE, TileLedger
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core.tile import ENTRY_BYTES_MAX
from enforcer.errors import EnforcerError, IntegrityError, NotFoundError
from enforcer.services.audit import Progress

OTHER_BYTES_MAX: Final = 64 << 20
FILES_AT_ONCE_MAX: Final = 64
LEAVES_AT_ONCE_MAX: Final = min(APPEND_LEAVES_MAX, APPEND_BYTES_MAX // ENTRY_BYTES_MAX)
_OF_THE_LEDGER: Final = frozenset(
    (
        *(TAIL_FILE, LAID_FILE, DAMAGED_FILE, AHEAD_FILE),
        *("tile", "lists", "side", "wraps", "checkpoint", "cosigned", "begun"),
        *(LOCK_FILE, FOLD_FILE, CONTROL_FOLDER),
    )
)


@dataclass(slots=True)
class Copied:
    """What was copied, beyond what was there."""

    entries: int = 0
    lists: int = 0
    documents: int = 0
    erased: int = 0
    wraps: int = 0
    others: int = 0
    """Attestations, earlier checkpoints, and what else a control plane keeps there."""
    damaged: tuple[str, ...] = ()
    """Files that do not hash to their names, and were left out."""


def other_files(directory: Path) -> list[Path]:
    """Return what lies beside a ledger and is not its own, relative, sorted.

    To be called before the ledger is opened: what a node attests later is not of that tree.
    """
    found = []
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in relative.parts)
        if relative.parts[0] in _OF_THE_LEDGER or hidden:
            continue
        if path.is_file() and not path.is_symlink():
            found.append(relative)
    return found


def copy_beside(
    source: TileLedger, others: list[Path], to: Path, copied: Copied, *, replace: bool
) -> None:
    """Copy lists, documents, wraps and other files that `to` does not have.

    What was erased by law is erased in `to`. With `replace`, other files and wraps that differ are
    copied too; the source is then newer than what is there.

    Raises:
        UnavailableError: something cannot be read, or the disk did not take it.
    """
    copied.lists += _copy_content(source.lists, _like(source.lists, to / "lists"), copied)
    copied.documents += _copy_content(source.side, _like(source.side, to / "side"), copied)
    copied.wraps += _copy_wraps(source, to, replace=replace)
    copied.others += _copy_others(source.path, others, to, replace=replace)


def copy_entries(source: TileLedger, to: TileLedger, copied: Copied, progress: Progress) -> None:
    """Append what `to` lacks, and put the source's checkpoint in place.

    Raises:
        IntegrityError: a file of the source is damaged, or the copy does not hash to what the log
            signed.
        UnavailableError: the disk did not take it; the copy is as before.
    """
    note, size = source.checkpoint_note, source.size
    if note is None or size == to.size:
        return
    leaves = source.entries(to.size, size)
    done = to.size
    while part := tuple(islice(leaves, LEAVES_AT_ONCE_MAX)):
        done += len(part)
        if done < size:
            to.stage(part)
        else:
            to.append(part, received(note))
        copied.entries += len(part)
        progress("copy entries", done, size)
    if source.cosigned_note is not None:
        to.keep_cosigned(source.cosigned_note)


def check_content(directory: Path, progress: Progress) -> list[str]:
    """Hash every list and document again, and return those that are not what their names say.

    Raises:
        UnavailableError: one cannot be read.
    """
    found = []
    stores = [ContentStore(directory / each, size_bytes_max=1) for each in ("lists", "side")]
    names = [(store, name) for store in stores for name in store.names()]
    for done, (store, name) in enumerate(names, 1):
        if not store.is_whole(name):
            found.append(f"{store.directory.name}/{name}")
        progress("check files", done, len(names))
    return found


def _like(store: ContentStore, directory: Path) -> ContentStore:
    return ContentStore(directory, size_bytes_max=store.size_bytes_max)


def _copy_content(source: ContentStore, to: ContentStore, copied: Copied) -> int:
    """Copy the files of one store; return how many."""
    count = 0
    for mark in sorted(source.directory.glob(f"[!.]*{MARK}")):
        sha256 = mark.name.removesuffix(MARK)
        if to.has(sha256) or not to.is_erased(sha256):
            to.erase(sha256, durable.read_file(mark, size_bytes_max=OTHER_BYTES_MAX))
            copied.erased += 1
    for sha256 in source.names():
        if to.has(sha256) or to.is_erased(sha256):
            continue
        try:
            with to.writer() as writer:
                for chunk in source.chunks(sha256):
                    writer.write(chunk)
                writer.commit(sha256)
            count += 1
        except IntegrityError:
            copied.damaged += (f"{source.directory.name}/{sha256}",)
        except NotFoundError:
            continue  # an upload that nothing named, which made room meanwhile
    return count


def _copy_wraps(source: TileLedger, to: Path, *, replace: bool) -> int:
    wraps, count = WrapFiles(to / "wraps"), 0
    folder = source.path / "wraps"
    for sealed in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = {}
        for key_id in source.wraps.receivers(sealed.name):
            here, there = source.wraps.read(sealed.name, key_id), wraps.read(sealed.name, key_id)
            if here is not None and (there is None or (replace and there != here)):
                found[key_id] = here
        wraps.put_all(sealed.name, found)
        count += len(found)
    return count


def _copy_others(source: Path, others: list[Path], to: Path, *, replace: bool) -> int:
    count = 0
    changed = _changed(source, others, to, replace=replace)
    while part := dict(islice(changed, FILES_AT_ONCE_MAX)):
        for folder in dict.fromkeys(path.parent for path in part):
            durable.make_directory(folder)
        durable.write_unread(part)
        count += len(part)
    return count


def _changed(
    source: Path, others: list[Path], to: Path, *, replace: bool
) -> Iterator[tuple[Path, bytes]]:
    for relative in others:
        target = to / relative
        if target.exists() and not replace:
            continue
        try:
            data = durable.read_file(source / relative, size_bytes_max=OTHER_BYTES_MAX)
        except NotFoundError:
            continue  # it was replaced by a newer one meanwhile
        if _content(target) != data:
            yield target, data


def _content(path: Path) -> bytes | None:
    try:
        return durable.read_file(path, size_bytes_max=OTHER_BYTES_MAX)
    except EnforcerError:
        return None
