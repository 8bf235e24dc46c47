"""The node's way to its gate: one short conversation a call, over a Unix socket.

Nothing is kept between calls, so a gate that was restarted is simply found again. A table is
copied into a sealed memfd before it is handed over: what the gate maps can never change.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from enforcer.backends.durable import reporting
from enforcer.backends.gate_messages import (
    REPLY_BYTES_MAX,
    TABLE_BYTES_MAX,
    Check,
    Load,
    Reply,
    Request,
    Status,
    garbled,
    is_sealed,
    seal,
)
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import GateReport

ANSWER_SECONDS_MAX: Final = 120.0
"""A table of some gigabytes is hashed, checked and written to disk within it."""
COPY_BYTES: Final = 1 << 24


class GateClient:
    """A gate, as its node sees it."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    async def load(self, path: Path) -> GateReport:
        """Hand over the table in `path`; when it returns, new queries are judged by it.

        Raises:
            UnavailableError: no gate answers, or the file cannot be read.
            IntegrityError: the table is damaged or another ledger's; the gate keeps its own.
            ConflictError: the table is older than the gate's.
        """
        return await asyncio.to_thread(self._load, path)

    async def status(self, *, verify: bool = False) -> GateReport:
        """Ask what the gate holds; with `verify`, its table is hashed again for the answer.

        Raises:
            UnavailableError: no gate answers.
        """
        return _report(await asyncio.to_thread(self._ask, Status(verify), None))

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
        reply = await asyncio.to_thread(self._ask, Check(qname, qtype), None)
        if reply.check is None:
            raise garbled("it has no verdict in it")
        verdict: dict[str, str | int | None] = msgspec.structs.asdict(reply.check)
        return verdict

    def _load(self, path: Path) -> GateReport:
        fd = _sealed_file(path)
        try:
            return _report(self._ask(Load(), fd))
        finally:
            os.close(fd)

    def _ask(self, request: Request, fd: int | None) -> Reply:
        """Send one request, with a descriptor if there is one, and return the reply to it."""
        with ExitStack() as closing:
            try:
                gate = closing.enter_context(
                    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
                )
                gate.settimeout(ANSWER_SECONDS_MAX)
                gate.connect(str(self._socket_path))
                socket.send_fds(gate, [msgspec.json.encode(request)], [] if fd is None else [fd])
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


def _sealed_file(path: Path) -> int:
    """Return the descriptor of a sealed memfd with the content of `path`."""
    with ExitStack() as undoing:
        fd = os.memfd_create("enforcer-table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        undoing.callback(os.close, fd)
        with reporting(path, "read"), path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            while size <= TABLE_BYTES_MAX and os.sendfile(fd, file.fileno(), None, COPY_BYTES):
                pass
        if size > TABLE_BYTES_MAX:
            raise InputError(
                f"{path} has {size} bytes, over {TABLE_BYTES_MAX}",
                advice="Hand over a compiled table.",
                path=str(path),
            )
        seal(fd)
        undoing.pop_all()
        return fd
