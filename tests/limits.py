"""Every field of every payload at and past its limits, made from the declarations in core.

`cases(kind)` walks a payload type's annotations and gives plain JSON objects: those whose one
field is at a limit and may stand, and those whose one field is past it, with the path to name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from enforcer.core.fields import Items, Range, Text
from enforcer.core.payload import Payload

BEYOND_JSON = 2**53


@dataclass(frozen=True)
class Case:
    """One payload as JSON; `field` is the path that its error must name, None where it may stand.

    `what` says which field is what.
    """

    what: str
    plain: Any
    field: str | None


@dataclass(frozen=True)
class Value:
    """One value of one field: `at` is "" or the path below it that is wrong, None where right."""

    what: str
    plain: Any
    at: str | None = None


def unfold(annotation: Any) -> tuple[Any, Any, bool]:
    """Return the type, its bound, and whether null may stand."""
    bound = None
    if get_origin(annotation) is Annotated:
        annotation, bound = get_args(annotation)[:2]
    if get_origin(annotation) in (UnionType, Union):
        (inner,) = (each for each in get_args(annotation) if each is not NoneType)
        kind, inner_bound, _ = unfold(inner)
        return kind, bound or inner_bound, True
    return annotation, bound, False


def texts(bound: Text) -> list[str]:
    """Return the shortest and the longest text that may stand."""
    most = bound.characters_max
    made = [
        *(char * count for count in (1, 16, 64, most) for char in "a0AV"),
        "VN",
        "VN-2027-000001",
        "a.b",
        "a." * ((most - 1) // 2) + ("aa" if most % 2 == 0 else "a"),
        "age1" + "q" * 58,
        "AGE-SECRET-KEY-1" + "Q" * 58,
        *("https://" + "a" * count for count in (1, most - 8)),
        *("https://" + "a" * count + "/" for count in (1, most - 9)),
    ]
    right = [each for each in made if len(each) <= most and re.fullmatch(bound.pattern, each)]
    assert right, bound
    return [min(right, key=len), max(right, key=len)]


def plain_of(annotation: Any) -> Any:
    """Return a value that may stand."""
    kind, bound, _ = unfold(annotation)
    if get_origin(kind) is tuple:
        return [plain_of(get_args(kind)[0])] * max(bound.fewest, 1)
    if is_dataclass(kind):
        return {name: plain_of(hint) for name, hint in hints(kind).items()}
    if issubclass(kind, IntEnum):
        return list(kind)[1].name
    if kind is bool:
        return True
    return bound.lowest if kind is int else texts(bound)[0]


def hints(kind: type) -> dict[str, Any]:
    """Return the annotations of a dataclass's fields."""
    known = get_type_hints(kind, include_extras=True)
    return {each.name: known[each.name] for each in fields(kind)}


def values(annotation: Any) -> Iterator[Value]:
    """Yield values at the limits of one field, and past them."""
    kind, bound, may_be_null = unfold(annotation)
    yield Value("null", None, None if may_be_null else "")
    if get_origin(kind) is tuple:
        yield from _arrays(get_args(kind)[0], bound)
    elif is_dataclass(kind):
        yield from _objects(kind)
    elif issubclass(kind, IntEnum):
        yield from (Value(member.name, member.name) for member in kind if member)
        yield from (Value(repr(each), each, "") for each in ("UNSPECIFIED", "x", "", 1, True, []))
        yield Value("lower case", list(kind)[1].name.lower(), "")
    elif kind is bool:
        yield from (Value(repr(each), each, "") for each in (0, 1, "true", []))
    elif kind is int:
        yield from _integers(bound)
    else:
        yield from _texts(bound)


def _integers(bound: Range) -> Iterator[Value]:
    yield from (Value(str(each), each) for each in (bound.lowest, bound.highest))
    past = (bound.lowest - 1, bound.highest + 1, -1, BEYOND_JSON, 2**64, True, "1", [], {})
    yield from (Value(repr(each), each, "") for each in past)


def _texts(bound: Text) -> Iterator[Value]:
    shortest, longest = texts(bound)
    yield Value("shortest", shortest)
    yield Value("longest", longest)
    too_long = longest + "a" * (bound.characters_max + 1 - len(longest))
    for what, text in {
        "empty": "",
        "too long": too_long,
        "a line feed at the end": shortest + "\n",
        "NUL": "\0" + shortest[1:],
        "a direction mark": "\u202e" + shortest[1:],
    }.items():
        yield Value(what, text, "")
    if bound.pattern != ".+":
        yield Value("a digit of another script", "\u0662" + shortest[1:], "")
        yield Value("a space before", " " + shortest, "")
    yield from (Value(repr(each), each, "") for each in (1, False, [], {}))


def _arrays(item: Any, bound: Items) -> Iterator[Value]:
    one = plain_of(item)
    yield Value("fewest", [one] * bound.fewest)
    yield Value("most", [one] * bound.most)
    yield Value("one too many", [one] * (bound.most + 1), "")
    if bound.fewest:
        yield Value("one too few", [one] * (bound.fewest - 1), "")
    yield from (Value(repr(each), each, "") for each in ({}, "x", 1))
    count = max(bound.fewest, 1)
    for inner in values(item):
        at = None if inner.at is None else f"[{count - 1}]{_below(inner.at)}"
        yield Value(f"item {inner.what}", [*[one] * (count - 1), inner.plain], at)


def _objects(kind: type) -> Iterator[Value]:
    whole = {name: plain_of(hint) for name, hint in hints(kind).items()}
    yield from (Value(repr(each), each, "") for each in ([], "x", 1))
    yield Value("unknown field", whole | {"wildcard": 1}, "wildcard")
    for name, hint in hints(kind).items():
        without = {key: value for key, value in whole.items() if key != name}
        yield Value(f"without {name}", without, name)
        for inner in values(hint):
            at = None if inner.at is None else _join(name, inner.at)
            yield Value(f"{name}: {inner.what}", whole | {name: inner.plain}, at)


def _below(path: str) -> str:
    return f".{path}" if path and not path.startswith("[") else path


def _join(name: str, path: str) -> str:
    return name + _below(path)


def cases(kind: type[Payload], lawful: dict[str, Any] | None = None) -> Iterator[Case]:
    """Yield every case of one kind of payload; `lawful` are fields to begin with."""
    for value in _objects(kind):
        if not isinstance(value.plain, dict):
            continue  # what is no object at all has no field to name
        plain = deepcopy(value.plain)
        touched = value.what.removeprefix("without ").split(":")[0]
        for name, given in (lawful or {}).items():
            if name in plain and name != touched:
                plain[name] = given
        yield Case(f"{kind.__name__} {value.what}", plain, value.at)
