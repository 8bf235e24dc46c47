"""What the content of a target list makes guards fire at: the readable form, and the oracle.

Native code (``native/guards.pyx``) scans whole lists and must agree with this on every line.
A target names names or addresses by its words alone; nothing is resolved. Guards are asked in
ascending order; of one, what stands at or above a target comes first, the nearest alone, then
what stands below it, in the order of names read from the top. A SUBTREE above a core entry is
held and not refused: the core name itself passes in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_network

from enforcer.core import target as target_list
from enforcer.core.guard import REPEATING_GUARDS, Guard, GuardHit
from enforcer.core.guard_data import GuardData, SuffixForm, SuffixRule
from enforcer.core.guard_facts import GuardFacts, evidence_of
from enforcer.core.network import Network
from enforcer.core.special import SPECIAL_NETWORKS
from enforcer.core.target import NAME_KINDS, Target, TargetKind

Found = Iterator[tuple[Guard, str]]
Labels = tuple[str, ...]


def scan_list(text: bytes, data: GuardData) -> Iterator[GuardHit]:
    """Yield what fires in a whole list, line by line.

    Raises:
        InputError: the list is not canonical.
    """
    for number, target in enumerate(target_list.iterate(text), 1):
        for guard, evidence in check_target(target, data):
            yield GuardHit(number, line_of(target), guard, evidence)


def scan_order(
    facts: GuardFacts, data: GuardData, text_of: Callable[[str], bytes]
) -> Iterator[GuardHit]:
    """Yield what fires in an order's list by its words, and because of past orders.

    Raises:
        InputError: a list is not canonical.
    """
    text = text_of(facts.target_list_sha256)
    hits = list(scan_list(text, data))
    targets = list(target_list.iterate(text))
    blocked_ms = dict.fromkeys(range(1, len(targets) + 1), facts.administrative_ms)
    first: set[tuple[int, Guard]] = set()
    for past in facts.relations:
        for number in shared_lines(targets, text_of(past.target_list_sha256)):
            if past.guard is Guard.ADMINISTRATIVE_TIME:
                blocked_ms[number] += past.blocked_ms
            elif past.guard in REPEATING_GUARDS and (number, past.guard) not in first:
                first.add((number, past.guard))
                line = line_of(targets[number - 1])
                hits.append(GuardHit(number, line, past.guard, evidence_of(past)))
    for number, ms in blocked_ms.items():
        if facts.administrative_ms and ms > facts.administrative_ms_max:
            evidence = facts.administrative_evidence
            line = line_of(targets[number - 1])
            hits.append(GuardHit(number, line, Guard.ADMINISTRATIVE_TIME, evidence))
    yield from sorted(hits, key=lambda hit: (hit.line_number, hit.guard))


def shared_lines(targets: Sequence[Target], other: bytes) -> list[int]:
    """Return the numbers, from 1, of the targets that share something with `other`.

    Two targets share where one covers the other, or both have one name, of whatever kind: so
    neither a name below nor a subtree above makes another target of what was blocked before.
    """
    others = list(target_list.iterate(other))
    names = {top_down(each.value) for each in others if each.kind in NAME_KINDS}
    above = {name[:depth] for name in names for depth in range(1, len(name))}
    wide = {top_down(each.value) for each in others if each.kind is TargetKind.SUBTREE}
    networks = [network for network, _ in _networks(others)]

    def shares(target: Target) -> bool:
        if target.kind not in NAME_KINDS:
            network = ip_network(target.value)
            return any(
                each.version == network.version and each.overlaps(network) for each in networks
            )
        name = top_down(target.value)
        return (
            name in names
            or any(name[:depth] in wide for depth in range(1, len(name)))
            or (target.kind is TargetKind.SUBTREE and name in above)
        )

    return [number for number, each in enumerate(targets, 1) if shares(each)]


def check_target(target: Target, data: GuardData) -> Found:
    """Yield each guard that fires at `target`, with the line of the data that it rests on.

    An EXACT target covers its name alone, a SUBTREE target all below as well; addresses and
    prefixes cover their addresses.
    """
    if target.kind in NAME_KINDS:
        return _check_name(top_down(target.value), target.kind is TargetKind.SUBTREE, data)
    return _check_network(ip_network(target.value), data)


def line_of(target: Target) -> str:
    """Return a target as it stands in a list, without LF."""
    return f"{target.kind.name.lower()} {target.value}"


def top_down(name: str) -> Labels:
    """Return a name's labels from the top: names below it begin with them, and sort after it."""
    return tuple(reversed(name.split(".")))


