"""Names that no table may block, asked of each new one: by its lookup, and as real queries.

The lookup happens before any worker gets the table. The queries go to the gate's own sockets
afterwards: they see what a name leads to as well. An answer that says nothing of an order of
ours, or none at all, is no reason: resolution may fail because the resolver behind does.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from dnslib import QTYPE, DNSError, DNSRecord

from enforcer._native.probe import Table
from enforcer.backends.gate_probe import probe_socket, proxy_prefix, question
from enforcer.backends.gate_settings import GateSettings, Place
from enforcer.core.name import Name
from enforcer.core.verdict import Action
from enforcer.errors import RefusedError

WAIT_SECONDS: Final = 0.2
"""For answers before a load is answered; what comes later still counts."""
HOPELESS_SECONDS: Final = 0.01
"""When nothing at all was answered the time before: a dead resolver must not hold up tables."""
BEGINNINGS_MAX: Final = 1_000
QTYPES: Final = (QTYPE.A, QTYPE.AAAA)
_EDE: Final = 15  # RFC 8914 §2
_EDE_OURS: Final = (b"\0\x0f", b"\0\x10")  # Blocked, Censored


@dataclass(frozen=True, slots=True)
class Blocked:
    """A golden name, and the order that blocks it."""

    name: str
    order_id: str
    order_index: int | None

    def error(self) -> RefusedError:
        """Return what whoever hands over the table is told."""
        data = {} if self.order_index is None else {"order_index": self.order_index}
        return RefusedError(
            f"the table is refused: its order {self.order_id} blocks {self.name}, a golden name",
            advice="Have the order stopped or corrected, or take the name out of golden_names.",
            name=self.name,
            order_id=self.order_id,
            **data,
        )


class Golden:
    """The golden names of one gate."""

    def __init__(self, settings: GateSettings) -> None:
        self._names = [Name.from_text(each) for each in settings.golden_names]
        self._proxies = settings.proxy_from
        self._socket: socket.socket | None = None
        self._asked: dict[int, Name] = {}
        self._wait_seconds = WAIT_SECONDS
        self._table: Table | None = None

    def decided(self, table: Table, t_ms: int) -> Blocked | None:
        """Return the first golden name that the table by itself blocks, at `t_ms` or later."""
        if not self._names:
            return None
        begins = {row.from_ms for row in table.orders() if row.from_ms > t_ms}
        for at_ms in (t_ms, *sorted(begins)[:BEGINNINGS_MAX]):
            for name in self._names:
                verdict = table.decide(name.wire, QTYPES[0], at_ms)
                if verdict.action is not Action.PASS:
                    order = verdict.order
                    return Blocked(
                        name.text,
                        order.order_id if order is not None else "",
                        order.index if order is not None else None,
                    )
        return None

    def ask(self, place: Place, table: Table) -> Blocked | None:
        """Ask the gate at `place` for every golden name; return one that it blocks, if it does."""
        self.forget()
        if not self._names:
            return None
        self._table = table
        made = probe_socket(place)
        self._socket = made
        prefix = proxy_prefix(made, self._proxies)
        for number, name in enumerate(self._names):
            for offset, qtype in enumerate(QTYPES):
                qid = number * len(QTYPES) + offset
                self._asked[qid] = name
                with suppress(OSError):
                    made.send(prefix + question(name, qtype, qid))
        until_seconds = time.monotonic() + self._wait_seconds
        is_answered = False
        while self._asked and (left_seconds := until_seconds - time.monotonic()) > 0:
            if select.select([made], [], [], left_seconds)[0]:
                is_answered = True
                if (blocked := self.read()) is not None:
                    return blocked
        self._wait_seconds = WAIT_SECONDS if is_answered else HOPELESS_SECONDS
        return None

    @property
    def awaited(self) -> socket.socket | None:
        """Where late answers come; None when all have come."""
        return self._socket if self._asked else None

    def read(self) -> Blocked | None:
        """Take one answer; return the golden name that it says is blocked."""
        if self._socket is None or self._table is None:
            return None
        try:
            answer = DNSRecord.parse(self._socket.recv(65_535))
        except (OSError, DNSError):
            return None
        name = self._asked.pop(answer.header.id, None)
        order_id = order_in(answer, self._table.header.register_url)
        if name is None or order_id is None:
            return None
        rows = (row.index for row in self._table.orders() if row.order_id == order_id)
        return Blocked(name.text, order_id, next(rows, None))

    def forget(self) -> None:
        """Wait for no more answers."""
        self._asked.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def order_in(answer: DNSRecord, register_url: str) -> str | None:
    """Return the order that an answer of this gate names as its reason; None if it has none."""
    for record in answer.ar:
        if record.rtype != QTYPE.OPT:
            continue
        for option in record.rdata:
            if option.code != _EDE or option.data[:2] not in _EDE_OURS:
                continue
            order_id, _, url = option.data[2:].decode("utf-8", "replace").partition(" ")
            if url == register_url + order_id:
                return str(order_id)
    return None
