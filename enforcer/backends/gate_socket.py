"""The node's way to its gate: one short conversation a call, over a Unix socket.

Nothing is kept between calls, so a gate that was restarted is simply found again. Tables go as
sealed memfds: what the gate maps can never change, and is the very memory that was compiled.
"""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from enforcer.backends.gate_messages import (
    BY_MAX,
    OVERRIDE_SECONDS_MAX,
    REASON_MAX,
    REPLY_BYTES_MAX,
    Check,
    Load,
    Mode,
    ModeName,
    Overlay,
    Reply,
    Request,
    Status,
    garbled,
    is_sealed,
)
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import GateReport, SealedTable

ANSWER_SECONDS_MAX: Final = 120.0
"""A table of some gigabytes is hashed, checked and written to disk within it."""


class GateClient:
    """A gate, as its node sees it."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        # Not one of the loop's threads, which may all be waiting for a slow disk.
        self._thread = ThreadPoolExecutor(1, "gate")

    async def load(self, base: SealedTable, overlay: SealedTable | None = None) -> GateReport:
        """Hand over a base, and its overlay; when it returns, new queries are judged by them.

        Raises:
            UnavailableError: no gate answers.
            IntegrityError: a table is damaged or another ledger's; the gate keeps its own.
            ConflictError: the table is older than the gate's.
        """
        return _report(await self._said(Load(), base, overlay))

    async def overlay(self, overlay: SealedTable) -> GateReport:
        """Hand over an overlay of the base that the gate has; as `load` otherwise.

        Raises:
            UnavailableError: no gate answers.
            IntegrityError: it is damaged, or of another base or ledger; the gate keeps its own.
            ConflictError: it is older than what the gate has.
        """
        return _report(await self._said(Overlay(), overlay))

    async def status(self, *, verify: bool = False) -> GateReport:
        """Ask what the gate holds; with `verify`, its table is hashed again for the answer.

        Raises:
            UnavailableError: no gate answers.
        """
        return _report(await self._said(Status(verify)))

    async def set_mode(self, mode: ModeName, *, by: str, reason: str, seconds: int) -> GateReport:
        """Have the gate do something else than its configuration says, or (enforce) that again.

        Raises:
            InputError: who, why or how long is out of bounds.
            UnavailableError: no gate answers.
        """
        for field, text, most in (("by", by, BY_MAX), ("reason", reason, REASON_MAX)):
            if not 1 <= len(text) <= most:
                raise InputError(
                    f"{field} has {len(text)} characters",
                    advice=f"Write 1 to {most}.",
                    field=field,
                )
        if not 1 <= seconds <= OVERRIDE_SECONDS_MAX:
            raise InputError(
                f"{seconds} s are no time for it to last",
                advice=f"Let it end within {OVERRIDE_SECONDS_MAX // 3_600} hours, and repeat it.",
                field="until",
            )
        request = Mode(mode, by, reason, seconds)
        return _report(await self._said(request))

    async def check(self, qname: str, qtype: int) -> dict[str, str | int | None]:
        """Ask what would decide a query; the keys are those of CheckReport.

        Raises:
            InputError: `qname` is no domain name, or `qtype` no type.
            UnavailableError: no gate answers.
        """
        if not 0 <= qtype <= 0xFFFF or len(qname) > 1_024:
            raise InputError(
                f"{qname[:64]!r} and type {qtype} make no question",
                advice="Ask for a name of at most 253 characters and a type of 0 to 65535.",
            )
        reply = await self._said(Check(qname, qtype))
        if reply.check is None:
            raise garbled("it has no verdict in it")
        verdict: dict[str, str | int | None] = msgspec.structs.asdict(reply.check)
        return verdict

    async def _said(self, request: Request, *tables: SealedTable | None) -> Reply:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ask, request, *tables)

    def _ask(self, request: Request, *tables: SealedTable | None) -> Reply:
        """Send one request, with what tables there are, and return the reply to it."""
        attached = [table.fileno() for table in tables if table is not None]
        with ExitStack() as closing:
            try:
                gate = closing.enter_context(
                    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
                )
                gate.settimeout(ANSWER_SECONDS_MAX)
                gate.connect(str(self._socket_path))
                socket.send_fds(gate, [msgspec.json.encode(request)], attached)
                data, fds, _, _ = socket.recv_fds(gate, REPLY_BYTES_MAX, 1, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                raise UnavailableError(
                    f"the gate does not answer at {self._socket_path}: {error.strerror or error}",
                    advice="Start it with `enforcer gate`, as a user that may use its socket.",
                    path=str(self._socket_path),
                ) from error
            for received in fds:
                closing.callback(os.close, received)
            if not data:
                raise UnavailableError(
                    f"the gate at {self._socket_path} closed the conversation",
                    advice="See its log: it may be stopping, or not let this user speak to it.",
                    path=str(self._socket_path),
                )
            reply = _decoded(data)
            if reply.attached_bytes is not None:
                if len(fds) != 1 or not is_sealed(fds[0]):
                    raise garbled("what should come with it is missing")
                reply = _decoded(os.pread(fds[0], reply.attached_bytes, 0))
        if reply.refusal is not None:
            raise reply.refusal.error()
        return reply


def _decoded(data: bytes) -> Reply:
    try:
        return msgspec.json.decode(data, type=Reply)
    except msgspec.MsgspecError as error:
        raise garbled(str(error)) from error


def _report(reply: Reply) -> GateReport:
    if reply.report is None:
        raise garbled("it has no report in it")
    return reply.report
