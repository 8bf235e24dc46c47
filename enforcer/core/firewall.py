"""What a firewall holds: disjoint pieces of the address space, each with the order that decides it.

Pieces travel packed, so that half a million of them are two bytes objects and no more: for each
family sorted, disjoint records of the first address, the last address (network order, 4 or 16
octets each) and the order's entry index (u32, little endian). Pieces that touch are not merged:
each order keeps its own life. What the policy protects is in no piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final

from enforcer.core.network import PREFIX_LENGTH_MIN, Address, Network
from enforcer.core.table import IpMeasure
from enforcer.errors import InputError

PIECES_MAX: Final = 4_000_000
"""In one firewall, both families together: 2,000,000 targets cut each other into no more."""
PROTECTED_MAX: Final = 4_096
ROWS_MAX: Final = 65_536
ROW_INDEX_MAX: Final = 2**32 - 1
LEASE_SECONDS_MAX: Final = 7 * 86_400

DIGEST_HEADER: Final = "enforcer-pieces v1"

ADDRESS_OCTETS: Final = {4: 4, 6: 16}
PIECE_OCTETS: Final = {4: 12, 6: 36}


class FirewallState(IntEnum):
    """What the read-back of the firewall said."""

    UNSPECIFIED = 0
    NONE = 1
    """This node has no firewall, or one that only says what it would do."""
    HOLDS = 2
    DIFFERS = 3
    UNAVAILABLE = 4


@dataclass(frozen=True, slots=True)
class FirewallRow:
    """One order that addresses are blocked by, and how."""

    index: int
    """Ledger index of the OrderProposed entry, 1 or more: no order is the first entry."""
    measure: IpMeasure


@dataclass(frozen=True, slots=True)
class Pieces:
    """Packed pieces of both families, as the module says."""

    ipv4: bytes = b""
    ipv6: bytes = b""

    def __len__(self) -> int:
        """Return how many pieces there are."""
        return len(self.ipv4) // PIECE_OCTETS[4] + len(self.ipv6) // PIECE_OCTETS[6]

    def packed(self, version: int) -> bytes:
        """Return the pieces of one family, 4 or 6."""
        return self.ipv4 if version == 4 else self.ipv6


NO_PIECES: Final = Pieces()


def piece(first: Address, last: Address, row: int) -> bytes:
    """Return one piece, packed."""
    return first.packed + last.packed + row.to_bytes(4, "little")


def pack_pieces(targets: Iterable[tuple[Network, int]]) -> Pieces:
    """Pack a few disjoint targets with their rows; for many there is ``_native.networks``."""
    chosen: dict[int, list[bytes]] = {4: [], 6: []}
    for network, row in targets:
        packed = piece(network.network_address, network.broadcast_address, row)
        chosen[network.version].append(packed)
    return Pieces(b"".join(sorted(chosen[4])), b"".join(sorted(chosen[6])))


def pieces_digest(
    pieces: Pieces, rows: Iterable[FirewallRow], salts: Mapping[int, bytes] | None = None
) -> str:
    """Return the SHA-256, in hex, of pieces and of how each of their rows blocks.

    Of the line ``enforcer-pieces v1``, a line ``row INDEX MEASURE`` for each row, ascending, with
    its list's salt in hex behind it where that is hidden, a line ``ipv4 COUNT`` with the packed
    pieces behind it, and the same for ``ipv6``; LF after each line. So nobody who cannot open a
    hidden list can try what its addresses are.
    """
    hidden = salts or {}
    lines = [DIGEST_HEADER]
    for row in rows:
        salt = f" {hidden[row.index].hex()}" if row.index in hidden else ""
        lines.append(f"row {row.index} {row.measure.name}{salt}")
    found = sha256("".join(f"{line}\n" for line in lines).encode("ascii"))
    for version, size in PIECE_OCTETS.items():
        packed = pieces.packed(version)
        found.update(b"ipv%d %d\n" % (version, len(packed) // size))
        found.update(packed)
    return found.hexdigest()


def plain_networks(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return what the networks cover together as few as can be, sorted, IPv4 first."""
    networks = tuple(networks)
    four = [network for network in networks if isinstance(network, IPv4Network)]
    six = [network for network in networks if isinstance(network, IPv6Network)]
    return (*collapse_addresses(four), *collapse_addresses(six))


def unpack_pieces(packed: bytes, version: int) -> Iterator[tuple[int, int, int]]:
    """Yield first address, last address and row of each piece of one family, as numbers."""
    size, wide = PIECE_OCTETS[version], ADDRESS_OCTETS[version]
    for at in range(0, len(packed), size):
        yield (
            int.from_bytes(packed[at : at + wide], "big"),
            int.from_bytes(packed[at + wide : at + 2 * wide], "big"),
            int.from_bytes(packed[at + 2 * wide : at + size], "little"),
        )


def check_pieces(pieces: Pieces, rows: Iterable[FirewallRow]) -> None:
    """Check that pieces are whole, sorted, disjoint and each of one of the rows.

    Raises:
        InputError: the first that is not, by its number (``index``); or there are too many.
    """
    if len(pieces) > PIECES_MAX:
        raise _error(f"{len(pieces)} pieces are more than {PIECES_MAX}", 0)
    known = {row.index for row in rows}
    for version, size in PIECE_OCTETS.items():
        packed = pieces.packed(version)
        if len(packed) % size:
            raise _error(f"IPv{version} pieces are not of {size} octets", len(packed) // size)
        before, shared_bits = -1, 8 * ADDRESS_OCTETS[version] - PREFIX_LENGTH_MIN[version]
        for at, (first, last, row) in enumerate(unpack_pieces(packed, version)):
            if not before < first <= last:
                raise _error(f"IPv{version} pieces are not sorted and disjoint", at)
            if first >> shared_bits != last >> shared_bits:
                raise _error(f"an IPv{version} piece is wider than any target", at)
            if row not in known:
                raise _error(f"an IPv{version} piece names no row", at)
            before = last


def check_rows(rows: Iterable[FirewallRow], protected: Iterable[Network]) -> None:
    """Check rows and what is protected from them.

    Raises:
        InputError: rows that do not ascend, a measure that is none, or too many of either.
    """
    rows, protected, before = tuple(rows), tuple(protected), 0
    if len(rows) > ROWS_MAX or len(protected) > PROTECTED_MAX:
        raise _error(f"more than {ROWS_MAX} orders, or {PROTECTED_MAX} protections", 0)
    if protected != plain_networks(protected):
        raise _error("protections are not as `plain_networks` gives them", 0)
    for at, row in enumerate(rows):
        if not before < row.index <= ROW_INDEX_MAX:
            raise _error("rows do not ascend by entry index", at)
        if row.measure not in (IpMeasure.REJECT, IpMeasure.DROP):
            raise _error(f"the row's measure is {row.measure.name}", at)
        before = row.index


def _error(what: str, index: int) -> InputError:
    return InputError(what, advice="Report this: the node makes what it sends.", index=index)
