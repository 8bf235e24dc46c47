"""What a person's commands stand on: the own key, the trust, a connection."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from enforcer.api.client import ControlClient
from enforcer.api.server import TlsFiles
from enforcer.app.keys import load_key
from enforcer.app.passphrase import Passphrases
from enforcer.app.tls import read_tls
from enforcer.app.tls_why import why_not
from enforcer.backends.keys import PrivateKey, verify
from enforcer.config import Address, ClientConfig, read, read_trust
from enforcer.core.trust import Trust
from enforcer.errors import EnforcerError, InputError


@dataclass(frozen=True)
class Person:
    """Somebody at the command line; asked for a passphrase when a key is needed, once for all."""

    config: ClientConfig
    trust: Trust
    key_file: Path
    passphrases: Passphrases

    @classmethod
    def load(cls, config_file: Path, key_file: Path | None = None) -> Person:
        """Read client.toml and the trust file; `key_file` stands in for its key.

        Raises:
            NotFoundError, InputError, UnavailableError: a file is missing or wrong.
        """
        config = read(config_file, ClientConfig)
        trust = read_trust(config.trust_file)
        return cls(config, trust, key_file or config.key_file, Passphrases())

    @cached_property
    def key(self) -> PrivateKey:
        """The signing key.

        Raises:
            NotFoundError, InputError, UnavailableError: it cannot be read.
            PassphraseError: its passphrase was not given.
        """
        return load_key(self.key_file, self.passphrases)

    @cached_property
    def tls(self) -> TlsFiles:
        """The TLS files, read once: a stop goes to many nodes, and a passphrase costs time.

        Raises:
            NotFoundError, UnavailableError, InputError, PassphraseError: as :func:`read_tls`.
        """
        return read_tls(self.config.tls, self.passphrases)

    def client(self, address: str | None = None) -> ControlClient:
        """Return a connection to the control plane, or to the node at `address`.

        Raises:
            NotFoundError, UnavailableError: a TLS file cannot be read.
            InputError: the files do not belong together, or others can read the key.
            PassphraseError: its passphrase was not given.
        """
        tls = self.tls
        place = self.config.control.address if address is None else _address(address)

        async def explain() -> EnforcerError | None:
            return await why_not(place, self.config.tls, tls, time.time())

        return ControlClient(place, tls, self.trust, verify, explain)


def _address(text: str) -> Address:
    try:
        return Address(text)
    except ValueError as error:
        raise InputError(
            str(error), advice="Give the host and the port.", field="address"
        ) from error
