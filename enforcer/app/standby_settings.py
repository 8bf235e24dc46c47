"""What control planes of one ledger must have in common, as hashes by name.

Whoever takes over must answer at the same address, sign with the same keys and publish to the same
feed. So a standby compares these with what the process that serves shows; no value can be
read from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from enforcer.app.log_keys import LogKeys
from enforcer.backends.keys import EncryptionKey, PrivateKey
from enforcer.config import ControlConfig
from enforcer.core.trust import Trust


def settings_of(config: ControlConfig, trust: Trust) -> dict[str, str]:
    """Return them; reads the keys, so a standby that could not serve is refused at its start.

    Raises:
        EnforcerError: a key file is not what it must be.
    """
    log_keys = [path for path in (config.log_key_file, config.second_log_key_file) if path]
    redis = config.redis
    values: dict[str, Iterable[object]] = {
        "ledger origin": (trust.origin,),
        "log keys": sorted(LogKeys(trust, log_keys).vkeys),
        "roots": (*trust.roots.public_keys, trust.roots.threshold),
        "witnesses": (trust.witnesses.quorum, *(key.public_key for key in trust.witnesses.keys)),
        "signing key": (PrivateKey.load(config.signing_key_file).key_id,),
        "encryption key": (EncryptionKey.load(config.encryption_key_file).recipient,),
        "listen": (config.listen,),
        "redis": (redis.url, *redis.sentinels),
        "witnesses that are asked": ((each.name, each.url) for each in config.witnesses),
    }
    return {name: sha256(repr(tuple(each)).encode()).hexdigest() for name, each in values.items()}
