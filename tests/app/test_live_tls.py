"""Certificates and revocations change under a control plane that goes on serving."""

import asyncio
import ssl
import time
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from structlog.testing import capture_logs

from enforcer.app import live_tls
from enforcer.app.live_tls import LiveTls
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.certificate import Certificate
from enforcer.backends.pki import Authority
from enforcer.core.key import Role
from enforcer.errors import InputError, NotFoundError, RefusedError, UnavailableError
from tests.certificates import certificate, server_certificate
from tests.control import NEVER_SECONDS, ORIGIN, Installation
from tests.waiting import WAIT_SECONDS, until

DAY_SECONDS = 86_400.0


class Living(Installation):
    """An installation whose authority is on disk, with a list of revocations."""

    def __post_init__(self):
        super().__post_init__()
        self.files = AuthorityFiles(self.directory / "ca")
        self.files.create(self.authority, None)
        tls = msgspec.structs.replace(self.config.tls, crl=self.directory / "ca.crl")
        self.config = msgspec.structs.replace(self.config, tls=tls)
        self.copy_revocations()

    def copy_revocations(self):
        self.config.tls.crl.write_bytes(self.files.revocations.read_bytes())

    def revoke(self, files, reason="keyCompromise"):
        serial = Certificate.parse(files.certificate).parsed.serial_number
        self.files.revoke(self.authority, [serial], reason)
        self.copy_revocations()

    def put(self, files):
        """Replace the server's certificate, one file after the other."""
        self.config.tls.certificate.write_bytes(files.certificate)
        self.config.tls.key.write_bytes(files.key)

    async def serial(self):
        """Return the serial number that a new connection is shown."""
        return await asyncio.to_thread(shown_at, self.control.port)

    async def look(self):
        """Have the files read, and return what was logged."""
        with capture_logs() as logs:
            self.control.tls.wake()
            await until(lambda: any(each["event"].startswith("certificates") for each in logs))
        return logs


class Counted:
    """A function that knows how often it was called."""

    def __init__(self, inner):
        self.inner, self.times = inner, 0

    def __call__(self):
        self.times += 1
        return self.inner()


def shown_at(port):
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=WAIT_SECONDS)
    return Certificate.parse(pem.encode()).serial


def serial_of(files):
    return Certificate.parse(files.certificate).serial


@pytest.fixture
async def living(tmp_path, monkeypatch):
    """An installation that looks at its files when it is told to, and never by itself."""
    monkeypatch.setattr(live_tls, "LOOK_INTERVAL_SECONDS", NEVER_SECONDS)
    async with Living(tmp_path) as installation:
        yield installation


async def test_new_files_are_shown_to_new_connections_and_open_ones_go_on(living):
    async with living.client(living.land.oversight) as client:
        await client.list_orders()
        before = await living.serial()
        new = living.issue(Role.CONTROL, "control-1", hosts=("127.0.0.1",))
        living.put(new)
        (logged,) = await living.look()
        assert (logged["event"], logged["log_level"]) == ("certificates_taken", "info")
        assert await living.serial() == serial_of(new) != before
        await client.list_orders()
    async with living.client(living.land.oversight) as client:
        await client.list_orders()


async def test_new_files_are_taken_without_anybodys_word(tmp_path, monkeypatch):
    monkeypatch.setattr(live_tls, "LOOK_INTERVAL_SECONDS", 0.02)
    async with Living(tmp_path) as living:
        new = living.issue(Role.CONTROL, "control-1", hosts=("127.0.0.1",))
        with capture_logs() as logs:
            living.put(new)
            await until(lambda: any(each["event"] == "certificates_taken" for each in logs))
        assert await living.serial() == serial_of(new)


def spoil_key(living):
    living.config.tls.key.write_bytes(living.issue(Role.CONTROL, "control-1").key)


def end_certificate(living):
    ended = {"begins": timedelta(hours=-2), "ends": timedelta(hours=-1)}
    living.put(server_certificate(living.authority, **ended))


def begin_later(living):
    later = {"begins": timedelta(hours=1), "ends": timedelta(hours=2)}
    living.put(server_certificate(living.authority, **later))


def put_clients(living):
    living.put(living.issue(Role.AUDITOR, "auditor"))


def cut_certificate(living):
    living.config.tls.certificate.write_text("-----BEGIN CERTIFICATE-----\nMIIB")


def remove_key(living):
    living.config.tls.key.unlink()


def open_key(living):
    living.config.tls.key.chmod(0o644)


def empty_authority(living):
    living.config.tls.client_ca.write_bytes(b"")


