"""The lines of a list's file: plain or gzip, of bounded size, line length and number.

Always true: at most one block and one line are in memory. Of a line that is too long only its
beginning is handed out, longer than LINE_BYTES_MAX, so that whoever reads it can tell.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO, Final

from enforcer.backends.list_line import LINE_BYTES_MAX, WholeListError

SOURCE_BYTES_MAX: Final = 1 << 30  # decompressed; two million targets at their longest are half
LINES_MAX: Final = 10_000_000
SAMPLE_BYTES: Final = 1 << 16

_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class ListSource:
    """The lines of `file`, from its beginning; read once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.line_count = 0
        self._size_bytes = 0
        is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        self._file = gzip.GzipFile(mode="rb", fileobj=file) if is_gzip else file
        self._begin = self._read()
        if self._begin.startswith(_UTF16_MARKS):
            raise WholeListError(
                "the list is in UTF-16", advice="Save it as UTF-8, and give that.", field="targets"
            )
        self._begin = self._begin.removeprefix(_UTF8_MARK)

    @property
    def sample(self) -> bytes:
        """The beginning, to tell the format by; whole lines, unless the first is long."""
        return self._begin if len(self._begin) < SAMPLE_BYTES else _whole_lines(self._begin)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line without its LF.

        Raises:
            WholeListError: the source is over a bound, or no whole gzip file.
        """
        rest, self._begin = self._begin, b""
        while True:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                self.line_count += 1
                yield line
            if self.line_count > LINES_MAX:
                raise _over(f"{LINES_MAX} lines")
            if len(rest) > LINE_BYTES_MAX:
                self.line_count += 1
                yield rest[: LINE_BYTES_MAX + 1]
                rest, is_ended = self._behind_line()
                if is_ended:
                    return
                continue
            block = self._read()
            if not block:
                break
            rest += block
        if rest:
            self.line_count += 1
            yield rest

    def _behind_line(self) -> tuple[bytes, bool]:
        """Skip the rest of a line; return what follows it, and whether the source has ended."""
        while block := self._read():
            _, found, behind = block.partition(b"\n")
            if found:
                return behind, False
        return b"", True

    def _read(self) -> bytes:
        try:
            block = self._file.read(SAMPLE_BYTES)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise WholeListError(
                f"the list is no whole gzip file: {error}",
                advice="Fetch it again; the copy was cut or altered.",
                field="targets",
            ) from error
        self._size_bytes += len(block)
        if self._size_bytes > SOURCE_BYTES_MAX:
            raise _over(f"{SOURCE_BYTES_MAX} octets")
        return block


def _whole_lines(begin: bytes) -> bytes:
    return begin[: begin.rfind(b"\n") + 1] or begin


def _over(bound: str) -> WholeListError:
    return WholeListError(
        f"the list has over {bound}",
        advice="Split it into several lists.",
        field="targets",
    )
