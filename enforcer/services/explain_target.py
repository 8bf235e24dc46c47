"""What decides a name or an address at a time, and everything that ever named it.

The verdict is the oracle's (`core.verdict`), over the few lines that can matter. Beside it stands
every order of the ledger, whatever became of it, that has a line at or around the target, with
all its acts: proposals, holds and their lifting, approvals, ends. Lists are read by bisection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.name import Name
from enforcer.core.network import PREFIX_LENGTH_MIN, Address, network_around, plain_address
from enforcer.core.standing import Standing, standing
from enforcer.core.state import OrderRecord, State
from enforcer.core.target import parse_line
from enforcer.core.verdict import Cause, Rules, Verdict, decide_flow
from enforcer.errors import NotFoundError
from enforcer.services.explain import Line, candidates, explain
from enforcer.services.explain_lines import (
    Lists,
    ListText,
    find_line,
    line_number,
    list_of,
    present,
)
from enforcer.services.replay import Act

QTYPE_A: Final = 1


@dataclass(frozen=True, slots=True)
class Mention:
    """One order that names the target, or something around it."""

    order: OrderRecord
    standing: Standing
    """At the time asked for."""
    line: Line
    """The most specific one."""
    acts: tuple[Act, ...]
    """All acts of the order, in all versions, the newest ones too."""


@dataclass(frozen=True, slots=True)
class TargetStory:
    """What decides a target at a time, and its history."""

    target: Name | Address
    t_ms: int
    verdict: Verdict
    line: Line | None
    """The line that decides; None where nothing matches."""
    protections: tuple[Line, ...]
    """Lines of the protected lists at or around the target."""
    mentions: tuple[Mention, ...]
    """Ascending by the order's entry index."""
    missing: tuple[OrderRecord, ...]
    """Orders whose list is not here, so that nobody can tell."""


def tell(
    then: State,
    now: State,
    acts: Mapping[str, Sequence[Act]],
    lists: Lists,
    target: Name | Address,
    t_ms: int,
) -> TargetStory:
    """Tell what decides `target` at `t_ms`, when the ledger was folded as far as `then`.

    `now` is the whole ledger, `acts` those of each order id in it.

    Raises:
        NotFoundError: a protected list that the policy pins is not here.
    """
    wanted = candidates(target) if isinstance(target, Name) else around(target)
    pins = then.policy.payload.pins if then.policy else None
    pinned = (pins.protected_core, pins.protected_names) if pins else (None, None)
    protections = [
        _line(lists(sha256), sha256, found)
        for sha256 in pinned
        if sha256 is not None
        for found in present(lists(sha256), wanted)
    ]
    mentions, missing = [], []
    for index, order in now.orders.items():
        sha256 = order.payload.target_list_sha256
        try:
            text = lists(sha256)
        except NotFoundError:
            missing.append(order)
            continue
        found = next(iter(present(text, wanted)), None)
        if found is not None:
            as_then = then.orders.get(index)
            mentions.append(
                Mention(
                    as_then or order,
                    standing(as_then, t_ms) if as_then else Standing.UNSPECIFIED,
                    _line(text, sha256, found),
                    tuple(acts.get(order.payload.order_id, ())),
                )
            )
    if isinstance(target, Name):
        explained = explain(then, lists, target, QTYPE_A, t_ms)
        verdict, line = explained.verdict, explained.line
    else:
        verdict = _decide_address(then, lists, target, t_ms, wanted)
        line = _deciding(verdict, lists, pinned)
    return TargetStory(
        target, t_ms, verdict, line, tuple(protections), tuple(mentions), tuple(missing)
    )


def around(address: Address) -> list[bytes]:
    """Return the lines that can decide an address, the most specific first."""
    plain = plain_address(address)
    lines = [f"ip {plain}"]
    lines += [
        f"net {network_around(plain, length)}"
        for length in range(plain.max_prefixlen - 1, PREFIX_LENGTH_MIN[plain.version] - 1, -1)
    ]
    return [line.encode("ascii") for line in lines]


def _decide_address(
    state: State, lists: Lists, address: Address, t_ms: int, wanted: Sequence[bytes]
) -> Verdict:
    pins = state.policy.payload.pins if state.policy else None
    orders, overrides = [], []
    for order in state.orders.values():
        row = order.row
        if row is None or not row.is_in_force(t_ms):
            continue
        try:
            text = lists(row.target_list_sha256)
        except NotFoundError:
            continue
        orders.append((row, list_of(present(text, wanted))))
        overrides += [(row.index, parse_line(line.encode("ascii"))) for line in order.overrides]
    core = lists(pins.protected_core) if pins and pins.protected_core else b""
    protected = lists(pins.protected_names) if pins and pins.protected_names else b""
    rules = Rules(
        orders,
        core=list_of(present(core, wanted)),
        protected=list_of(present(protected, wanted)),
        overrides=overrides,
    )
    return decide_flow(rules, address, t_ms)


def _deciding(verdict: Verdict, lists: Lists, pinned: tuple[str | None, str | None]) -> Line | None:
    sha256 = {
        Cause.PROTECTED_CORE: pinned[0],
        Cause.PROTECTED_LIST: pinned[1],
        Cause.ORDER: verdict.order.target_list_sha256 if verdict.order else None,
    }.get(verdict.cause)
    network = verdict.network
    if sha256 is None or network is None:
        return None
    value = network.network_address if network.prefixlen == network.max_prefixlen else network
    return _line(lists(sha256), sha256, f"{verdict.kind.name.lower()} {value}".encode("ascii"))


def _line(text: ListText, sha256: str, line: bytes) -> Line:
    return Line(line.decode("ascii"), line_number(text, find_line(text, line) or 0), sha256)
