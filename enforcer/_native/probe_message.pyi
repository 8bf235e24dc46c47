from typing import Any, Final

ANSWERED: Final[tuple[str, ...]]
SORTS: Final[tuple[str, ...]]

def read(wire: bytes, *, without_additionals: bool = False) -> tuple[str, dict[str, Any]]: ...
