"""Tables for the gate of the bench: a base of long lists, and overlays of one small order each."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import TypedDict

from enforcer._native.compiler import compile_overlay, compile_table
from enforcer.backends.sealed_table import SealedFile, writable
from enforcer.core.table import Binding, DnsMeasure, IpMeasure, OrderRow
from enforcer.ports import SealedTable

ORIGIN = "ledger.example.org/bench"
DAY_MS = 86_400_000


class _Common(TypedDict):
    origin: str
    time_floor_ms: int
    table_digest: str
    secret: bytes
    register_url: str
    register_domain: str


class Tables:
    """Compiles under one secret; the ledger grows with each table."""

    def __init__(self) -> None:
        self._common = _Common(
            origin=ORIGIN,
            time_floor_ms=time.time_ns() // 1_000_000,
            table_digest="00" * 32,
            secret=os.urandom(16),
            register_url="https://register.example.org/orders/",
            register_domain="register.example.org",
        )
        self._ledger_size = 0
        self._rows: list[OrderRow] = []
        self._base_sha256 = ""

    def base(self, lists: Sequence[bytes]) -> SealedTable:
        """Return a table with an order for each canonical list, in force for a day."""
        self._rows = [self._row(text) for text in lists]
        with writable() as fd:
            made = compile_table(
                fd,
                ledger_size=self._ledger_size,
                orders=list(zip(self._rows, lists, strict=True)),
                **self._common,
            )
            self._base_sha256 = made.body_sha256
            return SealedFile(fd)

    def overlay(self, text: bytes) -> SealedTable:
        """Return an overlay of the base with one order more, for the names in `text`."""
        row = self._row(text)
        with writable() as fd:
            compile_overlay(
                fd,
                ledger_size=self._ledger_size,
                base_sha256=self._base_sha256,
                rows=[*self._rows, row],
                orders=[(row, text)],
                **self._common,
            )
            return SealedFile(fd)

    def _row(self, text: bytes) -> OrderRow:
        self._ledger_size += 1
        return OrderRow(
            index=self._ledger_size,
            order_id=f"XX-2026-{self._ledger_size:06}",
            version=1,
            target_list_sha256=sha256(text).hexdigest(),
            target_count=text.count(b"\n"),
            dns_measure=DnsMeasure.NEGATIVE,
            ip_measure=IpMeasure.NONE,
            binding=Binding.BINDING,
            from_ms=0,
            until_ms=self._common["time_floor_ms"] + DAY_MS,
        )
