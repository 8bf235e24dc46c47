"""Certificates: who they name, for how long, and what is refused."""

import ssl
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from enforcer.backends import certificate_request, key_files, pki
from enforcer.core.key import Role
from enforcer.errors import ConflictError, InputError, NotFoundError

ORIGIN = "example.org/ledger"
PROPOSER = certificate_request.Holder(ORIGIN, Role.PROPOSER, "an.nguyen")


def names(pem, kind):
    extension = x509.load_pem_x509_certificate(pem).extensions
    return extension.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        kind
    )


def usages(pem):
    extensions = x509.load_pem_x509_certificate(pem).extensions
    return list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


@pytest.fixture(scope="module")
def authority():
    return pki.Authority.create(ORIGIN)


@pytest.fixture(scope="module")
def key():
    return generate_private_key(SECP256R1())


def test_a_certificate_names_its_holder_in_exactly_one_uri(authority, key):
    pem = authority.issue(PROPOSER, key.public_key())
    assert names(pem, x509.UniformResourceIdentifier) == ["spiffe://example.org/proposer/an.nguyen"]
    assert names(pem, x509.DNSName) == []
    assert usages(pem) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_role_of_two_words_has_a_hyphen():
    holder = certificate_request.Holder(ORIGIN, Role.SAFETY_OFFICER, "so-1")
    assert holder.uri == "spiffe://example.org/safety-officer/so-1"


def test_a_server_has_its_addresses_and_names_besides(authority, key):
    holder = certificate_request.Holder(ORIGIN, Role.CONTROL, "control-1")
    pem = authority.issue(
        holder, key.public_key(), hosts=["127.0.0.1", "::1", "control.example.org"]
    )
    assert [str(each) for each in names(pem, x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert names(pem, x509.DNSName) == ["control.example.org"]
    assert ExtendedKeyUsageOID.SERVER_AUTH in usages(pem)


def test_a_certificate_is_short_lived_by_default_and_never_over_the_cap(authority, key):
    read = x509.load_pem_x509_certificate(authority.issue(PROPOSER, key.public_key()))
    assert read.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=30)
    assert read.not_valid_before_utc < datetime.now(UTC)
    for days in (0, 398):
        with pytest.raises(InputError, match="days"):
            authority.issue(PROPOSER, key.public_key(), days=days)


def test_an_issued_certificate_verifies_against_its_authority_alone(authority, key):
    read = x509.load_pem_x509_certificate(authority.issue(PROPOSER, key.public_key()))
    read.verify_directly_issued_by(authority.certificate)
    with pytest.raises(InvalidSignature):
        read.verify_directly_issued_by(pki.Authority.create(ORIGIN).certificate)


def test_tls_takes_the_files(authority, tmp_path):
    key = certificate_request.new_key(tmp_path / "key")
    (tmp_path / "certificate").write_bytes(authority.issue(PROPOSER, key.public_key()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_an_authority_is_read_back_from_its_files(authority, tmp_path):
    key_files.save(tmp_path / "key", authority.key)
    (tmp_path / "certificate").write_bytes(authority.pem)
    read = pki.Authority.load(tmp_path / "certificate", tmp_path / "key")
    assert read.certificate == authority.certificate


def test_files_that_are_not_a_pair_are_refused(authority, tmp_path):
    certificate_request.new_key(tmp_path / "key")
    (tmp_path / "certificate").write_bytes(authority.pem)
    with pytest.raises(InputError, match="not the certificate of the key"):
        pki.Authority.load(tmp_path / "certificate", tmp_path / "key")


def test_a_missing_or_foreign_key_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="absent"):
        certificate_request.load_key(tmp_path / "absent")
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(InputError, match="P-256"):
        certificate_request.load_key(tmp_path / "text")


def test_a_key_is_never_overwritten(tmp_path):
    certificate_request.new_key(tmp_path / "key")
    with pytest.raises(ConflictError, match="exists already"):
        certificate_request.new_key(tmp_path / "key")


def test_a_request_gives_its_key_and_must_be_signed_by_it(key):
    pem = certificate_request.request(PROPOSER, key)
    assert certificate_request.key_of_request(pem) == key.public_key()
    head, body, tail = (
        pem.partition("\n")[0],
        pem.split("\n")[1:-2],
        "-----END CERTIFICATE REQUEST-----",
    )
    octets = bytearray(b64decode("".join(body)))
    octets[-1] ^= 1  # the end of the signature
    altered = "\n".join([head, b64encode(octets).decode(), tail, ""])
    with pytest.raises(InputError, match="not signed by its own key"):
        certificate_request.key_of_request(altered)
    with pytest.raises(InputError, match="signing request"):
        certificate_request.key_of_request("hello")


def test_an_identity_that_no_certificate_can_name_is_refused(authority, key):
    control = certificate_request.Holder(ORIGIN, Role.CONTROL, "control-1")
    with pytest.raises(InputError, match="no certificate can name"):
        authority.issue(control, key.public_key(), hosts=["máy.example.org"])


def test_a_person_is_nobodys_server(authority, key):
    with pytest.raises(InputError, match="nobody's server"):
        authority.issue(PROPOSER, key.public_key(), hosts=["192.0.2.1"])


def test_an_authority_issues_for_its_own_installation_alone(authority, key):
    holder = certificate_request.Holder("example.net/ledger", Role.PROPOSER, "an.nguyen")
    with pytest.raises(InputError, match=r"this authority of example\.org"):
        authority.issue(holder, key.public_key())