def suffix_at_or_below(name: Labels, rules: Iterable[SuffixRule]) -> str | None:
    """Return the rule by which `name` is a suffix, or else the first of those below it."""
    plain = wildcard = None
    is_exception = False
    below = []
    for rule in rules:
        own = top_down(rule.name)
        if rule.form is SuffixForm.EXCEPTION:
            is_exception = is_exception or own == name
        elif rule.form is SuffixForm.PLAIN and own == name:
            plain = rule.line
        elif rule.form is SuffixForm.WILDCARD and own == name[:-1]:
            wildcard = rule.line
        elif own[: len(name)] == name:
            below.append((own, rule.form, rule.line))
    if wildcard is not None and is_exception:
        wildcard = None
    return plain or wildcard or (min(below)[2] if below else None)


def _check_name(name: Labels, is_subtree: bool, data: GuardData) -> Found:
    icann = [rule for rule in data.suffixes if rule.is_icann]
    private = [rule for rule in data.suffixes if not rule.is_icann]
    if (evidence := suffix_at_or_below(name, icann)) is not None:
        yield Guard.PUBLIC_SUFFIX, evidence
    if is_subtree and (evidence := suffix_at_or_below(name, private)) is not None:
        yield Guard.PRIVATE_SUFFIX, evidence
    for evidence in _at_or_above(name, data.core)[:1]:
        yield Guard.PROTECTED_CORE, evidence
    for evidence in _at_or_above(name, data.protected):
        yield Guard.PROTECTED_NAME, evidence
    if is_subtree:
        for evidence in _below(name, (*data.core, *data.protected)):
            yield Guard.PROTECTED_NAME, evidence


def _at_or_above(name: Labels, listed: Iterable[Target]) -> list[str]:
    """Return what is listed at `name`, EXACT first, or else the nearest SUBTREE above it."""
    names = [each for each in listed if each.kind in NAME_KINDS]
    at = [each for each in names if top_down(each.value) == name]
    if at:
        return [line_of(each) for each in sorted(at, key=lambda each: each.kind)]
    above = [
        each
        for each in names
        if each.kind is TargetKind.SUBTREE and top_down(each.value) == name[: _depth(each)]
    ]
    return [line_of(max(above, key=_depth))] if above else []


def _below(name: Labels, listed: Iterable[Target]) -> list[str]:
    below = [
        (labels, each.kind, line_of(each))
        for each in listed
        if each.kind in NAME_KINDS
        and len(labels := top_down(each.value)) > len(name)
        and labels[: len(name)] == name
    ]
    return [line for _, _, line in sorted(below)]


def _depth(target: Target) -> int:
    return target.value.count(".") + 1


def _check_network(network: Network, data: GuardData) -> Found:
    special = [(each.network, each.line) for each in SPECIAL_NETWORKS]
    shared = [(each.network, each.line) for each in data.shared]
    for evidence in _overlapping(network, _networks(data.core))[:1]:
        yield Guard.PROTECTED_CORE, evidence
    for evidence in _overlapping(network, _networks(data.protected)):
        yield Guard.PROTECTED_NETWORK, evidence
    for evidence in _overlapping(network, special)[:1]:
        yield Guard.SPECIAL_NETWORK, evidence
    for evidence in _overlapping(network, shared)[:1]:
        yield Guard.SHARED_RANGE, evidence


def _networks(targets: Iterable[Target]) -> list[tuple[Network, str]]:
    return [
        (ip_network(each.value), line_of(each)) for each in targets if each.kind not in NAME_KINDS
    ]


def _overlapping(network: Network, listed: Iterable[tuple[Network, str]]) -> list[str]:
    """Return the longest prefix that `network` is in, and then all that are inside it."""
    around: list[tuple[int, int, str]] = []
    inside: list[tuple[int, int, str]] = []
    for each, line in listed:
        if each.version != network.version or not each.overlaps(network):
            continue
        order = (int(each.network_address), each.prefixlen, line)
        (around if each.prefixlen <= network.prefixlen else inside).append(order)
    nearest = [max(around, key=lambda order: order[1])] if around else []
    return [line for _, _, line in (*nearest, *sorted(inside))]
