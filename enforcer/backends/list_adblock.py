"""Filter lists of ad blockers: of their rules those that are about a domain, and nothing else.

``||NAME^`` is NAME and all below it. A rule with options, with a path, or of a pattern is
narrower or wider than any target, and left out. An exception (``@@``) wins over every rule
here, so what it touches is left out too; one that could be about any name refuses the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from enforcer.backends.list_format import Context
from enforcer.backends.list_line import NAME_PATTERN, WholeListError, canonical, left_out
from enforcer.backends.list_lines import LineReader
from enforcer.core.target import TargetKind

_NOTHING: Final = re.compile(rb"(?:!.*|\[.*\]|#|#\s.*)?")
_COSMETIC: Final = re.compile(rb"[^\s/|@$]*#@?[?$%]{0,2}#.*")
_RULE: Final = re.compile(rb"\|\|([^\s^/$|:?]+)\^")
_HOST: Final = re.compile(rb"(?:\|\||\|?[a-z]+://)([^\s^/$|:?]+)[\^/|:?].*")
_REGEX: Final = re.compile(rb"/.+/(?:\$.*)?")


def _convert(line: bytes, line_number: int, context: Context) -> Iterator[bytes]:
    rule = line.strip()
    if _NOTHING.fullmatch(rule):
        return
    if rule.startswith(b"@@"):
        _take_back(rule[2:], line_number, context)
        raise left_out("an exception: an order has none", line_number)
    if _COSMETIC.fullmatch(rule):
        raise left_out("the rule hides parts of pages", line_number)
    body, dollar, options = rule.partition(b"$")
    if dollar and b"badfilter" in options.split(b","):
        _take_back(body, line_number, context)
        raise left_out("the rule takes another one back", line_number)
    if dollar:
        raise left_out("the rule holds only with its options", line_number, len(body) + 1)
    found = _RULE.fullmatch(body)
    if found is None:
        raise left_out("the rule is of a pattern, not of a domain", line_number)
    if b"*" in found[1]:
        raise left_out("a wildcard stands for names that nobody named", line_number, 3)
    yield canonical(found[1], TargetKind.SUBTREE, line_number, 3)


def _take_back(exception: bytes, line_number: int, context: Context) -> None:
    """Take back the domain of an exception, or one that all it can match is below.

    An exception without a domain is about parts of addresses, and left alone, unless it could
    be about names.

    Raises:
        WholeListError: it can be about any name.
    """
    found = _HOST.fullmatch(exception)
    if found and context.taken_back.add_pattern(found[1], line_number, below=True):
        return
    is_of_names = found or _REGEX.fullmatch(exception) or not set(exception) & set(b"/?&=")
    if is_of_names:
        raise WholeListError(
            f"line {line_number}, column 1: an exception that can be about any name of the list",
            advice="Take the line out if it is about none of them, or write it as @@||NAME^.",
            line=line_number,
            column=1,
        )


read_adblock: Final = LineReader(rb"\|\|()" + NAME_PATTERN + rb"\^", {b"": b"subtree "}, _convert)
