"""Guards over whole target lists; see native/guards.pyx."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from typing_extensions import Buffer

@dataclass(frozen=True)
class ScanFound:
    counts: dict[int, int]
    evidence: dict[int, list[bytes]]
    report: bytes
    left_out: int

def shared_lines(text: Buffer, other: Buffer) -> int: ...

class GuardIndex:
    def __init__(
        self,
        names: Iterable[tuple[bytes, int, bytes]],
        networks: Iterable[tuple[int, int, int, int, int, bytes]],
    ) -> None: ...
    def scan(
        self,
        text: Buffer,
        *,
        guard_names: Sequence[bytes],
        emergencies: Iterable[tuple[bytes, Buffer]] = (),
        stops: Iterable[tuple[bytes, Buffer]] = (),
        hidden: Iterable[tuple[bytes, Buffer]] = (),
        administrative: Iterable[tuple[int, Buffer]] = (),
        administrative_ms: int = 0,
        administrative_ms_max: int = 0,
        administrative_evidence: bytes = b"",
        report_bytes_max: int = 0,
    ) -> ScanFound: ...
