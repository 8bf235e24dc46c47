"""What a program says to the service manager that started it (sd_notify(3)).

Owns the datagrams and the watchdog's rhythm. Refuses nothing and raises nothing: without a
service manager, or when that does not listen, a program runs as well.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

NEVER_SECONDS: Final = 3_600.0


def notify(*lines: str) -> None:
    """Send lines such as ``READY=1``, if somebody asked for them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract name of unix(7)
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager,
    ):
        manager.setblocking(False)
        manager.sendto("\n".join(lines).encode(), address)


def notify_ready(status: str) -> None:
    """Say that the program does what it is for, and in words what that is."""
    notify("READY=1", f"STATUS={status}")


def notify_reloading() -> None:
    """Say that `notify_ready` will be said again."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}")


def notify_stopping() -> None:
    """Say that the program ends."""
    notify("STOPPING=1")


class Watchdog:
    """When to say that the program is well, if the service manager wants to hear it."""

    def __init__(self) -> None:
        text = os.environ.get("WATCHDOG_USEC", "")
        is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._period_seconds = int(text) / 2e6 if text.isdigit() and is_ours else 0.0
        self._due_seconds = 0.0  # time.monotonic

    def seconds_left(self) -> float:
        """Return after how many seconds it is to be fed; 0 when it is time."""
        if not self._period_seconds:
            return NEVER_SECONDS
        return max(self._due_seconds - time.monotonic(), 0.0)

    def feed(self) -> None:
        """Say that the program is well."""
        self._due_seconds = time.monotonic() + self._period_seconds
        notify("WATCHDOG=1")

    def skip(self) -> None:
        """Say nothing: something is not well, and may be in a moment."""
        self._due_seconds = time.monotonic() + self._period_seconds / 8
