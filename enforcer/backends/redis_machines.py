"""Which machines a Redis behind sentinels is: all that its sentinels name, as of now.

A failover makes a replica the primary within seconds, so whoever keeps the way to the primary
open keeps it open to all that may become it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from enforcer.backends.redis_connection import BoundedParser
from enforcer.backends.redis_place import RedisPlace
from enforcer.errors import UnavailableError

SECONDS_MAX: Final = 1.5
"""For one sentinel; they are asked side by side."""


async def machines(place: RedisPlace) -> frozenset[str]:
    """Return the hosts of the primary, of its replicas and of the sentinels themselves.

    Raises:
        UnavailableError: no sentinel that answers knows the primary.
    """
    clients = place.sentinel_clients(BoundedParser)
    try:
        asked = (_machines(client, place.primary) for client in clients)
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        for client in clients:
            await client.aclose(close_connection_pool=True)
    found = frozenset(host for each in answers if isinstance(each, set) for host in each)
    if not found:
        raise UnavailableError(
            f"no sentinel that answers knows {place.primary}",
            advice="Check the sentinels' addresses, and the primary's name in the URL.",
        )
    return found


async def _machines(client: Redis, primary: str) -> set[str]:
    """Ask one sentinel; it may let this user know nothing but the primary.

    Raises:
        RedisError, OSError, ValueError, TimeoutError: it does not answer.
    """
    async with asyncio.timeout(SECONDS_MAX):
        said: Any = await client.sentinel_master(primary)
        found = {str(said["ip"])}
        for others in (client.sentinel_slaves, client.sentinel_sentinels):
            try:
                said = await others(primary)
            except ResponseError:
                continue
            found |= {str(each["ip"]) for each in said}
    return {host for host in found if host}
