"""One line of a list: what a person wrote as a target, respelt and never widened.

A value is a name in any case, perhaps with a final dot, perhaps an IDN (IDNA 2008 with the
UTS 46 mapping), or an address or a prefix. A URL, a wildcard, a prefix with host bits or an
address among names is an error with line and column; so is what a format says that an order
cannot say exactly (:class:`LeftOutError`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

import idna

from enforcer.core.target import NAME_KINDS, NAME_TEXT_BYTES_MAX, TargetKind, parse_line
from enforcer.errors import InputError

LINE_BYTES_MAX: Final = 4096
PREFIX_BYTES_MAX: Final = 64  # more than any spelling of one takes

LABEL_PATTERN: Final = rb"[a-z0-9_-]{1,63}"
NAME_PATTERN: Final = (
    rb"((?:" + LABEL_PATTERN + rb"\.)+(?![0-9]+(?![a-z0-9_-]))" + LABEL_PATTERN + rb")"
)
"""A canonical name, captured, if it has at most 253 octets: what needs no second look."""

_PREFIX: Final = re.compile(rb"[0-9.]+/[0-9]+|[0-9a-f:]+:[0-9a-f:.]*/[0-9]+")
_KINDS: Final = {kind.name.lower().encode(): kind for kind in TargetKind if kind}
_ADVICE: Final = "Write a name, or 'ip' or 'net' and an address or prefix; nothing is guessed."
_LABELS_KEPT_MAX: Final = 10_000


class LeftOutError(InputError):
    """A line is well written, and says what an order cannot say, or not exactly."""


class WholeListError(InputError):
    """The list cannot be taken at all, whatever its other lines say."""


def convert_line(line: bytes, line_number: int, default_kind: TargetKind) -> bytes | None:
    """Return the canonical line, LF included; None for a line that means nothing.

    A line is a value, with or without its kind before it; what follows ``#`` means nothing.

    Raises:
        InputError: with ``line`` and ``column`` of what is wrong.
    """
    content = line.partition(b"#")[0]
    words = content.split()
    if not words:
        return None
    kind = _KINDS.get(words[0].lower()) if len(words) > 1 else default_kind
    if kind is None or len(words) > 2:
        raise fault("a line is a kind and one value, or a value alone", line_number, 1)
    value = words[-1]
    at = content.rfind(value)
    if not content.isascii():
        at = len(content[:at].decode("utf-8", "replace"))
    return canonical(value, kind, line_number, at + 1)


def canonical(value: bytes, kind: TargetKind, line_number: int, column: int) -> bytes:
    """Return the canonical line, LF included, of a value that stands at `column`.

    Raises:
        InputError: with ``line`` and ``column`` of what is wrong.
    """
    word = kind.name.lower().encode()
    if kind in NAME_KINDS:
        value = value.lower().removesuffix(b".")
        if not value.isascii():
            value = _encode_idn(value, line_number, column)
        if len(value) <= PREFIX_BYTES_MAX and _PREFIX.fullmatch(value):
            raise fault("a prefix stands where a name belongs: write 'net'", line_number, column)
    else:
        value = _respell(value, kind, line_number, column)
    try:
        parse_line(word + b" " + value, line_number)
    except InputError as error:
        found = error.data["column"]
        offset = found - len(word) - 2 if isinstance(found, int) else 0
        message = error.message.partition(": ")[2]
        raise fault(message, line_number, max(column, column + offset)) from error
    return word + b" " + value + b"\n"


def name_of_line(value: bytes, line_number: int, column: int) -> bytes:
    """Return the canonical spelling of a name.

    Raises:
        InputError: it is none that a target can be.
    """
    return canonical(value, TargetKind.EXACT, line_number, column)[len(b"exact ") : -1]


def fault(what: str, line_number: int, column: int) -> InputError:
    """Return the error of a line that is no line of its format."""
    return InputError(
        f"line {line_number}, column {column}: {what}",
        advice=_ADVICE,
        line=line_number,
        column=column,
    )


def left_out(what: str, line_number: int, column: int = 1) -> LeftOutError:
    """Return the error of a line that an order cannot say."""
    return LeftOutError(
        f"line {line_number}, column {column}: {what}",
        advice="Write what is to be blocked as a target of its own, if that is lawful.",
        line=line_number,
        column=column,
    )


def _encode_idn(value: bytes, line_number: int, column: int) -> bytes:
    """Return the name with its labels as A-labels (UTS 46, IDNA 2008)."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fault("the name is not UTF-8", line_number, column) from error
    if len(text) > NAME_TEXT_BYTES_MAX:  # its A-labels are longer still
        raise fault(f"the name has {len(text)} characters, over 253", line_number, column)
    if any(char in text for char in "/*"):  # parse_line says what these are
        return text.encode("ascii", "replace")
    try:
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        labels = mapped.removesuffix(".").split(".")
        return b".".join(
            label.encode("ascii") if label.isascii() else _a_label(label) for label in labels
        )
    except idna.IDNAError as error:
        raise fault(f"the IDN {text!r} is not valid: {error}", line_number, column) from error


@lru_cache(_LABELS_KEPT_MAX)
def _a_label(label: str) -> bytes:
    return idna.alabel(label)


def _respell(value: bytes, kind: TargetKind, line_number: int, column: int) -> bytes:
    """Return the canonical spelling of an address or prefix; host bits stay a fault."""
    text = value.decode("ascii", "replace")
    try:
        spelt = ip_address(text) if kind is TargetKind.IP else ip_network(text, strict=True)
    except ValueError as error:
        raise fault(str(error), line_number, column) from error
    return str(spelt).encode("ascii", "replace")
