"""Sealed lists and wraps: age files for X25519 keys (C2SP age.md), made and read by `pyrage`.

A sealed list is salt and text for the *list identity*, a fresh key for each list; a wrap is that
identity's secret for one receiver. A salt's first octet is 0x80 or more: so no salted text is a
list's text, which is ASCII. Both are untrusted until opened, and what comes out of a sealed list
until its SHA-256 is compared. Refuses what is over its bound, the header's too, before it is
read. Always true: no error carries a secret or anything of what was sealed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from io import BufferedIOBase, BytesIO
from mmap import mmap
from typing import Final

from pyrage import DecryptError, IdentityError, RecipientError, decrypt_io, encrypt
from pyrage.x25519 import Identity, Recipient

from enforcer.core import age
from enforcer.core.target import LINE_BYTES_MAX, TARGETS_MAX
from enforcer.errors import InputError, IntegrityError, UnavailableError

SALT_OCTETS: Final = 32
_NO_ASCII: Final = 0x80
PLAINTEXT_BYTES_MAX: Final = SALT_OCTETS + TARGETS_MAX * (LINE_BYTES_MAX + len("\n"))
_CHUNK_OCTETS: Final = 1 << 16
_CHUNK_TAG_OCTETS: Final = 16
HEADER_BYTES_MAX: Final = 4096
"""An X25519 stanza, a grease stanza and the nonce: a tenth of it."""
_VERSION_LINE: Final = b"age-encryption.org/v1\n"
_HEADER_END: Final = b"\n--- "
SEALED_BYTES_MAX: Final = (
    PLAINTEXT_BYTES_MAX
    + (PLAINTEXT_BYTES_MAX // _CHUNK_OCTETS + 1) * _CHUNK_TAG_OCTETS
    + HEADER_BYTES_MAX
)
"""Of the longest list that there can be, sealed."""
WRAP_BYTES_MAX: Final = 4096
SECRET_PREFIX: Final = "AGE-SECRET-KEY-1"  # noqa: S105  (how age spells any X25519 identity)


@dataclass(frozen=True)
class Receiver:
    """:class:`enforcer.ports.Receiver` over an age identity, which does not show itself."""

    key_id: str
    secret: str = field(repr=False)

    def unwrap(self, document: bytes) -> str:
        """Return the secret of the list identity in a wrap.

        Raises:
            IntegrityError: it is no wrap, or for another receiver.
        """
        return unwrap(document, self.secret)


def new_identity() -> tuple[str, str]:
    """Return a new identity's secret ("AGE-SECRET-KEY-1…") and its recipient ("age1…")."""
    identity = Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(secret: str) -> str:
    """Return the recipient of an identity's secret.

    Raises:
        InputError: it is not the secret of an X25519 identity.
    """
    return str(_identity(secret).to_public())


def new_salt() -> bytes:
    """Return what is to stand before a list's text when it is sealed."""
    drawn = secrets.token_bytes(SALT_OCTETS)
    return bytes((drawn[0] | _NO_ASCII,)) + drawn[1:]


def has_salt(opened: bytes | memoryview | mmap) -> bool:
    """Tell whether what was opened begins with a salt, and not with a list's text."""
    return len(opened) >= SALT_OCTETS and opened[0] >= _NO_ASCII


def check_recipient(text: str) -> None:
    """Check the recipient of an X25519 identity.

    Raises:
        InputError: it is not one, of low order, or not in age's own spelling.
    """
    _recipient(text)


def seal(plaintext: bytes, recipient: str) -> bytes:
    """Return `plaintext` sealed for one recipient; no two results are the same.

    Raises:
        InputError: it is over `PLAINTEXT_BYTES_MAX`, or the recipient is not one.
    """
    if len(plaintext) > PLAINTEXT_BYTES_MAX:
        raise InputError(
            f"{len(plaintext)} bytes are to be sealed, over {PLAINTEXT_BYTES_MAX}",
            advice=f"A list has at most {TARGETS_MAX} targets: divide it between orders.",
        )
    return _encrypted(plaintext, recipient)


def open_sealed(sealed: bytes, secret: str) -> bytes:
    """Return what was sealed for the identity with this secret.

    Raises:
        IntegrityError: it was sealed for another key, cut or altered, or is no age file.
        InputError: the secret is not one.
    """
    to = BytesIO()
    open_sealed_into(BytesIO(sealed), to, secret)
    return to.getvalue()


