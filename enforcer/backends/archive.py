"""Archives: one file with a fixed layout, whose bytes are a function of what is in it.

A gzip stream of a ustar archive: first ``about.json``, then the members in bytewise order of
their names, last ``SHA256SUMS`` (as sha256sum(1) writes it) over all of them. One content has
one spelling, so reading is comparing: a header that is not the one that the name and size give is
refused, whatever it would mean elsewhere (links, devices, long names, owners, times). Reading
writes only into a folder that it made itself, and leaves nothing of an archive that it refuses.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Final, TypeAlias

from enforcer.backends import durable
from enforcer.backends.unzip import CHUNK_BYTES, Unzipped, broken
from enforcer.errors import ConflictError, NotFoundError

MEMBERS_MAX: Final = 1_000_000
ARCHIVE_BYTES_MAX: Final = 1 << 36
"""Unpacked, all members together."""
ABOUT: Final = "about.json"
SUMS: Final = "SHA256SUMS"
GZIP_LEVEL: Final = 6

_BLOCK_BYTES: Final = 512
_LINE_BYTES_MAX: Final = 64 + 2 + 255 + 1
_ENDING: Final = bytes(2 * _BLOCK_BYTES)

Content: TypeAlias = bytes | Path
Layout: TypeAlias = Callable[[str], int | None]
"""``layout(name)``: the most bytes that a member of this name has; None where it can have none."""
Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in bytes of the archive's file."""


def write_archive(to: Path, about: bytes, members: Iterable[tuple[str, Content]]) -> str:
    """Write an archive, durably, and return the SHA-256 of its ``SHA256SUMS``, in hex.

    `members` come in ascending order of their names; a file that is gone when its turn comes is
    left out.

    Raises:
        ConflictError: there is something at `to`.
        UnavailableError: it cannot be written, or a file not read; nothing is left at `to`.
    """
    if to.exists():
        raise ConflictError(
            f"{to} exists", advice="Name a file that does not exist yet.", path=str(to)
        )
    temporary = durable.temporary_of(to)
    try:
        with (
            durable.reporting(to, "write"),
            temporary.open("xb") as file,
            gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed,
        ):
            sums = b"".join(_write(packed, about, members))
            _put(packed, SUMS, BytesIO(sums), len(sums))
            packed.write(_ENDING)
            packed.close()
            file.flush()
            os.fsync(file.fileno())
        with durable.reporting(to, "put in place"):
            temporary.rename(to)
    finally:
        durable.remove_quietly(temporary)
    durable.sync_directory(to.parent)
    return sha256(sums).hexdigest()


def unpack(
    archive: Path, to: Path, layout: Layout, progress: Progress = lambda _done, _total: None
) -> None:
    """Check the archive to its last octet and put its members into `to`, a folder made here.

    Raises:
        ConflictError: there is something at `to`.
        NotFoundError: there is no archive.
        IntegrityError: it is not what an archive of this `layout` must be. ``data`` has the
            ``problem``, the ``member`` and the ``offset`` in the unpacked stream; `to` is gone.
        UnavailableError: it cannot be read, or `to` not be written; `to` is gone.
    """
    if not archive.is_file():
        raise NotFoundError(
            f"there is no archive {archive}", advice="Check the path.", path=str(archive)
        )
    with _fresh(to), durable.reporting(archive, "read"), archive.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        source = Unzipped(file, archive, lambda done: progress(done, total))
        _unpack(source, to, layout)


def _write(
    packed: gzip.GzipFile, about: bytes, members: Iterable[tuple[str, Content]]
) -> Iterator[bytes]:
    """Write the members, yielding each one's line of SHA256SUMS."""
    yield _put(packed, ABOUT, BytesIO(about), len(about))
    previous = ""
    for name, content in members:
        if not previous < name or name in (ABOUT, SUMS):
            raise ValueError(f"the member {name} does not come after {previous}")
        previous = name
        if isinstance(content, bytes):
            yield _put(packed, name, BytesIO(content), len(content))
            continue
        try:
            source = content.open("rb")
        except FileNotFoundError:
            continue
        with source:
            yield _put(packed, name, source, os.fstat(source.fileno()).st_size)


def _put(packed: gzip.GzipFile, name: str, source: IO[bytes], size_bytes: int) -> bytes:
    """Write one member; return its line of SHA256SUMS."""
    packed.write(_header(name, size_bytes))
    digest, left = sha256(), size_bytes
    while left:
        chunk = source.read(min(CHUNK_BYTES, left))
        if not chunk:
            raise OSError(f"{name} became shorter while it was read")
        digest.update(chunk)
        packed.write(chunk)
        left -= len(chunk)
    packed.write(bytes(-size_bytes % _BLOCK_BYTES))
    return _line(name, digest.hexdigest())


