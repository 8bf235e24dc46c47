"""Strict JSON ⇄ frozen dataclasses, driven by their annotations.

The declarations are the schema: a field's type and its bound stand in the dataclass, once.
Reading refuses duplicate, unknown and missing keys, floats, numbers beyond 2**53, control
characters, lone surrogates, and the value UNSPECIFIED; every error names the field's path.
Nothing signed is ever written again from here: writing serves only what is about to be signed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from enforcer.errors import InputError

INTEGER_MAX: Final = 2**53 - 1  # what every JSON reader keeps exactly (RFC 8259 §6)
DOCUMENT_BYTES_MAX: Final = 65_535

Json: TypeAlias = bool | int | str | list["Json"] | dict[str, "Json"] | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Text:
    """Bound of a text field: its characters, and a pattern that the whole must match."""

    characters_max: int
    pattern: str = ".+"
    form: str = "text without control characters"


@dataclass(frozen=True, slots=True)
class Range:
    """Bound of an integer field, both ends included."""

    lowest: int
    highest: int = INTEGER_MAX


@dataclass(frozen=True, slots=True)
class Items:
    """Bound of an array field: how many items, both ends included."""

    fewest: int
    most: int


Sha256: TypeAlias = Annotated[str, Text(64, "[0-9a-f]{64}", "64 lower-case hex digits")]
UnixMs: TypeAlias = Annotated[int, Range(1)]
EntryIndex: TypeAlias = Annotated[int, Range(0)]
Line: TypeAlias = Annotated[str, Text(500)]
Url: TypeAlias = Annotated[str, Text(500, r"https://[!-~]+", "an https URL")]
Identifier: TypeAlias = Annotated[
    str, Text(64, "[a-z0-9][a-z0-9._-]*", "lower-case letters, digits, '.', '_' and '-'")
]

# What a person who signs cannot see, or sees in another order than it is read, is refused too.
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def load(data: bytes, what: str) -> dict[str, Json]:
    """Read one strict JSON object.

    Raises:
        InputError: not UTF-8, not JSON, not an object, a duplicate key, a float, over
            65,535 bytes, nested too deeply.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise _error(what, "", f"has {len(data)} bytes, over {DOCUMENT_BYTES_MAX}")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _error(what, "", f"is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise _error(what, "", "is nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, and what the hooks raise
        raise _error(what, "", f"is not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise _error(what, "", "is not a JSON object")
    return value


def dump(value: object) -> bytes:
    """Write `value` (a dataclass or plain JSON) as compact JSON in UTF-8, keys as declared."""
    return dump_plain(to_plain(value))


def dump_plain(plain: Json) -> bytes:
    """Write plain JSON as `dump` does."""
    return _ENCODER.encode(plain).encode("utf-8")


def to_plain(value: object) -> Json:
    """Turn dataclasses, tuples and enums into plain JSON values."""
    if isinstance(value, IntEnum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def read(cls: type[T], value: Json, what: str) -> T:
    """Read the dataclass `cls` from a plain JSON object.

    Raises:
        InputError: with ``data["field"]``, the path of the first field that is wrong.
    """
    return cast("T", _reader(cast("type", cls))(value, what, ""))


_Reader: TypeAlias = Callable[[Json, str, str], object]
"""``reader(value, what, path)``"""


@cache
def _reader(annotation: object) -> _Reader:
    """Return what reads values of one type: made once, since entries are read by the million."""
    bound: Any = None
    if get_origin(annotation) is Annotated:
        annotation, bound = get_args(annotation)[:2]
    origin = get_origin(annotation)
    if origin in (UnionType, Union):  # X | None is the only union that a schema uses
        (inner,) = (part for part in get_args(annotation) if part is not NoneType)
        present = _reader(Annotated[inner, bound] if bound else inner)
        return lambda value, what, path: None if value is None else present(value, what, path)
    if origin is tuple:
        return partial(_read_items, _reader(get_args(annotation)[0]), cast("Items", bound))
    if is_dataclass(annotation):
        return partial(_read_object, cast("type", annotation))
    if isinstance(annotation, type) and issubclass(annotation, IntEnum):
        members = {member.name: member for member in annotation if member.value != 0}
        return partial(_read_enum, members)
    if annotation is bool:
        return _read_bool
    if annotation is int:
        return partial(_read_integer, cast("Range", bound))
    if annotation is str:
        text = cast("Text", bound)
        return partial(_read_text, text, re.compile(text.pattern, re.ASCII).fullmatch)
    raise TypeError(f"a schema cannot hold {annotation!r}")


def _read_object(cls: type, value: Json, what: str, path: str) -> object:
    if not isinstance(value, dict):
        raise _error(what, path, "is not a JSON object")
    readers = _readers(cls)
    if value.keys() != readers.keys():
        for key in value:
            if key not in readers:
                raise _error(what, _join(path, key), "is an unknown field")
        for key in readers:
            if key not in value:
                raise _error(what, _join(path, key), "is missing")
    inside = f"{path}." if path else ""
    return cls(**{key: reader(value[key], what, inside + key) for key, reader in readers.items()})


def _read_items(item: _Reader, bound: Items, value: Json, what: str, path: str) -> object:
    if not isinstance(value, list):
        raise _error(what, path, "is not an array")
    if not bound.fewest <= len(value) <= bound.most:
        raise _error(
            what, path, f"has {len(value)} items; {bound.fewest} to {bound.most} may stand"
        )
    return tuple(item(part, what, f"{path}[{at}]") for at, part in enumerate(value))


def _read_enum(members: dict[str, IntEnum], value: Json, what: str, path: str) -> IntEnum:
    if not isinstance(value, str) or value not in members:
        raise _error(what, path, f"is not one of {', '.join(members)}")
    return members[value]


def _read_bool(value: Json, what: str, path: str) -> bool:
    if not isinstance(value, bool):
        raise _error(what, path, "is not true or false")
    return value


def _read_integer(bound: Range, value: Json, what: str, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _error(what, path, "is not an integer")
    if not bound.lowest <= value <= bound.highest:
        raise _error(what, path, f"is {value}; {bound.lowest} to {bound.highest} may stand")
    return value


def _read_text(
    bound: Text, fits: Callable[[str], object], value: Json, what: str, path: str
) -> str:
    if not isinstance(value, str):
        raise _error(what, path, "is not text")
    if len(value) > bound.characters_max:
        raise _error(what, path, f"has {len(value)} characters, over {bound.characters_max}")
    is_plain = value.isascii() and value.isprintable()  # then there is no control in it
    if (not is_plain and _CONTROL.search(value)) or not fits(value):
        raise _error(what, path, f"is not {bound.form}")
    return value


@cache
def _readers(cls: type) -> dict[str, _Reader]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: _reader(hints[field.name]) for field in fields(cls)}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_float(text: str) -> Json:
    raise ValueError(f"the number {text[:20]} is not an integer")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float
)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _error(what: str, path: str, problem: str) -> InputError:
    place = f"{what}: field {path!r}" if path else what
    return InputError(
        f"{place} {problem}",
        advice=f"Correct the field {path!r} and send it again."
        if path
        else f"Send a valid {what}.",
        field=path,
    )
