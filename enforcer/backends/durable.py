"""Files that are on the disk when the call returns, and whole or absent after a crash.

A file is written beside its target, synced, renamed over it, and the directory is synced; one
that nobody can be reading yet is written in its place (`write_unread`).
An fsync that fails is final: the kernel may have dropped the pages and will report the next fsync
of that file as a success. So nothing here repeats one; the caller writes the data anew.
When a call raises before its renames the targets are as before, and after them the old or the
new files, whole. Every OSError becomes an UnavailableError with the path and the remedy. One
writer a target: the name of the temporary file is fixed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from enforcer.errors import IntegrityError, NotFoundError, UnavailableError

PUBLIC_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o600
SYNCS_AT_ONCE_MAX: Final = 8
PART_BYTES: Final = 1 << 20

_FULL: Final = "Free space on the filesystem that holds it, then repeat; nothing was changed."
_RIGHTS: Final = "Let this process's user read and write it, then repeat."
_FAULT: Final = "Look at the kernel's log for a failing disk, then restart this process."
_REMEDY: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "Raise the limit on file sizes (ulimit -f), then repeat; nothing was changed.",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "Mount the filesystem that holds it writable, then repeat.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n), then repeat.",
    errno.ENFILE: "Raise the limit on open files (fs.file-max), then repeat.",
    errno.ENOENT: "Restore the directory it belongs in, then repeat.",
    errno.ENOTDIR: "A file stands where a directory belongs: move it away.",
    errno.EISDIR: "A directory stands where a file belongs: move it away.",
}


def write_file(path: Path, data: bytes, *, mode: int = PUBLIC_MODE) -> None:
    """Put `data` into the file `path`, in a directory that exists.

    Raises:
        UnavailableError: it could not be made durable.
    """
    write_files({path: data}, mode=mode)


def write_files(files: Mapping[Path, bytes], *, mode: int = PUBLIC_MODE) -> None:
    """Put several files; each is whole or absent by itself, their directories exist.

    Raises:
        UnavailableError: one could not be made durable; others may have been.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            staged[path] = temporary_of(path)
            with reporting(path, "write"):
                _write_new(staged[path], data, mode)
        for path, temporary in staged.items():
            with reporting(path, "put in place"):
                temporary.replace(path)
    except UnavailableError:
        for temporary in staged.values():
            remove_quietly(temporary)
        raise
    for directory in dict.fromkeys(path.parent for path in files):
        sync_directory(directory)


def write_unread(files: Mapping[Path, bytes], *, mode: int = PUBLIC_MODE) -> None:
    """Make files durable that nobody reads until something else, written later, names them.

    So none is written beside its target first, and all of them are synced at once, with their
    directories: a journal takes that as one commit, where one after the other would be as many.
    A crash leaves each absent, cut or whole, and whoever writes it next begins it anew.

    Raises:
        UnavailableError: one could not be made durable; none is left behind, if it can be helped.
    """
    opened: dict[int, Path] = {}
    try:
        for path, data in files.items():
            with reporting(path, "write"):
                descriptor = _begin(path, mode)
                opened[descriptor] = path
                fill(descriptor, data)
        _sync_at_once(opened, dict.fromkeys(path.parent for path in files))
    except UnavailableError:
        for path in opened.values():
            remove_quietly(path)
        raise
    finally:
        for descriptor in opened:
            os.close(descriptor)


def temporary_of(path: Path) -> Path:
    """Return where a file is written before it takes its place: what a crash may leave behind."""
    return path.with_name(f".{path.name}.tmp")


def make_directory(path: Path) -> None:
    """Make a directory and its parents, durably; one that exists is left alone.

    Raises:
        UnavailableError: it could not be made, or is a file.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_directory(path.parent)
    with reporting(path, "make the directory"):
        path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        UnavailableError: the kernel could not; which names are on the disk is then unknown.
    """
    _sync(path, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make a file durable that another process may have left unsynced, without writing to it.

    Raises:
        UnavailableError: the kernel could not.
    """
    _sync(path, 0)
    sync_directory(path.parent)


def read_file(path: Path, *, size_bytes_max: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        NotFoundError: there is none.
        IntegrityError: it is larger than `size_bytes_max`.
        UnavailableError: it cannot be read.
    """
    try:
        with reporting(path, "read"), path.open("rb") as file:
            data = file.read(size_bytes_max + 1)
    except UnavailableError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise NotFoundError(
            f"{path} does not exist",
            advice="Check the path; if the file was lost, restore it from a replica or a backup.",
            path=str(path),
        ) from error.__cause__
    if len(data) > size_bytes_max:
        raise IntegrityError(
            f"{path} is larger than {size_bytes_max} bytes, so it is not what it should be",
            advice="Restore it from a replica or a backup.",
            problem="too large",
            path=str(path),
            expected=size_bytes_max,
        )
    return data


def read_parts(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in parts of at most 1 MiB.

    Raises:
        UnavailableError: it is not there or cannot be read.
    """
    with reporting(path, "read"), path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def read_back(path: Path, *, size_bytes_max: int) -> bytes:
    """Return what the disk holds of a synced file, past the page cache where the kernel lets us.

    Raises:
        UnavailableError: it is gone or cannot be read.
        IntegrityError: it is larger than `size_bytes_max`.
    """
    with reporting(path, "read back"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return read_file(path, size_bytes_max=size_bytes_max)


def remove_quietly(path: Path) -> None:
    """Remove a file that nobody needs, such as a leftover of a crash: failing is no harm."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def fill(descriptor: int, data: bytes) -> None:
    """Write all of `data` where the descriptor stands; a caller's OSError is its own to tell."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def reporting(path: Path, action: str) -> Iterator[None]:
    """Turn every OSError in the block into the error that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"cannot {action} {path}: {error.strerror or error}",
            advice=_REMEDY.get(error.errno or 0, _FAULT),
            path=str(path),
            errno=errno.errorcode.get(error.errno or 0),
        ) from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write and sync a file; the mode is in force before its first byte."""
    descriptor = _begin(path, mode)
    try:
        fill(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _begin(path: Path, mode: int) -> int:
    # A leftover of a crash could have other rights, or be the open file of somebody else.
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def _sync_at_once(opened: Mapping[int, Path], directories: Iterable[Path]) -> None:
    pool = _pool()
    syncs = [pool.submit(_sync_open, *each) for each in opened.items()]
    syncs += [pool.submit(sync_directory, each) for each in directories]
    wait(syncs)  # all of them: who closes the files waits for the last
    for sync in syncs:
        sync.result()


@cache
def _pool() -> ThreadPoolExecutor:
    """Return this process's threads for that: to start them anew costs more than to sync."""
    return ThreadPoolExecutor(SYNCS_AT_ONCE_MAX, "sync")


# A child has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def _sync_open(descriptor: int, path: Path) -> None:
    with reporting(path, "sync"):
        os.fsync(descriptor)


def _sync(path: Path, flags: int) -> None:
    with reporting(path, "sync"):
        descriptor = os.open(path, os.O_RDONLY | flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
