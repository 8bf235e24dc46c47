"""Flows as lines of text: CSV with a head, or one JSON object a line.

A line that is wrong is left out and counted, with its number and what is wrong, but nothing of its
content: whoever it names stays out of messages. Refused past a bound of wrong lines.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.flow import MARK_TCP_FLAGS, MARK_TIMED, Flow, address_octets
from enforcer.core.network import plain_address
from enforcer.errors import InputError

LINE_CHARACTERS_MAX: Final = 4_096
BAD_LINES_MAX: Final = 1_000

FIELDS: Final = (
    "source", "target", "first_ms", "last_ms", "octets", "packets", "source_port", "target_port",
    "protocol", "tcp_flags",
)  # fmt: skip
REQUIRED: Final = ("source", "target", "first_ms", "octets", "protocol")
_MOST: Final = {
    "source_port": 0xFFFF,
    "target_port": 0xFFFF,
    "protocol": 0xFF,
    "tcp_flags": 0xFF,
}
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "icmp": 1, "icmp6": 58}
INTEGER_MAX: Final = (1 << 63) - 1


class FlowLines:
    """A file of flows, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bad_lines = 0
        self.first_bad: tuple[int, str] | None = None
        """Number of the first line that is wrong, and why."""

    def read(self) -> Iterator[bytes]:
        """Yield each flow, packed.

        Raises:
            UnavailableError: the file cannot be read.
            InputError: it has no head that says what the columns are, or too many wrong lines.
        """
        with (
            durable.reporting(self.path, "read"),
            self.path.open(encoding="utf-8", errors="replace", newline="") as file,
        ):
            lines = iter(lambda: file.readline(LINE_CHARACTERS_MAX), "")
            head = next(lines, "")
            if head.lstrip().startswith("{"):
                yield from self._flows(map(_object, chain([head], lines)), 1)
            else:
                columns = _columns(head, self.path)
                rows = (dict(zip(columns, row, strict=False)) for row in csv.reader(lines))
                yield from self._flows(rows, 2)

    def _flows(self, rows: Iterator[Mapping[str, object] | None], first: int) -> Iterator[bytes]:
        for number, row in enumerate(rows, first):
            try:
                yield _flow(row).pack()
            except ValueError as error:
                self.bad_lines += 1
                self.first_bad = self.first_bad or (number, str(error))
                if self.bad_lines > BAD_LINES_MAX:
                    line, why = self.first_bad
                    raise InputError(
                        f"over {BAD_LINES_MAX} lines are wrong, first line {line}: {why}",
                        advice=f"Give columns or keys {', '.join(FIELDS)}; times are Unix time in "
                        "milliseconds.",
                        path=str(self.path),
                        line=line,
                    ) from None


def _columns(head: str, path: Path) -> list[str]:
    columns = [word.strip().lower() for word in next(csv.reader([head]), [])]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InputError(
            f"the first line names no column {', '.join(missing)}",
            advice=f"Give a capture, a file of exports, JSON lines, or CSV whose head names "
            f"{', '.join(FIELDS)}.",
            path=str(path),
            line=1,
        )
    return columns


def _object(line: str) -> Mapping[str, object] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _flow(row: Mapping[str, object] | None) -> Flow:
    """Return the flow of one line.

    Raises:
        ValueError: what is wrong, without any of its values.
    """
    if row is None:
        raise ValueError("it is no JSON object")
    for name in REQUIRED:
        if row.get(name) in (None, ""):
            raise ValueError(f"it has no {name}")
    first_ms = _number(row, "first_ms", 0)
    last_ms = _number(row, "last_ms", first_ms)
    if last_ms < first_ms:
        raise ValueError("last_ms is before first_ms")
    has_flags = row.get("tcp_flags") not in (None, "")
    return Flow(
        source=_address(row, "source"),
        target=_address(row, "target"),
        first_ms=first_ms,
        last_ms=last_ms,
        octets=_number(row, "octets", 0),
        packets=_number(row, "packets", 1),
        octets_back=0,
        packets_back=0,
        sampling=1,
        source_port=_number(row, "source_port", 0),
        target_port=_number(row, "target_port", 0),
        protocol=_number(row, "protocol", 0),
        tcp_flags=_number(row, "tcp_flags", 0),
        tcp_flags_back=0,
        marks=MARK_TIMED | (MARK_TCP_FLAGS if has_flags else 0),
    )


def _address(row: Mapping[str, object], name: str) -> bytes:
    try:
        return address_octets(plain_address(ip_address(str(row[name]).strip())))
    except ValueError:
        raise ValueError(f"{name} is no IP address") from None


def _number(row: Mapping[str, object], name: str, default: int) -> int:
    given = row.get(name)
    if given is None or given == "":
        return default
    text = str(given).strip().lower()
    if name == "protocol":
        text = str(_PROTOCOLS.get(text, text))
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise ValueError(f"{name} is no number")
    number = int(text)
    if number > _MOST.get(name, INTEGER_MAX):
        raise ValueError(f"{name} is over {_MOST.get(name, INTEGER_MAX)}")
    return number