def foreign_revocations(living):
    other = AuthorityFiles(living.directory / "other")
    other.create(Authority.create(ORIGIN), None)
    living.config.tls.crl.write_bytes(other.revocations.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_key, "is not for the key"),
        (end_certificate, "ended on"),
        (begin_later, "it is behind, or that of the authority was ahead"),
        (put_clients, "is for a client"),
        (cut_certificate, "is no certificate in PEM"),
        (remove_key, "there is no key file"),
        (open_key, "can be read by others"),
        (empty_authority, "is no certificate in PEM"),
        (foreign_revocations, "is not signed by the authority"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_told_loudly(living, spoil, words):
    before = await living.serial()
    spoil(living)
    (logged,) = await living.look()
    assert (logged["event"], logged["log_level"]) == ("certificates_refused", "error")
    assert words in logged["problem"]
    assert logged["advice"]
    assert await living.serial() == before
    async with living.client(living.land.oversight) as client:
        await client.list_orders()


async def test_a_bad_file_that_stays_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(live_tls, "LOOK_INTERVAL_SECONDS", 0.01)
    async with Living(tmp_path) as living:
        with capture_logs() as logs:
            cut_certificate(living)
            await until(lambda: logs)
            looked = Counted(living.control.tls._look)
            living.control.tls._look = looked
            await until(lambda: looked.times >= 10)
        assert len(logs) == 1
        new = living.issue(Role.CONTROL, "control-1", hosts=("127.0.0.1",))
        living.put(new)
        for _ in range(10_000):
            if await living.serial() == serial_of(new):
                break
        assert await living.serial() == serial_of(new)


async def test_what_is_revoked_is_refused_at_the_next_call_of_an_open_connection(living):
    person = living.land.oversight
    revoked, other = (living.issue(person.role, person.person_id) for _ in range(2))
    async with living.connect(revoked) as client, living.connect(other) as second:
        await client.list_orders()
        living.revoke(revoked)
        (logged,) = await living.look()
        assert logged["revocations"] == 2
        with pytest.raises(RefusedError, match="was revoked on") as caught:
            await client.list_orders()
        assert serial_of(revoked) in caught.value.message
        assert caught.value.data["reason"] == "keyCompromise"
        assert "pki issue" in caught.value.advice
        await second.list_orders()
    async with living.connect(revoked) as client:
        with pytest.raises(RefusedError, match="was revoked on"):
            await client.list_orders()


async def test_an_older_list_of_revocations_lets_nobody_in_again(living):
    person = living.land.oversight
    files = living.issue(person.role, person.person_id)
    older = living.config.tls.crl.read_bytes()
    living.revoke(files)
    await living.look()
    living.config.tls.crl.write_bytes(older)
    (logged,) = await living.look()
    assert "number 1, and number 2 is known" in logged["problem"]
    async with living.connect(files) as client:
        with pytest.raises(RefusedError, match="was revoked"):
            await client.list_orders()


async def test_a_server_whose_own_certificate_ended_still_hears_of_revocations(living):
    person = living.land.oversight
    files = living.issue(person.role, person.person_id)
    async with living.connect(files) as client:
        await client.list_orders()
        living.revoke(files)
        living.control.tls._clock = lambda: time.time() + 31 * DAY_SECONDS
        logs = await living.look()
        assert "certificates_taken" in [each["event"] for each in logs]
        with pytest.raises(RefusedError, match="was revoked"):
            await client.list_orders()


async def test_a_connection_that_outlives_its_certificate_is_refused(living):
    files = certificate(living.authority, ends=timedelta(seconds=DAY_SECONDS))
    async with living.connect(files) as client:
        await client.list_orders()
        living.control.tls._clock = lambda: time.time() + DAY_SECONDS + 1
        with pytest.raises(RefusedError, match=r"ended on .*, by the server's clock") as caught:
            await client.list_orders()
        assert "pki renew" in caught.value.advice


async def test_another_authority_counts_from_the_next_connection_on(living):
    other = Authority.create(ORIGIN)
    ours = certificate(living.authority)
    theirs = replace(certificate(other), authority=living.authority.pem)
    living.config.tls.crl.unlink()
    tls = msgspec.structs.replace(living.config.tls, crl=None)
    living.control.tls._section = tls
    tls.client_ca.write_bytes(other.pem)
    await living.look()
    async with living.connect(theirs) as client:
        await client.list_orders()
    async with living.connect(ours) as client:
        with pytest.raises(UnavailableError):
            await client.list_orders()


async def test_a_client_shows_a_new_certificate_from_its_next_call_on(living):
    person = living.land.oversight
    old, new = (living.issue(person.role, person.person_id) for _ in range(2))
    async with living.connect(old) as client:
        living.revoke(old)
        await living.look()
        with pytest.raises(RefusedError):
            await client.list_orders()
        await client.use(new)
        await client.list_orders()


# At the start.


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (spoil_key, InputError, "is not for the key"),
        (put_clients, InputError, "is for a client"),
        (lambda living: living.config.tls.crl.unlink(), NotFoundError, "does not exist"),
    ],
)
def test_what_is_no_good_at_the_start_is_fatal(tmp_path, spoil, kind, words):
    living = Living(tmp_path)
    spoil(living)
    with pytest.raises(kind, match=words):
        LiveTls(living.config.tls, serves=True)


def test_a_start_with_a_certificate_of_another_time_is_loud(tmp_path):
    living = Living(tmp_path)
    end_certificate(living)
    with capture_logs() as logs:
        LiveTls(living.config.tls, serves=True)
    assert [each["event"] for each in logs] == ["certificate_ended"]
    begin_later(living)
    with capture_logs() as logs:
        LiveTls(living.config.tls, serves=True)
    assert [each["event"] for each in logs] == ["certificate_not_begun"]


def test_a_list_past_its_time_goes_on_counting_and_is_told(tmp_path):
    living = Living(tmp_path)
    files = living.issue(Role.AUDITOR, "auditor")
    living.revoke(files)
    later = time.time() + 31 * DAY_SECONDS
    with capture_logs() as logs:
        live = LiveTls(living.config.tls, serves=True, clock=lambda: later)
    assert {each["event"] for each in logs} == {"certificate_ended", "revocations_stale"}
    with pytest.raises(RefusedError, match="was revoked"):
        live.check_peer(files.certificate)


def test_no_key_is_shown_by_what_holds_it(tmp_path):
    files = LiveTls(Living(tmp_path).config.tls, serves=True).files
    assert b"PRIVATE" in files.key
    assert "PRIVATE" not in repr(files)
