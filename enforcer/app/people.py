"""What a person's commands stand on: the own key, the trust, a connection."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from enforcer.api.client import ControlClient
from enforcer.app.tls import check_certificate, read_tls
from enforcer.backends.keys import PrivateKey, verify
from enforcer.config import ClientConfig, read, read_trust
from enforcer.core.trust import Trust


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the command line."""

    config: ClientConfig
    trust: Trust
    key: PrivateKey

    @classmethod
    def load(cls, config_file: Path, key_file: Path | None = None) -> Person:
        """Read client.toml and what it names; `key_file` stands in for its key.

        Raises:
            NotFoundError, InputError, UnavailableError: a file is missing or wrong.
        """
        config = read(config_file, ClientConfig)
        return cls(
            config, read_trust(config.trust_file), PrivateKey.load(key_file or config.key_file)
        )

    def client(self, address: str | None = None) -> ControlClient:
        """Return a connection to the control plane, or to the node at `address`.

        Raises:
            NotFoundError, UnavailableError: a TLS file cannot be read.
            InputError: the certificate has ended, or others can read the key.
        """
        tls = read_tls(self.config.tls)
        check_certificate(self.config.tls.certificate, tls.certificate, time.time())
        return ControlClient(address or self.config.control.address, tls, self.trust, verify)
