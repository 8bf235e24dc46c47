"""Domain names: text ⇄ wire, within the limits of RFC 1035.

A :class:`Name` is checked once, when it is made, and trusted afterwards. It is held as
uncompressed wire form in lower case, so equality is DNS equality (RFC 4343): two names
are the same if and only if their ``wire`` is the same.
Refuses: compression pointers, non-ASCII text (IDNs are converted at the border).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from enforcer.errors import InputError

LABEL_OCTETS_MAX: Final = 63  # RFC 1035 §2.3.4
WIRE_OCTETS_MAX: Final = 255  # RFC 1035 §2.3.4, the root's zero octet included
LABELS_MAX: Final = 127  # what 255 octets hold: 127 labels of one octet and the root

# ASCII only: bytes.lower() leaves octets above 127 alone, as RFC 4343 §3 wants.
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*/")


@dataclass(frozen=True, slots=True)
class Name:
    """One domain name; ``wire`` is uncompressed, lower case and ends with the root."""

    wire: bytes

    @classmethod
    def from_wire(cls, wire: bytes) -> Name:
        """Read an uncompressed name that fills `wire` exactly (RFC 1035 §3.1).

        Raises:
            InputError: a label over 63 octets, a pointer, a name over 255 octets, octets
                missing or left over; ``data["offset"]`` is the octet that is wrong.
        """
        if len(wire) > WIRE_OCTETS_MAX:
            raise _wire_error(f"the name has {len(wire)} octets", WIRE_OCTETS_MAX)
        at = 0
        while True:
            if at >= len(wire):
                raise _wire_error("the name ends before its root label", at)
            length = wire[at]
            if length == 0:
                break
            if length > LABEL_OCTETS_MAX:
                raise _wire_error(f"octet {length:#04x} starts no label", at)
            at += 1 + length
        if at + 1 != len(wire):
            raise _wire_error(f"{len(wire) - at - 1} octets follow the root label", at + 1)
        return cls(wire.lower())

    @classmethod
    def from_text(cls, text: str) -> Name:
        r"""Read presentation form, escapes ``\X`` and ``\DDD`` included (RFC 1035 §5.1).

        A final dot is allowed and means nothing: every name here is absolute.

        Raises:
            InputError: with ``data["column"]``, counted from 1.
        """
        if text == ".":
            return ROOT
        if not text:
            raise _text_error("the name is empty", 1)
        wire = bytearray()
        label = bytearray()
        at = 0
        while at < len(text):
            column = at + 1
            char = text[at]
            at += 1
            if char == ".":
                if not label:
                    raise _text_error("a label is empty", column)
                _close_label(wire, label, column)
                continue
            if char == "\\":
                octet, at = _escaped(text, at)
            elif "!" <= char <= "~":
                octet = ord(char)
            else:
                raise _text_error(f"the character {char!r} cannot stand in a name", column)
            label.append(octet)
        if label:
            _close_label(wire, label, len(text))
        wire.append(0)
        if len(wire) > WIRE_OCTETS_MAX:
            raise _text_error(f"the name takes {len(wire)} octets, over {WIRE_OCTETS_MAX}", 1)
        return cls(bytes(wire).lower())

    @property
    def labels(self) -> tuple[bytes, ...]:
        """The labels from the leaf to the top, without the root's empty one."""
        return tuple(_labels(self.wire))

    @property
    def text(self) -> str:
        """Presentation form without a final dot; the root is ``"."``."""
        if self.wire == b"\0":
            return "."
        return ".".join(_label_text(label) for label in _labels(self.wire))

    @property
    def parent(self) -> Name:
        """The name without its leftmost label; the root is its own parent."""
        return self if self.wire == b"\0" else Name(self.wire[1 + self.wire[0] :])

    def ancestors(self) -> Iterator[Name]:
        """Yield this name, its parent, and so on up to the root."""
        name = self
        while name.wire != b"\0":
            yield name
            name = name.parent
        yield name

    def is_at_or_below(self, zone: Name) -> bool:
        """Tell whether `zone` is this name or one of its ancestors."""
        start = len(self.wire) - len(zone.wire)
        if start < 0 or not self.wire.endswith(zone.wire):
            return False
        at = 0
        while at < start:  # the suffix must begin where a label begins
            at += 1 + self.wire[at]
        return at == start

    def is_below(self, zone: Name) -> bool:
        """Tell whether this name is under `zone` and is not `zone` itself."""
        return self.wire != zone.wire and self.is_at_or_below(zone)

    def __str__(self) -> str:
        return self.text


ROOT: Final = Name(b"\0")


def _labels(wire: bytes) -> Iterator[bytes]:
    at = 0
    while (length := wire[at]) != 0:
        yield wire[at + 1 : at + 1 + length]
        at += 1 + length


def _label_text(label: bytes) -> str:
    return "".join(_octet_text(octet) for octet in label)


def _octet_text(octet: int) -> str:
    if octet in _PLAIN:
        return chr(octet)
    if 0x21 <= octet <= 0x7E:
        return "\\" + chr(octet)
    return f"\\{octet:03d}"


def _escaped(text: str, at: int) -> tuple[int, int]:
    """Read what follows a backslash at `at`; return the octet and where reading goes on."""
    digits = text[at : at + 3]
    if len(digits) == 3 and digits.isascii() and digits.isdigit():
        octet = int(digits)
        if octet > 0xFF:
            raise _text_error(f"the escape \\{digits} is over \\255", at)
        return octet, at + 3
    if at < len(text) and "!" <= text[at] <= "~" and not text[at].isdigit():
        return ord(text[at]), at + 1
    raise _text_error("a backslash needs a character or three digits after it", at)


def _close_label(wire: bytearray, label: bytearray, column: int) -> None:
    if len(label) > LABEL_OCTETS_MAX:
        raise _text_error(f"a label has {len(label)} octets, over {LABEL_OCTETS_MAX}", column)
    wire.append(len(label))
    wire += label
    label.clear()


def _text_error(what: str, column: int) -> InputError:
    return InputError(
        f"{what} (column {column})",
        advice="Write labels of 1 to 63 characters joined by dots, 253 in all; IDNs as A-labels.",
        column=column,
    )


def _wire_error(what: str, offset: int) -> InputError:
    return InputError(
        f"{what} (offset {offset})",
        advice="Send an uncompressed name of at most 255 octets that ends with a zero octet.",
        offset=offset,
    )
