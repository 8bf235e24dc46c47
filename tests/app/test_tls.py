"""What is wrong with a program's TLS files is told before anybody is called."""

import time

import pytest
from structlog.testing import capture_logs

from enforcer.app.passphrase import Passphrases
from enforcer.app.tls import check_begun_and_not_ended, read_tls, warn_of_end
from enforcer.backends import certificate_request, pki
from enforcer.backends.key_files import PassphraseError
from enforcer.config import ClientTls
from enforcer.core.key import Role
from enforcer.errors import InputError

DAY_SECONDS = 86_400
HOLDER = certificate_request.Holder("example.org/ledger", Role.PROPOSER, "an.nguyen")
PASSPHRASE = "correct horse battery staple"


def written(folder, passphrase=None):
    """Return a person's files, with a certificate for twenty days."""
    authority = pki.Authority.create("example.org/ledger")
    key = certificate_request.new_key(folder / "tls.key", passphrase)
    (folder / "tls.crt").write_bytes(authority.issue(HOLDER, key.public_key(), days=20))
    (folder / "ca.crt").write_bytes(authority.pem)
    return ClientTls(certificate=folder / "tls.crt", key=folder / "tls.key", ca=folder / "ca.crt")


@pytest.fixture
def tls(tmp_path):
    return written(tmp_path)


def test_a_certificate_that_ended_is_told_with_its_file_and_the_remedy(tls):
    pem = read_tls(tls).certificate
    check_begun_and_not_ended(tls.certificate, pem, time.time() + 19 * DAY_SECONDS)
    with pytest.raises(InputError, match=r"tls\.crt ended on 20") as caught:
        check_begun_and_not_ended(tls.certificate, pem, time.time() + 21 * DAY_SECONDS)
    assert "pki renew" in caught.value.advice


def test_a_clock_that_is_some_minutes_behind_is_no_fault_and_more_is_told(tls):
    pem = read_tls(tls).certificate
    check_begun_and_not_ended(tls.certificate, pem, time.time() - 240)
    with pytest.raises(InputError, match="it is behind") as caught:
        check_begun_and_not_ended(tls.certificate, pem, time.time() - 360)
    assert "clock" in caught.value.advice


@pytest.mark.parametrize(
    ("days", "events"),
    [
        (0, []),
        (9, []),
        (11, ["certificate_ends_soon"]),
        (21, ["certificate_ended"]),
        (-1, ["certificate_not_begun"]),
    ],
)
def test_a_program_says_ahead_that_its_certificate_ends(tls, days, events):
    with capture_logs() as logs:
        now_seconds = time.time() + days * DAY_SECONDS
        warn_of_end(tls.certificate, read_tls(tls).certificate, now_seconds)
    assert [each["event"] for each in logs] == events


def test_a_key_that_others_can_read_is_refused(tls):
    tls.key.chmod(0o640)
    with pytest.raises(InputError, match="can be read by others") as caught:
        read_tls(tls)
    assert "chmod 600" in caught.value.advice


def test_what_is_no_certificate_is_named(tls):
    tls.certificate.write_text("nothing")
    with pytest.raises(InputError, match=r"tls\.crt"):
        read_tls(tls)


def test_a_certificate_is_no_authoritys(tls):
    tls.ca.write_bytes(tls.certificate.read_bytes())
    with pytest.raises(InputError, match=r"ca\.crt is no authority's certificate"):
        read_tls(tls)


def test_a_persons_tls_key_is_opened_by_the_passphrase_and_a_programs_is_not(tmp_path):
    tls = written(tmp_path, PASSPHRASE.encode())
    with pytest.raises(PassphraseError, match="nobody to ask") as caught:
        read_tls(tls)
    assert "--remove" in caught.value.advice
    opened = read_tls(tls, Passphrases({}, lambda question: PASSPHRASE))
    assert opened.key.startswith(b"-----BEGIN PRIVATE KEY")
    assert b"ENCRYPTED" in tls.key.read_bytes()
