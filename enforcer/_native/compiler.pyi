"""Target lists, whole: checked and compiled; see native/compiler.pyx."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from typing_extensions import Buffer

from enforcer.core.table import OrderRow
from enforcer.core.target import Target

@dataclass(frozen=True)
class ScanResult:
    target_count: int
    name_count: int
    address_count: int

@dataclass(frozen=True)
class CompiledTable:
    name_count: int
    network_count: int
    slot_count: int
    posting_count: int
    total_bytes: int
    body_sha256: str

def scan(text: Buffer, *, allow_empty: bool = False) -> ScanResult: ...
def slots_for(placed_count: int) -> int: ...
def compile_table(
    fd: int,
    *,
    origin: str,
    ledger_size: int,
    time_floor_ms: int,
    table_digest: str,
    secret: bytes,
    register_url: str,
    register_domain: str,
    orders: Iterable[tuple[OrderRow, Buffer]],
    core: Buffer = b"",
    protected: Buffer = b"",
    overrides: Collection[tuple[int, Target]] = (),
) -> CompiledTable: ...
def compile_overlay(
    fd: int,
    *,
    origin: str,
    ledger_size: int,
    time_floor_ms: int,
    table_digest: str,
    secret: bytes,
    register_url: str,
    register_domain: str,
    base_sha256: str,
    rows: Iterable[OrderRow],
    orders: Iterable[tuple[OrderRow, Buffer]] = (),
    core: Buffer = b"",
    protected: Buffer = b"",
    overrides: Collection[tuple[int, Target]] = (),
) -> CompiledTable: ...
