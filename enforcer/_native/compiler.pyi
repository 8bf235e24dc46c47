"""Target lists compiled into tables; see native/compiler.pyx."""

from collections.abc import Collection, Iterable, Sequence

from typing_extensions import Buffer

from enforcer._native.builder import CompiledTable
from enforcer.core.table import OrderRow
from enforcer.core.target import Target

class Lists:
    rows: Sequence[OrderRow]
    def __init__(
        self,
        rows: Sequence[OrderRow],
        orders: Iterable[tuple[OrderRow, Buffer]],
        core: Buffer,
        protected: Buffer,
        overrides: Collection[tuple[int, Target]],
    ) -> None: ...
    @property
    def protections_sha256(self) -> str: ...

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
