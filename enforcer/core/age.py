"""What an age identity and its recipient must be, and that one belongs to the other.

Encryption itself is done outside; what stands here is what a judge needs to say whether a secret
that is made public is that of an order's list: Bech32 (BIP 173), the age encoding of X25519 keys
(C2SP age.md), and X25519 of the base point (RFC 7748 §5). All of it is public data by then, so
nothing here keeps its timing secret.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from enforcer.core.fields import Text
from enforcer.errors import InputError

RECIPIENT_PREFIX: Final = "age"
SECRET_PREFIX: Final = "age-secret-key-"  # noqa: S105 - how age spells any identity
KEY_OCTETS: Final = 32

Recipient: TypeAlias = Annotated[
    str, Text(62, "age1[02-9ac-hj-np-z]{58}", "an age recipient (age1…, 62 characters)")
]
ListSecret: TypeAlias = Annotated[
    str,
    Text(
        74,
        "AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}",
        "an age identity (AGE-SECRET-KEY-1…, 74 characters)",
    ),
]

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_DIGITS: Final = 6
_BASE_POINT: Final = 9
_P: Final = 2**255 - 19
_A24: Final = 121_665
_LOW_ORDER: Final = frozenset(
    (
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
)
"""Points of order 8 or less, of curve and twist: their shared secret is always zero."""


def recipient_of(secret: str) -> str:
    """Return the recipient (``age1…``) of an identity (``AGE-SECRET-KEY-1…``).

    Raises:
        InputError: it is no identity.
    """
    scalar = decode(SECRET_PREFIX, secret.lower() if secret.isupper() else secret)
    return encode(RECIPIENT_PREFIX, x25519_base(scalar))


def check_recipient(text: str) -> None:
    """Check that `text` is a recipient, its checksum too, for whom something can be sealed.

    Raises:
        InputError: it is not, or a point of low order, in whatever spelling (RFC 7748 §6.1).
    """
    point = int.from_bytes(decode(RECIPIENT_PREFIX, text), "little")
    if (point & (1 << 255) - 1) % _P in _LOW_ORDER:  # X25519 passes over the highest bit
        raise InputError(
            "this age recipient is a point of low order, for which nothing can be sealed",
            advice="Give the recipient of an identity that was made by age or enforcer.",
        )


def encode(prefix: str, octets: bytes) -> str:
    """Return 32 octets in Bech32, in lower case (BIP 173)."""
    digits = _regroup(octets, 8, 5)
    check = _polymod([*_expanded(prefix), *digits, *[0] * _CHECKSUM_DIGITS]) ^ 1
    digits += [check >> 5 * (_CHECKSUM_DIGITS - 1 - at) & 31 for at in range(_CHECKSUM_DIGITS)]
    return f"{prefix}1{''.join(_ALPHABET[digit] for digit in digits)}"


def decode(prefix: str, text: str) -> bytes:
    """Return the 32 octets of a Bech32 text in lower case.

    Raises:
        InputError: another prefix, a wrong character or checksum, or another length.
    """
    head, _, data = text.rpartition("1")
    digits = [_ALPHABET.find(character) for character in data]
    if head != prefix or -1 in digits or _polymod([*_expanded(prefix), *digits]) != 1:
        raise _error(prefix)
    octets = bytes(_regroup(bytes(digits[:-_CHECKSUM_DIGITS]), 5, 8))
    # 52 digits are 260 bits: 32 octets, four bits of padding, which are zero in the one spelling.
    if octets[KEY_OCTETS:].strip(b"\0") or encode(prefix, octets[:KEY_OCTETS]) != text:
        raise _error(prefix)
    return octets[:KEY_OCTETS]


def x25519_base(scalar: bytes) -> bytes:
    """Return X25519(scalar, 9), 32 octets (RFC 7748 §5)."""
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & (1 << 255) - 1) | 1 << 254
    x2, z2, x3, z3, swap = 1, 0, _BASE_POINT, 1, 0
    for at in reversed(range(255)):
        bit = k >> at & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _P, b * b % _P, d * a % _P, c * b % _P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _P, _BASE_POINT * (da - cb) ** 2 % _P
        x2, z2 = aa * bb % _P, e * (aa + _A24 * e) % _P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(KEY_OCTETS, "little")


def _expanded(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(digits: list[int]) -> int:
    check = 1
    for digit in digits:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ digit
        for at, generator in enumerate(_GENERATOR):
            check ^= generator if top >> at & 1 else 0
    return check


def _regroup(octets: bytes, width: int, to_width: int) -> list[int]:
    """Return the same bits in groups of another width, the last filled up with zeros."""
    bits = "".join(f"{octet:0{width}b}" for octet in octets)
    bits += "0" * (-len(bits) % to_width)
    return [int(bits[at : at + to_width], 2) for at in range(0, len(bits), to_width)]


def _error(prefix: str) -> InputError:
    return InputError(
        f"it is no age {'recipient' if prefix == RECIPIENT_PREFIX else 'identity'}",
        advice="Give it as it was made; a character may be missing or changed.",
    )
