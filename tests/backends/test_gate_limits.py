"""Descriptors: a gate gets what its settings need, and says so when it cannot."""

import json
import os
from pathlib import Path

import pytest

from tests.backends.gate_client import query

NOERROR = 0
STREAMS = 200


def limited(soft, hard):
    return ["prlimit", f"--nofile={soft}:{hard}"]


def said(gate, event):
    """Return what the gate logged as `event`."""
    lines = (json.loads(line) for line in gate.log.read_text().splitlines() if line[:1] == "{")
    return [line for line in lines if line.get("event") == event]


def is_answered(stream):
    return stream.ask(query("free.example"))[3] & 0x0F == NOERROR


def test_a_low_soft_limit_is_raised_to_what_the_streams_need(start_gate, resolver):
    gate = start_gate(
        prefix=limited(100, 4_096),
        tcp_connections_max=STREAMS,
        tcp_connections_per_client_max=STREAMS,
    )
    streams = [gate.streaming() for _ in range(STREAMS)]
    assert all(is_answered(stream) for stream in streams)
    assert said(gate, "descriptors_too_few") == []
    counters = gate.counters()
    assert (counters["tcp_accept_paused"], counters["tcp_closed_idle"]) == (0, 0)


def test_under_a_low_hard_limit_it_says_so_and_serves_whom_it_can(start_gate, resolver):
    """The idlest give way to those who come; a resolver can be asked over TCP whatever comes."""
    gate = start_gate(
        prefix=limited(100, 150),
        tcp_connections_max=STREAMS,
        tcp_connections_per_client_max=STREAMS,
    )
    (line,) = said(gate, "descriptors_too_few")
    assert (line["level"], line["allowed"]) == ("critical", 150)
    assert line["needed"] > 150 + STREAMS - 100
    for _ in range(STREAMS):
        assert is_answered(gate.streaming())
    counters = gate.counters()
    assert (counters["tcp_accept_paused"], counters["upstream_none"]) == (0, 0)
    assert counters["tcp_closed_idle"] > 100


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_hard_limit_is_left_as_it_is(start_gate):
    gate = start_gate(prefix=limited(100, 150), tcp_connections_max=STREAMS)
    (worker,) = gate.workers()
    (line,) = [
        line
        for line in Path(f"/proc/{worker}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    ]
    assert line.split()[3:5] == ["150", "150"]
