"""The probe's wiring: a ledger's copy, a resolver at an address, and a rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from enforcer.app.check import name_of, replay
from enforcer.backends.dns_client import Resolver
from enforcer.config import Address
from enforcer.core.state import OrderRecord, State, in_force
from enforcer.core.trust import Trust
from enforcer.errors import InputError, NotFoundError
from enforcer.services.audit import Progress
from enforcer.services.probe import Asked, Probe, Probed, Report, Result
from enforcer.services.probe_plan import NAMES_MAX, plan
from enforcer.services.probe_reading import Observation, Register, words

__all__ = [
    "Asked",
    "Observation",
    "Probed",
    "Report",
    "Result",
    "Wanted",
    "probe",
    "resolver_at",
    "words",
]

ORDERS_MAX: Final = 1_000
QUERIES_A_SECOND_MAX: Final = 100
DNS_PORT: Final = 53


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be probed, and how."""

    orders: tuple[str, ...]
    """Order ids; none: every order that the ledger has in force."""
    controls: tuple[str, ...]
    """Names that must resolve."""
    seed: str
    names_max: int = 5
    """Names of each order."""
    per_second: int = 10
    timeout_ms: int = 2_000
    absent: str | None = None
    """A name that must not resolve; None: a made-up one under ``.invalid`` (RFC 6761 §6.4)."""
    operator: str | None = None
    """Whose network the resolver is on: its suspensions count."""
    block_pages: tuple[str, ...] = ()


class Pace:
    """Keeps questions apart."""

    def __init__(self, per_second: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self._interval_seconds = 1 / per_second
        self._next = time.monotonic()
        self._sleep = sleep

    def wait(self) -> None:
        """Return when the next question may be asked."""
        now = time.monotonic()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._interval_seconds


def probe(
    directory: Path,
    trust: Trust,
    resolver: Address,
    wanted: Wanted,
    *,
    now_ms: int,
    progress: Progress = lambda _stage, _done, _total: None,
) -> tuple[Report, int]:
    """Probe a resolver; return what was found, and the time of the ledger's last entry.

    Raises:
        InputError: a bound is passed, or a name is none.
        NotFoundError: an order is not in this ledger, or there is no ledger.
        IntegrityError: the ledger is not what the trusted key signed.
    """
    _check(wanted)
    controls = [name_of(text) for text in wanted.controls]
    absent = name_of(wanted.absent or f"probe-{_label(wanted.seed)}.invalid")
    replayed = replay(directory, trust, progress)
    state = replayed.state
    t_ms = max(now_ms, state.recorded_at_ms)
    if state.policy is None:
        raise NotFoundError("the ledger has no policy", advice="Name a ledger in use.")
    lists = cache(replayed.text)
    plans = [
        plan(
            state,
            lists,
            order,
            t_ms,
            names_max=wanted.names_max,
            seed=wanted.seed,
            operator=wanted.operator,
        )
        for order in _orders(state, wanted.orders, t_ms)
    ]
    policy = state.policy.payload
    asker = Probe(
        Resolver(resolver.host, resolver.port, wanted.timeout_ms),
        Register(policy.register_url, policy.register_domain),
        Pace(wanted.per_second).wait,
        wanted.block_pages,
    )
    report = asker.run(
        plans, controls, absent, lambda done, total: progress("probe orders", done, total)
    )
    return report, state.recorded_at_ms


def resolver_at(text: str) -> Address:
    """Read where a resolver is: an address, with a port or without.

    Raises:
        InputError: it is a name, or nothing at all.
    """
    host, port = text, str(DNS_PORT)
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        is_v6 = ip_address(host).version == 6
        return Address(f"[{host}]:{port}" if is_v6 else f"{host}:{port}")
    except ValueError as error:
        raise InputError(
            f"{text!r} is no resolver's address",
            advice="Write 192.0.2.53, 192.0.2.53:5353, 2001:db8::53 or [2001:db8::53]:5353.",
            field="resolver",
        ) from error


def _orders(state: State, order_ids: Sequence[str], t_ms: int) -> list[OrderRecord]:
    """Return the orders to probe: of each id the version in force, else the newest."""
    rows = {row.index for row in in_force(state, t_ms)}
    if not order_ids:
        found = [state.orders[index] for index in sorted(rows)]
    else:
        found = []
        for order_id in dict.fromkeys(order_ids):
            versions = state.versions.get(order_id)
            if not versions:
                raise NotFoundError(
                    f"there is no order {order_id} in this ledger",
                    advice="Check the order id, such as VN-2026-000001, and the copy's age.",
                    field="order",
                )
            chosen = next((index for index in versions if index in rows), versions[-1])
            found.append(state.orders[chosen])
    if len(found) > ORDERS_MAX:
        raise InputError(
            f"{len(found)} orders are too many for one probe",
            advice=f"Name at most {ORDERS_MAX} with --order.",
            field="order",
        )
    return found


def _check(wanted: Wanted) -> None:
    bounds = (
        ("names", wanted.names_max, NAMES_MAX),
        ("per-second", wanted.per_second, QUERIES_A_SECOND_MAX),
        ("timeout-ms", wanted.timeout_ms, 60_000),
    )
    for field, value, value_max in bounds:
        if not 1 <= value <= value_max:
            raise InputError(
                f"--{field}: {value} is not from 1 to {value_max}",
                advice="Give a number in that range.",
                field=field,
            )
    if not wanted.controls:
        raise InputError(
            "there is no name that must resolve",
            advice="Give --control with a name that no order blocks, such as www.example.org.",
            field="control",
        )
    for text in wanted.block_pages:
        try:
            ip_address(text)
        except ValueError as error:
            raise InputError(
                f"--block-page: {text!r} is no address",
                advice="Give the address of a block page.",
                field="block-page",
            ) from error


def _label(seed: str) -> str:
    """Return letters and digits that are the same for the same seed."""
    return sha256(seed.encode("utf-8", "replace")).hexdigest()[:16]
