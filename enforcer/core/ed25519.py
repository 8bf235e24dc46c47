"""What an Ed25519 public key must be before anybody relies on it.

The checks of signatures themselves come in from outside; what stands here is data: the keys
for which anyone can make a signature that holds.
"""

from __future__ import annotations

from typing import Final

PUBLIC_KEY_BYTES: Final = 32

# The encodings of the points whose order divides 8, canonical or not, the sign bit clear
# (https://www.rfc-editor.org/rfc/rfc8032 §5.1.7: the cofactor). Under such a key one fixed
# signature holds for many messages, so a registered one would be everybody's.
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


def is_small_order(public_key: bytes) -> bool:
    """Tell whether anyone can sign under `public_key`, 32 raw octets."""
    return bytes(public_key[:31]) + bytes([public_key[31] & 0x7F]) in _SMALL_ORDER
