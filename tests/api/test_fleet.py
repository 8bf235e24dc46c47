"""What the control plane tells of its nodes, over gRPC and to Prometheus."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from enforcer.app.order_fleet import fleet_plain, known_fleet
from enforcer.app.status import fleet_words
from enforcer.backends.control_marks import STANDBY, Mark, MarkFile
from enforcer.config import Address
from enforcer.core.attestation import Attestation, EffectTime, GateState
from enforcer.core.envelope import format_envelope, parse_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.key import Role
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER, table_digest
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError
from enforcer.v1 import audit_pb2, node_pb2, order_pb2
from tests.api.test_control_plane import approved, proposed
from tests.control import Installation
from tests.people import ORIGIN, Person, request_id, seal
from tests.waiting import WAIT_SECONDS, until

SECOND = Person("node-2", Role.NODE, operator="isp-2")


def attestation(served, node: Person, **changes) -> Attestation:
    """Return what an honest node says now."""
    land, files = served.land, served.control.ledger.files
    state = served.control.ledger.state
    rows = in_force(state, land.now_ms)
    made = Attestation(
        ledger_origin=ORIGIN,
        request_id=request_id(),
        valid_until_ms=land.now_ms + 1,
        node_id=node.person_id,
        t_ms=land.now_ms,
        ledger_size=files.size,
        root_sha256=files.root.hex(),
        table_digest=table_digest(ORIGIN, state.policy.ref, rows, NO_LOCAL_LAYER),
        local_digest=NO_LOCAL_LAYER.digest,
        gate=GateState.HOLDS_TABLE,
        firewall=FirewallState.NONE,
        pieces_digest=None,
        repairs=0,
        curtailed=(),
        omission_count=0,
        omissions=(),
        ineffective=(),
    )
    return replace(made, **changes)


async def attest(served, node: Person | None = None, **changes) -> Attestation:
    node = node or served.land.node
    said = attestation(served, node, **changes)
    async with served.client(node) as client:
        await client.attest(seal(said, node.key))
    return said


@pytest.fixture
async def fleet(served):
    """A control plane with two nodes that are registered."""
    async with served.client(served.land.oversight) as client:
        registration = SECOND.registration(served.land.now_ms)
        await client.record_root_act(seal(registration, *served.land.roots[:2]))
    return served


async def test_an_order_is_shown_as_it_stands_at_each_node(fleet, tmp_path):
    ref = await proposed(fleet, tmp_path)
    await approved(fleet, ref)
    from_ms = fleet.land.state.orders[ref.entry_index].approved_at_ms
    effect = EffectTime(ref.entry_index, from_ms + 12, None)
    await attest(fleet, effects=(effect,))
    async with fleet.client(fleet.land.approver) as client:
        known = await known_fleet(client, ref, with_nodes=True)
        short = await known_fleet(client, ref, with_nodes=False)
        plain = await client.get(ref.order_id)
    assert known.counts == short.counts == {"IN_FORCE": 1, "SILENT": 1}
    assert short.nodes == ()
    one, other = known.nodes
    assert (one.node_id, one.state, one.in_force_at_ms) == ("node-1", "IN_FORCE", from_ms + 12)
    assert (other.node_id, other.state, other.seen_at_ms) == ("node-2", "SILENT", None)
    assert (known.began.median_ms, known.began.slowest_node) == (12, "node-1")
    assert fleet_plain(known, with_nodes=True)["each"][0]["node_id"] == "node-1"
    assert plain.order_id == ref.order_id


async def test_who_watches_for_it_hears_when_every_node_has_an_order(fleet, tmp_path):
    await attest(fleet)
    await attest(fleet, SECOND)
    ref = await proposed(fleet, tmp_path)
    start = fleet.control.ledger.state.size
    async with fleet.client(fleet.land.oversight) as client:
        watching = client.watch_orders(start, with_fleet=True)
        first = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0.05)
        await approved(fleet, ref)
        assert (await first).entry_index == start
        fleet.land.now_ms += 1
        await attest(fleet)
        await attest(fleet, SECOND)
        message = await anext(watching)
        await watching.aclose()
    news = message.news
    assert news.kind == order_pb2.FLEET_NEWS_KIND_REACHED
    assert (news.order_index, message.entry) == (ref.entry_index, b"")
    (count,) = news.fleet.counts
    assert (count.state, count.nodes) == (order_pb2.ORDER_AT_NODE_IN_FORCE, 2)
    assert [each.order_id for each in message.orders] == [ref.order_id]


async def test_who_does_not_ask_for_the_nodes_hears_of_entries_alone(fleet, tmp_path):
    await attest(fleet)
    ref = await proposed(fleet, tmp_path)
    async with fleet.client(fleet.land.oversight) as client:
        watching = client.watch_orders(fleet.control.ledger.state.size)
        first = asyncio.ensure_future(anext(watching))
        await approved(fleet, ref)
        await attest(fleet, t_ms=fleet.land.now_ms + 1)
        await first
        second = asyncio.ensure_future(anext(watching))
        async with fleet.client(fleet.land.oversight) as other:
            await other.stop(seal(fleet.land.stopping(ref), fleet.land.oversight.key))
        assert not (await second).HasField("news")
        await watching.aclose()


async def test_the_newest_word_of_each_node_comes_page_by_page(fleet):
    await attest(fleet, t_ms=fleet.land.now_ms - 1_000)
    newest = await attest(fleet)
    second = await attest(fleet, SECOND, gate=GateState.DIFFERS)
    async with fleet.client(fleet.land.oversight) as client:
        found = [each async for each in client.attestations(page_size=1)]
        late = [each async for each in client.attestations(from_ms=fleet.land.now_ms + 1)]
        of_one = [each async for each in client.attestations("node-1", page_size=1)]
        early = [each async for each in client.attestations("node-1", until_ms=newest.t_ms)]
        with pytest.raises(NotFoundError):
            await anext(client.attestations("node-3"))
        with pytest.raises(InputError):
            await anext(client.attestations(page_size=-1))
    assert [each.node_id for each in found] == ["node-1", "node-2"]
    assert [each.state for each in found] == [
        audit_pb2.NODE_STATE_RIGHT,
        audit_pb2.NODE_STATE_DIFFERS,
    ]
    envelope = parse_envelope(found[1].envelope)
    assert envelope == seal(second, SECOND.key)
    assert late == []
    assert [each.state for each in of_one] == [
        audit_pb2.NODE_STATE_UNSPECIFIED,
        audit_pb2.NODE_STATE_RIGHT,
    ]
    assert [each.envelope for each in early] == [of_one[0].envelope]
    assert format_envelope(envelope) == found[1].envelope


async def test_persons_read_what_nodes_attest_and_nodes_do_not(fleet):
    async with fleet.client(fleet.land.node) as client:
        with pytest.raises(RefusedError):
            await client.fleet()
        with pytest.raises(RefusedError):
            await anext(client.attestations())


async def test_the_whole_fleet_is_one_line(fleet):
    await attest(fleet)
    async with fleet.client(fleet.land.oversight) as client:
        said = await client.fleet()
    assert fleet_words(said) == "1 of 2 heard within three minutes; 1 SILENT"
    await attest(fleet, SECOND)
    async with fleet.client(fleet.land.oversight) as client:
        said = await client.fleet()
    assert fleet_words(said) == "2 of 2 heard within three minutes; all as they should be"


async def test_what_is_brought_and_refused_is_counted_and_shown_to_prometheus(tmp_path):
    installation = Installation(tmp_path)
    installation.config = msgspec.structs.replace(
        installation.config, metrics_listen=Address("127.0.0.1:0")
    )
    async with installation as served:
        await served.found()
        said = await attest(served)
        async with served.client(served.land.node) as client:
            with pytest.raises(ConflictError):
                await client.attest(seal(replace(said, t_ms=said.t_ms - 9), served.land.node.key))
            with pytest.raises(InputError):
                await translate_garbage(client)
        with MarkFile(installation.config.ledger_dir) as standby:
            standby.say(Mark(1, STANDBY, 0, {}))
            text = await scraped(served.control.nodes.metrics_port)
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for outcome, count in {"TAKEN": 1, "OLDER": 1, "MALFORMED": 1, "SPLIT_VIEW": 0}.items():
        assert values["enforcer_fleet_attestations_total", outcome] == count
    assert values["enforcer_fleet_nodes", "RIGHT"] == 1
    assert values["enforcer_fleet_nodes_live",] == 1
    assert values["enforcer_control_standbys", "READY"] == 1
    assert values["enforcer_fleet_effect_seconds_count", "began"] == 0


async def test_a_control_plane_records_by_itself_at_each_interval_s_end(tmp_path):
    installation = Installation(tmp_path)
    installation.config = msgspec.structs.replace(
        installation.config, attestations_interval_seconds=1.0
    )
    async with installation as served:
        await served.found()
        land = served.land
        async with served.client(land.oversight) as client:
            registration = land.control.registration(land.now_ms)
            await client.record_root_act(seal(registration, *land.roots[:2]))
        await attest(served)
        land.now_ms += 1_000
        await until(lambda: land.state.attested_until_ms == land.now_ms)
        assert land.state.news_size == land.state.size - 1
    assert len(list((tmp_path / "ledger" / "batches").iterdir())) == 1


async def translate_garbage(client) -> None:
    """Bring octets that are no envelope."""
    request = node_pb2.AttestRequest(envelope=b"{}")
    try:
        await client._nodes.Attest(request)
    except Exception as error:  # what the server says is for the caller to compare
        raise InputError("refused", advice=str(error)) from error


async def scraped(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    data = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
    writer.close()
    assert data.startswith(b"HTTP/1.1 200 ")
    return data.partition(b"\r\n\r\n")[2].decode()
