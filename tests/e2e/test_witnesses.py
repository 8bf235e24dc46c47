"""A quorum of two witnesses, each a program of its own, before what blocks; none before a stop.

Real programs all over: control plane, node, gate, Redis, and two `enforcer audit witness`. After
each test everything is audited.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from enforcer.backends.keys import PrivateKey
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.cosignature import CosignerKey
from enforcer.core.note import Note
from enforcer.core.witness import log_name
from tests.e2e.dns import address_of
from tests.e2e.installation import ORIGIN, Installation
from tests.e2e.programs import Program
from tests.ports import free_ports

WITNESSES = ("witness.example.org/w1", "witness.example.com/w2")
LOOKS = 10
ENFORCER = Path(sys.executable).with_name("enforcer")


class Witnessed(Installation):
    """An installation whose new blocks wait for both of two witnesses."""

    def __init__(self) -> None:
        keys = [PrivateKey.generate() for _ in WITNESSES]
        vkeys = tuple(
            CosignerKey(name, key.public_key).text
            for name, key in zip(WITNESSES, keys, strict=True)
        )
        super().__init__(witness_quorum=2, witness_vkeys=vkeys)
        asked = ""
        self.ports = dict(zip((name[-2:] for name in WITNESSES), free_ports(2), strict=True))
        for name, key, port in zip(WITNESSES, keys, self.ports.values(), strict=True):
            self.programs[name[-2:]] = self._witness(name, key, port)
            asked += f'[[witnesses]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}/"\n'
        with (self.files.control / "control.toml").open("a") as config:
            config.write(asked)

    def _witness(self, name: str, key: PrivateKey, port: int) -> Program:
        folder = self.directory / name[-2:]
        folder.mkdir()
        key.save(folder / "witness.key")
        (folder / "witness.toml").write_text(
            f'name = "{name}"\nkey_file = "witness.key"\nstate_dir = "state"\n'
            f'listen = "127.0.0.1:{port}"\n'
            f'[[logs]]\norigin = "{ORIGIN}"\nvkey = "{self.trust.log_vkey}"\n'
        )
        command = [str(ENFORCER), "audit", "witness", "-c", str(folder / "witness.toml")]
        return Program(name, command, self.directory / f"{name[-2:]}.log")

    def waits(self, count: int) -> None:
        """Wait until the node says that so many orders wait for witnesses."""

        def is_said() -> bool:
            return self.node_status().get("waiting_for_witnesses") == count

        self.wait_until(is_said, f"{count} orders wait for witnesses")

    def saw_all(self, witness: str) -> bool:
        """Tell whether a witness has cosigned the ledger as it is now."""
        url = f"http://127.0.0.1:{self.ports[witness]}/latest/{log_name(ORIGIN)}"
        try:
            with urlopen(url, timeout=10) as answer:
                return Checkpoint.parse(Note.parse(answer.read()).text).size == self.ledger_size()
        except OSError:  # it is just starting
            return False


@pytest.fixture(scope="module")
def whole_installation(redis_executable: Path) -> Iterator[Witnessed]:
    with Witnessed() as installation:
        yield installation


def verified(installation: Installation) -> subprocess.CompletedProcess[str]:
    """Run the auditor's command on the ledger's files."""
    files = installation.files
    command = [ENFORCER, "audit", "verify", files.ledger, "--trust", files.trust_file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_new_block_waits_until_both_witnesses_have_seen_it(installation: Witnessed):
    name = "waits.example.org"
    installation.kill("w1")
    installation.order(f"exact {name}\n".encode())
    installation.wait_until(lambda: installation.saw_all("w2"), "one witness has seen it")
    installation.waits(1)
    assert installation.ask(name).addresses == (address_of(name),)
    installation.kill("w2")
    # Of what w2 has seen already w1's word would be the second.
    installation.propose(b"exact more.example.org\n")
    installation.start("w1")
    installation.wait_until(lambda: installation.saw_all("w1"), "the other has seen more than it")
    for _ in range(LOOKS):
        installation.waits(1)
        assert installation.ask(name).addresses == (address_of(name),)
    installation.start("w2")
    installation.wait_until(lambda: installation.is_blocked(name), "both have seen it")
    installation.waits(0)


def test_a_stop_is_obeyed_with_a_witness_dead_and_the_audit_is_good(installation: Witnessed):
    name = "stopped.example.org"
    ref = installation.order(f"exact {name}\n".encode())
    installation.wait_until(lambda: installation.is_blocked(name), "it is blocked")
    installation.kill("w2")
    installation.stop(ref)
    installation.wait_until(lambda: not installation.is_blocked(name), "the stop is obeyed")
    assert installation.ask(name).addresses == (address_of(name),)
    assert not installation.programs["w2"].is_running

    installation.mend()

    def is_witnessed() -> bool:
        return installation.node_status()["ledger"]["witnessed_size"] == installation.ledger_size()

    installation.wait_until(is_witnessed, "both have seen everything")
    said = verified(installation)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "GOOD" in said.stdout
    assert "2 witnesses" in said.stdout
