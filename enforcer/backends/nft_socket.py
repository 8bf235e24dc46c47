"""The netlink socket that a firewall is kept by: transactions, dumps, the generation.

A transaction is one message to the kernel, which has handled all of it when the call returns: so
every answer is there, and none means that the outcome is unknown, never that it went well. The
table of a process belongs to its socket; when that is closed the table is nobody's, and stays.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self

from enforcer.backends.nft_wire import (
    BATCH_BEGIN,
    BATCH_END,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    Message,
    Verb,
    batch_edge,
    error_number,
    fields,
    message,
    messages,
    number_of,
)
from enforcer.errors import ConflictError, UnavailableError

SEND_OCTETS_MAX: Final = 512 << 20
RECEIVE_OCTETS: Final = 16 << 20
DATAGRAM_OCTETS: Final = 1 << 16
LARGE_OCTETS: Final = 1 << 16
"""A part of a transaction that is not copied again; there are at most 256 of them."""
DUMP_TRIES_MAX: Final = 20
ANSWER_SECONDS_MAX: Final = 60

_NETLINK_NETFILTER: Final = 12
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_GENERATION_ID: Final = 1


class NftSocket:
    """One socket; not for several threads at once."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            UnavailableError: no rights, or no nf_tables in this kernel.
        """
        self._number = 1
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        except OSError as error:
            raise away(error) from error
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            # INT_MAX / 2 is the kernel's bound; a batch of four million pieces takes 250 MB.
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_OCTETS_MAX)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_OCTETS)
            # Not settimeout(): with that, Python waits before it asks without waiting.
            wait = struct.pack("@ll", ANSWER_SECONDS_MAX, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
            self.generation()
        except OSError as error:
            self._socket.close()
            raise away(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The number by which the kernel knows this socket, and the owner of a table."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close it; again is no error."""
        self._socket.close()

    def next_number(self) -> int:
        """Return a number for messages of the next transaction."""
        self._number += 1
        return self._number

    def generation(self) -> int:
        """Return how many transactions nf_tables has had in this network namespace."""
        for answer in self.ask(Verb.GET_GENERATION):
            if answer.type == Verb.NEW_GENERATION:
                return number_of(fields(answer.body).get(_GENERATION_ID))
        raise OSError(errno.EPROTO, "no generation")

    def commit(self, parts: Iterable[bytes], *, generation: int = 0) -> None:
        """Make one transaction; one of the messages must ask for an acknowledgement.

        Raises:
            OSError: why nothing was changed; ERESTART where `generation` is not the present
                one, ENOBUFS where nobody can know whether it was.
        """
        number = self.next_number()
        begin = batch_edge(BATCH_BEGIN, number, generation)
        batch = _gathered([begin, *parts, batch_edge(BATCH_END, number)])
        self._drop_what_is_left()
        self._socket.sendmsg(batch)
        was_confirmed = False
        for answer in self._answers_here():
            if answer.type == NLMSG_ERROR:
                failed = error_number(answer.body)
                if failed:
                    self._drop_what_is_left()
                    raise OSError(failed, "the kernel refused the transaction")
                was_confirmed = True
        if not was_confirmed:
            raise OSError(errno.ENOBUFS, "the kernel's answer was lost")

    def ask(self, verb: Verb, *attrs: bytes) -> list[Message]:
        """Ask for one thing and return what came.

        Raises:
            OSError: the kernel's error.
        """
        self._drop_what_is_left()
        self._socket.send(message(verb, 0, self.next_number(), *attrs))
        answers = list(messages(self._socket.recv(DATAGRAM_OCTETS)))
        for answer in answers:
            if answer.type == NLMSG_ERROR and error_number(answer.body):
                raise OSError(error_number(answer.body), "the kernel refused the question")
        return answers

    def dump(self, verb: Verb, *attrs: bytes) -> list[Message]:
        """Return everything of a kind, whole: what is interrupted is asked for again.

        Raises:
            OSError: the kernel's error.
            ConflictError: it was interrupted again and again.
        """
        for _ in range(DUMP_TRIES_MAX):
            found: list[Message] = []
            is_whole = True
            for datagram in self.datagrams(verb, *attrs):
                for each in messages(datagram):
                    is_whole = is_whole and not each.flags & NLM_F_DUMP_INTR
                    is_whole = is_whole and each.type != NLMSG_OVERRUN
                    if each.type >= Verb.NEW_TABLE:
                        found.append(each)
            if is_whole:
                return found
        raise interrupted()

    def datagrams(self, verb: int, *attrs: bytes, family: int | None = None) -> Iterator[bytes]:
        """Yield a dump as it comes, to its last message.

        Raises:
            OSError: the kernel's error.
        """
        self._drop_what_is_left()
        number = self.next_number()
        said = {} if family is None else {"family": family}
        self._socket.send(message(verb, NLM_F_DUMP, number, *attrs, **said))
        while True:
            datagram = self._socket.recv(DATAGRAM_OCTETS)
            yield datagram
            ends = _ending(datagram)
            if ends is not None:
                if ends:
                    raise OSError(ends, "the kernel refused the dump")
                return

    def send(self, octets: bytes) -> None:
        """Send messages of another subsystem, and do not wait for what is said to them."""
        self._drop_what_is_left()
        self._socket.send(octets)

    def errors_here(self) -> list[int]:
        """Return the error numbers that have come, 0 for what went well."""
        return [
            error_number(answer.body)
            for answer in self._answers_here()
            if answer.type == NLMSG_ERROR
        ]

    def _answers_here(self) -> Iterator[Message]:
        while True:
            try:
                datagram = self._socket.recv(DATAGRAM_OCTETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from messages(datagram)

    def _drop_what_is_left(self) -> None:
        """Read away what an abandoned dump left, and what was lost of it."""
        while True:
            try:
                self._socket.recv(DATAGRAM_OCTETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def _gathered(parts: Iterable[bytes]) -> list[bytes]:
    """Put small parts together, so that there are few, and leave large ones where they are."""
    found: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) < LARGE_OCTETS:
            small.append(part)
            continue
        found += [b"".join(small), part]
        small = []
    return [*found, b"".join(small)]


def _ending(datagram: bytes) -> int | None:
    """Return the error number (0: none) that ends a dump, if this is its last datagram."""
    at = 0
    while at + 16 <= len(datagram):
        size, kind = struct.unpack_from("=IH", datagram, at)
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return error_number(datagram[at + 16 : at + size])
        at += max(16, (size + 3) & ~3)
    return None


def interrupted() -> ConflictError:
    """Return the error for a dump that never came to its end undisturbed."""
    return ConflictError(
        "nf_tables was changed again and again while it was read",
        advice="Look for a program that rewrites its rules all the time, and try again.",
    )


def away(error: OSError) -> UnavailableError:
    """Translate what the kernel says into what is missing."""
    number = error.errno or 0
    if number in (errno.EPERM, errno.EACCES):
        what, advice = "no right to change nf_tables", "Give the node CAP_NET_ADMIN."
    elif number in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
        what = "this kernel has no nf_tables, or lacks a part that is needed"
        advice = "Load nf_tables, nft_reject_inet and nf_reject_ipv4/6 (Linux 5.4 or newer)."
    elif number in (errno.ENOMEM, errno.ENOBUFS, errno.EMSGSIZE, errno.ENFILE):
        what, advice = "the kernel has no memory for this", "Free memory; nothing was changed."
    else:
        what, advice = "the kernel did not answer as it should", "See the system's log."
    name = errno.errorcode.get(number, "")
    return UnavailableError(f"{what} ({name or error})", advice=advice, errno=number)
