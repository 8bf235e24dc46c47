"""The pinned data of guards, from lists on disk to the index that native scans read.

Owns the order in which native code expects rules. Refuses data that is not canonical; an index
is made once for each combination of hashes and kept while it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

from enforcer._native.guards import GuardIndex
from enforcer.core.guard import Guard
from enforcer.core.guard_data import (
    GuardData,
    SuffixForm,
    SuffixRule,
    iterate_ranges,
    iterate_suffixes,
    read_guard_data,
)
from enforcer.core.guards import line_of, top_down
from enforcer.core.network import Network
from enforcer.core.special import SPECIAL_NETWORKS
from enforcer.core.target import NAME_KINDS, Target, TargetKind

GUARD_NAMES: Final = tuple(guard.name.encode("ascii") for guard in Guard)
"""Guards' names by number, as native code writes them into a report."""

# RULE_ of native/guard_names.pxd.
_CORE: Final = {TargetKind.EXACT: 1, TargetKind.SUBTREE: 3}
_PROTECTED: Final = {TargetKind.EXACT: 2, TargetKind.SUBTREE: 4}
_ICANN: Final = {SuffixForm.PLAIN: 5, SuffixForm.WILDCARD: 6, SuffixForm.EXCEPTION: 7}
_PRIVATE: Final = {SuffixForm.PLAIN: 8, SuffixForm.WILDCARD: 9, SuffixForm.EXCEPTION: 10}


def compile_index(
    core: bytes = b"", protected: bytes = b"", suffixes: bytes = b"", shared: bytes = b""
) -> GuardIndex:
    """Compile the four pinned texts, and the special networks that are in code.

    Lines become objects one after the other: of all at once some pages would stay taken.

    Raises:
        InputError: a text is not canonical (``line``, ``column``), or has too many lines.
    """
    data = read_guard_data(core, protected)
    return GuardIndex(
        ((key, rule, line.encode("ascii")) for key, rule, line in _names(data, suffixes)),
        (
            (*_place(network), int(guard), line.encode("ascii"))
            for network, guard, line in _networks(data, shared)
        ),
    )


def _names(data: GuardData, suffixes: bytes) -> Iterator[tuple[bytes, int, str]]:
    for targets, rules in ((data.core, _CORE), (data.protected, _PROTECTED)):
        for target in _of_names(targets):
            yield _key(target.value), rules[target.kind], line_of(target)
    for suffix in iterate_suffixes(suffixes):
        yield _key(suffix.name), _rule(suffix), suffix.line


def _rule(suffix: SuffixRule) -> int:
    return (_ICANN if suffix.is_icann else _PRIVATE)[suffix.form]


def _networks(data: GuardData, shared: bytes) -> Iterator[tuple[Network, Guard, str]]:
    for targets, guard in (
        (data.core, Guard.PROTECTED_CORE),
        (data.protected, Guard.PROTECTED_NETWORK),
    ):
        for target in targets:
            if target.kind not in NAME_KINDS:
                yield ip_network(target.value), guard, line_of(target)
    for special in SPECIAL_NETWORKS:
        yield special.network, Guard.SPECIAL_NETWORK, special.line
    for each in iterate_ranges(shared):
        yield each.network, Guard.SHARED_RANGE, each.line


def _of_names(targets: Iterable[Target]) -> Iterator[Target]:
    return (each for each in targets if each.kind in NAME_KINDS)


def _key(name: str) -> bytes:
    """Return labels from the top, a zero octet behind each."""
    return b"".join(label.encode("ascii") + b"\0" for label in top_down(name))


def _place(network: Network) -> tuple[int, int, int, int]:
    """Return family, first and last 64 bits, and length; IPv4 has the first 32 bits alone."""
    number = int(network.network_address) << (128 - network.max_prefixlen)
    return network.version, number >> 64, number & (1 << 64) - 1, network.prefixlen
