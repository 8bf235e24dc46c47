"""An order's list compared with what is pinned and with other orders' lists: what it would hit.

Runs in the list worker's process. Lists are mapped, their hashes checked, and compared in native
code; only entries and lines about which something is known become objects, and no more than are
told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from enforcer._native.flow_targets import FlowTargets
from enforcer.backends.list_tasks import Text, bounded_memory, verified
from enforcer.core.collateral import (
    ENTRIES_TOLD_MAX,
    LINES_TOLD_MAX,
    CollateralFound,
    CollateralJob,
    KnownEntry,
    LineFound,
    OtherOrder,
)
from enforcer.core.guard_data import PINNED_BYTES_MAX, PINNED_LINES_MAX, read_ranges
from enforcer.core.target import iterate
from enforcer.ports import CollateralWork

ADDRESS_KINDS: Final = ("ip ", "net ")


def scan_collateral(work: CollateralWork) -> CollateralFound:
    """Compare one order's list.

    Raises:
        IntegrityError: a list does not have its SHA-256, which is ``expected`` in the data.
        InputError: a list or pinned data is not canonical.
        UnavailableError: a list cannot be read, or memory has run out.
    """
    job = work.job
    sha256 = job.target_list_sha256
    with bounded_memory(), verified(sha256, work.paths[sha256], work.salted) as text:
        own = FlowTargets()
        own.add(0, text)
        known = _Known(job, work.paths)
        hits, each, nearest, told = known.index.covers(text, LINES_TOLD_MAX)
        inside = {line for _, line, _ in own.covers(known.text, PINNED_LINES_MAX * 2)[3]}
        others, orders_of, lines_of = [], dict[int, list[int]](), dict[int, str]()
        for index, other_text in _others(work):
            found = _compared(index, text, own, other_text)
            if found is None:
                continue
            other, lines = found
            others.append(other)
            for number, line in lines:
                orders_of.setdefault(number, []).append(index)
                lines_of[number] = line
        ranges, protected = known.entries(each, nearest, inside)
        four, six = own.spans()
    covers = {number: found for number, line, found in told}
    lines_of.update({number: line for number, line, _ in told})
    numbers = sorted(lines_of)
    return CollateralFound(
        ipv4_addresses=str(sum(count << (32 - length) for length, count in four.items())),
        ipv6_addresses=str(sum(count << (128 - length) for length, count in six.items())),
        prefixes=(
            *((f"ipv4/{length}", count) for length, count in sorted(four.items())),
            *((f"ipv6/{length}", count) for length, count in sorted(six.items())),
        ),
        ranges=ranges,
        protected=protected,
        others=tuple(others),
        lines=tuple(
            LineFound(
                number,
                lines_of[number],
                _addresses(lines_of[number]),
                *known.told(covers.get(number, [])),
                tuple(orders_of.get(number, ())),
            )
            for number in numbers[:LINES_TOLD_MAX]
        ),
        lines_known=hits,
    )


class _Known:
    """The addresses of what is pinned, each line under a number of its own."""

    def __init__(self, job: CollateralJob, paths: Mapping[str, Path]) -> None:
        found: dict[str, list[str]] = {}
        for line, target in _pinned(job, paths):
            found.setdefault(target, []).append(line)
        self._targets = sorted(found)
        self._lines = [found[target] for target in self._targets]
        self.index = FlowTargets()
        for owner, target in enumerate(self._targets):
            self.index.add(owner, f"{target}\n".encode("ascii"))
        self.text = "".join(f"{target}\n" for target in self._targets).encode("ascii")

    def told(self, found: list[tuple[int, int]]) -> tuple[str | None, tuple[str, ...]]:
        """Return the nearest entry around a line, and the wider ones."""
        lines = [line for owner, _ in found for line in self._lines[owner]]
        return (lines[0], tuple(lines[1:])) if lines else (None, ())

    def entries(
        self, each: Mapping[int, int], nearest: Mapping[int, int], inside: set[str]
    ) -> tuple[tuple[KnownEntry, ...], tuple[KnownEntry, ...]]:
        """Return the ranges and the protected entries that have something to do with the list."""
        ranges: list[KnownEntry] = []
        protected: list[KnownEntry] = []
        for owner, target in enumerate(self._targets):
            if owner not in each and target not in inside:
                continue
            for line in self._lines[owner]:
                entry = KnownEntry(
                    line,
                    _addresses(target),
                    each.get(owner, 0),
                    nearest.get(owner, 0),
                    target in inside,
                )
                (ranges if line.startswith("shared ") else protected).append(entry)
        return tuple(ranges), tuple(protected)


def _pinned(job: CollateralJob, paths: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield each pinned line that has an address, and the target that it would be."""
    pins = job.pins
    for sha256 in (pins.protected_core, pins.protected_names):
        if sha256 is not None:
            with verified(sha256, paths[sha256]) as text:
                for target in iterate(bytes(text[: PINNED_BYTES_MAX + 1])):
                    line = target.line[:-1].decode("ascii")
                    if line.startswith(ADDRESS_KINDS):
                        yield line, line
    if pins.shared_ranges is not None:
        with verified(pins.shared_ranges, paths[pins.shared_ranges]) as text:
            for shared in read_ranges(bytes(text[: PINNED_BYTES_MAX + 1])):
                network = shared.network
                is_one = network.prefixlen == network.max_prefixlen
                yield shared.line, f"ip {network.network_address}" if is_one else f"net {network}"


def _others(work: CollateralWork) -> Iterator[tuple[int, Text | memoryview]]:
    for index, sha256 in work.job.others:
        with verified(sha256, work.paths[sha256], work.salted) as text:
            yield index, text


def _compared(
    index: int, text: Text | memoryview, own: FlowTargets, other_text: Text | memoryview
) -> tuple[OtherOrder, list[tuple[int, str]]] | None:
    other = FlowTargets()
    other.add(0, other_text)
    if not len(other):
        return None
    lines_in_it, _, _, told = other.covers(text, ENTRIES_TOLD_MAX)
    its_lines, _, _, _ = own.covers(other_text, 0)
    if not lines_in_it and not its_lines:
        return None
    lines = [(number, line) for number, line, _ in told]
    return OtherOrder(index, lines_in_it, its_lines), lines


def _addresses(line: str) -> str:
    return str(ip_network(line.partition(" ")[2]).num_addresses)
