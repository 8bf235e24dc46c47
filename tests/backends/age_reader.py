"""A reader of age files for X25519 keys, straight from C2SP age.md, over `cryptography` alone."""

from __future__ import annotations

import hmac
from base64 import b64decode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
CHUNK_OCTETS = (1 << 16) + 16
NONCE_OCTETS = 16


def read(octets: bytes, secret: str) -> bytes:
    """Return the payload; asserts whatever the document says a reader must check."""
    header, line, rest = octets.partition(b"\n--- ")
    mac, _, payload = rest.partition(b"\n")
    key = X25519PrivateKey.from_private_bytes(raw_key(secret))
    file_key = next(filter(None, (opened(stanza, key) for stanza in stanzas(header))))
    expected = hmac.digest(derived(file_key, b"", b"header"), header + line[:-1], "sha256")
    assert expected == raw64(mac)
    stream = ChaCha20Poly1305(derived(file_key, payload[:NONCE_OCTETS], b"payload"))
    sealed = payload[NONCE_OCTETS:]
    chunks = [sealed[at : at + CHUNK_OCTETS] for at in range(0, len(sealed), CHUNK_OCTETS)]
    return b"".join(
        stream.decrypt(number.to_bytes(11) + bytes([number == len(chunks) - 1]), chunk, None)
        for number, chunk in enumerate(chunks)
    )


def raw_key(bech32: str) -> bytes:
    """Return the octets of a Bech32 text; its checksum, the last six characters, is not checked."""
    data = bech32.lower().rpartition("1")[2][:-6]
    number = int("".join(f"{BECH32.index(each):05b}" for each in data), 2)
    return (number >> len(data) * 5 % 8).to_bytes(32)


def stanzas(header: bytes) -> list[tuple[list[bytes], bytes]]:
    version, *parts = header.split(b"\n-> ")
    assert version == b"age-encryption.org/v1"
    pairs = (part.partition(b"\n") for part in parts)
    return [(words.split(b" "), raw64(body.replace(b"\n", b""))) for words, _, body in pairs]


def opened(stanza: tuple[list[bytes], bytes], key: X25519PrivateKey) -> bytes | None:
    words, body = stanza
    if words[0] != b"X25519":
        return None  # another kind, or grease
    share = raw64(words[1])
    shared = key.exchange(X25519PublicKey.from_public_bytes(share))
    salt = share + key.public_key().public_bytes_raw()
    wrap_key = derived(shared, salt, b"age-encryption.org/v1/X25519")
    return ChaCha20Poly1305(wrap_key).decrypt(bytes(12), body, None)


def derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), sha256().digest_size, salt or None, info).derive(key)


def raw64(text: bytes) -> bytes:
    return b64decode(text + b"=" * (-len(text) % 4), validate=True)
