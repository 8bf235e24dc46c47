"""Whether clients should be sent to a gate: for scripts that announce or withdraw its address.

Asked the way a client asks, with a real query at each address; and the gate's own word on its
workers and its table. Everything that is wrong is found, not only the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from enforcer.backends.gate_probe import rcode_of
from enforcer.backends.gate_socket import GateClient
from enforcer.config import GateConfig
from enforcer.core.name import Name
from enforcer.errors import EnforcerError
from enforcer.ports import GateReport

QUERY_SECONDS_MAX: Final = 2.5
"""Longer than a gate waits for its upstreams."""
_TYPE_NS: Final = 2
_RCODES_GOOD: Final = (0, 3)
_RCODE_SERVFAIL: Final = 2


@dataclass(frozen=True, slots=True)
class Health:
    """What was found."""

    problems: tuple[str, ...]
    """Empty when clients should be sent there."""
    facts: str

    @property
    def line(self) -> str:
        """All of it in one line."""
        if self.problems:
            return f"unhealthy: {'; '.join(self.problems)}"
        return f"healthy: {self.facts}"


async def gate_health(config: GateConfig, *, unconfirmed_seconds_max: int | None = None) -> Health:
    """Look at the gate of `config`, on this host."""
    problems: list[str] = []
    facts: list[str] = []
    try:
        report = await GateClient(config.control_socket).status()
    except EnforcerError as error:
        problems.append(error.message)
    else:
        problems += _problems_of(report, unconfirmed_seconds_max)
        facts += [
            f"{report.counters.get('workers_serving', 0)} workers",
            f"table of ledger size {report.ledger_size}",
            report.mode.name,
        ]
    name = Name.from_text(config.probe_name)
    for place in config.listen:
        where = (place.host, place.port)
        try:
            rcode, took_ms = rcode_of(where, name, _TYPE_NS, QUERY_SECONDS_MAX, config.proxy_from)
        except EnforcerError as error:
            problems.append(error.message)
            continue
        if rcode == _RCODE_SERVFAIL:
            problems.append(f"at {place} it answers SERVFAIL: no upstream answers")
        elif rcode not in _RCODES_GOOD:
            problems.append(f"at {place} it answers with rcode {rcode}")
        facts.append(f"{place} in {took_ms:.1f} ms")
    return Health(tuple(problems), ", ".join(facts))


def _problems_of(report: GateReport, unconfirmed_seconds_max: int | None) -> Iterator[str]:
    serving = report.counters.get("workers_serving", 0)
    workers = report.counters.get("workers", 0)
    if serving < workers:
        yield f"{serving} of {workers} workers serve"
    if not report.table_digest:
        yield "it has no table"
    if unconfirmed_seconds_max is None:
        return
    age_seconds = time.time() - report.confirmed_at_ms / 1_000
    if report.confirmed_at_ms == 0:
        yield "no node has confirmed its table since it started"
    elif age_seconds > unconfirmed_seconds_max:
        yield f"no node has confirmed its table for {age_seconds:.0f} s"
