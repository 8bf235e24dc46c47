"""What a compiled table holds beside the names: its limits, checked before anything is written.

A field that passes here fits into the table's fixed-size rows, so that filling them in
native code cannot fail. The limits are those of native/layout.pxd; a test holds them equal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from operator import attrgetter
from typing import Final

from enforcer.core.name import Name
from enforcer.core.table import OrderRow
from enforcer.errors import InputError

ORDERS_MAX: Final = 1 << 24
ORDER_ID_BYTES_MAX: Final = 32
REGISTER_URL_BYTES_MAX: Final = 200
REGISTER_DOMAIN_BYTES_MAX: Final = 222  # 255 octets less an order id as the label before it
SECRET_BYTES: Final = 16
NO_BASE: Final = "00" * 32

by_index = attrgetter("index")
"""The key that rows are sorted by."""


@dataclass(frozen=True, slots=True)
class TableFrame:
    """The header's fields that come from outside, as octets and numbers that fit.

    Raises:
        InputError: at making, with ``field`` in ``data``.
    """

    origin: str
    ledger_size: int
    time_floor_ms: int
    table_digest: str
    secret: bytes
    register_url: str
    register_domain: str
    base_sha256: str = NO_BASE
    """The checksum of the base that an overlay lies on."""

    def __post_init__(self) -> None:
        _check_number("ledger_size", self.ledger_size, 63)
        _check_number("time_floor_ms", self.time_floor_ms, 63)
        _check_sha256("table_digest", self.table_digest)
        _check_sha256("base_sha256", self.base_sha256)
        if len(self.secret) != SECRET_BYTES:
            what = f"the hash secret has {len(self.secret)} octets, not {SECRET_BYTES}"
            raise _error("secret", what, "Draw it with secrets.token_bytes(16).")
        if len(self.register_url) > REGISTER_URL_BYTES_MAX or not _is_visible(self.register_url):
            what = f"the register's URL is not up to {REGISTER_URL_BYTES_MAX} visible characters"
            raise _error("register_url", what, "Percent-encode it, and keep it short.")
        if len(self.domain_wire) > REGISTER_DOMAIN_BYTES_MAX:
            what = f"the register's domain takes over {REGISTER_DOMAIN_BYTES_MAX} octets"
            raise _error("register_domain", what, "An order id must have room before it.")

    @property
    def origin_sha256(self) -> bytes:
        """SHA-256 of the ledger's origin, by which a gate knows its own tables."""
        return sha256(self.origin.encode("utf-8")).digest()

    @property
    def domain_wire(self) -> bytes:
        """The register's domain as an uncompressed wire name."""
        return Name.from_text(self.register_domain).wire


def check_rows(rows: Sequence[OrderRow]) -> None:
    """Check that `rows`, ascending by entry index, fit into a table.

    Raises:
        InputError: with ``field`` in ``data``; two rows of one entry index, too.
    """
    if len(rows) > ORDERS_MAX:
        raise _error("orders", f"there are over {ORDERS_MAX} orders", "Let some expire first.")
    previous = -1
    for row in rows:
        if row.index == previous:
            what = f"two orders have the entry index {row.index}"
            raise _error("index", what, "Give each order once.")
        previous = row.index
        _check_number("index", row.index, 63)
        _check_number("from_ms", row.from_ms, 63)
        _check_number("until_ms", row.until_ms, 63)
        _check_number("target_count", row.target_count, 63)
        _check_number("version", row.version, 32)
        _check_sha256("target_list_sha256", row.target_list_sha256)
        if not (1 <= len(row.order_id) <= ORDER_ID_BYTES_MAX and _is_visible(row.order_id)):
            what = f"{row.order_id!r} is not 1 to {ORDER_ID_BYTES_MAX} visible characters"
            raise _error("order_id", what, "Order ids look like XX-2026-000001.")
        if not (row.dns_measure and row.ip_measure and row.binding):
            what = f"order {row.order_id} has an unspecified measure or binding"
            raise _error("measure", what, "Name the measures, NONE where there is none.")


def check_overlay(base_sha256: str, new: Sequence[OrderRow]) -> None:
    """Check that an overlay names a base, and that its `new` orders, ascending, are there once.

    Raises:
        InputError: with ``field`` in ``data``.
    """
    if base_sha256 == NO_BASE:
        raise _error("base_sha256", "the overlay names no base", "Give the base's checksum.")
    for row, following in pairwise(new):
        if row.index == following.index:
            raise _error("orders", f"order {row.order_id} is there twice", "Give it once.")


def row_number(rows: Sequence[OrderRow], row: OrderRow) -> int:
    """Return where `row` is among `rows`, which ascend by entry index.

    Raises:
        InputError: it is not, with ``field`` in ``data``.
    """
    number = bisect_left(rows, row.index, key=by_index)
    if number == len(rows) or rows[number] != row:
        what = f"order {row.order_id} is not among the rows"
        raise _error("rows", what, "Give the overlay every row in force.")
    return number


def _is_visible(text: str) -> bool:
    return all("!" <= char <= "~" for char in text)


def _check_number(field: str, number: int, bits: int) -> None:
    if not 0 <= number < 1 << bits:
        raise _error(field, f"{field} {number} is not in 0 to 2^{bits} - 1", "Correct it.")


def _check_sha256(field: str, digest: str) -> None:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise _error(field, f"{field} {digest!r} is no SHA-256", "Give 64 lower-case hex digits.")


def _error(field: str, what: str, advice: str) -> InputError:
    return InputError(what, advice=advice, field=field)
