"""What is wrong with a program's TLS files is told before anybody is called."""

import time

import pytest
from structlog.testing import capture_logs

from enforcer.app.tls import check_certificate, read_tls, warn_of_end
from enforcer.backends import pki
from enforcer.config import ClientTls
from enforcer.core.key import Role
from enforcer.errors import InputError

DAY_SECONDS = 86_400


@pytest.fixture
def tls(tmp_path):
    """A person's files, with a certificate for twenty days."""
    authority = pki.Authority.create("example.org/ledger")
    key = pki.new_key(tmp_path / "tls.key")
    holder = pki.Holder("example.org/ledger", Role.PROPOSER, "an.nguyen")
    (tmp_path / "tls.crt").write_bytes(authority.issue(holder, key.public_key(), days=20))
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    return ClientTls(
        certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key", ca=tmp_path / "ca.crt"
    )


def test_a_certificate_that_ended_is_told_with_its_file_and_the_remedy(tls):
    pem = read_tls(tls).certificate
    check_certificate(tls.certificate, pem, time.time() + 19 * DAY_SECONDS)
    with pytest.raises(InputError, match=r"tls\.crt ended on 20") as caught:
        check_certificate(tls.certificate, pem, time.time() + 21 * DAY_SECONDS)
    assert "key certify" in caught.value.advice


@pytest.mark.parametrize(
    ("days", "events"),
    [(0, []), (10, ["certificate_ends_soon"]), (21, ["certificate_ended"])],
)
def test_a_program_says_two_weeks_ahead_that_its_certificate_ends(tls, days, events):
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
        check_certificate(tls.certificate, read_tls(tls).certificate, time.time())
