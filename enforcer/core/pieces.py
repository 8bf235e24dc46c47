"""What a few questions about packed pieces need, in plain Python; flattening is native.

Pieces are sorted and disjoint, as :mod:`enforcer.core.firewall` packs them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator

from enforcer.core.firewall import ADDRESS_OCTETS, PIECE_OCTETS, Pieces
from enforcer.core.network import Network


def keep_rows(pieces: Pieces, rows: Collection[int]) -> Pieces:
    """Return the pieces that one of `rows` decides."""
    kept = {row.to_bytes(4, "little") for row in rows}
    return Pieces(*(_kept(pieces.packed(version), version, kept) for version in PIECE_OCTETS))


def rows_within(pieces: Pieces, networks: Iterable[Network]) -> set[int]:
    """Return the rows that decide an address in one of the networks."""
    return {
        int.from_bytes(pieces.packed(network.version)[at - 4 : at], "little")
        for network in networks
        for at in _ends_within(pieces.packed(network.version), network)
    }


def _kept(packed: bytes, version: int, kept: Collection[bytes]) -> bytes:
    size, at_row = PIECE_OCTETS[version], 2 * ADDRESS_OCTETS[version]
    return b"".join(
        packed[at : at + size]
        for at in range(0, len(packed), size)
        if packed[at + at_row : at + size] in kept
    )


def _ends_within(packed: bytes, network: Network) -> Iterator[int]:
    """Yield where each piece ends, in octets from the first, that shares an address."""
    size, wide = PIECE_OCTETS[network.version], ADDRESS_OCTETS[network.version]
    first, last = network.network_address.packed, network.broadcast_address.packed
    starts = range(0, len(packed), size)
    # The first piece that does not end before the network begins.
    number = bisect_left(starts, first, key=lambda at: packed[at + wide : at + 2 * wide])
    while number < len(starts) and packed[starts[number] : starts[number] + wide] <= last:
        yield starts[number] + size
        number += 1
