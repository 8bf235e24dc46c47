"""The digest of the rows in force: its text is pinned, for auditors compute it too."""

from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.table import (
    NO_LOCAL_LAYER,
    Binding,
    DnsMeasure,
    IpMeasure,
    LocalLayer,
    OrderRow,
    PolicyRef,
    table_digest,
)

POLICY = PolicyRef(0, "aa" * 32)
ROW = OrderRow(
    index=12,
    order_id="XX-2026-000001",
    version=1,
    target_list_sha256="bb" * 32,
    target_count=3,
    dns_measure=DnsMeasure.NEGATIVE,
    ip_measure=IpMeasure.NONE,
    binding=Binding.BINDING,
    from_ms=1000,
    until_ms=2000,
)
LATER = replace(ROW, index=20, order_id="XX-2026-000002", binding=Binding.ADVISORY)
ORIGIN = "example.org/ledger"


def test_the_digest_is_over_exactly_this_text():
    text = (
        "enforcer-table v1\n"
        "origin example.org/ledger\n"
        f"policy 0 {'aa' * 32}\n"
        f"order 12 XX-2026-000001 1 {'bb' * 32} 3 NEGATIVE NONE BINDING 1000 2000\n"
        f"order 20 XX-2026-000002 1 {'bb' * 32} 3 NEGATIVE NONE ADVISORY 1000 2000\n"
        "local e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
    )
    digest = table_digest(ORIGIN, POLICY, [ROW, LATER], NO_LOCAL_LAYER)
    assert digest == sha256(text.encode()).hexdigest()
    assert digest == "ff3a1388b610c362329745f95195fa0965bb620a4b5b9ef9b359a2702d55705b"


def test_the_order_of_rows_does_not_matter():
    assert table_digest(ORIGIN, POLICY, [LATER, ROW], NO_LOCAL_LAYER) == table_digest(
        ORIGIN, POLICY, [ROW, LATER], NO_LOCAL_LAYER
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, index=13),
        replace(ROW, order_id="XX-2026-000003"),
        replace(ROW, version=2),
        replace(ROW, target_list_sha256="cc" * 32),
        replace(ROW, target_count=4),
        replace(ROW, dns_measure=DnsMeasure.BLOCK_PAGE),
        replace(ROW, ip_measure=IpMeasure.DROP),
        replace(ROW, binding=Binding.ADVISORY),
        replace(ROW, from_ms=1001),
        replace(ROW, until_ms=2001),
    ],
)
def test_every_field_of_a_row_changes_the_digest(other: OrderRow):
    assert table_digest(ORIGIN, POLICY, [other], NO_LOCAL_LAYER) != table_digest(
        ORIGIN, POLICY, [ROW], NO_LOCAL_LAYER
    )


def test_origin_policy_and_local_layer_change_the_digest():
    local = LocalLayer(protected=b"subtree example.net\n")
    digests = {
        table_digest(ORIGIN, POLICY, [ROW], NO_LOCAL_LAYER),
        table_digest("example.net/ledger", POLICY, [ROW], NO_LOCAL_LAYER),
        table_digest(ORIGIN, PolicyRef(1, "aa" * 32), [ROW], NO_LOCAL_LAYER),
        table_digest(ORIGIN, PolicyRef(0, "ab" * 32), [ROW], NO_LOCAL_LAYER),
        table_digest(ORIGIN, POLICY, [ROW], local),
    }
    assert len(digests) == 5


def test_a_suspended_order_leaves_the_rows_and_shows_in_the_local_layer():
    suspended = LocalLayer(suspended=frozenset({20}))
    with_suspension = table_digest(ORIGIN, POLICY, [ROW, LATER], suspended)
    assert with_suspension == table_digest(ORIGIN, POLICY, [ROW], suspended)
    assert with_suspension != table_digest(ORIGIN, POLICY, [ROW], NO_LOCAL_LAYER)
    assert suspended.digest == sha256(b"suspend 20\n").hexdigest()


def test_an_order_is_in_force_from_its_start_up_to_its_end():
    in_force = [t_ms for t_ms in (999, 1000, 1999, 2000) if ROW.is_in_force(t_ms)]
    assert in_force == [1000, 1999]


@pytest.mark.parametrize("kind", [DnsMeasure, IpMeasure, Binding])
def test_zero_is_unspecified(kind):
    assert kind(0).name == "UNSPECIFIED"
