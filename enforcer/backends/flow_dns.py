"""DNS messages as captures have them, read with dnslib: what can decide something, and no more.

A message that is malformed, of another class than IN, or without exactly one question is none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from dnslib import QTYPE, RR, DNSRecord

from enforcer.backends.dns_client import UNREADABLE, reply_of
from enforcer.core.name import Name
from enforcer.core.network import Address
from enforcer.errors import InputError
from enforcer.ports import DnsMessage

CLASS_IN: Final = 1
OPCODE_QUERY: Final = 0
TYPE_DNAME: Final = 39
TYPE_SVCB: Final = 64
TYPE_HTTPS: Final = 65

_IPV4_HINT: Final = 4  # RFC 9460 §14.3.2
_IPV6_HINT: Final = 6


def read_message(data: bytes, t_ms: int) -> DnsMessage | None:
    """Read one message that was seen at `t_ms`; None if it is none that could be judged."""
    try:
        message = DNSRecord.parse(data)
        if len(message.questions) != 1 or message.header.opcode != OPCODE_QUERY:
            return None
        (question,) = message.questions
        if question.qclass != CLASS_IN:
            return None
        qname = _name(question.qname)
        if not message.header.qr:
            return DnsMessage(t_ms, qname, int(question.qtype), len(data))
        links = [name for record in message.rr for name in _links(record)]
        services = [name for record in message.rr for name in _service_links(record)]
        addresses = [address for record in message.rr for address in _addresses(record)]
        return DnsMessage(
            t_ms,
            qname,
            int(question.qtype),
            len(data),
            reply_of(message),
            (*links, *services),
            tuple(addresses),
        )
    except UNREADABLE:
        return None


def _name(label: object) -> Name:
    return Name.from_text(str(label).lower().rstrip(".") or ".")


def _links(record: RR) -> Iterator[Name]:
    if record.rtype in (QTYPE.CNAME, TYPE_DNAME):
        yield _name(record.rdata.label)


def _service_links(record: RR) -> Iterator[Name]:
    service = _service_of(record)
    if service is not None and service[0] is not None:
        yield service[0]


def _addresses(record: RR) -> Iterator[Address]:
    if record.rtype == QTYPE.A:
        yield IPv4Address(str(record.rdata))
    elif record.rtype == QTYPE.AAAA:
        yield IPv6Address(str(record.rdata))
    service = _service_of(record)
    if service is not None:
        yield from service[1]


def _service_of(record: RR) -> tuple[Name | None, list[Address]] | None:
    """Return TargetName and hints of an SVCB or HTTPS record (RFC 9460 §2.2).

    A TargetName that is the root means the record's owner, and is None.
    """
    rdata = record.rdata
    if record.rtype == TYPE_HTTPS:
        text = ".".join(part.decode("ascii") for part in rdata.target)
        return (_name(text) if text else None), list(_hints(rdata.params))
    if record.rtype == TYPE_SVCB:
        name, at = _plain_name(rdata.data, 2)
        return name, list(_hints(_params(rdata.data[at:])))
    return None


def _plain_name(data: bytes, at: int) -> tuple[Name | None, int]:
    """Read a name without compression; None for the root, which means the owner."""
    labels = []
    while (size := data[at]) != 0:
        labels.append(data[at + 1 : at + 1 + size].decode("ascii"))
        at += 1 + size
    return (_name(".".join(labels)) if labels else None), at + 1


def _params(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        key, size = struct.unpack_from("!HH", data, at)
        yield key, data[at + 4 : at + 4 + size]
        at += 4 + size


def _hints(params: Iterable[tuple[int, bytes]]) -> Iterator[Address]:
    for key, value in params:
        size = {_IPV4_HINT: 4, _IPV6_HINT: 16}.get(int(key), 0)
        if size and len(value) % size:
            raise InputError("hints are no whole addresses", advice="Leave the message out.")
        for at in range(0, len(value) if size else 0, size or 1):
            octets = bytes(value[at : at + size])
            yield IPv4Address(octets) if size == 4 else IPv6Address(octets)
