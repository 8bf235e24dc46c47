"""Orders as a person's commands need them: found, checked against their hash, acted upon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from enforcer.api.client import ControlClient
from enforcer.app.acts import SALT_BYTES
from enforcer.app.check import replay
from enforcer.app.people import Person
from enforcer.app.sealed_lists import open_list
from enforcer.backends import durable
from enforcer.core.entry import parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.fields import to_plain
from enforcer.core.guard import Guard
from enforcer.core.order import OrderProposed, OrderRef
from enforcer.core.state import OrderRecord, State
from enforcer.core.trust import Trust
from enforcer.errors import (
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from enforcer.v1 import node_pb2, order_pb2

TARGETS_SHOWN_MAX: Final = 10

_STATUS = "ORDER_STATUS_"


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order whose payload is the one that its hash names."""

    ref: OrderRef
    payload: OrderProposed
    status: str
    expires_at_ms: int
    review_due_at_ms: int
    until_ms: int
    """When it ends by itself: at its end, unreviewed, or with its list unpublished."""
    signers: tuple[str, ...]
    register_url: str
    decision_kind: str
    """The decision that it rests on now."""
    holds: tuple[Guard, ...] = ()
    """What must be lifted."""
    suspensions: Mapping[str, str] = field(default_factory=dict)
    """Operator that does not enforce it -> the payload's hash of its suspension."""
    cosigner: str | None = None
    """Who signed for oversight that the targets stay hidden."""
    list_secret: str | None = None
    """What opens a delayed list, once it is published."""

    def standing_lines(self) -> dict[str, str | None]:
        """Return where it stands, as words."""
        return {
            "status": self.status,
            "suspended by": ", ".join(self.suspensions) or None,
            "signed by": ", ".join(self.signers),
            "hidden by": self.cosigner,
            "published": "yes: everybody can open the list" if self.list_secret else None,
            "entry": str(self.ref.entry_index),
            "register": self.register_url or None,
        }

    def plain(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "entry_index": self.ref.entry_index,
            "payload_sha256": self.ref.payload_sha256,
            "status": self.status,
            "until_ms": self.until_ms,
            "signed_by": list(self.signers),
            "register_url": self.register_url,
            "decision_kind": self.decision_kind,
            "holds": [guard.name for guard in self.holds],
            "suspended_by": list(self.suspensions),
            "cosigner": self.cosigner,
            "list_secret": self.list_secret,
            "payload": to_plain(self.payload),
        }


def known_order(order: order_pb2.Order, order_id: str) -> KnownOrder:
    """Check that what the control plane says is about `order_id`, and as its hash says.

    Raises:
        IntegrityError: the payload is not the one that was asked about.
    """
    got = sha256(order.payload).hexdigest()
    payload = parse_payload(Envelope(OrderProposed.TYPE, order.payload, ()))
    if (
        got != order.payload_sha256
        or not isinstance(payload, OrderProposed)
        or payload.order_id != order_id
    ):
        raise IntegrityError(
            f"what came for {order_id} is not that order, or not what its hash names",
            advice="Sign nothing; ask the ledger's operator, and look into a copy of the ledger.",
            expected=order.payload_sha256,
            got=got,
        )
    return KnownOrder(
        OrderRef(order_id, order.entry_index, got),
        payload,
        _status_name(order.status),
        order.expires_at_ms,
        order.review_due_at_ms,
        order.until_ms,
        _persons(signer.person_id for signer in order.signers),
        order.register_url,
        order_pb2.DecisionKind.Name(order.decision_kind).removeprefix("DECISION_KIND_"),
        _guards(order.holds),
        {each.operator: each.payload_sha256 for each in order.suspensions},
        order.cosigner_person_id or None,
        order.list_secret or None,
    )


@dataclass(frozen=True, slots=True)
class Particulars:
    """What an order's hashes stand for: whoever signs must be able to read it."""

    targets: tuple[str, ...]
    """The first TARGETS_SHOWN_MAX lines; none of a list that was not opened."""
    is_hidden: bool
    reasons: str | None
    """The statement of reasons; None when it is not kept any more."""


