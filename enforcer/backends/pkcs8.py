"""A private key under a passphrase: PKCS #8, PBES2, scrypt and AES-256-CBC (RFC 8018, RFC 7914).

`cryptography` reads such files, as openssl does, but writes them with 2,048 rounds of PBKDF2, which
holds up nobody who has stolen one. So the DER around its scrypt and its AES is written here.
Always true: each file has a salt of its own, and opening one costs 16 MiB and over 0.1 s.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

SCRYPT_COST: Final = 1 << 14
"""With 8 and 5: 16 MiB, five times over; openssl refuses to take more than 32 MiB."""
SCRYPT_BLOCK_SIZE: Final = 8
SCRYPT_PARALLELISM: Final = 5
SALT_OCTETS: Final = 16
KEY_OCTETS: Final = 32
AES_BLOCK_OCTETS: Final = 16
PEM_LINE_CHARACTERS: Final = 64

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES256_CBC: Final = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def encrypt(private_key_info: bytes, passphrase: bytes) -> bytes:
    """Return the EncryptedPrivateKeyInfo in PEM (RFC 5958 §3) of an unencrypted one in DER."""
    salt, vector = secrets.token_bytes(SALT_OCTETS), secrets.token_bytes(AES_BLOCK_OCTETS)
    key = Scrypt(
        salt=salt,
        length=KEY_OCTETS,
        n=SCRYPT_COST,
        r=SCRYPT_BLOCK_SIZE,
        p=SCRYPT_PARALLELISM,
    ).derive(passphrase)
    padder = PKCS7(AES_BLOCK_OCTETS * 8).padder()
    padded = padder.update(private_key_info) + padder.finalize()
    encryptor = Cipher(AES256(key), CBC(vector)).encryptor()
    encrypted = encryptor.update(padded) + encryptor.finalize()
    return _pem(_info(salt, vector, encrypted))


def _info(salt: bytes, vector: bytes, encrypted: bytes) -> bytes:
    costs = map(_integer, (SCRYPT_COST, SCRYPT_BLOCK_SIZE, SCRYPT_PARALLELISM))
    derivation = _der(
        _SEQUENCE, _SCRYPT, _der(_SEQUENCE, _der(_OCTET_STRING, salt), *costs)
    )  # RFC 7914 §7.1
    scheme = _der(_SEQUENCE, _AES256_CBC, _der(_OCTET_STRING, vector))
    algorithm = _der(_SEQUENCE, _PBES2, _der(_SEQUENCE, derivation, scheme))
    return _der(_SEQUENCE, algorithm, _der(_OCTET_STRING, encrypted))


def _integer(number: int) -> bytes:
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def _der(tag: int, *parts: bytes) -> bytes:
    """Return tag, length and content (X.690 §8.1)."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _pem(der: bytes) -> bytes:
    text = b64encode(der)
    lines = [text[at : at + PEM_LINE_CHARACTERS] for at in range(0, len(text), PEM_LINE_CHARACTERS)]
    label = b"ENCRYPTED PRIVATE KEY-----"
    return b"\n".join((b"-----BEGIN " + label, *lines, b"-----END " + label, b""))
