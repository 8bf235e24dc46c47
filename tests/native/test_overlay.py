"""What an overlay that is damaged, forged or for another base does: it is refused."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from enforcer._native import probe
from enforcer._native.probe import BODY_SHA256_AT, HEADER_BYTES, Table
from enforcer.core.name import Name
from enforcer.core.table_frame import NO_BASE
from enforcer.core.verdict import Action
from enforcer.errors import InputError, IntegrityError
from tests.tables import compile_bytes, compile_overlay_bytes, order_row, target_list

OLD = target_list("subtree example.org", "net 192.0.2.0/24")
NEW = target_list("exact a.example.net", "net 192.0.2.0/25")
CORE = target_list("subtree safe.example.org")
ROWS = [order_row(3, OLD), order_row(5, NEW)]
BASE = compile_bytes([(ROWS[0], OLD)], core=CORE)
BASE_SHA256 = Table(BASE).header.body_sha256
OVERLAY = compile_overlay_bytes(BASE_SHA256, ROWS, [(ROWS[1], NEW)], core=CORE)


def laid(overlay: bytes | bytearray | memoryview) -> Table:
    return Table(BASE).with_overlay(overlay)


def sealed(octets: bytes | bytearray) -> bytes:
    """Return `octets` with the checksum that they must carry."""
    region = bytearray(octets)
    digest = bytes.fromhex(probe.body_sha256(region))
    region[BODY_SHA256_AT : BODY_SHA256_AT + 32] = digest
    return bytes(region)


def test_the_overlay_that_was_made_for_the_base_lies_on_it():
    table = laid(OVERLAY)
    assert table.orders() == ROWS
    assert table.header == Table(BASE).header
    assert table.header.base_sha256 == NO_BASE
    assert table.overlay_header is not None
    assert table.overlay_header.base_sha256 == BASE_SHA256
    assert table.overlay_header.ledger_size == 8
    assert table.overlay_header.register_domain == "new.register.example.org"
    assert Table(BASE).overlay_header is None


@pytest.mark.parametrize(
    "other",
    [
        {"base_sha256": "ab" * 32},
        {"origin": "example.net/ledger"},
        {"secret": bytes(16)},
        {"core": b""},
        {"core": b"", "protected": CORE},
        {"protected": CORE},
    ],
)
def test_an_overlay_for_another_base_is_refused(other: dict[str, Any]):
    orders = [(ROWS[1], NEW)]
    given = {"base_sha256": BASE_SHA256, "rows": ROWS, "orders": orders, "core": CORE, **other}
    with pytest.raises(IntegrityError, match="another base"):
        laid(compile_overlay_bytes(**given))


def test_an_overlay_is_no_base_and_a_base_no_overlay():
    with pytest.raises(IntegrityError, match="lies on no base"):
        Table(OVERLAY)
    with pytest.raises(IntegrityError, match="another base"):
        laid(BASE)


def test_an_overlay_cut_anywhere_is_refused():
    for size in range(len(OVERLAY)):
        cut = OVERLAY[:size]
        with pytest.raises(IntegrityError):
            laid(sealed(cut) if size >= HEADER_BYTES else cut)


def test_any_changed_octet_of_an_overlay_is_noticed_by_the_checksum():
    for at in range(len(OVERLAY)):
        region = bytearray(OVERLAY)
        region[at] ^= 1
        with pytest.raises(IntegrityError):
            laid(region)


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_any_forged_octet_of_an_overlay_is_refused_or_stays_in_bounds(mask: int):
    base = Table(BASE)
    for at in range(len(OVERLAY)):
        region = bytearray(OVERLAY)
        region[at] ^= mask
        try:
            table = base.with_overlay(sealed(region))
        except IntegrityError:
            continue
        table.orders()
        table.next_change_ms(1500)
        for qname in ("a.example.net", "x.safe.example.org", "a." * 126 + "a"):
            verdict = table.decide(Name.from_text(qname).wire, 1, 1500)
            assert (verdict.action is Action.BLOCK) == (verdict.order is not None)
        for address in ("192.0.2.7", "2001:db8::1"):
            verdict = table.decide_address(ip_address(address), 1500)
            assert (verdict.action is Action.BLOCK) == (verdict.order is not None)


def test_a_refused_overlay_leaves_the_one_that_lay_there():
    table = laid(OVERLAY)
    with pytest.raises(IntegrityError):
        table.with_overlay(OVERLAY[:-1])
    decided = table.decide(Name.from_text("a.example.net").wire, 1, 1500)
    assert decided.order == ROWS[1]


def test_an_overlay_that_is_not_aligned_is_refused():
    shifted = memoryview(bytearray(b"\0" + OVERLAY))
    with pytest.raises(IntegrityError, match="aligned"):
        laid(shifted[1:])


@pytest.mark.parametrize(
    "orders",
    [
        lambda: [(order_row(7, NEW), NEW)],
        lambda: [(order_row(5, NEW, until_ms=3000), NEW)],
        lambda: [(ROWS[1], NEW), (ROWS[1], NEW)],
    ],
)
def test_a_new_order_that_is_not_once_among_the_rows_is_refused(
    orders: Callable[[], list[tuple[Any, bytes]]],
):
    with pytest.raises(InputError) as caught:
        compile_overlay_bytes(BASE_SHA256, ROWS, orders(), core=CORE)
    assert caught.value.data["field"] in ("rows", "orders")


def test_a_base_that_has_no_checksum_to_be_named_by_is_refused():
    with pytest.raises(InputError):
        compile_overlay_bytes("ab", ROWS)
    with pytest.raises(InputError):
        compile_overlay_bytes(NO_BASE, ROWS)


def test_an_overlay_that_adds_nothing_needs_no_protections_and_ends_what_it_leaves_out():
    address, name = ip_address("192.0.2.1"), Name.from_text("b.example.org").wire
    ending = laid(compile_overlay_bytes(BASE_SHA256, []))
    assert ending.orders() == []
    assert ending.decide(name, 1, 1500).action is Action.PASS
    assert ending.decide_address(address, 1500).action is Action.PASS
    going_on = laid(compile_overlay_bytes(BASE_SHA256, [ROWS[0]]))
    assert going_on.decide(name, 1, 1500).action is Action.BLOCK
    assert going_on.decide_address(address, 1500).action is Action.BLOCK
    core = Name.from_text("a.safe.example.org").wire
    assert going_on.decide(core, 1, 1500).action is Action.PASS


def test_an_overlay_that_adds_an_address_alone_needs_the_protections():
    one = target_list("ip 192.0.2.7")
    row = order_row(9, one)
    with pytest.raises(IntegrityError):
        laid(compile_overlay_bytes(BASE_SHA256, [row], [(row, one)]))
