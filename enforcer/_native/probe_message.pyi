from collections.abc import Sequence
from ipaddress import IPv6Network
from typing import Any, Final

ANSWERED: Final[tuple[str, ...]]
INSPECTIONS: Final[tuple[str, ...]]
SORTS: Final[tuple[str, ...]]

def read(wire: bytes, *, without_additionals: bool = False) -> tuple[str, dict[str, Any]]: ...

class World:
    def __init__(self, region: bytes, dns64: Sequence[IPv6Network] = ()) -> None: ...
    def inspect(
        self,
        asked: bytes,
        answered: bytes,
        t_ms: int,
        *,
        room: int | None = None,
        page: bytes = b"",
    ) -> tuple[str, dict[str, Any]]: ...