def _unpack(source: Unzipped, to: Path, layout: Layout) -> None:
    lines: dict[str, bytes] = {}
    previous, left = "", ARCHIVE_BYTES_MAX
    while (header := source.read(_BLOCK_BYTES)) != _ENDING[:_BLOCK_BYTES]:
        name, size_bytes = _read_header(source, header, layout)
        source.member = name
        if name == SUMS:
            _check_sums(source, source.read(size_bytes), lines)
            _check_padding(source, size_bytes)
            _check_ending(source)
            return
        if not lines and name != ABOUT:
            raise broken(source, "missing", f"it does not begin with {ABOUT}")
        if name in lines:
            raise broken(source, "duplicate", f"{name} comes twice")
        if name <= previous:
            raise broken(source, "order", f"{name} comes after {previous}")
        left -= size_bytes
        if left < 0 or len(lines) == MEMBERS_MAX:
            raise broken(
                source,
                "too large",
                f"it has over {ARCHIVE_BYTES_MAX} bytes or {MEMBERS_MAX} members",
            )
        lines[name] = _line(name, _copy(source, to / name, size_bytes))
        _check_padding(source, size_bytes)
        previous = "" if name == ABOUT else name
    source.member = SUMS
    raise broken(source, "missing", f"it ends without {SUMS}")


def _read_header(source: Unzipped, header: bytes, layout: Layout) -> tuple[str, int]:
    """Return name and size of the next member.

    Raises:
        IntegrityError: it is no plain file of the layout, too large, or spelt in another way.
    """
    try:
        found = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise broken(source, "malformed", f"a member has no readable header: {error}") from None
    source.member = found.name[:255]
    if found.type != tarfile.REGTYPE:
        kind = _KINDS.get(found.type, "of another kind than a file")
        raise broken(source, "kind", f"{found.name!r} is {kind}")
    size_bytes_max = MEMBERS_MAX * _LINE_BYTES_MAX if found.name == SUMS else layout(found.name)
    if size_bytes_max is None:
        raise broken(source, "name", f"{found.name!r} has no place in an archive of this kind")
    if not 0 <= found.size <= size_bytes_max:
        raise broken(
            source,
            "too large",
            f"{found.name} is said to have {found.size} bytes, over {size_bytes_max}",
        )
    if header != _header(found.name, found.size):
        raise broken(source, "header", f"{found.name} has a mode, owner or time of its own")
    return found.name, found.size


def _copy(source: Unzipped, to: Path, size_bytes: int) -> str:
    """Write a member's bytes into a file that does not exist; return their SHA-256."""
    digest = sha256()
    with durable.reporting(to, "write"):
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as file:
            while size_bytes:
                chunk = source.read(min(CHUNK_BYTES, size_bytes))
                digest.update(chunk)
                file.write(chunk)
                size_bytes -= len(chunk)
    return digest.hexdigest()


def _check_sums(source: Unzipped, sums: bytes, lines: dict[str, bytes]) -> None:
    """Compare what came with what SHA256SUMS says, and say the first that differs."""
    expected = list(lines.values())
    for at, line in enumerate(sums.splitlines(keepends=True)):
        if at < len(expected) and line == expected[at]:
            continue
        name = line[66:].decode("ascii", "replace").rstrip("\n")[:255]
        if name not in lines:
            raise broken(source, "missing", f"{name!r} is missing, which {SUMS} names")
        if line != lines[name]:
            raise broken(source, "altered", f"{name} does not have the hash that {SUMS} says")
        extra = list(lines)[at]
        raise broken(source, "extra", f"{SUMS} does not name {extra}")
    named = sums.count(b"\n")
    if named < len(expected):
        raise broken(source, "extra", f"{SUMS} does not name {list(lines)[named]}")


def _check_padding(source: Unzipped, size_bytes: int) -> None:
    if any(source.read(-size_bytes % _BLOCK_BYTES)):
        raise broken(source, "header", f"after {source.member} stand octets that are not zero")


def _check_ending(source: Unzipped) -> None:
    if source.read(len(_ENDING)) != _ENDING or not source.has_ended():
        raise broken(source, "trailing", f"something follows {SUMS}")


def _header(name: str, size_bytes: int) -> bytes:
    """Return the one header that a member of this name and size has (POSIX ustar)."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _line(name: str, digest: str) -> bytes:
    return f"{digest}  {name}\n".encode("ascii")


@contextmanager
def _fresh(to: Path) -> Iterator[None]:
    """Make the folder `to`, and take it away again when the block raises."""
    with durable.reporting(to, "make the directory"):
        try:
            to.mkdir(mode=0o700)
        except FileExistsError:
            raise ConflictError(
                f"{to} exists", advice="Name a folder that does not exist yet.", path=str(to)
            ) from None
    try:
        yield
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


_KINDS: Final = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.DIRTYPE: "a directory",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_LONGNAME: "a long name of GNU tar",
    tarfile.GNUTYPE_LONGLINK: "a long link of GNU tar",
    tarfile.GNUTYPE_SPARSE: "a sparse file of GNU tar",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "a global extended header",
}
