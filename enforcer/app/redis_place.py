"""From a program's configuration to the Redis of its feed."""

from __future__ import annotations

from enforcer.backends.redis_place import RedisPlace, RedisTls, Sentinels
from enforcer.config import Redis


def place_of(config: Redis) -> RedisPlace:
    """Return where the feed is; password files are read now.

    Raises:
        NotFoundError, UnavailableError, InputError: a password file cannot be read, or by others.
    """
    sentinels = None
    if config.sentinels:
        sentinels = Sentinels(
            tuple((each.host, each.port) for each in config.sentinels),
            config.sentinel_user,
            config.sentinel_password(),
        )
    return RedisPlace(
        config.url,
        config.password(),
        RedisTls(config.ca, config.certificate, config.key),
        sentinels,
        config.from_replica,
    )
