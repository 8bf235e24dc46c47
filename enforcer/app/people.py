"""What a person's commands stand on: the own key, the trust, a connection, list normalising."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from enforcer.api.client import ControlClient
from enforcer.app.tls import check_certificate, read_tls
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.list_import import NormaliseReport
from enforcer.config import ClientConfig, read, read_trust
from enforcer.core.target import ListSummary, TargetKind
from enforcer.core.trust import Trust

__all__ = ["NormaliseReport", "Person", "normalise"]


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


async def normalise(
    loose: Path, canonical: Path, kind: TargetKind
) -> tuple[NormaliseReport, ListSummary | None]:
    """Write the canonical form of a list as people write it; None where nothing is left.

    Raises:
        InputError: it has over two million targets.
        UnavailableError: a file cannot be read or written, or the worker died.
    """
    async with ListWorker() as worker:
        report = await worker.normalise(loose, canonical, kind)
        summary = await worker.check_list(canonical) if report.target_count else None
    return report, summary
