"""HTML and SVG from nested calls: what is text is escaped, always, and nothing else is markup.

Knows no page and no style. Attribute names are the caller's own constants; a trailing underscore is
dropped and the others become hyphens, so that ``class_`` and ``aria_label`` can be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias

VOID: Final = frozenset(("meta", "br", "hr"))
_AS_WRITTEN: Final = frozenset(("viewBox", "preserveAspectRatio"))


class Markup(str):
    """Text that is markup already; only `tag`, `join` and `style` make it."""

    __slots__ = ()


Child: TypeAlias = str | int | Markup | None


def tag(name: str, /, *children: Child, **attributes: str | int | None) -> Markup:
    """Return an element; children that are plain text are escaped, None is left out."""
    written = "".join(
        f' {_name(key)}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Return the children one after the other."""
    return Markup("".join(_text(child) for child in children if child is not None))


def style(css: str) -> Markup:
    """Return a style sheet of our own; it may not end itself."""
    if "</" in css:
        raise ValueError("a style sheet cannot hold an end tag")
    return Markup(f"<style>{css}</style>")


def _text(child: str | int) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def _name(key: str) -> str:
    return key if key in _AS_WRITTEN else key.rstrip("_").replace("_", "-")
