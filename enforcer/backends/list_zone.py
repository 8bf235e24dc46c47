"""The records of a zone file (RFC 1035 §5.1), with owners relative to the zone's name.

Takes lines one by one; a record may span several in parentheses. The zone's name is the owner
of its SOA, which comes first; without one, owners must be relative, and say no absolute
``$ORIGIN``. Other files are never read, nothing is generated: either refuses the whole list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from enforcer.backends.list_line import WholeListError, fault
from enforcer.backends.list_lines import check_length
from enforcer.errors import InputError

RECORD_LINES_MAX: Final = 100

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(?:[^\s;()"\\]|\\.)+|[();"\\]')
_TTL: Final = re.compile(rb"(?:[0-9]+[smhdwSMHDW]?)+")
_CLASSES: Final = (b"IN", b"CH", b"HS", b"ANY")


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `owner` is relative to the zone, lower case, empty at its apex."""

    owner: bytes
    type: bytes
    data: bytes
    """The first word of it."""
    line_number: int


class Zone:
    """A zone file while it is read."""

    def __init__(self) -> None:
        self.owner = b""
        """Of the last record: who writes it, when a record was read elsewhere, keeps it true."""
        self._apex: bytes | None = None
        self._origin = b""  # absolute names end with a dot; b"" is the apex of unknown name
        self._open: list[bytes] = []
        self.begun_at = 0
        self._depth = 0

    @property
    def apex(self) -> bytes:
        """The zone's name, absolute; empty while it is not known."""
        return self._apex or b""

    @property
    def is_open(self) -> bool:
        """Whether a record has begun, at the line `begun_at`, and not ended."""
        return self._depth > 0

    @property
    def is_at_apex(self) -> bool:
        """Whether a relative owner is relative to the zone's own name."""
        return self._origin == self.apex

    def read(self, line: bytes, line_number: int) -> Record | None:
        """Return the record that the line completes; None while there is none.

        Raises:
            InputError: the line or the record is wrong; the next line is read afresh.
            WholeListError: the file includes another, or generates records.
        """
        try:
            tokens = self._tokens(line, line_number)
            if tokens is None:
                return None
            return self._record(tokens, self.begun_at)
        except InputError:
            self._open, self._depth = [], 0
            raise

    def _tokens(self, line: bytes, line_number: int) -> list[bytes] | None:
        """Return the words of a whole record, the owner first; None while one is open."""
        check_length(line, line_number)
        if self._depth == 0:
            self.begun_at = line_number
            self._open = [b""] if line[:1].isspace() else []  # the owner before is meant
        for found in _TOKEN.finditer(line):
            token = found[0]
            if token == b";":
                break
            if token in (b'"', b"\\"):
                raise fault("a quotation is not closed", line_number, found.start() + 1)
            if token == b"(":
                self._depth += 1
            elif token == b")":
                self._depth -= 1
                if self._depth < 0:
                    raise fault("a parenthesis was not opened", line_number, found.start() + 1)
            else:
                self._open.append(token)
        if self._depth:
            if line_number - self.begun_at >= RECORD_LINES_MAX:
                raise fault("a parenthesis is not closed", line_number, 1)
            return None
        return self._open

    def _record(self, tokens: list[bytes], line_number: int) -> Record | None:
        if not any(tokens):
            return None
        if tokens[0].startswith(b"$"):
            self._directive(tokens, line_number)
            return None
        owner, *words = tokens
        while words and (_TTL.fullmatch(words[0]) or words[0].upper() in _CLASSES):
            del words[0]
        if len(words) < 2:
            raise fault("a record is an owner, a type and data", line_number, 1)
        type_ = words[0].upper()
        if owner:
            full = self._full(owner.lower())
            if type_ == b"SOA" and self._apex is None:
                self._begin(full)
            self.owner = self._relative(full, line_number)
        return Record(self.owner, type_, words[1], line_number)

    def _directive(self, tokens: list[bytes], line_number: int) -> None:
        word = tokens[0].upper()
        if word == b"$ORIGIN" and len(tokens) > 1:
            self._origin = self._full(tokens[1].lower())
        elif word in (b"$INCLUDE", b"$GENERATE"):
            raise WholeListError(
                f"line {line_number}, column 1: {word.decode('ascii')} stands for lines that are "
                "not in the file",
                advice="Write the zone out, as `named-compilezone` does, and give that.",
                line=line_number,
                column=1,
            )
        elif word != b"$TTL":
            raise fault("the directive is unknown", line_number, 1)

    def _begin(self, apex: bytes) -> None:
        self._apex = apex
        if not self._origin:
            self._origin = apex

    def _full(self, name: bytes) -> bytes:
        if name == b"@":
            return self._origin
        if name.endswith(b".") or not self._origin:
            return name
        return name + b"." + self._origin.lstrip(b".")

    def _relative(self, full: bytes, line_number: int) -> bytes:
        """Return an owner relative to the apex."""
        if self._apex is None and full.endswith(b"."):
            raise fault("the zone's name is not known: its SOA comes first", line_number, 1)
        apex = self._apex = self._apex or b""
        if full == apex:
            return b""
        if not apex and not full.endswith(b"."):
            return full  # as the zone's user reads it, whatever the zone is called
        if apex and full.endswith(b"." + apex.lstrip(b".")):
            return full[: -len(apex.lstrip(b".")) - 1]
        raise fault("the owner is not in the zone", line_number, 1)
