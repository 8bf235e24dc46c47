"""Lists written for a host's own resolver: hosts files, and the configuration of dnsmasq.

A line of a hosts file is about its names alone, ``local=/NAME/`` of dnsmasq about all below
it too. Both also serve for names that simply have an address: a line blocks only if it sends
the name nowhere, to 0.0.0.0 or the like, or to a sink that the caller named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from enforcer.backends.list_format import Context, address_of
from enforcer.backends.list_line import NAME_PATTERN, WholeListError, canonical, fault, left_out
from enforcer.backends.list_lines import LineReader
from enforcer.core.target import TargetKind
from enforcer.errors import InputError

_WORD: Final = re.compile(rb"\S+")
_OWN_NAMES: Final = frozenset(
    b"localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet "
    b"ip6-mcastprefix ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0".split()
)
"""What a hosts file says of its own host, by convention; it means nothing here."""

_COMMENT: Final = re.compile(rb"(?:^|\s)#.*")
_OPTION: Final = re.compile(rb"[a-z0-9-]+")
_LOCAL_NAMES: Final = (b"host-record", b"cname", b"interface-name")


def _convert_hosts(line: bytes, line_number: int, context: Context) -> Iterator[bytes]:
    words = list(_WORD.finditer(line.partition(b"#")[0]))
    if not words:
        return
    if len(words) < 2 or address_of(words[0][0]) is None:
        raise fault("a line is an address and names", line_number, 1)
    is_block = context.is_sink(words[0][0])
    for word in words[1:]:
        if word[0].lower() in _OWN_NAMES:
            continue
        try:
            column = word.start() + 1
            target = canonical(word[0], TargetKind.EXACT, line_number, column)
            if not is_block:
                raise left_out("the line gives the name an address", line_number, column)
            yield target
        except InputError as error:
            context.notes.note(error, line_number)


def _convert_dnsmasq(line: bytes, line_number: int, context: Context) -> Iterator[bytes]:
    content = _COMMENT.sub(b"", line).strip()
    if not content:
        return
    option, _, value = (part.strip() for part in content.partition(b"="))
    if not _OPTION.fullmatch(option):
        raise fault("the line is no option of dnsmasq", line_number, 1)
    if option in _LOCAL_NAMES:
        for name in value.split(b","):
            context.taken_back.add_pattern(name.strip(), line_number, below=False)
    if option not in (b"address", b"server", b"local") or not value.startswith(b"/"):
        raise left_out("the option says of no name that it is blocked", line_number)
    *names, destination = value[1:].split(b"/")
    if not names:
        raise fault("the names have no slash behind them", line_number, len(content))
    is_null = option == b"address" and (destination == b"#" or context.is_sink(destination))
    column = line.find(b"/") + 2
    for name in names:
        try:
            yield _block(name, line_number, column, context, is_block=not destination or is_null)
        except InputError as error:
            context.notes.note(error, line_number)
        column += len(name) + 1


def _block(
    name: bytes, line_number: int, column: int, context: Context, *, is_block: bool
) -> bytes:
    if name in (b"", b"#"):
        raise left_out("the line is about every name, or every single label", line_number, column)
    if not is_block:
        is_known = context.taken_back.add_pattern(name, line_number, below=False)
        if b"*" in name and not is_known:
            raise WholeListError(
                f"line {line_number}, column {column}: what is sent to a server or address can be "
                "any name of the list",
                advice="Take the line out if it is about none of them.",
                line=line_number,
                column=column,
            )
        raise left_out("the line sends the name to a server or address", line_number, column)
    if b"*" in name:
        raise left_out("a wildcard stands for names that nobody named", line_number, column)
    return canonical(name, TargetKind.SUBTREE, line_number, column)


read_hosts: Final = LineReader(
    rb"(?:0\.0\.0\.0|127\.0\.0\.1)[ \t]()(?!localhost\.localdomain)" + NAME_PATTERN,
    {b"": b"exact "},
    _convert_hosts,
)
read_dnsmasq: Final = LineReader(
    rb"(?:local|server|(address))=/" + NAME_PATTERN + rb"/(?(1)(?:0\.0\.0\.0|127\.0\.0\.1|::|#)?)",
    {None: b"subtree ", b"address": b"subtree "},
    _convert_dnsmasq,
)
