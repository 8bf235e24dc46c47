"""What decides a response: every name it leads to, then every address it gives.

Each is decided by itself, as a query is; the first that is blocked decides the response. A
name that passes, even a protected one, vouches for nothing that follows it. What a response
leads to is the walker's part (native/inspect.pxd); this is the rule that it must agree with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network

from enforcer.core.name import Name
from enforcer.core.network import Address, embedded_ipv4
from enforcer.core.verdict import (
    Action,
    Cause,
    Rules,
    Verdict,
    decide,
    decide_address,
)


@dataclass(frozen=True, slots=True)
class ResponseVerdict:
    """What was decided, and by which of the names or addresses; None where all of them pass."""

    verdict: Verdict
    link: int | None = None
    """Number, from 0, of the blocked name among the links."""
    address: int | None = None
    """Number, from 0, of the blocked address among the addresses."""


def decide_response(
    rules: Rules,
    links: Sequence[Name],
    addresses: Sequence[Address],
    qtype: int,
    t_ms: int,
    *,
    dns64: Sequence[IPv6Network] = (),
) -> ResponseVerdict:
    """Decide a response to a query of class IN that itself passed.

    `links` are the names it leads to, in order: each CNAME and DNAME target of the chain,
    then each SVCB and HTTPS TargetName; they are decided for `qtype`, the query's. `addresses`
    are those of A, AAAA, ipv4hint and ipv6hint, in the message's order. An IPv6 address in a
    `dns64` prefix is decided as it stands, then as the IPv4 address that it carries.
    """
    for number, name in enumerate(links):
        verdict = decide(rules, name, qtype, t_ms)
        if verdict.action is not Action.PASS:
            return ResponseVerdict(verdict, link=number)
    for number, address in enumerate(addresses):
        carried = [embedded_ipv4(address, prefix) for prefix in dns64]
        for one in (address, *(given for given in carried if given is not None)):
            verdict = decide_address(rules, one, t_ms)
            if verdict.action is not Action.PASS:
                return ResponseVerdict(verdict, address=number)
    return ResponseVerdict(Verdict(Action.PASS, Cause.NO_MATCH))
