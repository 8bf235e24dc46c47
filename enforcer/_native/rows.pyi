"""Rows as the octets that a table holds; see native/rows.pyx."""

from collections.abc import Sequence

from enforcer.core.table import OrderRow

def pack_rows(rows: Sequence[OrderRow]) -> bytes: ...
