"""Packed pieces compared, and addresses looked up in them; see native/packed.pyx."""

from typing import Final

from typing_extensions import Buffer

from enforcer.core.firewall import Pieces

NO_PIECE: Final[int]

def diff(old: Pieces, new: Pieces) -> tuple[Pieces, Pieces]: ...
def find_rows(pieces: Pieces, addresses: Buffer, octets: int) -> bytes: ...
