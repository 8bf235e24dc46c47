"""Formats of independent lines: a fast way for the usual line, a careful one for the others.

The fast way is one regular expression, which takes only what is canonical but for what stands
around the name; the careful one decides about every other line, and finds the words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from enforcer.backends.list_format import Context
from enforcer.backends.list_line import LINE_BYTES_MAX, fault
from enforcer.core.target import NAME_TEXT_BYTES_MAX
from enforcer.errors import InputError

Convert: TypeAlias = Callable[[bytes, int, Context], Iterator[bytes]]
"""Yields the canonical targets of one line, LF included.

Raises:
    InputError: the line is bad, or says what an order cannot say.
"""


class LineReader:
    """Reads the lines of one format."""

    def __init__(self, fast: bytes, words: Mapping[bytes | None, bytes], convert: Convert) -> None:
        """Take the pattern of the usual line: its group 2 is the name, group 1 a key of `words`.

        `words` has what stands before the name in the canonical line. A CR may follow.
        """
        self._match = re.compile(fast + rb"\r?").fullmatch
        self._words = words
        self._convert = convert

    def __call__(self, lines: Iterable[bytes], context: Context) -> Iterator[bytes]:
        """Yield the targets of `lines`; note in `context` what is left out."""
        match, words, convert = self._match, self._words, self._convert
        for line_number, line in enumerate(lines, start=1):
            # No longer than a name may be: then the name in it is not, either.
            if len(line) <= NAME_TEXT_BYTES_MAX and (usual := match(line)):
                yield b"%b%b\n" % (words[usual[1]], usual[2])
                continue
            try:
                check_length(line, line_number)
                yield from convert(line, line_number, context)
            except InputError as error:
                context.notes.note(error, line_number)


def check_length(line: bytes, line_number: int) -> None:
    """Refuse a line that is longer than any line should be.

    Raises:
        InputError: it is.
    """
    if len(line) > LINE_BYTES_MAX:
        raise fault(f"the line has over {LINE_BYTES_MAX} octets", line_number, 1)
