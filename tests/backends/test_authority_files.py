"""An authority's directory: what was issued can be revoked, and what was revoked stays so."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from enforcer.backends import revocations as lists
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.certificate import Certificate, Standing
from enforcer.backends.certificate_request import Holder
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.pki import Authority
from enforcer.backends.revocations import (
    Revoked,
    check_newer,
    format_revocations,
    read_revocations,
)
from enforcer.core.key import Role
from enforcer.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
)
from tests.certificates import certificate

ORIGIN = "example.org/ledger"
AN = Holder(ORIGIN, Role.PROPOSER, "an.nguyen")
BINH = Holder(ORIGIN, Role.APPROVER, "binh.tran")


@pytest.fixture(scope="module")
def authority():
    return Authority.create(ORIGIN)


@pytest.fixture
def files(tmp_path, authority):
    made = AuthorityFiles(tmp_path / "ca")
    made.create(authority, None)
    return made


def issued(files, authority, holder=AN, **changes):
    key = generate_private_key(SECP256R1())
    return Certificate.parse(files.issue(authority, holder, key.public_key(), **changes))


def test_an_authority_is_read_back_and_never_overwritten(files, authority):
    assert files.load(None).certificate == authority.certificate
    with pytest.raises(ConflictError, match="exists already"):
        files.create(Authority.create(ORIGIN), None)
    assert files.load(None).certificate == authority.certificate


def test_what_was_issued_is_listed_by_standing(files, authority):
    one, two = issued(files, authority), issued(files, authority, BINH)
    files.revoke(authority, [two.parsed.serial_number], "superseded")
    now_seconds = datetime.now(UTC).timestamp()
    shown = {each.certificate.serial: each.standing(now_seconds) for each in files.all_issued()}
    assert shown == {one.serial: "VALID", two.serial: "REVOKED"}
    later = now_seconds + 31 * 86_400
    assert {each.standing(later) for each in files.all_issued()} == {"ENDED", "REVOKED"}


def test_each_list_is_newer_signed_and_complete(files, authority):
    first, second = issued(files, authority), issued(files, authority)
    files.revoke(authority, [first.parsed.serial_number], "keyCompromise")
    made = files.revoke(authority, [second.parsed.serial_number], "unspecified")
    assert made.number == 3
    assert made.find(first.parsed).reason == "keyCompromise"
    assert made.find(second.parsed).reason == "unspecified"
    assert files.sign_again(authority).entries == made.entries
    other = Authority.create(ORIGIN)
    stranger = Certificate.parse(certificate(other).certificate)
    assert made.find(stranger.parsed) is None


def test_the_same_serial_of_another_authority_is_not_revoked(files, authority, tmp_path):
    mine = issued(files, authority)
    made = files.revoke(authority, [mine.parsed.serial_number], "unspecified")
    other = Authority.create("example.net/ledger")
    assert made.issuer != other.certificate.subject
    assert made.find(x509_of(other, mine.parsed.serial_number)) is None


def x509_of(authority, serial):
    """Return a certificate of another authority with a chosen serial number."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(authority.certificate.subject)
    builder = builder.issuer_name(authority.certificate.subject).serial_number(serial)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.public_key(authority.key.public_key()).sign(authority.key, SHA256())


def test_what_is_revoked_is_not_renewed(files, authority):
    old = issued(files, authority)
    renewed = Certificate.parse(files.renew(authority, old, days=10))
    assert renewed.uris == old.uris
    assert renewed.serial != old.serial
    assert renewed.parsed.public_key() == old.parsed.public_key()
    files.revoke(authority, [old.parsed.serial_number], "unspecified")
    with pytest.raises(RefusedError, match="was revoked"):
        files.renew(authority, old)


def test_a_server_is_renewed_with_its_hosts(files, authority):
    holder = Holder(ORIGIN, Role.CONTROL, "control-1")
    old = issued(files, authority, holder, hosts=("192.0.2.1", "control.example.org"))
    renewed = Certificate.parse(files.renew(authority, old))
    assert renewed.hosts == old.hosts
    assert renewed.is_for_servers


def test_what_another_authority_issued_is_not_renewed(files, authority):
    foreign = Certificate.parse(certificate(Authority.create(ORIGIN)).certificate)
    with pytest.raises(InputError, match="not issued by this authority"):
        files.renew(authority, foreign)
    with pytest.raises(InputError, match="not issued by this authority"):
        files.renew(authority, Certificate(authority.certificate))


