"""Go's own transparency logs (golang.org/x/mod/sumdb) read our ledger, and see what was altered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.cosignature import cosign, with_lines
from enforcer.core.note import Note, VerifierKey
from tests.witnesses import named

ORIGIN = "cert.example.org/ledger"
LIBRARY = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb")
LOG = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, LOG.public_key)
WITNESS_KEYS = [PrivateKey.generate() for _ in range(3)]
WITNESSES = named(WITNESS_KEYS, 2)
SIZES = (1, 5, 256, 700)

pytestmark = pytest.mark.skipif(
    shutil.which("go") is None or not LIBRARY.is_dir(),
    reason="Go or its library is not here: apt-get install golang-go golang-golang-x-mod-dev",
)


@pytest.fixture(scope="module")
def checker(tmp_path_factory):
    """Build the program, without a network."""
    program = tmp_path_factory.mktemp("go") / "check_ledger"
    settings = {
        "GO111MODULE": "off",
        "GOPATH": str(LIBRARY.parents[4]),
        "GOCACHE": str(program.parent / "cache"),
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    source = Path(__file__).with_name("check_ledger.go")
    subprocess.run(
        ["go", "build", "-o", program, source], env=os.environ | settings, check=True, timeout=300
    )
    return program


class Published:
    """A ledger on disk with everything about it that others are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "ledger"
        self.leaves = [b'{"entry":%d}' % index * (1 + index % 9) for index in range(SIZES[-1])]
        with TileLedger.open(
            self.directory, origin=ORIGIN, vkey=VKEY, verify=verify, writer=True
        ) as ledger:
            at = 0
            for size in SIZES:
                note = ledger.append(self.leaves[at:size], self._seal)
                (folder / f"checkpoint-{size}").write_bytes(note)
                at = size
            parsed = Note.parse(note)
            lines = [
                cosign(parsed.text, key, signer.sign, 1_790_000_000)
                for key, signer in zip(WITNESSES.keys, WITNESS_KEYS, strict=True)
            ]
            ledger.keep_cosigned(with_lines(parsed, lines).format())
            self.receipts = {at: ledger.receipt(at).format() for at in (0, 255, 256, 699)}
            self.proofs = {size: ledger.consistency_proof(size, SIZES[-1]) for size in SIZES}
            self.root = ledger.root

    def _seal(self, checkpoint):
        return sign_checkpoint(checkpoint, VKEY, LOG.sign)

    def words(self, index=256, older=5):
        (self.folder / "receipt").write_bytes(self.receipts[index])
        (self.folder / "leaf").write_bytes(self.leaves[index])
        lines = (b64encode(each).decode() for each in self.proofs[older])
        (self.folder / "consistency").write_text("\n".join(lines))
        files = ("receipt", "leaf", f"checkpoint-{older}", "consistency")
        keys = [key.text for key in WITNESSES.keys]
        return [
            self.directory, ORIGIN, VKEY.text, *(self.folder / name for name in files), *keys,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("published"))


def check(checker, words):
    return subprocess.run([checker, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("index", "older"), [(0, 1), (255, 5), (256, 256), (699, 700)])
def test_go_verifies_checkpoint_tiles_entries_receipts_and_cosignatures(
    checker, published, index, older
):
    done = check(checker, published.words(index, older))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "size": 700,
        "root": b64encode(published.root).decode(),
        "older": older,
        "cosignatures": 3,
    }


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("ledger/checkpoint", -20),
        ("ledger/tile/0/000", 40),
        ("ledger/tile/1/000.p/2", 3),
        ("ledger/tile/entries/001", 9),
        ("receipt", 80),
        ("leaf", 3),
        ("consistency", 5),
    ],
)
def test_go_refuses_what_was_altered(checker, published, tmp_path, name, at):
    published.words()
    shutil.copytree(published.folder, tmp_path / "copy")
    words = [
        Path(str(word).replace(str(published.folder), str(tmp_path / "copy")))
        if isinstance(word, Path)
        else word
        for word in published.words()
    ]
    assert check(checker, words).returncode == 0
    flip(tmp_path / "copy" / name, at)
    assert check(checker, words).returncode == 1
