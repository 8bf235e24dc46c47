"""Private keys on disk: who can read them, what opens them, what others' tools say of them."""

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from enforcer.backends import certificate_request, key_files
from enforcer.backends.key_files import PassphraseError
from enforcer.backends.keys import PrivateKey
from enforcer.errors import ConflictError, InputError, NotFoundError, UnavailableError

PASSPHRASE = b"correct horse battery staple"


def test_a_key_under_a_passphrase_opens_with_it_alone(tmp_path):
    key = PrivateKey.generate()
    key.save(tmp_path / "a.key", PASSPHRASE)
    assert PrivateKey.load(tmp_path / "a.key", PASSPHRASE).public_key == key.public_key
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    for wrong in (None, b"", b"correct horse battery stapler"):
        with pytest.raises(PassphraseError) as caught:
            PrivateKey.load(tmp_path / "a.key", wrong)
        assert caught.value.advice


def test_a_tls_key_under_a_passphrase_opens_with_it_alone(tmp_path):
    key = certificate_request.new_key(tmp_path / "a.key", PASSPHRASE)
    opened = certificate_request.load_key(tmp_path / "a.key", PASSPHRASE)
    assert opened.public_key() == key.public_key()
    with pytest.raises(PassphraseError, match="not the passphrase"):
        certificate_request.load_key(tmp_path / "a.key", b"another one")


def test_two_files_of_one_key_have_nothing_in_common(tmp_path):
    key = Ed25519PrivateKey.generate()
    one, two = (key_files.format_key(key, PASSPHRASE).split(b"\n")[1:-2] for _ in range(2))
    assert not set(one[1:]) & set(two[1:])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_opens_what_was_encrypted_here_and_says_how(tmp_path):
    path = tmp_path / "a.key"
    key = PrivateKey.generate()
    key.save(path, PASSPHRASE)
    words = ["openssl", "pkey", "-in", path, "-passin", "stdin", "-pubout", "-outform", "DER"]
    done = subprocess.run(words, input=PASSPHRASE, capture_output=True, check=True)
    assert done.stdout.endswith(key.public_key)
    words = ["openssl", "asn1parse", "-in", path]
    shown = subprocess.run(words, capture_output=True, check=True).stdout.decode()
    for part in (":PBES2", ":scrypt", ":4000", ":aes-256-cbc"):
        assert part in shown


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_what_openssl_encrypted_is_opened_here(tmp_path):
    path = tmp_path / "a.key"
    words = ["openssl", "genpkey", "-algorithm", "ED25519", "-aes-256-cbc", "-pass", "stdin"]
    subprocess.run([*words, "-out", path], input=PASSPHRASE, capture_output=True, check=True)
    path.chmod(0o600)
    assert len(PrivateKey.load(path, PASSPHRASE).public_key) == 32


def test_a_long_key_is_encoded_as_others_read_it():
    key = rsa.generate_private_key(65_537, 2_048)  # lengths of two octets (X.690 §8.1.3.5)
    pem = key_files.format_key(key, PASSPHRASE)
    opened = load_pem_private_key(pem, PASSPHRASE)
    assert opened.public_key() == key.public_key()
    assert all(len(line) <= 64 for line in pem.split(b"\n"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o777])
def test_a_key_that_others_can_reach_is_refused_with_the_remedy(tmp_path, mode):
    PrivateKey.generate().save(tmp_path / "a.key")
    (tmp_path / "a.key").chmod(mode)
    with pytest.raises(InputError, match="can be read by others") as caught:
        PrivateKey.load(tmp_path / "a.key")
    assert "chmod 600" in caught.value.advice


def test_a_key_is_never_overwritten_and_a_missing_folder_is_named(tmp_path):
    PrivateKey.generate().save(tmp_path / "a.key")
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(ConflictError, match="exists already"):
        PrivateKey.generate().save(tmp_path / "a.key")
    assert (tmp_path / "a.key").read_bytes() == before
    with pytest.raises(UnavailableError, match="absent"):
        PrivateKey.generate().save(tmp_path / "absent" / "a.key")


def test_what_is_no_such_key_is_refused(tmp_path):
    certificate_request.new_key(tmp_path / "tls.key")
    with pytest.raises(InputError, match="no Ed25519 private key"):
        PrivateKey.load(tmp_path / "tls.key")
    with pytest.raises(NotFoundError, match="no key file"):
        PrivateKey.load(tmp_path / "absent.key")
    text = tmp_path / "text.key"
    text.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    text.chmod(0o600)
    with pytest.raises(InputError):
        PrivateKey.load(text, PASSPHRASE)


@pytest.mark.parametrize("passphrase", [b"", b"short", "ngắn quá".encode(), b"x" * 1_025])
def test_a_passphrase_that_protects_nothing_is_refused_and_nothing_is_written(tmp_path, passphrase):
    with pytest.raises(InputError, match="a passphrase has 12 characters"):
        PrivateKey.generate().save(tmp_path / "a.key", passphrase)
    assert not (tmp_path / "a.key").exists()


def test_another_passphrase_is_put_on_whole(tmp_path):
    key = certificate_request.new_key(tmp_path / "a.key", PASSPHRASE)
    key_files.rewrite(tmp_path / "a.key", key, b"another one, and longer")
    with pytest.raises(PassphraseError):
        certificate_request.load_key(tmp_path / "a.key", PASSPHRASE)
    assert isinstance(
        certificate_request.load_key(tmp_path / "a.key", b"another one, and longer"),
        EllipticCurvePrivateKey,
    )
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
