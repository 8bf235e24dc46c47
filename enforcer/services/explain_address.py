"""What decides packets to and from an address, and why: one look-up in the ledger's own data.

The verdict is the oracle's (`core.verdict.decide_flow`) over the few lines that can matter. What
an operator protects on the own network, or suspends there, is not the ledger's to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.core.network import Address, plain_address
from enforcer.core.state import OrderRecord, State
from enforcer.core.table import IpMeasure
from enforcer.core.target import parse_line
from enforcer.core.verdict import Cause, Rules, Verdict, decide_flow
from enforcer.errors import NotFoundError
from enforcer.services.explain import Line
from enforcer.services.explain_lines import (
    Lists,
    ListText,
    find_line,
    line_number,
    list_of,
    present,
)
from enforcer.services.explain_target import around


@dataclass(frozen=True, slots=True)
class AddressExplanation:
    """The verdict on one address at one time, and what it rests on."""

    address: Address
    t_ms: int
    verdict: Verdict
    line: Line | None
    """The line that decided; None where nothing matched."""
    order: OrderRecord | None
    also: tuple[OrderRecord, ...]
    """Other orders in force against addresses that have a line at or around this one."""
    missing: tuple[OrderRecord, ...]
    """Orders in force whose list is not here, so that they were not looked at."""


def explain_address(state: State, lists: Lists, address: Address, t_ms: int) -> AddressExplanation:
    """Decide packets to and from `address` at `t_ms` by the ledger folded into `state`.

    Raises:
        NotFoundError: a protected list that the policy pins is not here.
    """
    wanted = around(address)
    pins = state.policy.payload.pins if state.policy else None
    core_sha256 = pins.protected_core if pins else None
    names_sha256 = pins.protected_names if pins else None
    found, missing = {}, []
    for order in state.orders.values():
        row = order.row
        if row is None or row.ip_measure is IpMeasure.NONE or not row.is_in_force(t_ms):
            continue
        try:
            lines = present(lists(row.target_list_sha256), wanted)
        except NotFoundError:
            missing.append(order)
            continue
        if lines:
            found[row.index] = row, list_of(lines)
    rules = Rules(
        found.values(),
        core=list_of(present(lists(core_sha256), wanted)) if core_sha256 else b"",
        protected=list_of(present(lists(names_sha256), wanted)) if names_sha256 else b"",
        overrides={
            (row.index, parse_line(each.encode("ascii")))
            for row, _ in found.values()
            for each in row.overrides
        },
    )
    verdict = decide_flow(rules, address, t_ms)
    deciding = verdict.order.index if verdict.order is not None else None
    sha256 = {
        Cause.PROTECTED_CORE: core_sha256,
        Cause.PROTECTED_LIST: names_sha256,
        Cause.ORDER: verdict.order.target_list_sha256 if verdict.order is not None else None,
    }.get(verdict.cause)
    return AddressExplanation(
        address=plain_address(address),
        t_ms=t_ms,
        verdict=verdict,
        line=_line(lists(sha256), sha256, verdict) if sha256 is not None else None,
        order=state.orders[deciding] if deciding is not None else None,
        also=tuple(state.orders[index] for index in found if index != deciding),
        missing=tuple(missing),
    )


def _line(text: ListText, sha256: str, verdict: Verdict) -> Line | None:
    network = verdict.network
    if network is None:
        return None
    is_one = network.prefixlen == network.max_prefixlen
    value = network.network_address if is_one else network
    line = f"{verdict.kind.name.lower()} {value}".encode("ascii")
    return Line(line.decode("ascii"), line_number(text, find_line(text, line) or 0), sha256)