def test_a_certificate_is_found_by_file_serial_and_holder(files, authority, tmp_path):
    one, two, other = (issued(files, authority, each) for each in (AN, AN, BINH))
    (tmp_path / "one.crt").write_bytes(files.issued.joinpath(f"{one.serial}.crt").read_bytes())
    assert [each.serial for each in files.find(str(tmp_path / "one.crt"))] == [one.serial]
    assert [each.serial for each in files.find(two.serial.upper())] == [two.serial]
    found = {each.serial for each in files.find("proposer/an.nguyen")}
    assert found == {one.serial, two.serial}
    assert [each.serial for each in files.find("approver/binh.tran")] == [other.serial]
    for nothing in ("approver/an.nguyen", "an.nguyen", "abcdef", "", "../an.nguyen"):
        with pytest.raises(NotFoundError, match="nothing of that name"):
            files.find(nothing)


def test_revoking_again_or_for_no_reason_changes_nothing(files, authority):
    one = issued(files, authority)
    files.revoke(authority, [one.parsed.serial_number], "unspecified")
    before = files.revocations.read_bytes()
    with pytest.raises(ConflictError, match="revoked already"):
        files.revoke(authority, [one.parsed.serial_number], "unspecified")
    with pytest.raises(InputError, match="no reason"):
        files.revoke(authority, [1], "certificateHold")
    assert files.revocations.read_bytes() == before


def test_two_who_revoke_at_once_lose_nothing(files, authority):
    one = issued(files, authority)
    lock = DirectoryLock(files.directory / ".lock")
    with pytest.raises(ConflictError):
        files.revoke(authority, [one.parsed.serial_number], "unspecified")
    lock.close()
    assert files.revoke(authority, [one.parsed.serial_number], "unspecified").number == 2


def test_a_certificate_that_ended_long_ago_leaves_the_list(files, authority, monkeypatch):
    one, kept = issued(files, authority, days=1), issued(files, authority, days=30)
    serials = [each.parsed.serial_number for each in (one, kept)]
    files.revoke(authority, [*serials, 77], "unspecified")

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=32)

    monkeypatch.setattr("enforcer.backends.authority_files.datetime", Later)
    assert set(files.sign_again(authority).entries) == {serials[1], 77}


# The list itself.


def test_a_list_that_somebody_else_signed_is_refused(files, tmp_path):
    other = Authority.create(ORIGIN)
    (tmp_path / "list").write_bytes(format_revocations(other.certificate, other.key, 9, ()))
    with pytest.raises(IntegrityError, match="not signed by the authority"):
        read_revocations(tmp_path / "list", [files.load(None).certificate])


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN X509 CRL-----\nMIIB\n"])
def test_what_is_no_list_is_refused(authority, tmp_path, content):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(InputError, match="no revocation list"):
        read_revocations(tmp_path / "list", [authority.certificate])


def test_an_altered_list_is_refused(files, authority, tmp_path):
    files.revoke(authority, [77], "unspecified")
    der = bytearray(
        x509.load_pem_x509_crl(files.revocations.read_bytes()).public_bytes(Encoding.DER)
    )
    at = bytes(der).rindex(b"\x02\x01\x4d")  # the serial number 77
    der[at + 2] = 78
    pem = x509.load_der_x509_crl(bytes(der)).public_bytes(Encoding.PEM)
    (tmp_path / "list").write_bytes(pem)
    with pytest.raises(IntegrityError):
        read_revocations(tmp_path / "list", [authority.certificate])


def test_an_older_list_is_told_from_a_newer_one(files, authority):
    older = read_revocations(files.revocations, [authority.certificate])
    newer = files.sign_again(authority)
    check_newer(newer, older)
    check_newer(newer, newer)
    with pytest.raises(ConflictError, match="number 1, and number 2 is known"):
        check_newer(older, newer)


def test_a_list_has_bounds(authority, monkeypatch):
    for days in (0, 398):
        with pytest.raises(InputError, match="days"):
            format_revocations(authority.certificate, authority.key, 1, (), days=days)
    monkeypatch.setattr(lists, "LIST_BYTES_MAX", 500)
    many = [Revoked(number, datetime.now(UTC), "unspecified") for number in range(1, 20)]
    with pytest.raises(InputError, match="would have"):
        format_revocations(authority.certificate, authority.key, 1, many)


def test_a_certificate_is_told_by_time_to_the_second(authority):
    read = Certificate.parse(certificate(authority).certificate)
    begins, ends = read.begins.timestamp(), read.ends.timestamp()
    assert read.standing(begins - 1) is Standing.NOT_BEGUN
    assert read.standing(begins) is read.standing(ends) is Standing.VALID
    assert read.standing(ends + 1) is Standing.ENDED
