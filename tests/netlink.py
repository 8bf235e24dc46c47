"""What the kernel tells of sets and of tracked connections, written by hand for tests."""

from __future__ import annotations

import struct

from enforcer.backends.nft_frame import in_table
from enforcer.backends.nft_wire import NLMSG_DONE, Verb, attr, nest, text

DONE = struct.pack("=IHHIIi", 20, NLMSG_DONE, 2, 0, 0, 0)


def element(key, name=None, *, is_end=False):
    parts = [nest(1, attr(1, key))]
    if is_end:
        parts.append(attr(3, b"\0\0\0\1"))
    if name:
        parts.append(text(9, name))
    return nest(1, *parts)


def told(*elements, flags=0):
    body = struct.pack("=BBH", 1, 0, 0) + in_table(text(2, "x")) + nest(3, *elements)
    return struct.pack("=IHHII", 16 + len(body), Verb.NEW_ELEMENTS, flags, 0, 0) + body


def connection(source, destination, *, kind=0x100, family=2):
    """Return a tracked connection as ctnetlink tells it."""

    def direction(number, one, other):
        at = 1 if len(one) == 4 else 3
        return nest(number, nest(1, attr(at, one), attr(at + 1, other)), nest(2, attr(1, b"\6")))

    body = struct.pack("=BBH", family, 0, 0)
    body += direction(1, source, destination) + direction(2, destination, source)
    body += attr(3, b"\0\0\0\1") + attr(12, b"abcd") + attr(18, b"\0\5")
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
