"""What the compiler writes: the same bytes for the same inputs, small, and read back whole."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from enforcer._native import compiler
from enforcer._native.builder import slots_for
from enforcer._native.probe import Table
from enforcer.core.name import Name
from enforcer.core.table import (
    NO_LOCAL_LAYER,
    Binding,
    DnsMeasure,
    IpMeasure,
    OrderRow,
    PolicyRef,
    table_digest,
)
from enforcer.core.target import parse_line
from enforcer.core.verdict import Action, Cause
from enforcer.errors import InputError
from tests.tables import compile_bytes, order_row, target_list

LIST = target_list("exact www.example.com", "subtree example.org", "ip 192.0.2.1")
ROW = order_row(5, LIST)


def blocked_by(table: Table, qname: str) -> int | None:
    order = table.decide(Name.from_text(qname).wire, 1, 1500).order
    return None if order is None else order.index


def test_the_same_inputs_and_secret_give_the_same_bytes():
    other = order_row(8, LIST)
    one = compile_bytes([(ROW, LIST), (other, LIST)])
    assert compile_bytes([(other, LIST), (ROW, LIST)]) == one
    assert compile_bytes([(ROW, LIST), (other, LIST)], secret=bytes(16)) != one


def test_nothing_of_what_the_file_held_before_shows_through():
    expected = compile_bytes([(ROW, LIST)])
    descriptor = os.memfd_create("table")
    os.write(descriptor, b"\xff" * 5000)
    header = Table(expected).header
    compiler.compile_table(
        descriptor,
        origin="example.org/ledger",
        ledger_size=header.ledger_size,
        time_floor_ms=header.time_floor_ms,
        table_digest=header.table_digest,
        secret=bytes(range(16)),
        register_url=header.register_url,
        register_domain=header.register_domain,
        orders=[(ROW, LIST)],
    )
    assert os.pread(descriptor, 10_000, 0) == expected
    os.close(descriptor)


def test_the_digest_can_be_computed_again_from_the_rows_held():
    policy = PolicyRef(0, "cd" * 32)
    rows = [
        ROW,
        replace(
            order_row(2**40, b"", dns_measure=DnsMeasure.NONE, binding=Binding.ADVISORY),
            order_id="Z" * 32,
            version=2**32 - 1,
            target_count=2_000_000,
            ip_measure=IpMeasure.DROP,
            until_ms=2**62,
        ),
    ]
    digest = table_digest("example.org/ledger", policy, rows, NO_LOCAL_LAYER)
    table = Table(compile_bytes([(row, b"") for row in rows], table_digest=digest))
    held = table_digest("example.org/ledger", policy, table.orders(), NO_LOCAL_LAYER)
    assert held == digest == table.header.table_digest


def test_only_orders_with_a_dns_measure_place_names():
    rows = [
        order_row(1, LIST, dns_measure=DnsMeasure.NONE, ip_measure=IpMeasure.NONE),
        order_row(2, LIST, dns_measure=DnsMeasure.BLOCK_PAGE),
    ]
    table = Table(compile_bytes([(row, LIST) for row in rows]))
    assert table.orders() == rows
    assert blocked_by(table, "www.example.com") == 2
    header = Table(compile_bytes([(rows[0], LIST)])).header
    assert (header.name_count, header.network_count) == (0, 0)
    assert header.slot_count == slots_for(0)


def test_only_orders_with_an_ip_measure_place_addresses_and_prefixes():
    text = target_list("exact www.example.com", "ip 192.0.2.7", "net 192.0.2.0/24")
    for dns in DnsMeasure.NONE, DnsMeasure.NEGATIVE:
        for ip, networks in (IpMeasure.NONE, 0), (IpMeasure.REJECT, 2), (IpMeasure.DROP, 2):
            row = order_row(1, text, dns_measure=dns, ip_measure=ip)
            header = Table(compile_bytes([(row, text)])).header
            names = dns is DnsMeasure.NEGATIVE
            assert (header.name_count, header.network_count) == (names, networks)


def test_names_and_networks_are_counted_each_once():
    other = target_list("ip 192.0.2.1", "net 192.0.2.0/24", "exact www.example.com")
    header = Table(compile_bytes([(ROW, LIST), (order_row(8, other), other)])).header
    assert (header.name_count, header.network_count) == (2, 2)


def test_a_million_names_of_one_order_share_one_posting():
    text = b"".join(b"subtree %06d.example.org\n" % number for number in range(20_000))
    region = compile_bytes([(order_row(1, text), text)])
    header = Table(region).header
    assert (header.name_count, header.posting_count, header.word_count) == (20_000, 1, 1)
    assert len(region) / 20_000 < 21.5


def test_names_in_many_lists_do_not_make_the_table_larger():
    text = b"".join(b"subtree %06d.example.org\n" % number for number in range(2000))
    orders = [(order_row(index, text), text) for index in range(20)]
    region = compile_bytes(orders)
    header = Table(region).header
    assert header.name_count == 2000
    assert header.posting_count == 1
    assert header.slot_count == slots_for(2000)
    assert header.word_count == 20
    assert blocked_by(Table(region), "000007.example.org") == 0


def test_every_combination_of_orders_has_a_posting_of_its_own():
    names = [f"n{number}.example.org" for number in range(256)]
    orders = []
    for bit in range(8):
        chosen = [names[number] for number in range(256) if number >> bit & 1]
        text = target_list(*(f"{kind} {name}" for name in chosen for kind in ("exact", "subtree")))
        orders.append((order_row(bit, text, from_ms=bit * 10, until_ms=bit * 10 + 10), text))
    table = Table(compile_bytes(orders))
    assert table.header.posting_count == 255
    for number, text in enumerate(names):
        wire = Name.from_text(text).wire
        decided = [table.decide(wire, 1, bit * 10).action is Action.BLOCK for bit in range(8)]
        assert decided == [bool(number >> bit & 1) for bit in range(8)]


def test_overrides_are_asked_for_line_by_line():
    names = [f"n{number}.example.org" for number in range(100)]
    protected = target_list(*(f"subtree {name}" for name in names))
    text = target_list(*(f"subtree {name}" for name in names), "exact other.example.net")
    overrides = {(5, parse_line(f"subtree {name}".encode())) for name in names[::2]}
    table = Table(
        compile_bytes([(order_row(5, text), text)], protected=protected, overrides=overrides)
    )
    for number, name in enumerate(names):
        assert blocked_by(table, f"www.{name}") == (None if number % 2 else 5)
    assert blocked_by(table, "other.example.net") == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ledger_size", -1),
        ("time_floor_ms", 2**63),
        ("table_digest", "AB" * 32),
        ("table_digest", "ab"),
        ("secret", b"short"),
        ("register_url", "https://register.example.org/ /"),
        ("register_url", "https://" + "x" * 200),
        ("register_domain", ".".join(["x" * 60] * 4)),
    ],
)
def test_a_field_that_has_no_place_in_a_table_is_refused(field: str, value: Any):
    with pytest.raises(InputError) as caught:
        compile_bytes([(ROW, LIST)], **{field: value})
    assert caught.value.data["field"] == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_id", ""),
        ("order_id", "X" * 33),
        ("order_id", "XX 2026"),
        ("version", 2**32),
        ("index", -1),
        ("from_ms", -1),
        ("until_ms", 2**63),
        ("target_count", -1),
        ("target_list_sha256", "no"),
        ("dns_measure", DnsMeasure.UNSPECIFIED),
        ("ip_measure", IpMeasure.UNSPECIFIED),
        ("binding", Binding.UNSPECIFIED),
    ],
)
def test_a_row_that_has_no_place_in_a_table_is_refused(field: str, value: Any):
    row: OrderRow = replace(ROW, **{field: value})
    with pytest.raises(InputError):
        compile_bytes([(row, LIST)])


def test_two_orders_of_one_entry_index_are_refused():
    with pytest.raises(InputError, match="two orders"):
        compile_bytes([(ROW, LIST), (replace(ROW, order_id="XX-2026-000009"), LIST)])


@pytest.mark.parametrize("part", ["orders", "core", "protected"])
def test_a_list_that_is_not_canonical_is_refused(part: str):
    bad = b"subtree example.org\nexact www.example.com\n"
    given: dict[str, Any] = {"orders": [(order_row(1, bad), bad)]} if part == "orders" else {}
    with pytest.raises(InputError, match="bytewise order"):
        compile_bytes(**given, **({} if part == "orders" else {part: bad}))


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path):
    path = tmp_path / "table"
    path.touch()
    with path.open("rb") as file, pytest.raises(OSError, match="Invalid argument"):
        compiler.compile_table(
            file.fileno(),
            origin="",
            ledger_size=0,
            time_floor_ms=0,
            table_digest="ab" * 32,
            secret=bytes(16),
            register_url="",
            register_domain=".",
            orders=[],
        )


def test_real_names_are_all_found_and_their_children_are_not(data_dir: Path):
    with gzip.open(data_dir / "domains" / "blocklist-1.28M.txt.gz") as file:
        names = sorted({line.strip() for line in islice(file, 20_000)})
    text = b"".join(b"exact " + name + b"\n" for name in names)
    table = Table(compile_bytes([(order_row(1, text), text)]))
    wires = b"".join(Name.from_text(name.decode()).wire for name in names)
    assert table.decide_many(wires, 1, 1500)[:2] == (len(names), len(names))
    near = b"".join(Name.from_text("q." + name.decode()).wire for name in names)
    assert table.decide_many(near, 1, 1500)[1] == 0
    decided = table.decide(Name.from_text(names[0].decode()).wire, 1, 1500)
    assert decided.cause is Cause.ORDER
