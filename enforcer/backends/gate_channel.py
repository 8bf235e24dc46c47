"""What a gate's supervisor and one worker say to each other, over a SOCK_SEQPACKET pair.

Owns the messages, their frames and the descriptors that come along. The worker answers each
message but Drain with one Answer, in order, and never speaks first. A channel that is closed means
Drain, in every release: so a supervisor can end workers whose words it does not know.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from enforcer.backends.gate_messages import ATTACHED_BYTES_MAX, Refusal, sealed_copy
from enforcer.errors import UnavailableError
from enforcer.ports import GateMode

INLINE_BYTES_MAX: Final = 65_536
DESCRIPTORS_MAX: Final = 250  # SCM_MAX_FD is 253

_INLINE: Final = b"\0"
_ATTACHED: Final = b"\1"


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message; a key that nobody knows is an error."""


class Begin(_Message, frozen=True, tag_field="op", tag="begin"):
    """Make a gate of these settings on the descriptors that come along; serve nothing yet."""

    number: int
    region: int
    """Where in the counters' memory this worker counts, alone."""
    settings: msgspec.Raw
    udp: int
    """So many UDP sockets come first; then the TCP sockets, then the counters' memory."""
    tcp: int


class Swap(_Message, frozen=True, tag_field="op", tag="swap"):
    """Judge by the base that comes along, and the overlay behind it if there is one."""

    time_floor_ms: Annotated[int, Meta(ge=0)]
    order_slots: dict[int, int]
    """Order's entry index -> its place in the counters' memory."""


class SetMode(_Message, frozen=True, tag_field="op", tag="mode"):
    """Enforce, shadow or bypass from now on."""

    mode: GateMode


class Serve(_Message, frozen=True, tag_field="op", tag="serve"):
    """Take queries from now on."""


class Ask(_Message, frozen=True, tag_field="op", tag="ask"):
    """Say how you are."""


class Drain(_Message, frozen=True, tag_field="op", tag="drain"):
    """Take no more queries, finish those in flight, and end."""


ToWorker: TypeAlias = Begin | Swap | SetMode | Serve | Ask | Drain


class Answer(_Message, frozen=True, omit_defaults=True):
    """What a worker says after each message."""

    refusal: Refusal | None = None
    time_floor_ms: int = 0
    streams: int = 0
    """TCP connections that are open."""
    upstreams_down: tuple[int, ...] = ()
    """Which of the settings' upstreams do not answer."""


class Channel:
    """One end of the pair; blocking, within the socket's timeout."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """Close this end; again is no error."""
        self._end.close()

    def settimeout(self, seconds: float | None) -> None:
        """Wait so long at most in `send` and `receive`."""
        self._end.settimeout(seconds)

    def send(self, message: ToWorker | Answer, fds: Sequence[int] = ()) -> None:
        """Send one message with descriptors.

        Raises:
            UnavailableError: the other end is gone, or does not read.
        """
        data = msgspec.json.encode(message)
        with ExitStack() as closing:
            frame, attached = _INLINE + data, list(fds)
            if len(data) > INLINE_BYTES_MAX:
                attached.insert(0, sealed_copy(data, "enforcer-message"))
                closing.callback(os.close, attached[0])
                frame = _ATTACHED
            try:
                socket.send_fds(self._end, [frame], attached)
            except OSError as error:
                raise _gone(error) from error

    def receive_message(self) -> tuple[ToWorker, list[int]]:
        """Return the supervisor's next message, and its descriptors: the caller's to close.

        Raises:
            UnavailableError: the other end is gone or silent, or speaks another language.
        """
        data, fds = self._receive()
        try:
            message: ToWorker = msgspec.json.decode(data, type=ToWorker)
        except msgspec.MsgspecError as error:
            for fd in fds:
                os.close(fd)
            raise _gone(error) from error
        return message, fds

    def receive_answer(self) -> Answer:
        """Return the worker's next answer.

        Raises:
            UnavailableError: as for `receive_message`.
        """
        data, fds = self._receive()
        for fd in fds:
            os.close(fd)
        try:
            return msgspec.json.decode(data, type=Answer)
        except msgspec.MsgspecError as error:
            raise _gone(error) from error

    def _receive(self) -> tuple[bytes, list[int]]:
        with ExitStack() as closing:
            try:
                frame, fds, _, _ = socket.recv_fds(
                    self._end, INLINE_BYTES_MAX + 1, DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC
                )
            except OSError as error:
                raise _gone(error) from error
            for fd in fds:
                closing.callback(os.close, fd)
            if not frame:
                raise _gone(None)
            data = frame[1:]
            if frame[:1] == _ATTACHED:
                try:
                    size = min(os.fstat(fds[0]).st_size, ATTACHED_BYTES_MAX)
                    data = os.pread(fds[0], size, 0)
                except (IndexError, OSError) as error:
                    raise _gone(error) from error
            closing.pop_all()
        if frame[:1] == _ATTACHED:
            os.close(fds.pop(0))
        return data, fds


def _gone(error: Exception | None) -> UnavailableError:
    return UnavailableError(
        f"the other process of the gate is not there: {error or 'it has closed the channel'}",
        advice="See the gate's log; the supervisor starts another worker by itself.",
    )