async def particulars(
    client: ControlClient,
    order: OrderProposed,
    to: Path | None = None,
    secret: str | None = None,
) -> Particulars:
    """Read an order's list, whole and into the file `to` if there is one, and its reasons.

    A sealed list is opened with its `secret`, and left alone without one.

    Raises:
        IntegrityError: what came is not what the order's hashes name.
        UnavailableError: `to` cannot be written.
    """
    kept: list[bytes] = []
    is_hidden = order.publication.is_sealed and secret is None
    if not is_hidden:
        async for chunk in client.get_target_list(order.list_file_sha256):
            if to is not None or secret or not kept:  # one chunk holds more lines than are shown
                kept.append(chunk)
    if secret is not None:
        kept = [open_list(b"".join(kept), secret, order)]
    if to is not None and not is_hidden:
        mode = durable.PRIVATE_MODE if secret else durable.PUBLIC_MODE
        durable.write_file(to, b"".join(kept), mode=mode)
    lines = b"".join(kept[:1]).split(b"\n", TARGETS_SHOWN_MAX)[:TARGETS_SHOWN_MAX]
    try:
        document = await client.get_side_file(order.statement_of_reasons_sha256)
    except NotFoundError:
        reasons = None
    else:
        reasons = document[SALT_BYTES:].decode("utf-8", "replace")
    shown = tuple(line.decode("ascii") for line in lines if line)
    return Particulars(shown, is_hidden, reasons)


def record_in(state: State, order_id: str, entry_index: int | None) -> OrderRecord:
    """Find an order's newest version, or the one proposed by an entry.

    Raises:
        NotFoundError: it is not there.
    """
    indices = state.versions.get(order_id, ())
    if not indices or (entry_index is not None and entry_index not in indices):
        raise NotFoundError(
            f"there is no order {order_id} in this ledger",
            advice="Check the id and the entry, or use a newer copy.",
            order_id=order_id,
        )
    return state.orders[indices[-1] if entry_index is None else entry_index]


def find_in_ledger(
    directory: Path, trust: Trust, order_id: str, entry_index: int | None
) -> KnownOrder:
    """Find an order in a copy of the ledger, verified by `trust` alone.

    Raises:
        NotFoundError: it is not there.
        IntegrityError: the copy is not what the trusted key signed.
    """
    state = replay(directory, trust).state
    record = record_in(state, order_id, entry_index)
    url = state.policy.payload.register_url + order_id if state.policy else ""
    return KnownOrder(
        OrderRef(order_id, record.index, record.payload_sha256),
        record.payload,
        record.status.name,
        record.expires_at_ms,
        record.review_due_at_ms,
        record.until_ms,
        _persons(signer.person_id for signer in record.signers),
        url,
        record.decision_kind.name,
        tuple(sorted(record.holds)),
        {each.operator: each.payload_sha256 for each in record.suspensions},
        record.cosigner.person_id if record.cosigner else None,
        record.list_secret,
    )


async def list_known(client: ControlClient, status: str | None) -> AsyncIterator[dict[str, object]]:
    """Yield all orders that have a status, as plain values; their payloads are not fetched.

    Raises:
        InputError: the status is unknown.
    """
    names = {name.removeprefix(_STATUS): value for name, value in order_pb2.OrderStatus.items()}
    wanted = names.get(status.upper()) if status else order_pb2.ORDER_STATUS_UNSPECIFIED
    if wanted is None:
        known = ", ".join(name.lower() for name, value in names.items() if value)
        raise InputError(
            f"{status!r} is no status", advice=f"Write one of {known}.", field="status"
        )
    async for order in client.orders(wanted):
        yield {
            "order_id": order.order_id,
            "version": order.version,
            "entry_index": order.entry_index,
            "status": _status_name(order.status),
            "authority": order.authority,
            "holds": [guard.name for guard in _guards(order.holds)],
            "category": order_pb2.Category.Name(order.category).removeprefix("CATEGORY_"),
            "target_count": order.target_count,
            "until_ms": order.until_ms,
            "signed_by": ", ".join(_persons(signer.person_id for signer in order.signers)),
        }


async def push(person: Person, act: Envelope, address: str) -> tuple[str, str | EnforcerError]:
    """Push a stop straight to the node at `address`; return what became of it."""
    try:
        async with person.client(address) as node:
            pushed = await node.push_stop(act)
    except EnforcerError as error:
        return address, error
    name = node_pb2.StopOutcome.Name(pushed.outcome).removeprefix("STOP_OUTCOME_")
    return address, name.lower()


def _status_name(status: order_pb2.OrderStatus.ValueType) -> str:
    return order_pb2.OrderStatus.Name(status).removeprefix(_STATUS)


def _guards(values: Iterable[int]) -> tuple[Guard, ...]:
    """Read what holds an order.

    Raises:
        UnavailableError: this version does not know a guard.
    """
    try:
        return tuple(map(Guard, values))
    except ValueError as error:
        raise UnavailableError(
            f"the control plane names a guard that is not known here: {error}",
            advice="Update this software.",
        ) from error


def _persons(identities: Iterable[str]) -> tuple[str, ...]:
    """Return each person once; one may have signed with several keys."""
    return tuple(dict.fromkeys(identities))
