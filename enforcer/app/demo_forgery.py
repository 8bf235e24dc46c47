"""The demo's thief: may write everything in Redis, and has none of the keys that count."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from enforcer.app.acts import Common, signed
from enforcer.app.check import replay
from enforcer.backends.feed_format import CHECKPOINT_FIELD, ENTRY_FIELD, FeedKeys, stream_id
from enforcer.backends.keys import PrivateKey
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.entry import Entry, encode
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.order import OrderApproved, OrderRef
from enforcer.core.trust import Trust
from enforcer.errors import NotFoundError

REDIS_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Forgery:
    """What the thief made: a good hash tree and a checkpoint, signed by a key of the thief's."""

    index: int
    leaf: bytes
    checkpoint_note: bytes


def forge_approval(ledger: Path, trust: Trust, order_id: str) -> Forgery:
    """Make the entry that would approve a proposed order, as well as it can be done.

    Raises:
        NotFoundError: there is no such order.
    """
    replayed = replay(ledger, trust)
    state = replayed.state
    if order_id not in state.versions or state.policy is None:
        raise NotFoundError(f"there is no order {order_id}", advice="Propose it first.")
    order = state.orders[state.versions[order_id][-1]]
    thief = PrivateKey.generate()
    now_ms = time.time_ns() // 1_000_000
    common = Common.new(trust.origin, now_ms)
    payload = OrderApproved(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        order=OrderRef(order_id, order.index, order.payload_sha256),
        policy_sha256=state.policy.payload_sha256,
    )
    leaf = encode(Entry(max(now_ms, state.recorded_at_ms), signed(payload, thief)))
    tree = CompactRange.over(replayed.leaf_hashes())
    tree.append(leaf_hash(leaf))
    note = sign_checkpoint(
        Checkpoint(trust.origin, tree.size, tree.root()),
        VerifierKey(VerifierKey.parse(trust.log_vkey).name, thief.public_key),
        thief.sign,
    )
    return Forgery(state.size, leaf, note)


def put_into_feed(url: str, origin: str, forgery: Forgery) -> None:
    """Write a forgery where nodes read, with all the rights of the control plane."""
    keys = FeedKeys(origin)
    with redis.Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_SECONDS) as feed:
        fields = {ENTRY_FIELD: forgery.leaf, CHECKPOINT_FIELD: forgery.checkpoint_note}
        feed.xadd(keys.log, dict(fields), id=stream_id(forgery.index))
        feed.set(keys.head, forgery.checkpoint_note)
