"""The control plane as a process: what keeps it from starting, and how it ends."""

import asyncio
import json
import signal
import ssl
import sys

import msgspec
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from enforcer.api.server import TlsFiles
from enforcer.app.control import run_control, serving
from enforcer.app.lost_ledger import unused_mark
from enforcer.backends.certificate_request import Holder
from enforcer.backends.child import tied_to_parent
from enforcer.backends.feed_format import FeedKeys
from enforcer.backends.keys import PrivateKey
from enforcer.backends.memory_feed import MemoryFeedPublisher
from enforcer.backends.pki import Authority
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.config import ControlConfig, read
from enforcer.core.key import Role
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError, UnavailableError
from tests.control import ORIGIN, Installation, PlainListWork, key_pem, trust_of
from tests.waiting import WAIT_SECONDS


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


def changed(installation, **changes):
    installation.config = msgspec.structs.replace(installation.config, **changes)
    return installation


async def fault(installation, kind):
    with pytest.raises(kind) as caught:
        async with installation:
            pass
    return caught.value


async def test_a_log_key_that_nobody_trusts_is_refused_at_the_start(installation, tmp_path):
    other = tmp_path / "other.key"
    PrivateKey.generate().save(other)
    error = await fault(changed(installation, log_key_file=other), InputError)
    assert str(other) in error.message
    assert not installation.config.ledger_dir.exists()


async def test_a_missing_certificate_is_named(installation):
    installation.config.tls.certificate.unlink()
    error = await fault(installation, NotFoundError)
    assert str(installation.config.tls.certificate) in error.message


async def test_a_second_control_plane_on_one_ledger_is_refused(installation, tmp_path):
    async with installation:
        second = serving(
            installation.config,
            trust_of(installation.land),
            MemoryFeedPublisher(installation.feed),
            PlainListWork(),
        )
        with pytest.raises(ConflictError, match="being written by process"):
            await second.__aenter__()


async def test_an_address_that_is_taken_is_named(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with Installation(tmp_path / "one") as first:
        second = changed(Installation(tmp_path / "two"), listen=first.config.listen)
        error = await fault(second, UnavailableError)
    assert first.config.listen in error.message
    async with changed(second, listen=type(first.config.listen)("127.0.0.1:0")):
        pass  # the lock was given up


# As a process.

PROGRAM = """
import asyncio, sys
from pathlib import Path
from enforcer.app.control import run_control
from enforcer.config import ControlConfig, read
asyncio.run(run_control(read(Path(sys.argv[1]), ControlConfig)))
"""


class Process:
    """A control plane as it is really run; what it logs is read line by line."""

    def __init__(self, config_file):
        self.command = tied_to_parent([sys.executable, "-c", PROGRAM, str(config_file)])
        self.logged = b""

    async def start(self):
        self.child = await asyncio.create_subprocess_exec(
            *self.command, stderr=asyncio.subprocess.PIPE
        )
        said = await self.hear("control_serves")
        self.port = int(said["address"].rpartition(":")[2])
        return self

    async def hear(self, event):
        """Return the next log line of that event."""
        while line := await self.child.stderr.readline():
            self.logged += line
            said = json.loads(line)
            if said["event"] == event:
                return said
        raise AssertionError(f"it ended without saying {event}")

    async def end(self):
        """Tell it to end, and return its exit code."""
        self.child.terminate()
        await self.hear("control_ends")
        return await self.child.wait()


async def test_it_serves_without_redis_and_ends_in_order_when_told(installation, tmp_path):
    process = await Process(installation.write_config(f"unix://{tmp_path}/nobody.sock")).start()
    installation.control = process
    mark = unused_mark(installation.config.log_key_file)
    assert mark.exists()  # nothing was signed yet
    await installation.found()
    assert not mark.exists()
    assert await process.end() == 0
    async with installation:  # the lock was given up, and nothing was lost
        assert installation.control.ledger.state.size == 7


async def test_certificates_are_taken_on_sighup_and_bad_ones_left(installation):
    process = await Process(installation.write_config()).start()
    tls = installation.config.tls
    tls.certificate.write_text("half a certifi")
    process.child.send_signal(signal.SIGHUP)
    said = await process.hear("certificates_refused")
    assert (said["level"], "no certificate in PEM" in said["problem"]) == ("error", True)
    new = installation.issue(Role.CONTROL, "control-1", hosts=("127.0.0.1",))
    tls.key.write_bytes(new.key)
    tls.certificate.write_bytes(new.certificate)
    process.child.send_signal(signal.SIGHUP)
    await process.hear("certificates_taken")
    address = ("127.0.0.1", process.port)
    shown = await asyncio.to_thread(ssl.get_server_certificate, address, timeout=WAIT_SECONDS)
    assert shown.encode() == new.certificate
    assert await process.end() == 0


async def test_no_address_of_a_caller_is_logged_whatever_the_caller_does(installation):
    process = await Process(installation.write_config()).start()
    installation.control = process
    own_address = f"127.0.0.1:{process.port}"
    await installation.found()
    stranger = Authority.create(ORIGIN)
    key = generate_private_key(SECP256R1())
    pem = stranger.issue(Holder(ORIGIN, Role.PROPOSER, "nobody"), key.public_key())
    files = TlsFiles(pem, key_pem(key), installation.authority.pem)
    async with installation.connect(files) as client:
        with pytest.raises(UnavailableError):
            await client.policy()
    async with installation.client(installation.land.node) as client:
        with pytest.raises(RefusedError):
            await client.get_side_file("0" * 64)
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    await writer.drain()
    writer.close()
    assert await process.end() == 0
    # The addresses of the configuration are no caller's: where it listens, and where Redis is.
    logged = process.logged.replace(b"in Redis at 127.0.0.1 port 1:", b"")
    assert logged.count(b"127.0.0.1") == logged.count(own_address.encode()) == 1


async def test_the_feed_in_a_real_redis_follows_the_ledger(installation, redis_server):
    process = await Process(installation.write_config(redis_server.url)).start()
    installation.control = process
    await installation.found()
    async with installation.client(installation.land.oversight) as client:
        _, note = await client.checkpoint()
    source = RedisFeedSource(redis_server.url, ORIGIN)
    async with asyncio.timeout(WAIT_SECONDS):
        while await source.head() != note:
            await source.next(7, 50)
    await source.close()
    assert await process.end() == 0

    # Its disk is not mounted: a second history under the same key would be the end of both.
    config = read(installation.directory / "control.toml", ControlConfig)
    config.ledger_dir.rename(config.ledger_dir.with_name("not-mounted"))
    with pytest.raises(ConflictError, match="this log has signed one of 7 entries") as caught:
        await run_control(config)
    assert "ledger restore" in caught.value.advice
    assert not config.ledger_dir.exists()
    with redis.Redis.from_url(redis_server.url) as thief:
        thief.delete(FeedKeys(ORIGIN).head)
        thief.lpush(FeedKeys(ORIGIN).head, b"no string")
    with pytest.raises(UnavailableError, match="what the log did not sign"):
        await run_control(config)  # its entries are there still
    assert not config.ledger_dir.exists()


async def test_a_redis_that_would_drop_keys_is_refused_at_the_start(installation, start_redis):
    server = start_redis(maxmemory_policy="allkeys-lru")
    installation.write_config(server.url)
    config = read(installation.directory / "control.toml", ControlConfig)
    with pytest.raises(InputError, match="drop keys"):
        await run_control(config)
