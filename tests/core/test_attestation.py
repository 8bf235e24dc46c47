"""What a node says it enforces can be recomputed from the ledger alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enforcer.core.attestation import (
    Attestation,
    GateState,
    NotEnforced,
    Omission,
    expected_digest,
    parse_attestation,
)
from enforcer.core.firewall import FirewallState
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER, table_digest
from enforcer.errors import InputError
from tests.people import Land, request_id, seal


def attestation(land: Land, **changes) -> Attestation:
    policy = land.state.policy
    rows = in_force(land.state, land.now_ms)
    word = Attestation(
        ledger_origin=land.origin,
        request_id=request_id(),
        valid_until_ms=land.now_ms + 60_000,
        node_id="node-1",
        t_ms=land.now_ms,
        ledger_size=land.state.size,
        root_sha256="0" * 64,
        table_digest=table_digest(land.origin, policy.ref, rows, NO_LOCAL_LAYER),
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
    return replace(word, **changes)


def test_an_honest_attestation_is_what_the_ledger_says():
    land = Land.founded()
    land.in_force_order()
    word = attestation(land)
    assert parse_attestation(seal(word, land.node.key)) == word
    assert expected_digest(land.state, word) == word.table_digest


def test_the_digest_follows_time_orders_and_omissions():
    land = Land.founded()
    ref = land.in_force_order()
    word = attestation(land)
    end = land.state.orders[ref.entry_index].until_ms
    assert expected_digest(land.state, replace(word, t_ms=end)) != word.table_digest
    omission = Omission(ref.entry_index, NotEnforced.LIST_MISSING, None, land.now_ms)
    assert (
        expected_digest(land.state, replace(word, omission_count=1, omissions=(omission,)))
        != word.table_digest
    )
    land.in_force_order(b"exact x.example.org\n")
    assert expected_digest(land.state, attestation(land)) != word.table_digest
    with pytest.raises(ValueError, match="not that of the attested"):
        expected_digest(land.state, word)


def test_another_payload_is_no_attestation():
    land = Land.founded()
    with pytest.raises(InputError, match="no attestation"):
        parse_attestation(seal(land.order(), land.proposer.key))
