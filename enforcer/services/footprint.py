"""What an act reads and changes of the state, so that several can be recorded in one append.

Acts with disjoint footprints do not see each other: judged one by one against the state before
them all, they have the same effect as when each is folded before the next is judged. What the
roots do stands alone. A rule that looks at other orders than the act's own needs a token here.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from enforcer.core.entry import AnyPayload, RootAct
from enforcer.core.envelope import Envelope
from enforcer.core.hold import HoldLifted
from enforcer.core.order import OrderApproved, OrderProposed

Footprint: TypeAlias = frozenset[tuple[str, ...]]

EVERYTHING: Final[Footprint] = frozenset({("everything",)})
"""The footprint of an act that no other may share an append with."""


def footprint(envelope: Envelope, payload: AnyPayload) -> Footprint:
    """Return what the act touches, or EVERYTHING: policy and keys concern every other act.

    An order is touched with all its versions, because an approval ends the others.
    """
    if isinstance(payload, RootAct):
        return EVERYTHING
    if isinstance(payload, OrderProposed):
        order_ids = {payload.order_id}
        if payload.supersedes is not None:
            order_ids.add(payload.supersedes.order_id)
    else:
        order_ids = {payload.order.order_id}
    # All approved orders share one sum of targets: what adds to it sees what else does.
    shared = {("sum",)} if isinstance(payload, OrderApproved | HoldLifted) else set()
    return frozenset(
        {
            *shared,
            ("payload", envelope.payload_sha256),
            *(("order", order_id) for order_id in order_ids),
            *(("request", part.key_id, payload.request_id) for part in envelope.signatures),
        }
    )
