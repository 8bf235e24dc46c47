"""Which target lists everybody may read, and when: the one rule for whatever leaves this house."""

from __future__ import annotations

from enforcer.core.order import OrderProposed, PublicationMode


def is_public(order: OrderProposed, t_ms: int) -> bool:
    """Tell whether everybody may read an order's list at `t_ms`."""
    publication = order.publication
    if publication.mode is PublicationMode.DELAYED:
        return publication.publish_at_ms is not None and publication.publish_at_ms <= t_ms
    return publication.mode is PublicationMode.FULL
