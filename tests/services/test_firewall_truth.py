"""What others alter in a node's firewall is mended, counted and attested."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest

from enforcer.api.health import health
from enforcer.app.audit import audit_directory
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallState, pack_pieces, pieces_digest
from enforcer.core.order import Measure
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.services.findings import Code
from tests.node_world import World, trust_of
from tests.people import seal
from tests.services.firewall_node import (
    DROP,
    INNER,
    NOTHING,
    OUTER,
    REJECT,
    UNWELL,
    attests,
    order,
    with_firewall,
)
from tests.waiting import until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_firewall(tmp_path)


async def test_what_another_tool_flushes_is_put_back_counted_and_attested(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.flush()
        await until(lambda: world.blocks("192.0.2.7"))
        await until(lambda: attests(world) and world.attested.repairs == 1)
        await until(lambda: world.status["firewall"]["repairs"] == 1)


async def test_what_another_tool_adds_is_taken_out_again(world):
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.edit(pack_pieces([(ip_network("203.0.113.0/24"), ref.entry_index)]))
        assert world.blocks("203.0.113.1")
        await until(lambda: not world.blocks("203.0.113.1") and world.blocks("192.0.2.7"))
        await until(lambda: attests(world) and world.attested.repairs == 1)


async def test_what_is_broken_around_the_rules_is_put_in_anew(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.flaw = "a chain has another policy"
        world.firewall.generation += 1
        await until(lambda: not world.firewall.flaw and world.blocks("192.0.2.7"))
        await until(lambda: attests(world) and world.attested.repairs == 1)


async def test_a_firewall_that_is_away_keeps_what_it_had_and_is_attested_as_away(world):
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.firewall.is_away = True
        await until(lambda: attests(world, FirewallState.UNAVAILABLE))
        assert world.blocks("192.0.2.7")
        await until(lambda: world.status["firewall"]["problem"] == "the firewall is away")
        assert health(node.view()) == (503, UNWELL)
        world.land.stop(ref)
        await world.publish()
        world.firewall.is_away = False
        await until(lambda: attests(world) and not world.blocks("192.0.2.7"))
        assert health(node.view())[0] == 200


async def test_a_node_that_finds_no_firewall_at_its_start_enforces_names_all_the_same(world):
    world.firewall.is_away = True
    async with world.running():
        order(world, b"exact bad.example.org\n", Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE))
        order(world)
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: attests(world, FirewallState.UNAVAILABLE))


async def test_counts_are_by_order(world):
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        await until(lambda: node.view().firewall.counts.get(ref.entry_index, NOTHING).packets)
        view = node.view()
        assert view.order_ids[ref.entry_index] == ref.order_id
        await until(lambda: world.status["firewall"]["order_counters"])


async def test_an_auditor_computes_from_the_lists_what_the_node_read_from_its_firewall(world):
    node = world.land.node
    made = world.seal(b"ip 203.0.113.77\n")
    async with world.running():
        order(world, INNER, DROP)
        order(world, OUTER)
        made.in_force(world.land, measure=REJECT)
        await world.publish()
        await until(lambda: attests(world))
    held = world.firewall.content
    tried = pieces_digest(held.pieces, held.rows)
    assert world.attested.pieces_digest != tried, "who guesses the hidden address could see it"
    path = world.directory / "book" / "attestations" / "node-1"
    path.mkdir(parents=True)
    said = world.attested
    kept = path / f"{said.t_ms}-{said.ledger_size}.json"
    kept.write_bytes(world.control.attestations[-1])
    for text in (INNER, OUTER, made.octets):
        world.book.lists.put(text)
    world.book.wraps.put(made.sealed_sha256, node.key.key_id, made.wrap(node))

    def audited(**options):
        trust = trust_of(world.land, world.log)
        summary, findings = audit_directory(
            world.directory / "book", trust, as_of_ms=world.land.now_ms + 1_000, **options
        )
        return [each.code for each in findings], summary.firewalls

    assert audited(identity=node.encryption_secret) == ([], 1)
    assert audited() == ([], 0), "without the key there is nothing to compute it with"
    claim = replace(said, pieces_digest=sha256(b"other pieces").hexdigest())
    kept.write_bytes(format_envelope(seal(claim, node.key)))
    assert audited(identity=node.encryption_secret) == ([Code.ATTESTED_OTHER_PIECES], 1)
