"""Rows, lists and compiled tables for tests."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from hashlib import sha256

from enforcer._native import compiler
from enforcer.core.table import Binding, DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import Target

SECRET = bytes(range(16))


def target_list(*lines: str) -> bytes:
    """Return the canonical list of `lines`, sorted, each once."""
    return b"".join(sorted({line.encode() + b"\n" for line in lines}))


def order_row(
    index: int,
    text: bytes = b"",
    *,
    from_ms: int = 1000,
    until_ms: int = 2000,
    dns_measure: DnsMeasure = DnsMeasure.NEGATIVE,
    ip_measure: IpMeasure = IpMeasure.REJECT,
    binding: Binding = Binding.BINDING,
) -> OrderRow:
    """Return the row of an order whose list is `text`."""
    return OrderRow(
        index=index,
        order_id=f"XX-2026-{index:06}",
        version=1,
        target_list_sha256=sha256(text).hexdigest(),
        target_count=text.count(b"\n"),
        dns_measure=dns_measure,
        ip_measure=ip_measure,
        binding=binding,
        from_ms=from_ms,
        until_ms=until_ms,
    )


def compile_bytes(
    orders: Iterable[tuple[OrderRow, bytes]] = (),
    *,
    core: bytes = b"",
    protected: bytes = b"",
    overrides: Collection[tuple[int, Target]] = (),
    secret: bytes = SECRET,
    origin: str = "example.org/ledger",
    ledger_size: int = 7,
    time_floor_ms: int = 900,
    table_digest: str = "ab" * 32,
    register_url: str = "https://register.example.org/o/",
    register_domain: str = "register.example.org",
) -> bytes:
    """Return the octets of a compiled table."""
    descriptor = os.memfd_create("table")
    try:
        compiler.compile_table(
            descriptor,
            origin=origin,
            ledger_size=ledger_size,
            time_floor_ms=time_floor_ms,
            table_digest=table_digest,
            secret=secret,
            register_url=register_url,
            register_domain=register_domain,
            orders=orders,
            core=core,
            protected=protected,
            overrides=overrides,
        )
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def compile_overlay_bytes(
    base_sha256: str,
    rows: Iterable[OrderRow],
    orders: Iterable[tuple[OrderRow, bytes]] = (),
    *,
    core: bytes = b"",
    protected: bytes = b"",
    overrides: Collection[tuple[int, Target]] = (),
    secret: bytes = SECRET,
    origin: str = "example.org/ledger",
    ledger_size: int = 8,
) -> bytes:
    """Return the octets of an overlay for what `compile_bytes` compiles."""
    descriptor = os.memfd_create("overlay")
    try:
        compiler.compile_overlay(
            descriptor,
            origin=origin,
            ledger_size=ledger_size,
            time_floor_ms=950,
            table_digest="cd" * 32,
            secret=secret,
            register_url="https://register.example.org/new/",
            register_domain="new.register.example.org",
            base_sha256=base_sha256,
            rows=rows,
            orders=orders,
            core=core,
            protected=protected,
            overrides=overrides,
        )
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
