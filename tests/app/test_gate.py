"""What a gate's file may say: one set of bounds, all of them told before anything starts."""

from __future__ import annotations

import json

import pytest

from enforcer._native import gate as engine
from enforcer.app.gate import check_gate
from enforcer.config import GateConfig, read
from enforcer.errors import InputError

PREFIXES = [f"2001:db8:{number:x}::/96" for number in range(engine.DNS64_MAX + 1)]
PLACES = [f"192.0.2.{number}:53" for number in range(1, engine.UPSTREAM_COUNT_MAX + 2)]
MOST = {
    "tcp_connections_max": (engine.CONNECTIONS_MAX, engine.CONNECTIONS_MAX + 1),
    "dns64_prefixes": (PREFIXES[:-1], PREFIXES),
    "upstreams": (PLACES[:-1], PLACES),
    "cache_bytes_max": (engine.CACHE_MOST, engine.CACHE_MOST + 1),
    "responses_per_second_max": (1_000_000, 1_000_001),
}


@pytest.fixture
def check(tmp_path):
    def check(**values):
        path = tmp_path / "gate.toml"
        said = {
            "origin": "ledger.example.org/one",
            "listen": ["127.0.0.1:5300"],
            "upstreams": ["127.0.0.1:5353"],
            "state_dir": "state",
            "control_socket": "gate.sock",
        } | values
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))
        return check_gate(read(path, GateConfig))

    return check


@pytest.mark.parametrize("key", MOST)
def test_the_most_that_a_file_may_say_is_the_most_that_the_engine_takes(check, key):
    most, more = MOST[key]
    check(**{key: most})
    with pytest.raises(InputError, match=key) as caught:
        check(**{key: more})
    assert caught.value.advice


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cache_bytes_max", engine.CACHE_LEAST - 1),
        ("dns64_prefixes", ["2001:db8::/33"]),
        ("dns64_prefixes", ["192.0.2.0/24"]),
    ],
)
def test_what_no_worker_could_begin_with_is_told_by_the_check(check, key, value):
    with pytest.raises(InputError) as caught:
        check(**{key: value})
    assert caught.value.data["field"] == key
    assert caught.value.advice


def test_a_gate_without_a_cache_is_one(check):
    assert check(cache_bytes_max=0)
