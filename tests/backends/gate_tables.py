"""Orders and tables that tests load into a gate, as a node would compile them."""

import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from enforcer._native.compiler import compile_overlay, compile_table
from enforcer._native.probe import body_sha256
from enforcer.core.table import (
    NO_LOCAL_LAYER,
    Binding,
    DnsMeasure,
    IpMeasure,
    OrderRow,
    PolicyRef,
    table_digest,
)

ORIGIN = "ledger.example.org/one"
REGISTER_URL = "https://register.example.org/orders/"
REGISTER_DOMAIN = "register.example.org"
HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def order(
    index: int = 7,
    names: bytes = b"subtree blocked.example\n",
    *,
    measure: DnsMeasure = DnsMeasure.NEGATIVE,
    binding: Binding = Binding.BINDING,
    from_ms: int = 0,
    until_ms: int | None = None,
) -> tuple[OrderRow, bytes]:
    row = OrderRow(
        index=index,
        order_id=f"XX-2026-{index:06}",
        version=1,
        target_list_sha256=sha256(names).hexdigest(),
        target_count=names.count(b"\n"),
        dns_measure=measure,
        ip_measure=IpMeasure.REJECT,
        binding=binding,
        from_ms=from_ms,
        until_ms=now_ms() + HOUR_MS if until_ms is None else until_ms,
    )
    return row, names


def compiled(
    path: Path,
    *orders: tuple[OrderRow, bytes],
    ledger_size: int = 100,
    time_floor_ms: int = 1_700_000_000_000,
    origin: str = ORIGIN,
    core: bytes = b"",
) -> Path:
    rows = [row for row, _ in orders]
    with path.open("w+b") as file:
        compile_table(
            file.fileno(),
            origin=origin,
            ledger_size=ledger_size,
            time_floor_ms=time_floor_ms,
            table_digest=table_digest(origin, PolicyRef(0, "0" * 64), rows, NO_LOCAL_LAYER),
            secret=b"0123456789abcdef",
            register_url=REGISTER_URL,
            register_domain=REGISTER_DOMAIN,
            orders=orders,
            core=core,
        )
    return path


def laid_over(
    path: Path,
    base: Path,
    *rows: OrderRow,
    new: Iterable[tuple[OrderRow, bytes]] = (),
    ledger_size: int = 101,
    time_floor_ms: int = 1_700_000_000_000,
    origin: str = ORIGIN,
    base_sha256: str | None = None,
) -> Path:
    """Compile an overlay of `base` in which `rows` of that and the `new` orders count."""
    new = list(new)
    every = sorted((*rows, *(row for row, _ in new)), key=lambda row: row.index)
    with path.open("w+b") as file:
        compile_overlay(
            file.fileno(),
            origin=origin,
            ledger_size=ledger_size,
            time_floor_ms=time_floor_ms,
            table_digest=table_digest(origin, PolicyRef(0, "0" * 64), every, NO_LOCAL_LAYER),
            secret=b"0123456789abcdef",
            register_url=REGISTER_URL,
            register_domain=REGISTER_DOMAIN,
            base_sha256=base_sha256 or body_sha256(base.read_bytes()),
            rows=every,
            orders=new,
        )
    return path
