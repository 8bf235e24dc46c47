"""A network that loses, delays, doubles and reorders datagrams, and knows exactly which.

One Link stands before one place: what clients send to it goes on to the place, and back. What
the kernel's netem does to packets, done in the test's own process, so that every loss is known
and the same on every machine.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, int]


@dataclass(frozen=True)
class Weather:
    """How bad it is: chances from 0 to 1, delays in seconds."""

    loss: float = 0.02
    doubling: float = 0.01
    delay_least: float = 0.001
    delay_most: float = 0.02


@dataclass
class Counts:
    """What became of the datagrams of one direction."""

    seen: int = 0
    lost: int = 0
    doubled: int = 0
    delivered: int = 0


@dataclass
class Link:
    """The way to one place; `on_lost` hears each datagram that is lost, and its direction."""

    place: Place
    weather: Weather
    chance: random.Random
    on_lost: Callable[[bytes, bool], None] | None = None
    there: Counts = field(default_factory=Counts)
    back: Counts = field(default_factory=Counts)
    port: int = 0

    async def open(self, bound: socket.socket | None = None) -> None:
        """Begin to carry what comes to `bound`, or to a port of the kernel's choice."""
        loop = asyncio.get_running_loop()
        if bound is None:
            bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bound.bind(("127.0.0.1", 0))
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _End(self._from_client), sock=bound
        )
        self.port = self._front.get_extra_info("sockname")[1]
        self._behind: dict[Place, asyncio.DatagramTransport] = {}
        self._opening: dict[Place, asyncio.Task[Any]] = {}

    def close(self) -> None:
        for transport in (self._front, *self._behind.values()):
            transport.close()

    def _from_client(self, data: bytes, client: Place) -> None:
        if client in self._behind:
            self._carry(data, self.there, True, lambda: self._behind[client].sendto(data))
        elif client not in self._opening:
            self._opening[client] = asyncio.ensure_future(self._begin(data, client))
        else:
            self._opening[client].add_done_callback(lambda _: self._from_client(data, client))

    async def _begin(self, data: bytes, client: Place) -> None:
        """Give a client a socket of its own towards the place, as a NAT does."""

        def answered(reply: bytes, _: Place) -> None:
            self._carry(reply, self.back, False, lambda: self._front.sendto(reply, client))

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _End(answered), remote_addr=self.place
        )
        self._behind[client] = transport
        del self._opening[client]
        self._from_client(data, client)

    def _carry(
        self, data: bytes, counts: Counts, is_there: bool, deliver: Callable[[], None]
    ) -> None:
        counts.seen += 1
        if self.chance.random() < self.weather.loss:
            counts.lost += 1
            if self.on_lost is not None:
                self.on_lost(data, is_there)
            return
        copies = 1 + (self.chance.random() < self.weather.doubling)
        counts.doubled += copies - 1
        for _ in range(copies):
            delay = self.chance.uniform(self.weather.delay_least, self.weather.delay_most)
            asyncio.get_running_loop().call_later(delay, self._deliver, counts, deliver)

    def _deliver(self, counts: Counts, deliver: Callable[[], None]) -> None:
        counts.delivered += 1
        if not self._front.is_closing():
            deliver()


class _End(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, Place], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: Place) -> None:
        self._receive(data, addr)
