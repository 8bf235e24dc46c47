"""Ends tracked connections to and from addresses (conntrack, by ctnetlink).

Packets of a blocked connection are dropped by the rules at once. What this ends is what rules do
not see: a flow that was handed to a flow table or to hardware, which goes on until its entry is
deleted; and entries that would let an address appear connected. Nothing is remembered or said
about a connection but that there was one.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

from enforcer._native.conntrack import connections_hit
from enforcer.backends.nft_socket import NftSocket
from enforcer.backends.nft_wire import NLM_F_ACK, NLM_F_REQUEST
from enforcer.core.firewall import Pieces

DELETED_AT_ONCE_MAX: Final = 256

_GET: Final = 0x101
_DELETE: Final = 0x102


def cut(kernel: NftSocket, pieces: Pieces) -> int:
    """End all connections that touch `pieces` and return how many those were.

    Raises:
        OSError: the kernel's error; where it tracks no connections there are none.
    """
    found: list[bytes] = []
    try:
        for datagram in kernel.datagrams(_GET, family=0):
            found += connections_hit(datagram, pieces.ipv4, pieces.ipv6)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT):
            return 0
        raise
    ended = 0
    for at in range(0, len(found), DELETED_AT_ONCE_MAX):
        number = kernel.next_number()
        kernel.send(
            b"".join(_deletion(each, number) for each in found[at : at + DELETED_AT_ONCE_MAX])
        )
        ended += kernel.errors_here().count(0)  # one that has ended meanwhile is not ours
    return ended


def _deletion(named: bytes, number: int) -> bytes:
    family, attributes = named[:1], named[1:]
    size = 20 + len(attributes)
    flags = NLM_F_REQUEST | NLM_F_ACK
    return struct.pack("=IHHII", size, _DELETE, flags, number, 0) + family + bytes(3) + attributes
