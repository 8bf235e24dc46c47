"""A batch of attestations as octets, and the root over it: what is recorded of an interval.

For each attestation, ascending by node id, a line ``<key id> <signature in hex> <length>``, LF,
the payload, LF. The envelope is made of these again, in its one spelling; the root (RFC 6962) is
over the envelopes. Refuses what does not encode back to itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from enforcer.core.attestation import Attestation
from enforcer.core.envelope import Envelope, Signature, format_envelope
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.errors import IntegrityError

BATCH_BYTES_MAX: Final = 512 << 20
PAYLOAD_BYTES_MAX: Final = 32 << 10
"""So many fit: attestations are not longer, and no more in a batch than 16,384."""

_HEADER: Final = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{128}) ([1-9][0-9]{0,4})\n")


def format_batch(envelopes: Iterable[Envelope]) -> bytes:
    """Write attestations, each with its one signature, in the order given."""
    parts = []
    for envelope in envelopes:
        (signature,) = envelope.signatures
        head = f"{signature.key_id} {signature.octets.hex()} {len(envelope.payload)}\n"
        parts += [head.encode("ascii"), envelope.payload, b"\n"]
    return b"".join(parts)


def parse_batch(data: bytes) -> list[Envelope]:
    """Read the envelopes of a batch; what they say is not read.

    Raises:
        IntegrityError: it is no batch.
    """
    envelopes, at = [], 0
    while at < len(data):
        head = _HEADER.match(data, at)
        end = head.end() + int(head[3]) if head is not None else 0
        if head is None or int(head[3]) > PAYLOAD_BYTES_MAX or data[end : end + 1] != b"\n":
            raise IntegrityError(
                f"octet {at} of the batch begins no attestation",
                advice="Get the batch from another copy of the ledger.",
                problem="altered",
            )
        signature = Signature(head[1].decode("ascii"), bytes.fromhex(head[2].decode("ascii")))
        envelopes.append(Envelope(Attestation.TYPE, data[head.end() : end], (signature,)))
        at = end + 1
    return envelopes


def root_of(envelopes: Iterable[Envelope]) -> str:
    """Return the root over the envelopes' octets, in hex."""
    hashes = (leaf_hash(format_envelope(envelope)) for envelope in envelopes)
    return CompactRange.over(hashes).root().hex()
