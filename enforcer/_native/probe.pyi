"""Python windows on tables; see native/probe.pyx."""

from dataclasses import dataclass
from typing import Final, final

from typing_extensions import Buffer

from enforcer.core.network import Address
from enforcer.core.table import OrderRow
from enforcer.core.verdict import Verdict

HEADER_BYTES: Final[int]
NO_MATCH: Final[int]
BODY_SHA256_AT: Final[int]

@dataclass(frozen=True)
class TableHeader:
    total_bytes: int
    body_sha256: str
    origin_sha256: str
    ledger_size: int
    time_floor_ms: int
    table_digest: str
    base_sha256: str
    protections_sha256: str
    name_count: int
    network_count: int
    slot_count: int
    probes_max: int
    labels_max: int
    order_count: int
    posting_count: int
    word_count: int
    key_counts: tuple[int, int]
    nest_count: int
    register_url: str
    register_domain: str

@final
class Table:
    def __init__(self, region: Buffer) -> None: ...
    @property
    def header(self) -> TableHeader: ...
    @property
    def overlay_header(self) -> TableHeader | None: ...
    def with_overlay(self, region: Buffer) -> Table: ...
    def next_change_ms(self, t_ms: int) -> int | None: ...
    def orders(self) -> list[OrderRow]: ...
    def decide(self, name_wire: bytes, qtype: int, t_ms: int) -> Verdict: ...
    def decide_address(self, address: Address, t_ms: int) -> Verdict: ...
    def decide_flow(self, address: Address, t_ms: int) -> Verdict: ...
    def match(self, packed: bytes, t_ms: int) -> int | None: ...
    def match_many(self, addresses: Buffer, octets: int, t_ms: int) -> bytes: ...
    def decide_many(self, wires: Buffer, qtype: int, t_ms: int) -> tuple[int, int, int]: ...

def body_sha256(region: Buffer) -> str: ...
def siphash128(key: bytes, data: bytes) -> bytes: ...
def layout() -> dict[str, int]: ...
