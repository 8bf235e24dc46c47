"""One table being written; see native/builder.pyx."""

from dataclasses import dataclass
from typing import final

from enforcer._native.compiler import Lists
from enforcer.core.table_frame import TableFrame

@dataclass(frozen=True)
class CompiledTable:
    name_count: int
    network_count: int
    slot_count: int
    posting_count: int
    total_bytes: int
    body_sha256: str

def slots_for(placed_count: int) -> int: ...

@final
class Builder:
    def __init__(self, fd: int, secret: bytes, slot_count: int, network_count_max: int) -> None: ...
    def place_all(self, lists: Lists) -> None: ...
    @property
    def placed_count(self) -> int: ...
    def finish(self, frame: TableFrame, lists: Lists) -> CompiledTable: ...
    def close(self) -> None: ...
