"""Charts as inline SVG: a bar beside a number, and columns by month.

Whoever cannot see a chart loses nothing: each stands beside the table of its numbers. No
scripts, no fonts fetched; colours and sizes stand in the drawing, so that it looks the same
wherever it is pasted. All coordinates are integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from enforcer.app.markup import Markup, join, tag

BAR_WIDTH: Final = 200
BAR_HEIGHT: Final = 12
COLUMN_WIDTH: Final = 56
COLUMNS_HEIGHT: Final = 120
TOP: Final = 16
FILL: Final = "#1f5f99"
INK: Final = "#1b1f24"
FONT_SIZE: Final = 11
BOTTOM: Final = 20
COLUMNS_MAX: Final = 24
"""Most columns that can be told apart; beyond it the table serves better."""


def bar(value: int, most: int) -> Markup:
    """Return a bar as long as `value` is of `most`; one that is not 0 can be seen."""
    width = 0 if most == 0 else max(value * BAR_WIDTH // most, min(value, 1))
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=width, height=BAR_HEIGHT, rx=2, fill=FILL),
        class_="bar",
        width=BAR_WIDTH,
        height=BAR_HEIGHT,
        viewBox=f"0 0 {BAR_WIDTH} {BAR_HEIGHT}",
        aria_hidden="true",
        focusable="false",
    )


def columns(points: Sequence[tuple[str, int, str]], label: str) -> Markup:
    """Return a column for each (name, value, value in words), in their order."""
    most = max((value for _, value, _ in points), default=0)
    parts: list[Markup] = []
    for at, (name, value, words) in enumerate(points):
        height = 0 if most == 0 else max(value * COLUMNS_HEIGHT // most, min(value, 1))
        x, top = at * COLUMN_WIDTH, TOP + COLUMNS_HEIGHT - height
        middle = x + COLUMN_WIDTH // 2
        parts += [
            tag("rect", x=x + 8, y=top, width=COLUMN_WIDTH - 16, height=height, fill=FILL),
            _text(words, middle, top - 4),
            _text(name, middle, TOP + COLUMNS_HEIGHT + 14),
        ]
    width, height = COLUMN_WIDTH * len(points), TOP + COLUMNS_HEIGHT + BOTTOM
    foot = TOP + COLUMNS_HEIGHT
    axis = tag("line", x1=0, y1=foot, x2=width, y2=foot, stroke=INK)
    return tag(
        "svg",
        axis,
        join(parts),
        class_="columns",
        role="img",
        aria_label=label,
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
    )


def _text(words: str, x: int, y: int) -> Markup:
    return tag("text", words, x=x, y=y, text_anchor="middle", font_size=FONT_SIZE, fill=INK)
