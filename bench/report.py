"""The transparency report of half a year: 100,000 entries and 5,000 attestations.

The ledger is made through the real append and every signature in it is real; its orders are
stopped, held, appealed and told of as in no quiet country. Each step runs in a process of its
own, so that peak memory is its own. Computing has hashing, folding and all signatures in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import Row, median_row
from bench._step import in_child, timed
from enforcer.app.report import (
    Format,
    Language,
    Sheet,
    check_report,
    report_directory,
    write_report,
)
from enforcer.config import read_trust
from enforcer.core.attestation import Attestation, GateState
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.guard import Guard
from enforcer.core.key import Category, Role
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.policy import DAY_MS
from enforcer.core.remedy import AppealOutcome
from enforcer.core.table import NO_LOCAL_LAYER
from enforcer.services.report_period import Period
from tests.ledgers import LOG_KEY, VKEY, Archive, opened
from tests.people import ORIGIN, T0_MS, Land, Person, request_id, seal

ENTRIES = 100_000
ATTESTATIONS = 5_000
NODES = 10
ROUNDS = 3
LIFETIME_MS = 7 * DAY_MS
PERIOD = Period(None, T0_MS, T0_MS + 182 * DAY_MS, 420)
PACE_MS = (PERIOD.to_ms - PERIOD.from_ms) // ENTRIES + 1_000
APPEND = 250
CATEGORIES = (Category.PHISHING, Category.SCAM, Category.MALWARE, Category.SPAM_SOURCE)


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        rows = [Row("entries", step("make", folder)["entries"], "")]
        for name in ("compute", *Format, "check"):
            got = [step(name, folder) for _ in range(ROUNDS if name == "compute" else 1)]
            rows.append(median_row(f"{name}: time", [each["seconds"] for each in got], "s"))
            peaks = [each["memory_mb"] for each in got]
            rows.append(median_row(f"{name}: peak memory", peaks, "MB"))
            if "octets" in got[0]:
                rows.append(Row(f"{name}: size", got[0]["octets"] / 1e6, "MB"))
        return rows


def step(name: str, folder: str) -> dict[str, float]:
    """Run one of STEPS in a child, and return what it found."""
    found: dict[str, float] = json.loads(in_child("bench.report", name, folder))
    return found


def make(folder: Path) -> dict[str, float]:
    land = Land.founded()
    nodes = [Person(f"node-{at}", Role.NODE, operator=f"isp-{at % 4}") for at in range(NODES)]
    land.register(land.control, *nodes)
    tree, kept, attested = CompactRange(), folder / "ledger" / "attestations", 0
    for node in nodes:
        (kept / node.person_id).mkdir(parents=True)
    for at in range(ENTRIES):
        order(land, at)
        for leaf in land.leaves[tree.size :]:
            tree.append(leaf_hash(leaf))
        while attested < tree.size * ATTESTATIONS // ENTRIES:
            attest(land, nodes[attested % NODES], tree, kept)
            attested += 1
        if tree.size >= ENTRIES:
            break
    with opened(folder / "ledger", writer=True) as ledger:
        while ledger.size < len(land.leaves):
            leaves = land.leaves[ledger.size :][:APPEND]
            ledger.append(leaves, lambda each: sign_checkpoint(each, VKEY, LOG_KEY.sign))
    Archive(folder / "ledger", land).write_trust(folder / "trust.toml")
    return {"entries": len(land.leaves)}


def order(land: Land, at: int) -> None:
    """Record what becomes of one order: three entries or four."""
    end = land.now_ms + LIFETIME_MS
    category = CATEGORIES[at % len(CATEGORIES)]
    ref = land.propose(category=category, expires_at_ms=end, review_due_at_ms=end)
    if at % 10 == 0:
        assert land.hold(ref, Guard.PRIVATE_SUFFIX).is_effective
        assert land.lift(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert land.approve(ref).is_effective
    land.now_ms += 3 * PACE_MS
    if at % 2 == 0:
        assert land.notify(ref).is_effective
    if at % 20 == 0:
        filed = land.appeal(ref)
        assert land.decide(ref, filed.index, AppealOutcome.GRANTED).is_effective
    elif at % 4 == 1:
        assert land.stop(ref).is_effective


def attest(land: Land, node: Person, tree: CompactRange, kept: Path) -> None:
    """Keep what a node says; the digest is none, for a report does not compute tables."""
    said = Attestation(
        ledger_origin=ORIGIN,
        request_id=request_id(),
        valid_until_ms=land.now_ms + DAY_MS,
        node_id=node.person_id,
        t_ms=land.now_ms + 500,
        ledger_size=tree.size,
        root_sha256=tree.root().hex(),
        table_digest="00" * 32,
        local_digest=NO_LOCAL_LAYER.digest,
        gate=GateState.HOLDS_TABLE,
        firewall=FirewallState.NONE,
        pieces_digest=None,
        repairs=0,
        curtailed=(),
        omission_count=0,
        omissions=(),
        ineffective=(),
    )
    path = kept / node.person_id / f"{said.t_ms:016}-{said.ledger_size}.json"
    path.write_bytes(format_envelope(seal(said, node.key)))


def compute(folder: Path) -> dict[str, float]:
    return timed(lambda: _sheet(folder))


def write(folder: Path, form: Format) -> dict[str, float]:
    sheet = _sheet(folder)
    out = folder / form
    found = timed(lambda: write_report(sheet, out, [form]))
    (path,) = out.iterdir()
    return found | {"octets": path.stat().st_size}


def check(folder: Path) -> dict[str, float]:
    (path,) = (folder / Format.JSON).iterdir()
    trust = read_trust(folder / "trust.toml")
    found: list[object] = []
    seconds = timed(lambda: found.extend(check_report(folder / "ledger", trust, path)))
    assert not found, found[0]
    return seconds


def _sheet(folder: Path) -> Sheet:
    trust = read_trust(folder / "trust.toml")
    return report_directory(folder / "ledger", trust, PERIOD, Language.VI)


STEPS: dict[str, Callable[[Path], dict[str, float]]] = {
    "make": make,
    "compute": compute,
    "check": check,
    **{form.value: partial(write, form=form) for form in Format},
}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](Path(sys.argv[2]))))
