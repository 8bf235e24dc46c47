"""Target lists, whole: checked; see native/scanner.pyx."""

from dataclasses import dataclass

from typing_extensions import Buffer

@dataclass(frozen=True)
class ScanResult:
    target_count: int
    name_count: int
    address_count: int

def scan(text: Buffer, *, allow_empty: bool = False) -> ScanResult: ...
