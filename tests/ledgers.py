"""A land's ledger written to a directory as the control plane does, and what nodes attested of it.

`write(leaves)` writes whatever leaves it is given with the log's own key: what a dishonest control
plane can do. Tests hold the audit against that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from enforcer.app.audit import audit_directory
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.attestation import Attestation, GateState
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State, in_force
from enforcer.core.table import NO_LOCAL_LAYER, OrderRow, table_digest
from enforcer.core.trust import Trust
from enforcer.services.findings import Code, Finding, Severity
from tests.people import ORIGIN, Land, request_id, seal

LOG_KEY = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, LOG_KEY.public_key)
TARGETS = b"exact bad.example.org\nsubtree worse.example.org\n"


def only(findings: Iterable[Finding], code: Code) -> Finding:
    """Return the one finding of that code; there is no other violation."""
    (found,) = [each for each in findings if each.severity is not Severity.NOTE]
    assert found.code is code, found
    return found


def digest_of(state: State, rows: Sequence[OrderRow]) -> str:
    assert state.policy is not None
    return table_digest(ORIGIN, state.policy.ref, rows, NO_LOCAL_LAYER)


def opened(path: Path, log_key: PrivateKey = LOG_KEY, writer: bool = False) -> TileLedger:
    vkey = VerifierKey(ORIGIN, log_key.public_key)
    return TileLedger.open(path, origin=ORIGIN, vkey=vkey, verify=verify, writer=writer)


class CountingVerify:
    """Verifies signatures, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.calls += 1
        return verify(public_key, message, signature)


class Archive:
    """A land, and its ledger written to a directory as the control plane does."""

    def __init__(self, path: Path, land: Land | None = None, log_key: PrivateKey = LOG_KEY) -> None:
        self.path = path
        self.land = land or Land.founded()
        self.log_key = log_key

    @property
    def trust(self) -> Trust:
        return Trust(ORIGIN, VKEY.text, self.land.state.roots)

    def write_trust(self, path: Path) -> Path:
        """Write the trust file that an auditor has."""
        lines = {
            "origin": ORIGIN,
            "log_vkey": VKEY.text,
            "root_keys": [key.public_key.hex() for key in self.land.roots],
            "root_threshold": 2,
        }
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        path.write_text(f"{text}[witnesses]\nquorum = 0\n")
        return path

    def attestation(self, **changes: object) -> Attestation:
        """Return what an honest node says now."""
        state, t_ms = self.land.state, self.land.now_ms
        assert state.policy is not None
        leaves = CompactRange.over(map(leaf_hash, self.land.leaves))
        ineffective = tuple(e.index for e in self.land.effects if not e.is_effective)
        said = Attestation(
            ledger_origin=ORIGIN,
            request_id=request_id(),
            valid_until_ms=t_ms + DAY_MS,
            node_id=self.land.node.person_id,
            t_ms=t_ms,
            ledger_size=state.size,
            root_sha256=leaves.root().hex(),
            table_digest=table_digest(
                ORIGIN, state.policy.ref, in_force(state, t_ms), NO_LOCAL_LAYER
            ),
            local_digest=NO_LOCAL_LAYER.digest,
            gate=GateState.HOLDS_TABLE,
            firewall=FirewallState.NONE,
            pieces_digest=None,
            repairs=0,
            curtailed=(),
            omission_count=0,
            omissions=(),
            ineffective=ineffective[:100],
        )
        return replace(said, **changes)

    def attest(
        self, said: Attestation | None = None, key: PrivateKey | None = None, **changes: object
    ) -> None:
        said = said or self.attestation(**changes)
        folder = self.path / "attestations" / said.node_id
        folder.mkdir(parents=True, exist_ok=True)
        envelope = seal(said, key or self.land.node.key)
        (folder / f"{said.t_ms}-{said.ledger_size}.json").write_bytes(format_envelope(envelope))

    def write(
        self, leaves: list[bytes] | None = None, lists: Iterable[bytes] = (TARGETS,)
    ) -> bytes | None:
        leaves = self.land.leaves if leaves is None else leaves
        vkey = VerifierKey(ORIGIN, self.log_key.public_key)
        with TileLedger.open(
            self.path, origin=ORIGIN, vkey=vkey, verify=verify, writer=True
        ) as ledger:
            if more := leaves[ledger.size :]:
                ledger.append(more, lambda each: sign_checkpoint(each, vkey, self.log_key.sign))
            for text in lists:
                ledger.lists.put(text)
            return ledger.checkpoint_note

    def audit(self, **options: object) -> list[Finding]:
        options.setdefault("as_of_ms", self.land.now_ms + 1_000)
        summary, findings = audit_directory(self.path, self.trust, **options)
        self.summary = summary
        return list(findings)
