"""The resolver behind a gate, over UDP and TCP, that answers as a test wants."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from dnslib import EDNS0, QTYPE, RR, A, DNSRecord

from tests.backends.gate_client import framed, reset, without_head
from tests.ports import HeldPort
from tests.waiting import WAIT_SECONDS

PROBE = b"\0\0\2\0\1"  # the root's NS, class IN


class Resolver:
    """What is behind the gate, over UDP and TCP; `respond` makes the messages that answer one."""

    def __init__(self) -> None:
        self.respond: Callable[[bytes], Iterable[bytes]] = self.honest
        self.seen: list[bytes] = []
        self.seen_tcp: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        """Where the datagrams in `seen` came from."""
        self.heads: list[bytes] = []
        """The PROXY headers before them, and before those in `seen_tcp`."""
        self.is_alive = True
        self._port = HeldPort()
        self.place = self._port.place
        self.live()

    def live(self) -> None:
        """Listen, at the port that it has dead or alive."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for each in (self._socket, self._listener):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(self.place)
        self._listener.listen(128)
        self._streams: list[socket.socket] = []
        self._threads = [threading.Thread(target=each) for each in (self._run, self._accept)]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def honest(query: bytes) -> Iterator[bytes]:
        asked = DNSRecord.parse(query)
        reply = asked.reply(ra=1, aa=0)
        if asked.q.qclass == 1 and asked.q.qtype == QTYPE.A:
            octet = sum(bytes(asked.q.qname.label[0])) % 256 if asked.q.qname.label else 1
            reply.add_answer(RR(asked.q.qname, QTYPE.A, ttl=60, rdata=A(f"192.0.2.{octet}")))
        if asked.ar:
            reply.add_ar(EDNS0(udp_len=1232))
        yield reply.pack()

    @staticmethod
    def mirror(query: bytes) -> Iterator[bytes]:
        """Answer anything at all with itself, made a response."""
        yield query[:2] + bytes([query[2] | 0x80]) + query[3:]

    def _run(self) -> None:
        while True:
            octets, client = self._socket.recvfrom(65_535)
            if octets == b"end":
                return
            head, query = without_head(octets)
            if query[12:17] == PROBE:  # whether it lives: nobody asks that
                if self.is_alive:
                    for reply in self.honest(query):
                        self._socket.sendto(reply, client)
                continue
            self.heads += [head] if head else []
            self.sources.append(client)
            self.seen.append(query)
            for reply in self.respond(query):
                self._socket.sendto(reply, client)

    def answer_last(self) -> None:
        """Answer the datagram that was seen last, as it would have been answered honestly."""
        for reply in self.honest(self.seen[-1]):
            self._socket.sendto(reply, self.sources[-1])

    def _accept(self) -> None:
        while True:
            stream, _ = self._listener.accept()
            if not self._is_listening:
                stream.close()
                return
            self._streams.append(stream)
            self._threads.append(threading.Thread(target=self._serve, args=(stream,)))
            self._threads[-1].start()

    def _serve(self, stream: socket.socket) -> None:
        with suppress(OSError):  # the gate hangs up, or this one does
            octets = b""
            while more := stream.recv(65_535):
                head, octets = without_head(octets + more)
                self.heads += [head] if head else []
                while len(octets) >= 2 and len(octets) >= 2 + int.from_bytes(octets[:2]):
                    length = 2 + int.from_bytes(octets[:2])
                    query, octets = octets[2:length], octets[length:]
                    self.seen_tcp.append(query)
                    stream.sendall(framed(*self.respond(query)))

    _is_listening = True

    def die(self) -> None:
        """Hang up and refuse whoever comes, until `live`."""
        self._is_listening = False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"end", self.place)
        with socket.create_connection(self.place):
            self._threads[1].join(WAIT_SECONDS)
        for stream in self._streams:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for each in (self._socket, self._listener, *self._streams):
            each.close()
        self._is_listening = True

    def reset_streams(self) -> None:
        """Break every stream that was opened to it."""
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.shutdown(socket.SHUT_RD)
        for thread in self._threads[2:]:
            thread.join(WAIT_SECONDS)
        for stream in streams:
            reset(stream)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self.die()
        self._port.close()
