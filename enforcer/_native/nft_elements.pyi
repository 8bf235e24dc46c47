"""Pieces as elements of nftables sets, and back; see native/nft_elements.pyx."""

from collections.abc import Sequence

from typing_extensions import Buffer

from enforcer.core.firewall import FirewallRow

SHARD_COUNT: int

def encode(
    pieces: Buffer,
    version: int,
    rows: Sequence[FirewallRow],
    heads: Sequence[bytes],
    *,
    is_new: bool,
    number: int,
) -> list[bytes]: ...

class SetReader:
    strange: int
    error: int
    def __init__(self, version: int) -> None: ...
    def begin(self, bucket: int) -> None: ...
    def feed(self, octets: Buffer) -> bool | None: ...
    def end(self) -> int: ...
    def pieces(self) -> bytes: ...
