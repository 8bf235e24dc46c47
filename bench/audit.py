"""A ledger of 100,000 entries, verified offline: entries a second, memory, sizes of proofs.

Written by the real append, every act really signed, with a list of its own for every order, as an
authority would fill it in ten weeks: of three acts one proposes, one approves, one stops what was
approved a thousand orders before. A node attests once every thousand entries. Each command runs
as a program of its own; peak memory is VmHWM, mapped files included. AUDIT_ENTRIES says how many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import perf_counter, sleep

from bench import ROOT, Row, median_row
from enforcer.core.order import OrderRef
from tests.ledgers import Archive
from tests.people import Land

ENTRIES = int(os.environ.get("AUDIT_ENTRIES", "100000"))
ROUNDS = int(os.environ.get("AUDIT_ROUNDS", "3"))
LIVE_ORDERS = 1_000
TARGETS = 10
ENTRY_MS = 60_000
ATTESTED_EVERY = 1_000
APPENDED = 500
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Ran:
    """One command, run to its end."""

    seconds: float
    peak_mb: float
    said: dict[str, object]


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="enforcer-bench-") as name:
        base = Path(name)
        archive = Archive(base / "ledger", Land.founded())
        began = perf_counter()
        order_id, signed_seconds = fill(archive)
        write_seconds = perf_counter() - began - signed_seconds
        trust = archive.write_trust(base / "trust.toml")
        rows = [
            Row("entries", len(archive.land.leaves), ""),
            Row("sign and fold, here", signed_seconds, "s"),
            Row("append, fsync and read back, 500 at a time", write_seconds, "s"),
        ]

        def audit(*words: object) -> Ran:
            return ran("audit", *words, "--trust", trust, "--json")

        at = ["--at", iso(archive.land.now_ms)]
        verified = [audit("verify", archive.path, *at) for _ in range(ROUNDS)]
        assert verified[0].said["outcome"] == "GOOD", verified[0].said["findings"]
        rows += [
            median_row("audit verify", [each.seconds for each in verified], "s"),
            median_row("audit verify", [ENTRIES / each.seconds for each in verified], "entries/s"),
            median_row("audit verify, peak memory", [each.peak_mb for each in verified], "MB"),
        ]
        packed = base / "ledger.tar.gz"
        exported = audit("export", archive.path, packed, *at)
        again = audit("verify", packed)
        replayed = audit("replay", archive.path, *at)
        proof = base / "proof.tar.gz"
        proved = audit("prove", archive.path, order_id, proof)
        checked = audit("check-proof", proof)
        receipt = next(iter(_receipts(archive, order_id, base, trust)))
        return [
            *rows,
            Row("audit export", exported.seconds, "s"),
            Row("the archive", packed.stat().st_size / len(archive.land.leaves), "bytes an entry"),
            Row("audit verify, of the archive", again.seconds, "s"),
            Row("audit verify, of the archive, peak memory", again.peak_mb, "MB"),
            Row("audit replay", replayed.seconds, "s"),
            Row("audit prove, one order", proved.seconds, "s"),
            Row("audit check-proof", checked.seconds, "s"),
            Row("a receipt", receipt, "bytes"),
            Row("a whole proof, packed", proof.stat().st_size, "bytes"),
        ]


def fill(archive: Archive) -> tuple[str, float]:
    """Write the ledger; return an order's id, and the seconds that signing and folding took."""
    land = archive.land
    live: list[OrderRef] = []
    signed_seconds, order_id = 0.0, ""
    (archive.path / "lists").mkdir(parents=True)
    while len(land.leaves) < ENTRIES:
        began = perf_counter()
        land.now_ms += ENTRY_MS
        if len(live) > LIVE_ORDERS:
            land.stop(live.pop(0))
        else:
            text = targets(len(land.leaves))
            (archive.path / "lists" / sha256(text).hexdigest()).write_bytes(text)
            ref = land.propose(text)
            land.now_ms += ENTRY_MS
            land.approve(ref)
            live.append(ref)
            order_id = ref.order_id
        signed_seconds += perf_counter() - began
        if len(land.leaves) % ATTESTED_EVERY < 2:
            archive.attest()
        if len(land.leaves) % APPENDED < 2:
            archive.write(lists=())
    archive.write(lists=())
    assert all(effect.is_effective for effect in land.effects)
    return order_id, signed_seconds


def targets(number: int) -> bytes:
    names = sorted(f"exact n{number:06}-{at}.example.org" for at in range(TARGETS))
    return "".join(f"{name}\n" for name in names).encode()


def iso(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000 + 1, UTC).isoformat()


def ran(*words: object) -> Ran:
    """Run ``enforcer WORDS`` and watch how much memory it holds."""
    command = [sys.executable, "-m", "enforcer", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        peak = Peak(process.pid)
        peak.start()
        out, _ = process.communicate()
        seconds = perf_counter() - began
        peak.join()
    assert process.returncode == 0, out
    return Ran(seconds, peak.mb, json.loads(out))


class Peak(threading.Thread):
    """Reads VmHWM until the process has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0
        self._status = Path(f"/proc/{pid}/status")

    def run(self) -> None:
        while True:
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            found = [line for line in lines if line.startswith("VmHWM:")]
            if not found:
                return
            self.mb = int(found[0].split()[1]) * 1024 / 1e6
            sleep(POLL_SECONDS)


def _receipts(archive: Archive, order_id: str, base: Path, trust: Path) -> list[int]:
    """Return the sizes of the receipts in a proof that is written as a folder."""
    ran("audit", "prove", archive.path, order_id, base / "proof", "--trust", trust, "--json")
    return [path.stat().st_size for path in (base / "proof" / "proofs").iterdir()]
