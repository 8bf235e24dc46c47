"""What nodes attest is recorded at each interval's end, and brings no word of its own.

Real programs; the interval is short. After the test everything is audited, the batches too.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.backends.keys import verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.attested import AttestationsRecorded, Exceptional
from enforcer.core.entry import parse, parse_payload
from enforcer.core.note import VerifierKey
from tests.e2e.two_nodes import TwoNodes

pytestmark = pytest.mark.long

INTERVAL_SECONDS = 1.0
REST_SECONDS = 4 * INTERVAL_SECONDS


class Recording(TwoNodes):
    """Two nodes, and a control plane that records what they attest each second."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        file = self.files.control / "control.toml"
        text = re.sub(r"(?m)^attestations_interval_seconds.*$", "", file.read_text())
        file.write_text(f"attestations_interval_seconds = {INTERVAL_SECONDS}\n{text}")

    def recorded(self) -> list[AttestationsRecorded]:
        """Return what the ledger says of batches."""
        vkey = VerifierKey.parse(self.trust.log_vkey)
        ledger = TileLedger.open(
            self.files.ledger, origin=self.trust.origin, vkey=vkey, verify=verify, writer=False
        )
        payloads = [parse_payload(parse(leaf).envelope) for leaf in ledger.entries(0, ledger.size)]
        return [each for each in payloads if isinstance(each, AttestationsRecorded)]


@pytest.fixture(scope="module")
def whole_installation(redis_executable: Path) -> Iterator[Recording]:
    with Recording() as installation:
        yield installation


def test_batches_are_recorded_with_their_exceptions_and_the_fleet_comes_to_rest(
    installation: Recording,
) -> None:
    installation.order(b"exact batched.example.org\n")
    installation.wait_until(
        lambda: any(each.node_count == 2 for each in installation.recorded()),
        "a batch has both nodes",
    )

    def rests() -> bool:
        before = len(installation.recorded())
        time.sleep(REST_SECONDS)
        return len(installation.recorded()) == before

    # If recording brought attestations, each interval would have its batch.
    installation.wait_until(rests, "no further batch comes", 60.0)
    installation.kill("gate")

    def is_named() -> bool:
        found = [part for each in installation.recorded() for part in each.exceptions]
        return ("node-1", Exceptional.DIFFERS) in [(each.node_id, each.kind) for each in found]

    installation.wait_until(is_named, "a node without its gate is recorded as an exception")
    installation.mend()
    count = len(installation.recorded())
    assert installation.audit().batches >= count
