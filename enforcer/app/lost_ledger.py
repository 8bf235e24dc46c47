"""Keeps a control plane whose ledger is not at its place from beginning another one.

A disk that is not mounted looks like a first start. Always true: where the feed still has what this
log signed, nothing is begun; where nobody knows of any entry, a ledger begins.
"""

from __future__ import annotations

from enforcer.backends.keys import verify
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.config import ControlConfig
from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, EnforcerError


async def check_not_lost(config: ControlConfig, trust: Trust, feed: RedisFeedPublisher) -> None:
    """Refuse to begin a ledger of which the feed has entries.

    Raises:
        ConflictError: there is none in its directory, and the feed has what the log signed.
    """
    if (config.ledger_dir / "checkpoint").exists():
        return
    try:
        note = await feed.head()
        if note is None:
            return
        key = VerifierKey.parse(trust.log_vkey)
        size = open_checkpoint(note, trust.origin, key, verify).size
    except EnforcerError:
        return  # away, or garbage: nobody's word
    raise ConflictError(
        f"there is no ledger in {config.ledger_dir}, and this log has signed one of {size} "
        "entries, which its feed has",
        advice="Mount its disk, or make it anew: enforcer ledger restore. To begin another ledger, "
        "take another origin and log key, or a Redis that has nothing of this one.",
        size=size,
    )
