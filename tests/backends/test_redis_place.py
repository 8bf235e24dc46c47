"""The feed's Redis by the files of an installation: TLS, users, replicas, and sentinels."""

import shutil
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from enforcer.app.installation import install
from enforcer.app.installation_files import Plan
from enforcer.app.redis_files import NODE, PUBLISHER, has_users, url_of
from enforcer.app.redis_place import place_of
from enforcer.backends.keys import PrivateKey
from enforcer.backends.pki import Authority
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_machines import machines
from enforcer.backends.redis_place import RedisPlace, RedisTls, Sentinels
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.config import Address, ControlConfig, NodeConfig, read
from enforcer.errors import InputError, UnavailableError
from tests.backends.redis_world import (
    ORIGIN,
    PRIMARY,
    Book,
    Installed,
    Process,
    eventually,
    opened,
    wait_until_open,
)
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("redis-cli") is None,
    reason="the package redis-server is not installed",
)


@pytest.fixture(params=["redis", "rediss"])
def installed(request, tmp_path):
    made = Installed(tmp_path / "redis", request.param, free_ports(1))
    made.start_all()
    yield made
    made.kill_all()


@pytest.fixture
def encrypted(tmp_path):
    made = Installed(tmp_path / "redis", "rediss", free_ports(1))
    made.start_all()
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A primary, a replica and three sentinels."""
    ports = free_ports(5)
    folder = tmp_path_factory.mktemp("cluster")
    made = Installed(folder / "redis", "redis", ports[:2])
    made.start_all()
    made.start_sentinels(ports[2:])
    yield made
    made.kill_all()


@pytest.fixture
def watched(cluster):
    """The same when its sentinels have found all others."""
    cluster.wait_until_watched()
    return cluster


@pytest.fixture
async def stack():
    async with AsyncExitStack() as made:
        yield made


async def test_an_installation_publishes_as_one_user_and_reads_as_another(
    installed, stack, tmp_path
):
    publisher, source = await opened(stack, installed)
    await publisher.check_server()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(2)
    assert await book.is_read_whole(source)
    as_node = RedisFeedPublisher(installed.place(NODE), ORIGIN)
    stack.push_async_callback(as_node.close)
    with pytest.raises(UnavailableError, match="permission"):
        await as_node.push_stop(b"forged")
    nobody = RedisFeedSource(
        installed.place(NODE, url=installed.place(NODE).url.replace("node@", ""), password=None),
        ORIGIN,
    )
    stack.push_async_callback(nobody.close)
    with pytest.raises(UnavailableError):
        await nobody.head()


async def test_a_publisher_can_touch_nothing_but_its_feed(installed, stack):
    publisher, _ = await opened(stack, installed)
    await publisher.check_server()
    for command in (
        ("SET", "feed:{example.org/other}:head", "x"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("EVAL", "return 1", "0"),
        ("PUBLISH", "x", "y"),
    ):
        with pytest.raises(UnavailableError, match="permission"):
            async with publisher._link.use("try") as redis:
                await redis.execute_command(*command)


async def test_a_server_of_another_authority_is_not_believed(encrypted, stack, tmp_path):
    (tmp_path / "other.crt").write_bytes(Authority.create(ORIGIN).pem)
    for tls in (RedisTls(tmp_path / "other.crt"), RedisTls()):
        source = RedisFeedSource(encrypted.place(NODE, tls=tls), ORIGIN)
        stack.push_async_callback(source.close)
        with pytest.raises(UnavailableError, match="certificate"):
            await source.head()


async def test_a_server_under_another_name_is_not_believed(encrypted, stack):
    url = f"rediss://node@localhost:{encrypted.ports[0]}"
    source = RedisFeedSource(encrypted.place(NODE, url=url), ORIGIN)
    stack.push_async_callback(source.close)
    with pytest.raises(UnavailableError, match="certificate"):
        await source.head()


async def test_without_encryption_an_encrypted_server_is_not_reached(encrypted, stack):
    url = f"redis://node@127.0.0.1:{encrypted.ports[0]}"
    source = RedisFeedSource(encrypted.place(NODE, url=url), ORIGIN)
    stack.push_async_callback(source.close)
    with pytest.raises(UnavailableError):
        await source.head()


async def test_a_reader_may_prefer_replicas(watched, stack, tmp_path):
    publisher, _ = await opened(stack, watched, behind=True)
    source = RedisFeedSource(watched.place(NODE, behind=True, is_read_only=True), ORIGIN)
    stack.push_async_callback(source.close)
    book = Book(tmp_path / "ledger", publisher)
    await book.add(2)
    await eventually(lambda: book.is_read_whole(source))
    link = source._reads._link

    async def reads_a_replica():  # or the primary, for as long as no sentinel finds the replica up
        await link.drop()
        async with link.use("look where it reads") as redis:
            pool = redis.connection_pool
            connection = await pool.get_connection()
            await pool.release(connection)
            return connection.port != watched.primary_port()

    await eventually(reads_a_replica)


async def test_sentinels_that_know_no_such_primary_are_said_so(watched, stack):
    place = watched.place(NODE, behind=True, url="redis://node@another")
    source = RedisFeedSource(place, ORIGIN)
    stack.push_async_callback(source.close)
    with pytest.raises(UnavailableError, match="no sentinel that answers knows it") as caught:
        await source.head()
    assert "primary another of 3 sentinels" in caught.value.message
    assert "sentinels" in caught.value.advice


async def test_all_machines_that_sentinels_name_are_told(watched):
    assert await machines(watched.place(NODE, behind=True)) == {"127.0.0.1"}
    nowhere = RedisPlace("redis://another", sentinels=watched.place(NODE, behind=True).sentinels)
    with pytest.raises(UnavailableError, match="knows another"):
        await machines(nowhere)


async def test_a_primary_that_was_demoted_is_left_at_once(watched, stack, tmp_path):
    """It answers on: to a publisher that it only reads, to a reader what it copies."""
    publisher, source = await opened(stack, watched, behind=True)
    book = Book(tmp_path / "ledger", publisher)
    await book.add()
    before = watched.primary_port()

    async def has_begun():
        said = watched.cli(watched.sentinel_ports[0], "sentinel", "failover", PRIMARY)
        return said == ["OK"]

    async def has_moved():
        return watched.primary_port() != before

    await eventually(has_begun)
    await eventually(has_moved)
    await book.add(2)
    await eventually(lambda: book.is_read_whole(source))


async def test_behind_encrypted_sentinels_a_replica_takes_over_by_the_files_alone(tmp_path, stack):
    ports = free_ports(5)
    made = Installed(tmp_path / "redis", "rediss", ports[:2])
    stack.callback(made.kill_all)
    made.start_all()
    made.start_sentinels(ports[2:])
    made.wait_until_watched()
    publisher, source = await opened(stack, made, behind=True)
    book = Book(tmp_path / "ledger", publisher)
    await book.add(2)
    made.primary().kill()
    await book.add()
    await eventually(lambda: book.is_read_whole(source))
    await eventually(made.knows_as_primary(ports[1]))


async def test_when_the_primary_dies_publisher_and_reader_go_on_with_the_next(
    watched, stack, tmp_path
):
    publisher, source = await opened(stack, watched, behind=True)
    book = Book(tmp_path / "ledger", publisher)
    await book.add(3)
    (other,) = set(watched.ports) - {watched.primary_port()}

    async def is_copied():
        replica = Redis.from_url(
            f"redis://node:{watched.passwords[NODE].decode()}@127.0.0.1:{other}"
        )
        async with replica:
            return len(await replica.xrange(publisher._keys.log)) == 3

    await eventually(is_copied)
    watched.primary().kill()
    await book.add(2)
    await eventually(watched.knows_as_primary(other))
    await eventually(lambda: book.is_read_whole(source))


@pytest.mark.parametrize(
    "url", ["redis://host:6379", "unix:///redis.sock", "redis://", "http://example.org"]
)
def test_behind_sentinels_the_url_names_the_primary_and_no_port(url):
    place = RedisPlace(url, sentinels=Sentinels((("192.0.2.1", 26379),)))
    with pytest.raises(InputError) as caught:
        RedisFeedSource(place, ORIGIN)
    assert caught.value.data["field"] == "redis.url"


def test_no_url_can_switch_off_what_is_checked_of_a_certificate():
    with pytest.raises(InputError, match="options"):
        RedisFeedSource("rediss://example.org?ssl_cert_reqs=none", ORIGIN)


async def test_what_init_writes_is_all_that_redis_and_the_programs_need(tmp_path, stack):
    roots = tuple(PrivateKey.generate().public_key.hex() for _ in range(2))
    port = free_ports(1)[0]
    plan = Plan(
        origin=ORIGIN,
        root_keys=roots,
        control_address=Address("127.0.0.1:7443"),
        redis_url=f"rediss://127.0.0.1:{port}",
        dns_listen=(Address("127.0.0.1:5300"),),
        dns_upstream=Address("127.0.0.1:5301"),
    )
    made = install(tmp_path / "installation", plan)
    for kept in (made.control / "redis.password", made.node / "redis.password"):
        assert kept.stat().st_mode & 0o077 == 0
    for kept in ("users.acl", "redis.conf", "tls.key"):
        assert (made.redis / kept).stat().st_mode & 0o077 == 0
    server = Process(made.redis / "redis.conf").start()
    stack.callback(server.kill)
    wait_until_open(port)
    control = read(made.control / "control.toml", ControlConfig)
    node = read(made.node / "node.toml", NodeConfig)
    publisher = RedisFeedPublisher(place_of(control.redis), ORIGIN)
    source = RedisFeedSource(place_of(node.redis), ORIGIN, poll_interval_ms=10)
    stack.push_async_callback(publisher.close)
    stack.push_async_callback(source.close)
    await publisher.check_server()
    book = Book(tmp_path / "ledger", publisher)
    await book.add()
    assert await book.is_read_whole(source)


def test_users_are_written_for_a_redis_of_ours_alone():
    assert url_of("rediss://192.0.2.7:6379", NODE) == "rediss://node@192.0.2.7:6379"
    assert has_users("redis://192.0.2.7")
    for url in ("redis://somebody@192.0.2.7", "unix:///run/redis.sock"):
        assert not has_users(url)
        assert url_of(url, PUBLISHER) == url
