"""What a third person needs to check the acts of one order, without the ledger.

The acts themselves, and what they rest on: the policies, the root and log keys, and the
registration and revocation of every key that signed. A proof says that these acts are recorded,
who signed them, and what they did by the rules of their time. It cannot say that nothing else
was recorded, nor judge limits that span other orders: for that there is the whole ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from enforcer.core.entry import Entry, parse, parse_payload
from enforcer.core.envelope import Verify, key_id
from enforcer.core.key import KeyRegistered, KeyRevoked, LogKeyRotated, RootsChanged
from enforcer.core.policy import PolicyAdopted
from enforcer.core.receipt import Receipt, verify_receipt
from enforcer.core.state import State
from enforcer.core.trust import Trust
from enforcer.errors import InputError, IntegrityError, NotFoundError
from enforcer.services.replay import Act, fold, order_id_of


@dataclass(frozen=True, slots=True)
class Evidence:
    """One entry and its receipt; nothing in it is verified yet."""

    leaf: bytes
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof proves."""

    order_id: str
    acts: tuple[Act, ...]
    """Every act of the order that is in the proof."""
    rests_on: tuple[Act, ...]
    """The acts of the roots that those rest on."""
    size: int
    """Entries under the checkpoint of the newest receipt."""
    root: str
    state: State
    """After the entries of the proof."""


def needed_for(order_id: str, entries: Iterable[Entry]) -> list[int]:
    """Return the indices of the entries that prove an order, of all `entries` of a ledger.

    Raises:
        NotFoundError: no act names the order.
    """
    acts: list[int] = []
    roots: list[int] = []
    keys: dict[str, list[int]] = {}
    signers: set[str] = set()
    for index, entry in enumerate(entries):
        try:
            payload = parse_payload(entry.envelope)
        except InputError:
            continue  # it has no effect on anything
        match payload:
            case PolicyAdopted() | RootsChanged() | LogKeyRotated():
                roots.append(index)
            case KeyRegistered():
                keys.setdefault(key_id(bytes.fromhex(payload.public_key)), []).append(index)
            case KeyRevoked():
                keys.setdefault(payload.key_id, []).append(index)
            case _:
                if order_id_of(entry.envelope) == order_id:
                    acts.append(index)
                    signers |= {part.key_id for part in entry.envelope.signatures}
    if not acts:
        raise NotFoundError(
            f"no act in this ledger names the order {order_id}",
            advice="Check the order id, such as VN-2026-000001, and which ledger this is.",
            field="order",
        )
    of_keys = [index for signer in signers for index in keys.get(signer, ())]
    return sorted({*acts, *of_keys, *roots})


def check(order_id: str, evidence: Sequence[Evidence], trust: Trust, verify: Verify) -> Proved:
    """Check a proof against a trust alone.

    Raises:
        IntegrityError: a receipt does not prove its entry, or an entry is none; ``data["index"]``.
        InputError: there is no act of the order among them.
    """
    parts = sorted(evidence, key=lambda each: each.receipt.index)
    state = trust.genesis(verify)
    told = list(_fold_with_gaps(state, parts))
    if state.policy is None:
        raise IntegrityError(
            "the acts rest on no policy that the trusted roots signed",
            advice="Check that the trust file is that of the ledger's installation.",
            problem="proof",
        )
    size, root = 0, ""
    for part in parts:
        try:
            key = trust.key_of(part.receipt.checkpoint_note)
            checkpoint = verify_receipt(
                part.receipt, part.leaf, trust.origin, key, verify, trust.witnesses
            )
        except IntegrityError as error:
            raise _not_proved(part.receipt.index, error.message) from error
        if checkpoint.size > size:
            size, root = checkpoint.size, checkpoint.root.hex()
    acts = tuple(act for act in told if act.order_id == order_id)
    if not acts:
        raise InputError(
            f"no act of the order {order_id} is in this proof",
            advice="Check which order the proof is for.",
            field="order",
        )
    rests_on = tuple(act for act in told if act.order_id is None)
    return Proved(order_id, acts, rests_on, size, root, state)


def _fold_with_gaps(state: State, parts: Sequence[Evidence]) -> Iterator[Act]:
    """Fold the entries at their own indices; what stands between them is not here."""
    previous = -1
    for part in parts:
        index = part.receipt.index
        if index == previous:
            raise _not_proved(index, "the entry is there twice")
        state.size, previous = index, index
        try:
            yield from fold(state, (parse(part.leaf),))
        except IntegrityError as error:
            raise _not_proved(index, error.message) from error


def _not_proved(index: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"entry {index} is not proved: {why}",
        advice="Ask for the proof again, and believe nothing of this one.",
        problem="proof",
        index=index,
    )
