"""``enforcer audit witness`` as a process: killed at any moment it never signs two histories."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from enforcer.app.witness import opened
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.witness_http import HttpWitness
from enforcer.config import WitnessConfig, read
from enforcer.core.cosignature import CosignerKey, cosigned_at, with_lines
from enforcer.core.note import Note, SignatureLine, VerifierKey
from enforcer.errors import ConflictError, EnforcerError, InputError
from tests.waiting import WAIT_SECONDS, until
from tests.witnesses import forked

LOG_KEY = PrivateKey.generate()
LOG = VerifierKey("example.org/ledger", LOG_KEY.public_key)
NAME = "witness.example.org/w1"


@pytest.fixture
def folder(tmp_path):
    PrivateKey.generate().save(tmp_path / "witness.key")
    (tmp_path / "witness.toml").write_text(
        f'name = "{NAME}"\nkey_file = "witness.key"\nstate_dir = "state"\n'
        f'listen = "127.0.0.1:0"\n[[logs]]\norigin = "{LOG.name}"\nvkey = "{LOG.text}"\n'
    )
    return tmp_path


class Process:
    """The witness, started; its log says where it listens."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "enforcer", "audit", "witness", "-c", "witness.toml"],
            cwd=folder,
            stderr=subprocess.PIPE,
        )
        for line in self.process.stderr:
            said = json.loads(line)
            if said["event"] == "witness_serves":
                self.url = f"http://{said['address']}/"
                self.vkey = said["vkey"]
                return
        raise AssertionError("it did not start")

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(timeout=WAIT_SECONDS)
        self.process.stderr.close()


async def test_killed_while_two_histories_are_shown_to_it_it_signs_one(folder):
    """Cosignatures are gathered over three lives, each ended by SIGKILL amid requests."""
    honest, other = forked(LOG, LOG_KEY)
    signed: dict[int, set[bytes]] = {}
    chance = random.Random(7)

    async def show(history, link, key):
        at = 0
        for size in range(1, 40):
            body = history.request(at, size)
            try:
                answer = await link.add_checkpoint(body)
            except ConflictError as error:
                at = error.data["size"] or 0
                with suppress(EnforcerError):
                    answer = await link.add_checkpoint(history.request(min(at, size), size))
                    note_it(history, size, answer, key)
                continue
            except EnforcerError:
                continue
            note_it(history, size, answer, key)
            at = size

    def note_it(history, size, answer, key):
        line = SignatureLine.parse(answer.decode().removesuffix("\n"))
        note = with_lines(Note.parse(history.note(size)), [line])
        assert cosigned_at(note, key, verify)
        signed.setdefault(size, set()).add(history.checkpoint(size).root)

    for _ in range(3):
        process = Process(folder)
        key = CosignerKey.parse(process.vkey)
        link = HttpWitness(process.url, seconds_max=2)
        both = asyncio.gather(show(honest, link, key), show(other, link, key))
        goal = len(signed) + chance.randrange(3, 9)
        await until(lambda goal=goal, both=both: len(signed) >= goal or both.done())
        process.end(signal.SIGKILL)
        await both
    assert signed
    assert all(len(roots) == 1 for roots in signed.values())
    late = {root for size, roots in signed.items() if size > 5 for root in roots}
    roots = [{each.checkpoint(size).root for size in range(6, 41)} for each in (honest, other)]
    assert not late & roots[0] or not late & roots[1]


def test_it_ends_when_it_is_told_to_and_two_cannot_share_a_memory(folder):
    process = Process(folder)
    assert CosignerKey.parse(process.vkey).name == NAME
    config = read(folder / "witness.toml", WitnessConfig)
    with pytest.raises(ConflictError), opened(config):
        pass
    process.end(signal.SIGTERM)
    assert process.process.returncode == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("vkey = ", "vkey = 'x'\n#"), "vkey"),
        (("state_dir", "state_dri"), "state_dri"),
        (("[[logs]]", f'[[logs]]\norigin = "{LOG.name}"\nvkey = "{LOG.text}"\n[[logs]]'), "twice"),
    ],
)
def test_a_configuration_that_is_none_is_refused(folder, change, words):
    file = folder / "witness.toml"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(InputError, match=words):
        read(file, WitnessConfig)
