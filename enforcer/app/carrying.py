"""Brings nodes' attestations to the control plane by hand, from where no network leads there.

Reads what a node wrote, and brings it as it is: it is signed, so whoever carries it can change
nothing. Refuses what is no attestation before anybody is asked.
"""

from __future__ import annotations

from pathlib import Path

from enforcer.app.people import Person
from enforcer.backends import durable
from enforcer.core.attestation import Attestation, parse_attestation
from enforcer.core.entry import ENTRY_BYTES_MAX
from enforcer.core.envelope import Envelope, parse_envelope
from enforcer.services.attest import ATTESTATION_FILE


def read_carried(path: Path) -> tuple[Envelope, Attestation]:
    """Read an attestation from its file, or from a node's `state_dir`.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is none.
    """
    file = path / ATTESTATION_FILE if path.is_dir() else path
    envelope = parse_envelope(durable.read_file(file, size_bytes_max=ENTRY_BYTES_MAX).strip())
    return envelope, parse_attestation(envelope)


async def deliver(person: Person, carried: list[Envelope]) -> None:
    """Bring attestations to the control plane, in this order; the same one again is no error.

    Raises:
        EnforcerError: why one is not taken; those before it are.
    """
    async with person.client() as client:
        for envelope in carried:
            await client.attest(envelope)
