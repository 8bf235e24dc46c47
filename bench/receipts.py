"""Receipts: how large they are in a ledger of 100,000 entries with three cosignatures.

A receipt (C2SP tlog-proof) is the entry's index, the hashes up to the root, the signed
checkpoint and its cosignatures; checking one takes no more than the trust file. Each is checked
as a court would, and the time is that of the check.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter_ns

from bench import Row, median_row
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import CosignerKey, Witnesses, cosign, with_lines
from enforcer.core.note import Note, VerifierKey
from enforcer.core.receipt import Receipt, verify_receipt

ENTRIES = 100_000
BATCH = 10_000
SAMPLE = 400
ORIGIN = "cert.example.org/ledger"


def run() -> list[Row]:
    log = PrivateKey.generate()
    vkey = VerifierKey(ORIGIN, log.public_key)
    keys = [PrivateKey.generate() for _ in range(3)]
    cosigners = [
        CosignerKey(f"witness.example.org/w{at}", key.public_key) for at, key in enumerate(keys)
    ]

    def seal(checkpoint: Checkpoint) -> bytes:
        return sign_checkpoint(checkpoint, vkey, log.sign)

    with (
        tempfile.TemporaryDirectory() as folder,
        TileLedger.open(
            Path(folder), origin=ORIGIN, vkey=vkey, verify=verify, writer=True
        ) as ledger,
    ):
        leaves = [b'{"entry":%d}' % index for index in range(ENTRIES)]
        for at in range(0, ENTRIES, BATCH):
            ledger.append(leaves[at : at + BATCH], seal)
        plain = [len(ledger.receipt(at).format()) for at in range(0, ENTRIES, ENTRIES // SAMPLE)]
        note = Note.parse(ledger.checkpoint_note or b"")
        lines = [
            cosign(note.text, key, signer.sign, 1_790_000_000)
            for key, signer in zip(cosigners, keys, strict=True)
        ]
        ledger.keep_cosigned(with_lines(note, lines).format())
        witnesses = Witnesses(tuple(cosigners), 2)
        sizes, times_us = [], []
        for at in range(0, ENTRIES, ENTRIES // SAMPLE):
            text = ledger.receipt(at).format()
            sizes.append(len(text))
            begun_ns = perf_counter_ns()
            verify_receipt(Receipt.parse(text), leaves[at], ORIGIN, vkey, verify, witnesses)
            times_us.append((perf_counter_ns() - begun_ns) / 1_000)
    return [
        Row("entries", ENTRIES, ""),
        median_row("receipt without cosignatures", plain, "octets"),
        median_row("receipt with three cosignatures", sizes, "octets"),
        Row("the largest of them", max(sizes), "octets"),
        median_row("to check one", times_us, "µs"),
    ]
