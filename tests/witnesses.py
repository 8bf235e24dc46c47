"""Witnesses for tests: real rules, real files, real keys, asked in this process."""

from __future__ import annotations

from pathlib import Path

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory import ManualClock
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import CosignerKey, Witnesses
from enforcer.core.merkle import CompactRange, consistency_proof, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.witness import AddCheckpoint
from enforcer.services.witness import Witness


class History:
    """What a log says its entries are; a dishonest one has two of them, under one key."""

    def __init__(self, log: VerifierKey, key: PrivateKey, leaves: list[bytes]) -> None:
        self.log = log
        self.key = key
        self.hashes = [leaf_hash(leaf) for leaf in leaves]

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.log.name, size, CompactRange.over(self.hashes[:size]).root())

    def note(self, size: int) -> bytes:
        return sign_checkpoint(self.checkpoint(size), self.log, self.key.sign)

    def proof(self, first: int, second: int) -> tuple[bytes, ...]:
        def node(level: int, index: int) -> bytes:
            return CompactRange.over(self.hashes[index << level : (index + 1) << level]).root()

        return consistency_proof(first, second, node) if 0 < first < second else ()

    def request(self, old: int, size: int) -> bytes:
        return AddCheckpoint(old, self.proof(old, size), self.note(size)).format()


def forked(log: VerifierKey, key: PrivateKey, at: int = 5) -> tuple[History, History]:
    """Return two histories of one log that go apart after `at` entries."""
    common = [b"entry %d" % index for index in range(at)]
    one = [b"one %d" % index for index in range(at, 40)]
    other = [b"other %d" % index for index in range(at, 40)]
    return History(log, key, common + one), History(log, key, common + other)


def open_witness(
    path: Path, log: VerifierKey, key: PrivateKey, name: str = "witness.example.org/w1"
) -> Witness:
    """Open a witness's memory, as its process does at its start."""
    return Witness(
        name=name,
        signer=key,
        logs={log.name: log},
        files=KeptFiles(path),
        clock=ManualClock(1_790_000_000_000),
        verify=verify,
    )


def named(keys: list[PrivateKey], quorum: int) -> Witnesses:
    """Return the witnesses that these keys are."""
    cosigners = (
        CosignerKey(f"witness.example.org/w{at}", key.public_key) for at, key in enumerate(keys)
    )
    return Witnesses(tuple(cosigners), quorum)
