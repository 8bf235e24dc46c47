"""C2SP signed-note: text with Ed25519 signature lines, and the vkeys that verify them.

Signing and verifying come in as functions; no private key passes through here.
Refuses: control characters, anything but canonical base64, more than the bounds below, and
a text whose signature by the wanted key is missing or wrong. Lines by unknown keys are kept
and ignored. Always true: parsing and formatting again gives the same bytes.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Self, TypeAlias

from enforcer.core.ed25519 import is_small_order
from enforcer.errors import InputError, IntegrityError

NOTE_BYTES_MAX: Final = 1_000_000
SIGNATURES_MAX: Final = 100  # C2SP signed-note: at least 16 must be accepted
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEY_ID_BYTES: Final = 4

Sign: TypeAlias = Callable[[bytes], bytes]
"""``sign(message)``: the Ed25519 signature of 64 bytes."""

Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""``verify(public_key, message, signature)``: whether the Ed25519 signature holds."""

_LINE_START: Final = "— "  # an em dash, U+2014
_KEY_ID_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A key's name and its 32-byte Ed25519 public key: a vkey of C2SP signed-note."""

    ALGORITHM: ClassVar[bytes]
    """The signature type's one octet: what a signature by this key is made over."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        """Raise InputError when the name or the key cannot stand in a note."""
        if not _is_key_name(self.name):
            raise InputError(
                f"{self.name!r} cannot name a key",
                advice="Use a name without spaces, plus signs and control characters.",
                field="name",
            )
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise InputError(
                f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(self.public_key)}",
                advice="Give the raw public key of RFC 8032.",
                field="public_key",
                got=len(self.public_key),
            )
        if is_small_order(self.public_key):
            raise InputError(
                "anyone can sign under this key",
                advice="Make another key.",
                field="public_key",
            )

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that mark this key's lines: a hint, never a proof."""
        spelled = self.name.encode() + b"\n" + self.ALGORITHM + self.public_key
        return sha256(spelled).digest()[:KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The vkey ``name+key id+base64``, as :meth:`parse` reads it."""
        material = b64encode(self.ALGORITHM + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey.

        Raises:
            InputError: it has not three parts, is not of this type, or its key id is of another
                key.
        """
        name, _, rest = text.partition("+")
        key_id, plus, material = rest.partition("+")
        key = _decoded(material)
        if not plus or key is None or len(key_id) != 2 * KEY_ID_BYTES:
            raise _bad_vkey(f"{text!r} is not a vkey")
        if not _KEY_ID_HEX.issuperset(key_id):
            raise _bad_vkey(f"the key id {key_id!r} of the vkey is not lower-case hexadecimal")
        if key[:1] != cls.ALGORITHM:
            raise _bad_vkey(f"the vkey of {name!r} is not of the type 0x{cls.ALGORITHM.hex()}")
        made = cls(name, key[1:])
        if made.key_id.hex() != key_id:
            raise _bad_vkey(
                f"the vkey of {name!r} says key id {key_id}, its key has {made.key_id.hex()}"
            )
        return made


class VerifierKey(NoteKey):
    """A key that signs the text of a note (type 0x01), as a log signs its checkpoints."""

    __slots__ = ()
    ALGORITHM = b"\x01"


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature line, of a known key or not: ``signature`` is what follows the key id."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def text(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_LINE_START}{self.name} {b64encode(self.key_id + self.signature).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> SignatureLine:
        """Read a line without its newline.

        Raises:
            IntegrityError: it is no signature line (``problem`` is ``malformed``).
        """
        name, space, encoded = line.removeprefix(_LINE_START).partition(" ")
        if not line.startswith(_LINE_START) or not space or not _is_key_name(name):
            raise malformed(f"{line[:80]!r} is not a signature line")
        data = decode_base64(encoded)
        if len(data) <= KEY_ID_BYTES:
            raise malformed(f"the signature by {name} is empty")
        return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])

    def is_of(self, key: NoteKey) -> bool:
        """Tell whether the line says that it is this key's; nothing is verified."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a newline, and its signature lines; nothing in it is verified."""

    text: str
    signatures: tuple[SignatureLine, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note without trusting it.

        Raises:
            IntegrityError: the bytes are not a signed note (``problem`` is ``malformed``).
        """
        if len(data) > NOTE_BYTES_MAX:
            raise malformed(f"the note has {len(data)} bytes, more than {NOTE_BYTES_MAX}")
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise malformed(f"byte {error.start} of the note is not UTF-8") from None
        if any(each < " " and each != "\n" for each in whole):
            raise malformed("the note contains a control character")
        text, blank, tail = whole.rpartition("\n\n")
        lines = tail.split("\n")
        if not blank or lines.pop() != "" or not lines:
            raise malformed("the note does not end with an empty line and signature lines")
        if len(lines) > SIGNATURES_MAX:
            raise malformed(f"the note has {len(lines)} signatures, more than {SIGNATURES_MAX}")
        return cls(text + "\n", tuple(map(SignatureLine.parse, lines)))

    def format(self) -> bytes:
        """Return the bytes that :meth:`parse` reads back."""
        lines = "".join(each.text for each in self.signatures)
        return f"{self.text}\n{lines}".encode()


def sign_note(text: str, key: VerifierKey, sign: Sign) -> bytes:
    """Return the note of ``text`` with the one signature that ``sign`` makes for ``key``.

    Raises:
        InputError: the text does not end with a newline or cannot stand in a note.
    """
    if not text.endswith("\n") or any(each < " " and each != "\n" for each in text):
        raise InputError(
            "the text of a note ends with a newline and has no other control character",
            advice="Correct the text and sign it again.",
            field="text",
        )
    line = SignatureLine(key.name, key.key_id, sign(text.encode()))
    return Note(text, (line,)).format()


def open_note(data: bytes, key: VerifierKey, verify: Verify) -> Note:
    """Read a note and check that ``key`` signed its text.

    Every line by the key's name and id must hold; lines by other keys are ignored.

    Raises:
        IntegrityError: ``problem`` is ``malformed``, ``other key`` or ``bad signature``.
    """
    note = Note.parse(data)
    ours = [each for each in note.signatures if each.is_of(key)]
    if not ours:
        signers = ", ".join(f"{each.name}+{each.key_id.hex()}" for each in note.signatures)
        raise IntegrityError(
            f"the note is not signed by {key.name}+{key.key_id.hex()} but by {signers}",
            advice="Check that the trusted key is this log's; do not use what the note says.",
            problem="other key",
            expected=f"{key.name}+{key.key_id.hex()}",
            got=signers,
        )
    message = note.text.encode()
    for each in ours:
        if len(each.signature) != SIGNATURE_BYTES or not verify(
            key.public_key, message, each.signature
        ):
            raise IntegrityError(
                f"the signature of {key.name}+{key.key_id.hex()} does not hold for this text",
                advice="The text or the signature was altered; fetch the note from another source.",
                problem="bad signature",
                key=f"{key.name}+{key.key_id.hex()}",
            )
    return note


def malformed(what: str) -> IntegrityError:
    """Return the error of bytes that cannot be a note, or what a note must contain."""
    return IntegrityError(
        what,
        advice="Fetch it from another source; nothing in it can be trusted.",
        problem="malformed",
    )


def decode_base64(text: str) -> bytes:
    """Decode canonical standard base64 (RFC 4648 §4), so that one value has one spelling.

    Raises:
        IntegrityError: it is anything else (``problem`` is ``malformed``).
    """
    decoded = _decoded(text)
    if decoded is None:
        raise malformed(f"{text[:80]!r} is not canonical base64")
    return decoded


def _decoded(text: str) -> bytes | None:
    try:
        decoded = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if b64encode(decoded).decode() == text else None


def _is_key_name(name: str) -> bool:
    return bool(name) and not any(each.isspace() or each == "+" or each < " " for each in name)


def _bad_vkey(what: str) -> InputError:
    return InputError(
        what,
        advice="Give a vkey of the form name+hash+base64, as the log published it.",
        field="vkey",
    )
