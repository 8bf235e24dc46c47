"""The gate's control socket: who may speak, how much, and that garbage never hurts.

One request is answered at a time, in the order in which they come; queries do not wait for
it, they are served by other processes. Whoever is not on the list of user ids is turned away
with an error, and a peer that does not read its answer is hung up on.
"""

from __future__ import annotations

import os
import socket
import struct
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import structlog

from enforcer.backends.gate_messages import (
    REPLY_BYTES_MAX,
    REQUEST_BYTES_MAX,
    Refusal,
    Reply,
    Request,
    sealed_copy,
)
from enforcer.backends.watch import Watch
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    RefusedError,
    UnavailableError,
)

CONNECTIONS_MAX: Final = 16
BACKLOG_MAX: Final = 128
SOCKET_MODE: Final = 0o660
TABLES_MAX: Final = 2
"""Descriptors that come with one request: a base and its overlay."""
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid of unix(7)

log: Final = structlog.get_logger()

Answer = Callable[[Request, Sequence[int]], Reply]


def listen(path: Path) -> socket.socket:
    """Make the socket file, in place of one that a dead gate left behind.

    Raises:
        ConflictError: a gate is listening there.
        UnavailableError: it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        if path.is_socket():
            _refuse_living(path)
            path.unlink()
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG_MAX)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"cannot make the control socket {path}: {error.strerror or error}",
            advice="Give its directory to this user, or set another control_socket.",
            path=str(path),
        ) from error
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class ControlSocket:
    """The listening socket, and the conversations that are open."""

    def __init__(
        self,
        listener: socket.socket,
        allowed_uids: Collection[int],
        answer: Answer,
        watch: Watch,
    ) -> None:
        self.listener = listener
        self._allowed_uids = frozenset(allowed_uids)
        self._answer = answer
        self._watch = watch
        self._open: dict[int, socket.socket] = {}  # in the order in which they came
        self._is_open = False

    def open(self) -> None:
        """Take requests from now on; before, those who come wait."""
        self._watch.add(self.listener, self._accept)
        self._is_open = True

    @property
    def peers(self) -> list[int]:
        """The descriptors of the conversations that are open."""
        return list(self._open)

    def adopt(self, fd: int) -> None:
        """Go on with a conversation of a former image of this process."""
        peer = socket.socket(fileno=fd)
        peer.setblocking(False)
        self._join(peer)

    def close(self) -> None:
        """Hang up on everybody, and take no more requests."""
        for peer in tuple(self._open.values()):
            self._hang_up(peer)
        if self._is_open:
            self._watch.forget(self.listener)
        self.listener.close()

    def _accept(self) -> None:
        try:
            peer, _ = self.listener.accept()
        except OSError:  # it went away, or we are out of descriptors: the next one may work
            return
        peer.setblocking(False)
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = _UCRED.unpack(credentials)
        if uid not in self._allowed_uids:  # who must not speak must not put others off either
            log.warning("control_refused", uid=uid)
            _send(peer, Reply(refusal=Refusal.of(_not_allowed(uid))))
            peer.close()
            return
        self._join(peer)

    def _join(self, peer: socket.socket) -> None:
        if len(self._open) == CONNECTIONS_MAX:
            self._hang_up(next(iter(self._open.values())))
        self._open[peer.fileno()] = peer
        self._watch.add(peer, lambda: self._serve_one(peer))

    def _serve_one(self, peer: socket.socket) -> None:
        """Answer one request; hang up when the peer is done, or does not take the answer."""
        try:
            # One octet more than allowed shows a request that is too long.
            data, fds, _, _ = socket.recv_fds(
                peer, REQUEST_BYTES_MAX + 1, TABLES_MAX, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        with ExitStack() as closing:
            for fd in fds:
                closing.callback(os.close, fd)
            if not data or not _send(peer, self._reply(data, fds)):
                self._hang_up(peer)

    def _reply(self, data: bytes, fds: list[int]) -> Reply:
        try:
            return self._answer(_request(data), fds)
        except EnforcerError as error:
            log.warning("control_error", kind=type(error).__name__, message=error.message)
            return Reply(refusal=Refusal.of(error))
        except Exception as error:  # noqa: BLE001 - a defect: it must not end what serves queries
            log.critical("control_defect", trace=traceback.format_exc())
            return Reply(refusal=Refusal.of(_defect(error)))

    def _hang_up(self, peer: socket.socket) -> None:
        self._watch.forget(peer)
        del self._open[peer.fileno()]
        peer.close()


def _refuse_living(path: Path) -> None:
    """Raise ConflictError when somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass  # its queue is full: it lives
    raise ConflictError(
        f"another gate is listening at {path}",
        advice="Stop it first, or set another control_socket.",
        path=str(path),
    )


def _request(data: bytes) -> Request:
    if len(data) > REQUEST_BYTES_MAX:
        raise InputError(
            f"the request has over {REQUEST_BYTES_MAX} bytes",
            advice="Send one JSON object with the key op.",
        )
    try:
        request: Request = msgspec.json.decode(data, type=Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"the request is not understood: {error}",
            advice='Send {"op":"load"} with a descriptor, {"op":"status","verify":false}, or '
            '{"op":"check","qname":...,"qtype":...}.',
        ) from error
    return request


def _send(peer: socket.socket, reply: Reply) -> bool:
    """Send a reply without waiting; False when the peer does not take it."""
    data = msgspec.json.encode(reply)
    with ExitStack() as closing:
        fds: list[int] = []
        if len(data) > REPLY_BYTES_MAX:
            fds = [sealed_copy(data, "enforcer-reply")]
            closing.callback(os.close, fds[0])
            data = msgspec.json.encode(Reply(attached_bytes=len(data)))
        try:
            socket.send_fds(peer, [data], fds)
        except OSError:
            return False
    return True


def _defect(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the gate has failed at this request: {type(error).__name__}",
        advice="This is a defect: report it, with the line control_defect of the gate's log.",
    )


def _not_allowed(uid: int) -> RefusedError:
    return RefusedError(
        f"user {uid} may not speak to this gate",
        advice="Add the uid to allowed_uids in the gate's configuration, and restart it.",
        uid=uid,
    )
