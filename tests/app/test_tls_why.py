"""Over real gRPC with TLS: each certificate that does not get in is told why, in words."""

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from enforcer.api.client import ControlClient
from enforcer.api.server import Server
from enforcer.app.tls_why import why_not
from enforcer.backends.keys import verify
from enforcer.backends.pki import Authority
from enforcer.config import Address, ClientTls
from enforcer.errors import EnforcerError, InputError, UnavailableError
from tests.certificates import AUDITOR, SERVER, certificate, server_certificate
from tests.control import ORIGIN, trust_of
from tests.people import Land

HOUR = timedelta(hours=1)
SECTION = ClientTls(certificate=Path("tls.crt"), key=Path("tls.key"), ca=Path("ca.crt"))


@pytest.fixture(scope="module")
def authority():
    return Authority.create(ORIGIN)


@pytest.fixture(scope="module")
def other():
    return Authority.create(ORIGIN)


class Meeting:
    """A server and a client with these files; nothing is served but TLS."""

    def __init__(self, server_files, client_files, ahead=timedelta()):
        self.server_files, self.client_files = server_files, client_files
        self.clock_ahead_seconds = ahead.total_seconds()

    async def error(self):
        """Call, and return what the client is told."""
        server = Server("example.org", lambda pem: None)
        port = server.bind("127.0.0.1:0", lambda: self.server_files)
        await server.start()
        address = Address(f"127.0.0.1:{port}")

        async def explain():
            now_seconds = time.time() + self.clock_ahead_seconds
            return await why_not(address, SECTION, self.client_files, now_seconds)

        client = ControlClient(address, self.client_files, trust_of(Land()), verify, explain)
        try:
            with pytest.raises(EnforcerError) as caught:
                async with client:
                    await client.policy()
        finally:
            await server.stop(0)
        assert caught.value.advice
        return caught.value


async def test_a_certificate_that_ended_is_told_from_a_wrong_clock(authority):
    ended = certificate(authority, begins=-2 * HOUR, ends=-HOUR)
    error = await Meeting(server_certificate(authority), ended).error()
    assert isinstance(error, InputError)
    assert "tls.crt ended on" in error.message
    assert "pki renew" in error.advice


async def test_a_clock_that_is_ahead_is_told_from_a_certificate_that_ended(authority):
    good = certificate(authority)
    error = await Meeting(server_certificate(authority), good, ahead=3 * HOUR).error()
    assert isinstance(error, UnavailableError)
    assert "is ahead of that of 127.0.0.1" in error.message
    assert "by 2 h 0 min or more" in error.message
    assert "No certificate is wrong" in error.advice


async def test_a_clock_that_is_behind_is_told_from_a_certificate_that_has_not_begun(authority):
    good = certificate(authority)
    error = await Meeting(server_certificate(authority), good, ahead=-26.5 * HOUR).error()
    assert "is behind that of 127.0.0.1" in error.message
    assert "by 1 d 1 h or more" in error.message


async def test_a_certificate_that_has_not_begun_anywhere_means_that_its_maker_was_ahead(authority):
    early = certificate(authority, begins=HOUR, ends=2 * HOUR)
    error = await Meeting(server_certificate(authority), early).error()
    assert "begins on" in error.message
    assert "or that of the authority was ahead" in error.message
    assert "clock" in error.advice


async def test_a_certificate_of_another_authority_is_told_before_anybody_is_asked(authority, other):
    foreign = replace(certificate(other), authority=authority.pem)
    error = await Meeting(server_certificate(authority), foreign).error()
    assert "not issued by the authority ca.crt" in error.message


async def test_a_servers_certificate_that_is_no_clients_is_told(authority):
    only_server = certificate(authority, usages=(SERVER,))
    error = await Meeting(server_certificate(authority), only_server).error()
    assert "not for a client" in error.message


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (-2 * HOUR, -HOUR, "shows a certificate that ended on"),
        (2 * HOUR, 3 * HOUR, "behind"),
    ],
)
async def test_a_servers_certificate_of_another_time_is_told(authority, begins, ends, words):
    shown = server_certificate(authority, begins=begins, ends=ends)
    error = await Meeting(shown, certificate(authority)).error()
    assert words in error.message


async def test_a_server_of_another_authority_is_told(authority, other):
    shown = replace(server_certificate(other), authority=authority.pem)
    error = await Meeting(shown, certificate(authority)).error()
    assert "shows a certificate of another authority" in error.message


async def test_a_clients_certificate_makes_no_server(authority):
    shown = certificate(authority, (AUDITOR,), hosts=("127.0.0.1",))
    error = await Meeting(shown, certificate(authority)).error()
    assert f"shows a client's certificate, that of {AUDITOR}" in error.message


async def test_a_server_with_a_certificate_for_another_host_is_told(authority):
    shown = server_certificate(authority, hosts=("192.0.2.7",))
    error = await Meeting(shown, certificate(authority)).error()
    assert "for 192.0.2.7 only" in error.message


async def test_a_server_that_believes_another_authority_is_told(authority, other):
    believes = replace(server_certificate(authority), authority=other.pem)
    error = await Meeting(believes, certificate(authority)).error()
    assert "does not take the certificate" in error.message
    assert "client_ca" in error.advice


async def test_where_nobody_answers_there_is_no_more_to_say(authority):
    files = certificate(authority)
    assert await why_not(Address("127.0.0.1:1"), SECTION, files, time.time()) is None


async def test_a_server_that_works_is_not_accused(authority):
    server = Server("example.org", lambda pem: None)
    files = server_certificate(authority)
    port = server.bind("127.0.0.1:0", lambda: files)
    await server.start()
    address = Address(f"127.0.0.1:{port}")
    assert await why_not(address, SECTION, certificate(authority), time.time()) is None
    await server.stop(0)
