"""What a node shows to Prometheus, scraped over real sockets, and what it can never show."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enforcer._native import counts
from enforcer.api import metrics, metrics_server
from enforcer.api.fleet_metrics import FleetView, expose_fleet
from enforcer.api.health import health
from enforcer.api.metrics import expose
from enforcer.api.metrics_server import metrics_served
from enforcer.app.dashboard import dashboard
from enforcer.core.attestation import GateState
from enforcer.core.firewall import FirewallState
from enforcer.errors import UnavailableError
from enforcer.ports import FirewallCount, GateMode, GateReport, Histogram
from enforcer.services.canaries import CanaryView
from enforcer.services.effect_history import Latencies
from enforcer.services.fleet_walk import FleetTotals
from enforcer.services.follow import FeedHealth, FeedState
from enforcer.services.node_view import Applied, FirewallView, NodeView
from enforcer.services.paths import PathState, PathView
from tests.backends.gate_client import query
from tests.backends.gate_resolver import Resolver
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.node_world import BAD, World, blocking
from tests.waiting import WAIT_SECONDS, until

LABELS = {"outcome", "path", "stage", "le", "order", "state", "mode", "reason", "event", "version"}
ORDER = "XX-2026-000007"
SECRET_NAME, SECRET_CLIENT = "secret.example.org", "192.0.2.77"

REPORT = GateReport(
    table_digest="ab" * 32,
    body_sha256="cd" * 32,
    ledger_size=12,
    name_count=1_000_000,
    rows=(),
    counters={"received": 100, "blocked_nxdomain": 30, "relayed": 69, "in_flight": 1},
    order_counters={7: 30},
    mode=GateMode.ENFORCE,
    order_outcomes={7: {"blocked_nxdomain": 30, "shadowed": 2}, -1: {"blocked_page": 5}},
    histograms={
        name: Histogram(counts.BUCKET_BOUNDS_US, (3, 2, *[0] * 45, 1), 20_000_009)
        for name in metrics.STAGES
    },
)
VIEW = NodeView(
    t_ms=1_800_000_060_000,
    ledger_size=13,
    ledger_size_known=5_000,
    recorded_at_ms=1_800_000_000_000,
    feed=FeedHealth(FeedState.STALE, "Redis is away", 1_800_000_000_000),
    paths=(
        PathView("redis", PathState.AWAY, "Redis is away", 1_800_000_000_000, None),
        PathView("sync", PathState.FEEDS, "", 1_800_000_000_000, 13),
    ),
    feed_faults=4,
    planned_size=12,
    orders_in_force=2,
    omissions={"LIST_MISSING": 1},
    omission_count=3,
    unlogged_stops=1,
    unlogged_suspensions=4,
    canaries=CanaryView(canaries=2, answering=1, untried=3),
    witness_quorum=2,
    witnessed_size=11,
    unwitnessed=1,
    split_views=0,
    missing_lists=1,
    limits_unread=1,
    gate=GateState.HOLDS_TABLE,
    report=REPORT,
    order_ids={7: ORDER},
    applied=Applied(times=3, took_seconds=0.004, age_seconds=61.5),
    firewall=FirewallView(
        state=FirewallState.HOLDS,
        is_real=True,
        orders=1,
        pieces=5,
        curtailed=(7,),
        repairs=2,
        counts={7: FirewallCount(12, 720), 9: FirewallCount(1, 60)},
    ),
)


def samples(text: bytes | str) -> dict[tuple[str, ...], float]:
    """Return every sample: its name and its labels' values in their names' order, and its value."""
    text = text.decode() if isinstance(text, bytes) else text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def changed(**report) -> NodeView:
    return dataclasses.replace(VIEW, report=dataclasses.replace(REPORT, **report))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with metrics_served(("127.0.0.1", 0), lambda: VIEW) as port:
        yield port


async def say(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("ascii").split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body


async def get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    return await say(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_every_kind_of_metric_says_what_the_view_says():
    found = samples(expose(VIEW))
    assert found["enforcer_gate_queries_total", "blocked_nxdomain"] == 30
    assert found["enforcer_gate_queries_total", "evicted"] == 0
    assert found["enforcer_gate_received_total",] == 100
    assert found["enforcer_gate_in_flight",] == 1
    assert found["enforcer_gate_names",] == 1_000_000
    assert found["enforcer_gate_up",] == 1
    assert found["enforcer_gate_mode", "ENFORCE"] == 1
    assert found["enforcer_gate_mode", "BYPASS"] == 0
    assert found["enforcer_gate_state", "HOLDS_TABLE"] == 1
    assert found["enforcer_order_blocked_total", ORDER, "blocked_nxdomain"] == 30
    assert found["enforcer_order_blocked_total", "other", "blocked_page"] == 5
    assert found["enforcer_order_shadowed_total", ORDER] == 2
    assert found["enforcer_firewall_state", "HOLDS"] == 1
    assert found["enforcer_firewall_pieces",] == 5
    assert found["enforcer_firewall_curtailed",] == 1
    assert found["enforcer_firewall_repairs_total",] == 2
    assert found["enforcer_order_packets_total", ORDER] == 12
    assert found["enforcer_order_octets_total", ORDER] == 720
    assert found["enforcer_order_packets_total", "other"] == 1
    assert found["enforcer_node_feed_state", "STALE"] == 1
    assert found["enforcer_node_path_size", "sync"] == 13
    assert found["enforcer_node_path_state", "redis", "AWAY"] == 1
    assert found["enforcer_node_feed_state", "OK"] == 0
    assert found["enforcer_node_feed_stale_seconds",] == 60
    assert found["enforcer_node_feed_faults_total",] == 4
    assert found["enforcer_node_ledger_size",] == 13
    assert found["enforcer_node_ledger_size_known",] == 5_000
    assert found["enforcer_node_orders_omitted", "LIST_MISSING"] == 1
    assert found["enforcer_node_orders_omitted", "UNNAMED"] == 2
    assert found["enforcer_node_table_age_seconds",] == 61.5
    assert found["enforcer_node_apply_seconds",] == 0.004
    assert found["enforcer_node_tables_applied_total",] == 3


def test_a_latency_is_a_cumulative_histogram_in_seconds():
    found = samples(expose(VIEW))
    assert found["enforcer_gate_latency_seconds_bucket", "1e-06", "blocked"] == 3
    assert found["enforcer_gate_latency_seconds_bucket", "2e-06", "blocked"] == 5
    assert found["enforcer_gate_latency_seconds_bucket", "0.001024", "blocked"] == 5
    assert found["enforcer_gate_latency_seconds_bucket", "+Inf", "blocked"] == 6
    assert found["enforcer_gate_latency_seconds_count", "blocked"] == 6
    assert found["enforcer_gate_latency_seconds_sum", "blocked"] == pytest.approx(20.000009)


def test_versions_of_an_order_are_one_order():
    two = dataclasses.replace(
        changed(order_outcomes={7: {"blocked_page": 1}, 9: {"blocked_page": 2}}),
        order_ids={7: ORDER, 9: ORDER},
    )
    assert samples(expose(two))["enforcer_order_blocked_total", ORDER, "blocked_page"] == 3


def test_a_gate_that_is_away_is_shown_as_away_and_counts_nothing():
    away = dataclasses.replace(VIEW, gate=GateState.UNREACHABLE, report=None)
    found = samples(expose(away))
    assert found["enforcer_gate_up",] == 0
    assert found["enforcer_gate_state", "UNREACHABLE"] == 1
    assert not [key for key in found if key[0].startswith("enforcer_gate_queries")]


def test_a_feed_that_is_ok_is_not_stale():
    fine = dataclasses.replace(VIEW, feed=FeedHealth(FeedState.OK, "", 0))
    assert samples(expose(fine))["enforcer_node_feed_stale_seconds",] == 0


def test_what_a_gate_can_count_is_what_is_shown():
    assert set(metrics.QUERY_OUTCOMES) == set(counts.FATES)
    assert set(metrics.UPSTREAM_OUTCOMES) == set(counts.UPSTREAM_FATES)
    assert set(metrics.ORDER_OUTCOMES) | {"shadowed"} == set(counts.OUTCOME_NAMES)
    assert set(metrics.STAGES) == set(counts.STAGE_NAMES)
    shown = {*counts.FATES, *counts.UPSTREAM_FATES, *metrics.EVENTS, *metrics.APART}
    assert set(counts.COUNTER_NAMES) <= shown


def test_no_metric_can_carry_a_client_or_a_name():
    hostile = changed(
        counters={**REPORT.counters, SECRET_NAME: 1, SECRET_CLIENT: 1},
        order_outcomes={7: {SECRET_NAME: 1, "blocked_page": 1}, 8: {"blocked_page": 1}},
        histograms={SECRET_NAME: REPORT.histograms["blocked"]},
        table_digest=SECRET_NAME,
    )
    hostile = dataclasses.replace(
        hostile,
        order_ids={7: SECRET_CLIENT, 8: ORDER + SECRET_NAME},
        omissions={SECRET_NAME: 1},
        feed=FeedHealth(FeedState.STALE, f"{SECRET_CLIENT} asked for {SECRET_NAME}", 0),
    )
    text = expose(hostile).decode()
    assert SECRET_NAME not in text
    assert SECRET_CLIENT not in text
    assert samples(text)["enforcer_order_blocked_total", "other", "blocked_page"] == 2


def test_labels_and_their_values_come_from_closed_lists():
    words = re.compile(r"[A-Za-z_]+\Z|[A-Z]{2}-\d{4}-\d{6}\Z|[\d.e+-]+\Z|\+Inf\Z")
    for family in text_string_to_metric_families(expose(VIEW).decode()):
        assert re.fullmatch("enforcer_[a-z_]+", family.name)
        for sample in family.samples:
            assert set(sample.labels) <= LABELS
            assert all(words.match(value) for value in sample.labels.values())


async def test_metrics_are_scraped_over_http(port):
    status, headers, body = await get(port, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert int(headers["Content-Length"]) == len(body)
    assert samples(body) == samples(expose(VIEW))


async def test_health_says_whether_the_gate_holds_the_table():
    shown = [VIEW]
    async with metrics_served(("::1", 0), lambda: shown[0]) as port:
        for gate, status in (
            (GateState.HOLDS_TABLE, 200),
            (GateState.DIFFERS, 503),
            (GateState.UNREACHABLE, 503),
            (GateState.NONE, 200),
        ):
            shown[0] = dataclasses.replace(VIEW, gate=gate)
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET /health HTTP/1.0\r\n\r\n")
            assert int((await reader.read()).split()[1]) == status
            writer.close()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, 200, "ok: the firewall holds what the ledger says"),
        ({"state": FirewallState.DIFFERS}, 200, "was changed, and is being read back"),
        ({"state": FirewallState.DIFFERS, "unproven_seconds": 61.0}, 503, "does not hold what"),
        ({"state": FirewallState.DIFFERS, "problem": "no room"}, 503, "ledger says: no room"),
        ({"state": FirewallState.UNAVAILABLE, "problem": "no rights"}, 503, "answer: no rights"),
        ({"state": FirewallState.NONE, "is_real": False}, 200, "ok: the gate"),
    ],
)
def test_health_says_whether_the_firewall_holds_the_orders(changes, status, words):
    firewall = dataclasses.replace(VIEW.firewall, **changes)
    said, body = health(dataclasses.replace(VIEW, firewall=firewall))
    assert said == status
    assert words in body.decode()
    assert body.startswith(b"ok: the gate holds what the ledger says\n")


def test_a_gate_that_differs_is_not_healthy_beside_a_firewall_that_holds():
    assert health(dataclasses.replace(VIEW, gate=GateState.DIFFERS))[0] == 503


async def test_a_head_request_gets_no_body(port):
    status, headers, body = await say(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_what_is_no_such_request_gets_an_error_and_hurts_nobody(port, request_bytes, status):
    assert (await say(port, request_bytes))[0] == status
    assert (await get(port, "/health"))[0] == 200


async def test_who_says_nothing_is_hung_up_on(port, monkeypatch):
    monkeypatch.setattr(metrics_server, "REQUEST_SECONDS_MAX", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metr")
    assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
    writer.close()


async def test_one_connection_too_many_is_closed_at_once(port, monkeypatch):
    monkeypatch.setattr(metrics_server, "REQUEST_SECONDS_MAX", 600)
    silent = [
        await asyncio.open_connection("127.0.0.1", port)
        for _ in range(metrics_server.CONNECTIONS_MAX)
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
    writer.close()
    for reader, writer in silent:
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
        writer.close()
    assert (await get(port, "/metrics"))[0] == 200


async def test_a_place_that_is_taken_is_an_error_with_advice():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = taken.getsockname()
        with pytest.raises(UnavailableError, match="cannot listen at"):
            async with metrics_served(place, lambda: VIEW):
                pass


async def test_without_a_place_nothing_listens():
    async with metrics_served(None, lambda: VIEW) as port:
        assert port == 0


async def test_a_node_shows_what_it_enforces(tmp_path):
    world = World(tmp_path)
    async with world.running() as node, metrics_served(("127.0.0.1", 0), node.view) as port:
        await blocking(world, BAD)
        await until(lambda: node.view().gate is GateState.HOLDS_TABLE)
        found = samples((await get(port, "/metrics"))[2])
        assert found["enforcer_gate_state", "HOLDS_TABLE"] == 1
        assert found["enforcer_node_orders_in_force",] == 1
        assert found["enforcer_node_ledger_size",] == len(world.land.leaves)
        assert found["enforcer_node_tables_applied_total",] >= 1
        assert 0 < found["enforcer_node_apply_seconds",] < 20
        assert (await get(port, "/health"))[0] == 200
        world.gate.is_away = True
        await until(lambda: node.view().report is None)
        assert (await get(port, "/health"))[0] == 503
        assert samples((await get(port, "/metrics"))[2])["enforcer_gate_up",] == 0


def test_all_that_a_real_gate_counts_is_shown(tmp_path):
    known = {*metrics.QUERY_OUTCOMES, *metrics.UPSTREAM_OUTCOMES, *metrics.EVENTS, *metrics.APART}
    with gate_folder(tmp_path) as folder, closing(Resolver()) as resolver:
        gate = GateUnderTest(folder, resolver.place).start()
        with gate.open:
            gate.asking().ask(query("www.passing.example"))
            report = gate.status()
            gate.end()
    assert set(report.counters) <= known
    found = samples(expose(dataclasses.replace(VIEW, report=report)))
    assert found["enforcer_gate_received_total",] == 1


def test_every_metric_that_the_dashboard_asks_for_is_there():
    fleet = FleetView(0, 0, FleetTotals(0, Counter(), ()), {}, Latencies(), Latencies(), {})
    shown = {name for name, *_ in (*samples(expose(VIEW)), *samples(expose_fleet(fleet)))}
    shown.add("enforcer_fleet_node_exception")  # of no node here
    asked = set()
    board = json.loads(dashboard())
    expressions = [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", ())
    ]
    for expression in expressions:
        asked |= set(re.findall(r"\benforcer_\w+", expression))
    assert len(expressions) > 20
    assert asked <= shown, asked - shown
    of_fleets = ("enforcer_fleet_", "enforcer_control_", "enforcer_node_path", "enforcer_node_can")
    left_out = {each for each in shown - asked if each.startswith(of_fleets)}
    assert {re.sub("_(sum|count|created)$", "", each) for each in left_out} <= {
        "enforcer_fleet_effect_seconds",
        "enforcer_fleet_ledger_size",
        "enforcer_fleet_attestations",
    }
    for name, values in (("event", metrics.EVENTS), ("outcome", metrics.QUERY_OUTCOMES)):
        for pattern in re.findall(rf'{name}=~"([^"]+)"', " ".join(expressions)):
            for part in pattern.split("|"):
                assert any(re.fullmatch(part, value) for value in values), part
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