def open_sealed_into(source: BufferedIOBase, to: BufferedIOBase, secret: str) -> None:
    """Write what was sealed to a binary file; what stands in it after an error is worth nothing.

    Reads `source`, which must be seekable, to its end, a chunk at a time.

    Raises:
        IntegrityError: it was sealed for another key, cut or altered, is over
            `SEALED_BYTES_MAX`, its header over `HEADER_BYTES_MAX`, or is no age file.
        InputError: the secret is not one.
        UnavailableError: `source` cannot be read or `to` not be written.
    """
    identity = _identity(secret)
    size_bytes = source.seek(0, 2)
    source.seek(0)
    if size_bytes > SEALED_BYTES_MAX:
        raise _unreadable("a sealed list", f"it has {size_bytes} bytes, over {SEALED_BYTES_MAX}")
    try:
        _check_header(source.read(HEADER_BYTES_MAX), "a sealed list")
        source.seek(0)
        decrypt_io(source, to, [identity])
    except DecryptError as error:
        raise _unreadable("a sealed list", str(error)) from None
    except OSError as error:
        if error.errno is None:  # how pyrage tells of a chunk that does not prove itself
            raise _unreadable("a sealed list", str(error)) from None
        raise UnavailableError(
            f"cannot open a sealed list: {error.strerror or error}",
            advice="Give this host more memory, or raise the limits of the service.",
        ) from error


def wrap(secret: str, recipient: str) -> bytes:
    """Return the secret of a list identity, wrapped for one receiver.

    Raises:
        InputError: the secret or the recipient is not one.
    """
    return _encrypted(str(_identity(secret)).encode("ascii"), recipient)


def unwrap(document: bytes, secret: str) -> str:
    """Return the list identity's secret in a wrap for the receiver with this `secret`.

    Raises:
        IntegrityError: it was wrapped for another, cut or altered, is over `WRAP_BYTES_MAX`,
            or holds something else.
        InputError: the receiver's secret is not one.
    """
    identity = _identity(secret)
    if len(document) > WRAP_BYTES_MAX:
        raise _unreadable("a wrap", f"it has {len(document)} bytes, over {WRAP_BYTES_MAX}")
    _check_header(document, "a wrap")
    to = BytesIO()
    try:
        decrypt_io(BytesIO(document), to, [identity])
        return str(_identity(to.getvalue().decode("ascii")))
    except (DecryptError, OSError) as error:
        raise _unreadable("a wrap", str(error)) from None
    except (UnicodeDecodeError, InputError):
        raise _unreadable("a wrap", "it holds no list identity") from None


def is_for(head: bytes, secret: str) -> bool:
    """Tell whether the sealed list that begins with `head` is for the identity with this secret.

    Its first `HEADER_BYTES_MAX` octets are enough: nothing behind the header is read.
    """
    try:
        _check_header(head, "a sealed list")
        decrypt_io(BytesIO(head[:HEADER_BYTES_MAX]), BytesIO(), [_identity(secret)])
    except (DecryptError, InputError, IntegrityError):
        return False
    except OSError:  # behind the header it is cut, which was to be
        return True
    return True


def _encrypted(plaintext: bytes, recipient: str) -> bytes:
    to = _recipient(recipient)
    try:
        return encrypt(plaintext, [to])
    except BaseException as error:
        # What the library did not foresee comes as a panic, which is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(
            "nothing can be sealed for this age recipient",
            advice="Have its holder make a new key.",
        ) from None


def _check_header(head: bytes, what: str) -> None:
    """Check that a header ends soon: the library reads it anew from its start as it grows."""
    head = head[:HEADER_BYTES_MAX]
    if not head.startswith(_VERSION_LINE):
        raise _unreadable(what, "it is no age file")
    if _HEADER_END not in head:
        raise _unreadable(what, f"its header is over {HEADER_BYTES_MAX} octets, or cut")


def _identity(secret: str) -> Identity:
    try:
        identity = Identity.from_str(secret)
    except IdentityError:
        identity = None
    if identity is None or str(identity) != secret:
        raise InputError(
            "this is not the secret of an age X25519 identity",
            advice=f"It is one line that begins with {SECRET_PREFIX}; nothing else belongs there.",
        )
    return identity


def _recipient(text: str) -> Recipient:
    try:
        recipient = Recipient.from_str(text)
    except RecipientError:
        recipient = None
    if recipient is None or str(recipient) != text:
        raise InputError(
            "this is not an age X25519 recipient",
            advice="It is one word that begins with age1, in lower case.",
        )
    age.check_recipient(text)
    return recipient


def _unreadable(what: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"cannot open {what}: {why}",
        advice="It was made for another key, or altered: have its author make it again.",
        problem="cannot be opened",
    )
