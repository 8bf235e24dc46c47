"""Response policy zones (draft-vixie-dnsop-dns-rpz) as zone files: what they block.

A name that is answered with NXDOMAIN, NODATA or nothing is blocked; with ``*.`` before it, all
below it. Both together are a subtree; what is below without the name itself no target says.
What a zone passes, or answers with something else, takes back the subtrees above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

from enforcer.backends.list_format import Context
from enforcer.backends.list_line import NAME_PATTERN, canonical, fault, left_out
from enforcer.backends.list_sort import sorted_unique
from enforcer.backends.list_zone import Record, Zone
from enforcer.core.network import Network
from enforcer.core.target import NAME_TEXT_BYTES_MAX, TargetKind
from enforcer.errors import InputError

_usual: Final = re.compile(
    rb"(\*\.)?" + NAME_PATTERN + rb"(\.?)[ \t]+(?:[0-9]+[ \t]+)?(?:IN[ \t]+)?"
    rb"CNAME[ \t]+(?:\.|\*\.|rpz-drop\.)[ \t]*\r?"
).fullmatch
_BLOCKS: Final = (b".", b"*.", b"rpz-drop.")
_PASSES: Final = (b"rpz-passthru.", b"rpz-tcp-only.")
_NOT_OURS: Final = {
    b"rpz-client-ip": "who asks is no target",
    b"rpz-nsdname": "a name server is no target",
    b"rpz-nsip": "a name server's address is no target",
}
_ANSWERS: Final = (b"CNAME", b"A", b"AAAA")
"""Records that, where they do not block, have the name answered."""
_WILD: Final = b"\x01"  # sorts before all that can follow in a name, and before LF


def read_rpz(lines: Iterable[bytes], context: Context) -> Iterator[bytes]:
    """Yield the targets of a zone file; note what is left out.

    Raises:
        WholeListError: the file includes another one, or generates records.
    """
    return _paired(sorted_unique(_marks(lines, context), context.spill_directory), context)


def _marks(lines: Iterable[bytes], context: Context) -> Iterator[bytes]:
    """Yield ``NAME LF``, ``NAME WILD LINE LF`` for what is below it, and lines of addresses."""
    zone = Zone()
    for line_number, line in enumerate(lines, start=1):
        usual = _usual(line) if len(line) <= NAME_TEXT_BYTES_MAX and not zone.is_open else None
        name = _usual_name(usual, zone) if usual and b".rpz-" not in line else None
        if usual and name:
            zone.owner = (usual[1] or b"") + name
            yield b"%b%b%d\n" % (name, _WILD, line_number) if usual[1] else name + b"\n"
            continue
        try:
            record = zone.read(line, line_number)
            if record is not None and record.owner:
                yield _mark(record, context)
        except InputError as error:
            context.notes.note(error, line_number)
    if zone.is_open:
        context.notes.note(fault("a parenthesis is not closed", zone.begun_at, 1), zone.begun_at)


def _usual_name(usual: re.Match[bytes], zone: Zone) -> bytes | None:
    """Return the name that a record is about, canonical; None if that needs a closer look."""
    owner: bytes = usual[2]
    if not usual[3]:
        return owner if zone.is_at_apex else None
    name = owner.removesuffix(b"." + zone.apex[:-1]) if zone.apex else owner
    parent, _, top = name.rpartition(b".")
    return name if name is not owner and parent and not top.isdigit() else None


def _mark(record: Record, context: Context) -> bytes:
    line_number = record.line_number
    labels = record.owner.split(b".")
    if labels[-1] in _NOT_OURS:
        raise left_out(f"the trigger is not ours: {_NOT_OURS[labels[-1]]}", line_number)
    if labels[-1] == b"rpz-ip":
        return _address(labels[:-1], record, context)
    is_wild = labels[0] == b"*"
    value = b".".join(labels[1:] if is_wild else labels)
    if not value:
        raise left_out("the trigger is every name", line_number)
    if b"*" in value:
        raise left_out("a wildcard in the middle of a name is no wildcard", line_number)
    name = canonical(value, TargetKind.EXACT, line_number, 1).partition(b" ")[2]
    reason = _not_a_block(record, context)
    if reason is None:
        return b"%b%b%d\n" % (name[:-1], _WILD, line_number) if is_wild else name
    if record.type in _ANSWERS:
        context.taken_back.add_name(name[:-1], line_number, itself=not is_wild)
    raise left_out(reason, line_number)


def _address(labels: list[bytes], record: Record, context: Context) -> bytes:
    """Return the line of an address trigger, its octets or words in reverse, the length first."""
    network = _network(labels, record.line_number)
    kind = TargetKind.IP if network.prefixlen == network.max_prefixlen else TargetKind.NET
    text = str(network.network_address if kind is TargetKind.IP else network)
    reason = _not_a_block(record, context)
    if reason is None:
        return canonical(text.encode("ascii"), kind, record.line_number, 1)
    if record.type in _ANSWERS:
        context.taken_back.add_network(network, record.line_number)
    raise left_out(reason, record.line_number)


def _network(labels: list[bytes], line_number: int) -> Network:
    length, *words = (label.decode("ascii", "replace") for label in labels or [b""])
    words.reverse()
    if len(words) == 4 and all(word.isdecimal() for word in words):
        text = ".".join(words)
    else:
        text = ":".join("" if word == "zz" else word for word in words)
        text = ":" * (words[:1] == ["zz"]) + text + ":" * (words[-1:] == ["zz"])
    try:
        return ip_network(f"{text}/{length}")
    except ValueError as error:
        raise fault("the trigger is no prefix with its length before it", line_number, 1) from error


def _not_a_block(record: Record, context: Context) -> str | None:
    """Return why the record blocks nothing; None if it does."""
    data = record.data.lower()
    if record.type == b"CNAME":
        if data in _BLOCKS or context.is_sink(data.removesuffix(b".")):
            return None
        return "the name is passed" if data in _PASSES else "the name is sent to another one"
    if record.type in (b"A", b"AAAA"):
        return None if context.is_sink(data) else "the name is given an address"
    return "the record is data of the name, and says nothing of a block"


def _paired(marks: Iterable[bytes], context: Context) -> Iterator[bytes]:
    """Yield the target of each name, and of each pair of a name and what is below it."""
    wild, wild_line = b"", 0
    for mark in marks:
        name, is_wild, number = mark[:-1].partition(_WILD)
        if wild and wild != name:
            _note_lone(wild_line, context)
            wild = b""
        if is_wild:
            wild, wild_line = name, wild_line if wild else int(number)
        elif b" " in name:
            yield mark
        else:
            yield (b"subtree %b\n" if wild else b"exact %b\n") % name
            wild = b""
    if wild:
        _note_lone(wild_line, context)


def _note_lone(line_number: int, context: Context) -> None:
    what = "no target is all below a name without the name itself, which is not listed"
    context.notes.note(left_out(what, line_number), line_number)
