"""What a list takes back of what it lists: exceptions, passed names, names sent elsewhere.

An order has no exceptions, so a target of which the list takes anything back is left out
whole: what it would block beyond the list's words nobody decided. Which rule of a list wins
over which is its format's business, and told with each exception.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from ipaddress import ip_network
from typing import Final, NamedTuple

from enforcer.backends.list_line import LABEL_PATTERN, WholeListError, name_of_line
from enforcer.core.network import Network

TAKEN_BACK_MAX: Final = 500_000
"""Most names that are kept, those above what is taken back included; and most prefixes."""

_LABELS: Final = re.compile(LABEL_PATTERN + rb"(?:\." + LABEL_PATTERN + rb")*")


class _Range(NamedTuple):
    first: int
    last: int
    line_number: int


class TakenBack:
    """The names and prefixes of one list's exceptions, each with its line."""

    def __init__(self) -> None:
        self._at: dict[bytes, int] = {}
        self._above: dict[bytes, int] = {}
        self._below: dict[bytes, int] = {}
        self._networks: list[tuple[Network, int]] = []
        self._ranges: dict[int, list[_Range]] | None = None

    def __bool__(self) -> bool:
        """Tell whether anything is taken back."""
        return bool(self._above or self._networks)

    def add_name(
        self, name: bytes, line_number: int, *, itself: bool = True, below: bool = False
    ) -> None:
        """Take back a canonical name.

        `itself`: also from a target that is this name alone. `below`: also from targets below
        it, where the format lets an exception win over a longer name.

        Raises:
            WholeListError: over TAKEN_BACK_MAX names.
        """
        if itself:
            self._at.setdefault(name, line_number)
        if below:
            self._below.setdefault(name, line_number)
        above = name
        while above and above not in self._above:
            self._above[above] = line_number
            above = above.partition(b".")[2]
        _check_bound(len(self._above))

    def add_pattern(self, pattern: bytes, line_number: int, *, below: bool) -> bool:
        """Take back a name as it is written, or what is above all that one with ``*`` can match.

        False if nothing is: it may stand for any name. Below what a wildcard is in, all is.

        Raises:
            InputError: it is no valid IDN, or over TAKEN_BACK_MAX names.
        """
        _, star, name = pattern.lower().removesuffix(b".").rpartition(b"*")
        if star:
            name = name.partition(b".")[2]
        if not name.isascii():
            name = name_of_line(name, line_number, 1)
        if not _LABELS.fullmatch(name):
            return False
        self.add_name(name, line_number, below=below or bool(star))
        return True

    def add_network(self, network: Network, line_number: int) -> None:
        """Take back the addresses of a prefix, or one address (/32, /128).

        Raises:
            WholeListError: over TAKEN_BACK_MAX prefixes.
        """
        self._networks.append((network, line_number))
        self._ranges = None
        _check_bound(len(self._networks))

    def line_of(self, target_line: bytes) -> int | None:
        """Return the line of the list that takes back a part of a target; None if none does.

        `target_line` is canonical, without LF. Of several lines any may be named.
        """
        word, _, value = target_line.partition(b" ")
        if word in (b"ip", b"net"):
            return self._line_of_network(ip_network(value.decode("ascii")))
        found = (self._above if word == b"subtree" else self._at).get(value)
        while found is None and self._below and value:
            found = self._below.get(value)
            value = value.partition(b".")[2]
        return found

    def _line_of_network(self, network: Network) -> int | None:
        if self._ranges is None:
            self._ranges = {version: self._disjoint(version) for version in (4, 6)}
        ranges = self._ranges[network.version]
        at = bisect_left(ranges, int(network[0]), key=lambda each: each.last)
        if at == len(ranges) or ranges[at].first > int(network[-1]):
            return None
        return ranges[at].line_number

    def _disjoint(self, version: int) -> list[_Range]:
        """Return what is taken back as ranges that do not overlap, ascending."""
        ranges: list[_Range] = []
        for network, line_number in sorted(
            (each for each in self._networks if each[0].version == version),
            key=lambda each: (int(each[0][0]), each[0].prefixlen),
        ):
            first, last = int(network[0]), int(network[-1])
            if ranges and first <= ranges[-1].last:  # prefixes overlap only by holding each other
                continue
            ranges.append(_Range(first, last, line_number))
        return ranges


def _check_bound(count: int) -> None:
    if count > TAKEN_BACK_MAX:
        raise WholeListError(
            f"the list takes back over {TAKEN_BACK_MAX} names",
            advice="Take the exceptions, and what they are exceptions of, out of the list.",
            field="targets",
            taken_back_max=TAKEN_BACK_MAX,
        )
