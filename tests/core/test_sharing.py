"""What orders have in common is held once, and nothing is another for it."""

from __future__ import annotations

from dataclasses import fields, replace

from enforcer.core.order import OrderProposed
from enforcer.core.sharing import share, share_record
from enforcer.core.state import NO_GUARDS
from tests.people import Land


def apart(order: OrderProposed) -> OrderProposed:
    """Return an equal order that shares no text with it."""
    again = {
        each.name: "".join(list(value))
        for each in fields(order)
        if isinstance(value := getattr(order, each.name), str)
    }
    appeal = replace(order.appeal, body="".join(list(order.appeal.body)))
    return replace(order, **again, appeal=appeal, publication=replace(order.publication))


def test_equal_parts_of_two_orders_are_one_and_the_orders_are_what_they_were():
    land = Land.founded()
    one, other = (land.state.orders[land.propose().entry_index].payload for _ in range(2))
    strange = apart(other)
    assert strange.authority is not one.authority
    again = share(strange)
    assert again == other
    for name in ("ledger_origin", "authority", "legal_basis", "measure", "publication"):
        assert getattr(one, name) is getattr(other, name) is getattr(again, name), name
    assert again.appeal.body is one.appeal.body


def test_a_record_that_was_read_again_shares_what_the_folded_one_does():
    land = Land.founded()
    ref = land.in_force_order()
    record = land.state.orders[ref.entry_index]
    signers = tuple(replace(each, key_id="".join(list(each.key_id))) for each in record.signers)
    strange = replace(
        record, payload=apart(record.payload), signers=signers, holds=frozenset(list(NO_GUARDS))
    )
    again = share_record(strange)
    assert again == record
    assert again.row == record.row
    assert again.holds is NO_GUARDS
    assert again.payload.authority is record.payload.authority


def test_texts_that_entries_and_orders_have_in_common_stand_once_in_the_state():
    land = Land.founded()
    ref = land.in_force_order()
    state = land.state
    order = state.orders[ref.entry_index]
    texts = {id(each) for each in state.index_of_payload}
    assert id(order.payload_sha256) in texts
    assert id(order.payload.order_id) in {id(each) for each in state.versions}
    requests = {id(each) for found in state.index_of_request.values() for each in found}
    assert id(order.payload.request_id) in requests
    (key,) = (each for each in state.keys if each == order.signers[0].key_id)
    assert key is order.signers[0].key_id


def test_a_row_is_made_once_and_is_of_its_own_record():
    land = Land.founded()
    ref = land.in_force_order()
    record = land.state.orders[ref.entry_index]
    assert record.row is record.row is not None
    later = replace(record, expires_at_ms=record.expires_at_ms - 1)
    assert later.row.until_ms <= record.row.until_ms
    assert later.row is not record.row
    land.stop(ref)
    assert land.state.orders[ref.entry_index].row is None
