"""One gzip stream, read strictly: what is asked for comes whole, or the reason why not.

Refuses a second stream behind the first, octets behind it, and a stream that ends early or does
not have its checksum (RFC 1952). Holds one chunk of the file and one of the content, whatever the
stream would inflate to.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from enforcer.errors import IntegrityError

CHUNK_BYTES: Final = 1 << 20

_FILE_CHUNK_BYTES: Final = 1 << 16
_GZIP_WINDOW_BITS: Final = 31  # zlib's way of saying: a gzip header and trailer


class Unzipped:
    """The content of the gzip file `file`, from its beginning."""

    def __init__(
        self, file: IO[bytes], path: Path, progress: Callable[[int], None] = lambda _done: None
    ) -> None:
        self.path = path
        self.offset = 0
        """Octets of the content that were given out."""
        self.member = ""
        """What is being read, for the words of errors."""
        self._file = file
        self._progress = progress
        self._inflate = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        self._done = 0
        self._buffer = b""
        self._at = 0

    def read(self, size_bytes: int) -> bytes:
        """Return exactly the next `size_bytes` octets.

        Raises:
            IntegrityError: the content ends before (``problem`` is ``cut``), or is no gzip stream.
        """
        parts: list[bytes] = []
        left = size_bytes
        while left:
            part = self._more(left)
            if not part:
                raise broken(self, "cut", "it ends in the middle")
            parts.append(part)
            left -= len(part)
            self.offset += len(part)
        return b"".join(parts)

    def has_ended(self) -> bool:
        """Tell whether content and file end here, with the right checksum.

        Raises:
            IntegrityError: the stream is cut, or does not have its checksum.
        """
        is_over = not self._more(1)
        if is_over and not self._inflate.eof:
            raise broken(self, "cut", "it ends before its checksum")
        return is_over and not self._inflate.unused_data and not self._file.read(1)

    def _more(self, size_bytes_max: int) -> bytes:
        """Return up to `size_bytes_max` octets of content; none when it has ended."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._inflated(), 0
        part = self._buffer[self._at : self._at + size_bytes_max]
        self._at += len(part)
        return part

    def _inflated(self) -> bytes:
        """Return the next chunk of content."""
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._file.read(_FILE_CHUNK_BYTES)
                self._done += len(packed)
                self._progress(self._done)
            try:
                part = self._inflate.decompress(packed, CHUNK_BYTES)
            except zlib.error as error:
                raise broken(self, "malformed", f"it is no whole gzip stream: {error}") from None
            if part or not packed:
                return part
        return b""


def broken(source: Unzipped, problem: str, what: str) -> IntegrityError:
    """Return the error of an archive that is not what it must be, and where."""
    at = f" (at octet {source.offset}" + (f", {source.member!r})" if source.member else ")")
    return IntegrityError(
        f"the archive {source.path} cannot be used: {what}{at}",
        advice="Get the archive again from whoever made it; nothing of it was kept.",
        problem=problem,
        path=str(source.path),
        member=source.member,
        offset=source.offset,
    )
