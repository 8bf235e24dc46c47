"""Where an order stands at a time, and that only IN_FORCE blocks."""

from dataclasses import replace

from enforcer.core.life import OrderStatus
from enforcer.core.policy import DAY_MS
from enforcer.core.standing import Standing, standing
from enforcer.core.state import in_force
from tests.people import Land


def story():
    land = Land.founded()
    ref = land.in_force_order(
        not_before_ms=land.now_ms + DAY_MS, review_due_at_ms=land.now_ms + 20 * DAY_MS
    )
    return land, land.state.orders[ref.entry_index]


def test_an_order_goes_from_approved_to_in_force_to_its_end():
    land, order = story()
    start, due = order.payload.not_before_ms, order.review_due_at_ms
    assert standing(order, start - 1) is Standing.APPROVED
    assert standing(order, start) is Standing.IN_FORCE
    assert standing(order, due - 1) is Standing.IN_FORCE
    assert standing(order, due) is Standing.LAPSED
    assert standing(replace(order, review_due_at_ms=order.expires_at_ms), due) is Standing.IN_FORCE
    on_time = replace(order, review_due_at_ms=order.expires_at_ms)
    assert standing(on_time, order.expires_at_ms) is Standing.EXPIRED
    assert land.state.orders[order.index] is order


def test_what_waits_or_was_ended_stands_so_at_any_time():
    _, order = story()
    t_ms = order.payload.not_before_ms
    for status, expected in (
        (OrderStatus.PROPOSED, Standing.PROPOSED),
        (OrderStatus.HELD, Standing.HELD),
        (OrderStatus.STOPPED, Standing.STOPPED),
        (OrderStatus.SUPERSEDED, Standing.SUPERSEDED),
    ):
        assert standing(replace(order, status=status), t_ms) is expected
    proposed = replace(order, status=OrderStatus.PROPOSED)
    assert standing(proposed, order.until_ms) is Standing.LAPSED
    stopped = replace(order, status=OrderStatus.STOPPED)
    assert standing(stopped, order.expires_at_ms + DAY_MS) is Standing.STOPPED


def test_an_order_stands_in_force_exactly_when_its_row_is():
    land, order = story()
    times = [order.payload.not_before_ms, order.until_ms, order.expires_at_ms, land.now_ms]
    for t_ms in (time + step for time in times for step in (-1, 0, 1)):
        rows = {row.index for row in in_force(land.state, t_ms)}
        assert (standing(order, t_ms) is Standing.IN_FORCE) == (order.index in rows)
