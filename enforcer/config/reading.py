"""Reads a TOML file as one frozen value, checked whole.

Owns: the words when something is wrong: the file, the key, the remedy. Refuses unknown keys.
Always true: a path in a value is absolute, and was relative to the file it stood in.
"""

from __future__ import annotations

import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar, get_args

import msgspec

from enforcer.config.values import FORMS
from enforcer.errors import EnforcerError, InputError, NotFoundError, UnavailableError

CONFIG_BYTES_MAX: Final = 1 << 20

T = TypeVar("T", bound="File")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file; an unknown key in it is an error."""


class File(Section, frozen=True, kw_only=True):
    """A whole file."""


def read(path: Path, kind: type[T]) -> T:
    """Read the TOML file `path` as a `kind`.

    Raises:
        NotFoundError, UnavailableError: the file is not there, or cannot be read.
        InputError: ``data["key"]`` is what is wrong in it.
    """
    base = path.parent.resolve()
    with Reading(path):
        data = path.read_bytes()
    if len(data) > CONFIG_BYTES_MAX:
        raise _error(path, None, f"has over {CONFIG_BYTES_MAX} bytes", "Name a configuration file.")
    try:
        plain = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _error(
            path, None, f"is not UTF-8 at byte {error.start}", "Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise _error(path, None, f"is not TOML: {error}", "Correct that line.") from error

    def special(wanted: type, value: object) -> object:
        if hasattr(wanted, "from_toml"):
            return wanted.from_toml(value)
        if not isinstance(value, str) or not value:
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        if wanted is Path:
            return Path(os.path.normpath(base / Path(value).expanduser()))
        return wanted(value)

    try:
        return msgspec.convert(plain, kind, dec_hook=special)
    except msgspec.ValidationError as error:
        raise _explained(path, kind, str(error)) from error


def plain_words(what: str) -> str:
    """Return what msgspec says is wrong with a value, a pattern as words."""
    if match := re.fullmatch("Expected `str` matching regex '(.*?)'( - at .*)?", what):
        return f"not {FORMS[match[1].encode().decode('unicode_escape')]}{match[2] or ''}"
    return what


class Reading:
    """Turns what the system says about a file into our errors."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EnforcerError) or not isinstance(error, OSError):
            return
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(
                f"there is no file {self.path}",
                advice="Name an existing file; `enforcer init` makes a first set of them.",
                path=str(self.path),
            ) from error
        raise UnavailableError(
            f"{self.path} cannot be read: {error.strerror}",
            advice="Check its owner and rights.",
            path=str(self.path),
        ) from error


def _explained(path: Path, kind: type[File], said: str) -> InputError:
    """Turn msgspec's words into ours: they end with `` - at `$.section.key```."""
    what, _, place = said.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    if match := re.fullmatch("Object contains unknown field `(.*)`", what):
        unknown, known = match[1], _keys(kind, key)
        near = get_close_matches(unknown, known, n=1)
        return _error(
            path,
            f"{key}.{unknown}".lstrip("."),
            "is unknown",
            f"Write {near[0]!r} instead." if near else f"Known keys: {', '.join(sorted(known))}.",
        )
    if match := re.fullmatch("Object missing required field `(.*)`", what):
        missing = f"{key}.{match[1]}".lstrip(".")
        return _error(path, missing, "is missing", f"Add a line for {match[1]!r}.")
    return _error(path, key or None, f"is wrong: {plain_words(what)}", "Correct that value.")


def _keys(kind: type[Section], key: str) -> list[str]:
    """Return the keys that the section `key` of a file may have."""
    for part in filter(None, re.sub(r"\[[0-9]+\]", "", key).split(".")):
        (field,) = (each for each in msgspec.structs.fields(kind) if each.encode_name == part)
        kind = _section_in(field.type) or kind
    return [each.encode_name for each in msgspec.structs.fields(kind)]


def _section_in(annotation: object) -> type[Section] | None:
    """Return the section that an annotation such as ``tuple[Part, ...] | None`` is about."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _error(path: Path, key: str | None, problem: str, advice: str) -> InputError:
    place = f"{path}: the key {key!r}" if key else f"{path}"
    return InputError(f"{place} {problem}", advice=advice, path=str(path), key=key)
