"""A safety officer's way to the own nodes: all at once, with the control plane or without it.

Owns who is asked for an order, which suspension a resumption answers, and what each node said.
Always true: no node and no control plane that is away keeps the act from the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from enforcer.api.client import ControlClient
from enforcer.app.acts import write_stop
from enforcer.app.orders import KnownOrder, find_in_ledger, known_order
from enforcer.app.people import Person
from enforcer.backends import durable
from enforcer.core.envelope import Envelope
from enforcer.core.judge_remedies import SO_ALREADY
from enforcer.errors import ConflictError, EnforcerError, InputError, UnavailableError
from enforcer.services.ledger import Recorded
from enforcer.v1 import node_pb2

LOOK_SECONDS_MAX: Final = 5.0
"""For an answer to what an order says; nobody waits longer for who is away."""
PUSH_SECONDS_MAX: Final = 15.0
AT_ONCE_MAX: Final = 64
"""Connections to nodes at one time."""
CONTROL: Final = "control plane"
ALREADY: Final = "already"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """What became of an act: at each node, and in the ledger."""

    nodes: Mapping[str, str | EnforcerError]
    """Address -> ``heeded``, ``kept``, ``recorded`` or ``already``, or why not."""
    recorded: Recorded | None
    problem: EnforcerError | None
    """Why the control plane did not record it."""

    @property
    def away(self) -> list[str]:
        """The nodes that do not have it because they could not be reached."""
        return [each for each, said in self.nodes.items() if isinstance(said, UnavailableError)]

    @property
    def stands(self) -> bool:
        """Whether the ledger has it, or has what it asks for."""
        return self.recorded is not None or _is_so_already(self.problem)

    @property
    def is_refused(self) -> bool:
        """Whether the ledger says another thing, which ends it at nodes that took it too."""
        return isinstance(self.problem, ConflictError) and not self.stands

    @property
    def taken(self) -> list[str]:
        """The nodes that took it."""
        return [each for each, said in self.nodes.items() if not isinstance(said, EnforcerError)]

    @property
    def is_everywhere(self) -> bool:
        """Whether it stands in the ledger, which brings it to all, or all nodes have it."""
        return self.stands or len(self.taken) == len(self.nodes)


async def first_known(
    person: Person, nodes: Sequence[str], order_id: str, entry: int | None, ledger: Path | None
) -> KnownOrder:
    """Return an order from whoever answers first.

    Raises:
        EnforcerError: nobody has it, or nobody answers; what the control plane said.
    """
    if ledger is not None:
        return find_in_ledger(ledger, person.trust, order_id, entry)
    asked = _asked(person, nodes, order_id, entry)
    tasks = [asyncio.create_task(each) for each in asked.values()]
    try:
        for done in asyncio.as_completed(tasks):
            answer = await done
            if isinstance(answer, KnownOrder):
                return answer
        raise _why(await tasks[0])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def suspended(
    person: Person,
    nodes: Sequence[str],
    order_id: str,
    entry: int | None,
    ledger: Path | None,
    operator: str | None,
) -> tuple[KnownOrder, str]:
    """Return an order and the payload hash of the suspension that holds, as the own nodes say.

    Where they differ, or do not answer, the control plane's word counts.

    Raises:
        ConflictError: nobody has suspended it.
        InputError: several operators have, and it is not clear which one is meant.
        EnforcerError: nobody has the order, or nobody answers; what the control plane said.
    """
    if ledger is not None:
        order = find_in_ledger(ledger, person.trust, order_id, entry)
        return order, _of(order, operator)
    asked = _asked(person, nodes, order_id, entry)
    answers = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
    known = {who: said for who, said in answers.items() if isinstance(said, KnownOrder)}
    if not known:
        raise _why(answers[CONTROL])
    told = [order for who, order in known.items() if who != CONTROL]
    at_nodes = Counter(each for order in told for each in order.suspensions.values())
    order = known.get(CONTROL, next(iter(known.values())))
    logged = set(order.suspensions.values()) & set(at_nodes)
    if logged or at_nodes:
        return order, max(logged or at_nodes, key=lambda each: at_nodes[each])
    return order, _of(order, operator)


async def push(
    person: Person, nodes: Sequence[str], act: Envelope, documents: Sequence[bytes]
) -> Said:
    """Bring a signed act to all nodes and to the control plane, at once.

    Repeated with another act it reaches those that were away; the others have what it asks for.
    """
    limit = asyncio.Semaphore(AT_ONCE_MAX)

    async def bring(address: str) -> str | EnforcerError:
        async def call(client: ControlClient) -> str:
            pushed = await client.push_suspension(act, documents, seconds_max=PUSH_SECONDS_MAX)
            name = node_pb2.SuspensionOutcome.Name(pushed.outcome)
            return name.removeprefix("SUSPENSION_OUTCOME_").lower()

        async with limit:
            said = await _patient(person, address, call, PUSH_SECONDS_MAX)
        return ALREADY if _is_so_already(said) else said

    async def record(client: ControlClient) -> Recorded | None:
        pushed = await client.push_suspension(act, documents, seconds_max=PUSH_SECONDS_MAX)
        return pushed.recorded

    recording = asyncio.create_task(_patient(person, None, record, PUSH_SECONDS_MAX))
    said = await asyncio.gather(*map(bring, nodes))
    recorded = await recording
    problem = recorded if isinstance(recorded, EnforcerError) else None
    proof = recorded if isinstance(recorded, Recorded) else None
    return Said(dict(zip(nodes, said, strict=True)), proof, problem)


def write_drop(directory: Path, act: Envelope, documents: Sequence[bytes]) -> Path:
    """Write an act, and before it what it names, as nodes take them from their drop folder.

    Raises:
        UnavailableError: it cannot be written.
    """
    durable.make_directory(directory)
    for data in documents:
        durable.write_file(directory / sha256(data).hexdigest(), data)
    path = directory / f"{act.payload_sha256}.json"
    write_stop(path, act)
    return path


def _asked(
    person: Person, nodes: Sequence[str], order_id: str, entry: int | None
) -> dict[str, Coroutine[None, None, KnownOrder | EnforcerError]]:
    """Return who is asked for an order, the control plane first."""

    async def from_control(client: ControlClient) -> KnownOrder:
        return known_order(await client.get(order_id, entry), order_id)

    async def from_node(client: ControlClient) -> KnownOrder:
        order = await client.read_order(order_id, entry, seconds_max=LOOK_SECONDS_MAX)
        return known_order(order, order_id)

    asked = {CONTROL: _patient(person, None, from_control, LOOK_SECONDS_MAX)}
    for address in nodes:
        asked[address] = _patient(person, address, from_node, LOOK_SECONDS_MAX)
    return asked


async def _patient(
    person: Person,
    address: str | None,
    call: Callable[[ControlClient], Awaitable[T]],
    seconds_max: float,
) -> T | EnforcerError:
    """Call a node, or the control plane, for so long; what is wrong comes as the answer."""
    try:
        async with asyncio.timeout(seconds_max), person.client(address) as client:
            return await call(client)
    except TimeoutError:
        return UnavailableError(
            f"{address or 'the control plane'} did not answer within {seconds_max:.0f} s",
            advice="Look whether it runs, and whether the way to it is open.",
        )
    except EnforcerError as error:
        return error


def _is_so_already(said: object) -> bool:
    """Tell whether an act was not taken because what it asks for holds."""
    return isinstance(said, ConflictError) and said.data.get("problem") == SO_ALREADY


def _why(answer: KnownOrder | EnforcerError) -> EnforcerError:
    """Return what the control plane said was wrong."""
    if isinstance(answer, EnforcerError):
        return answer
    return UnavailableError("nobody answered", advice="Try again.")


def _of(order: KnownOrder, operator: str | None) -> str:
    """Return the one suspension that an order has, or that of an operator."""
    if operator is None and len(order.suspensions) > 1:
        raise InputError(
            f"{', '.join(order.suspensions)} have suspended {order.ref.order_id}",
            advice="Say whose suspension ends: --operator.",
            field="operator",
        )
    found = order.suspensions.get(operator or next(iter(order.suspensions), ""))
    if found is None:
        raise ConflictError(
            f"{operator or 'nobody'} has suspended {order.ref.order_id}",
            advice="Nothing needs to be done.",
            field="operator",
        )
    return found
