"""A ledger of years for an installation: thousands of proposals that its people signed, few of
them approved, written to its files while the control plane is away.
"""

from __future__ import annotations

import json

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.entry import Entry, encode
from enforcer.core.envelope import Envelope
from enforcer.core.note import VerifierKey
from enforcer.core.order import OrderRef
from tests.e2e.installation import ORIGIN, Installation, now_ms
from tests.people import seal

ENTRIES = 14_000
"""Three waypoints, and a part of one more."""
APPROVED_EVERY = 200
AT_ONCE = 1_000
PROPOSED = b"exact proposed.years.example.org\n"


def lengthen(installation: Installation, entries: int = ENTRIES) -> list[str]:
    """Have the ledger grow to so many entries; return the names that its orders block.

    The control plane is killed for it, and not started again.
    """
    installation.kill("control")
    vkey = VerifierKey.parse(installation.trust.log_vkey)
    key = PrivateKey.load(installation.files.control / "log.key")
    land, names = installation.land, []
    with TileLedger.open(
        installation.files.ledger, origin=ORIGIN, vkey=vkey, verify=verify, writer=True
    ) as ledger:
        ledger.lists.put(PROPOSED)
        while ledger.size < entries:
            leaves: list[bytes] = []
            while len(leaves) < AT_ONCE:
                index = ledger.size + len(leaves)
                if index % APPROVED_EVERY:
                    leaves.append(_leaf(installation.proposal(PROPOSED)))
                    continue
                names.append(f"n{index:05}.years.example.org")
                targets = f"exact {names[-1]}\n".encode()
                ledger.lists.put(targets)
                proposal = installation.proposal(targets)
                order_id = json.loads(proposal.payload)["order_id"]
                ref = OrderRef(order_id, index, proposal.payload_sha256)
                leaves.append(_leaf(proposal))
                leaves.append(_leaf(seal(land.approval(ref), land.approver.key)))
            ledger.append(leaves, lambda each: sign_checkpoint(each, vkey, key.sign))
    return names


def _leaf(envelope: Envelope) -> bytes:
    return encode(Entry(now_ms(), envelope))
