from typing import Final

READINGS: Final[tuple[str, ...]]

def read(wire: bytes) -> tuple[str, dict[str, int | bool | bytes | list[int]]]: ...
def error(wire: bytes, rcode: int, *, info_code: int | None = None) -> bytes: ...
def block(
    wire: bytes,
    *,
    rcode: int,
    zone_at: int,
    info_code: int,
    is_block_page: bool,
    page: bytes,
    order_id: bytes,
    register_domain: bytes,
    register_url: bytes,
    ttl_seconds: int,
    serial: int,
    room: int | None = None,
) -> bytes: ...
