"""What an auditor says of witnesses: who has seen the ledger, and both notes of a split view."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from enforcer.app.audit import check_receipt
from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import NOBODY, cosign, with_lines
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import Note
from enforcer.errors import IntegrityError
from enforcer.services.findings import Code, Severity
from tests.ledgers import LOG_KEY, TARGETS, VKEY, Archive, opened
from tests.people import ORIGIN, Land
from tests.witnesses import named

KEYS = [PrivateKey.generate() for _ in range(3)]
WITNESSES = named(KEYS, 2)


class Witnessed(Archive):
    """An archive whose trust asks for two of three witnesses."""

    @property
    def trust(self):
        return replace(super().trust, witnesses=WITNESSES)

    def note(self, *who, leaves=None, size=None):
        leaves = (leaves or self.land.leaves)[:size]
        root = CompactRange.over(map(leaf_hash, leaves)).root()
        checkpoint = Checkpoint(ORIGIN, len(leaves), root)
        parsed = Note.parse(sign_checkpoint(checkpoint, VKEY, LOG_KEY.sign))
        lines = [
            cosign(parsed.text, WITNESSES.keys[at], KEYS[at].sign, 1_790_000_000) for at in who
        ]
        return with_lines(parsed, lines).format()

    def keep(self, note):
        with opened(self.path, writer=True) as ledger:
            ledger.keep_cosigned(note)

    def codes(self, **options):
        return {finding.code for finding in self.audit(**options)} - {Code.NOT_ATTESTED}


@pytest.fixture
def archive(tmp_path):
    archive = Witnessed(tmp_path / "ledger")
    archive.land.in_force_order(TARGETS)
    archive.write()
    return archive


def test_a_witnessed_ledger_is_good_and_says_by_how_many(archive):
    archive.keep(archive.note(0, 1, 2))
    assert archive.codes() == set()
    assert archive.summary.witnesses == "2 witnesses have seen 9 of them"


def test_a_ledger_that_too_few_have_seen_is_incomplete(archive):
    for who in ((), (0,)):
        if who:
            archive.keep(archive.note(*who))
        (finding,) = [each for each in archive.audit() if each.code is Code.NOT_WITNESSED]
        assert finding.severity is Severity.INCOMPLETE
        assert "word alone" in finding.words


def test_what_witnesses_have_not_seen_yet_is_named(archive):
    archive.keep(archive.note(0, 2, size=7))
    (finding,) = [each for each in archive.audit() if each.code is Code.WITNESSES_BEHIND]
    assert finding.index == 7
    assert finding.severity is Severity.NOTE


def test_a_spoiled_cosignature_is_found(archive):
    archive.keep(archive.note(0, 1))
    path = archive.path / "cosigned"
    note = Note.parse(path.read_bytes())
    lines = [
        replace(line, signature=bytes(72)) if len(line.signature) == 72 else line
        for line in note.signatures
    ]
    path.write_bytes(replace(note, signatures=tuple(lines)).format())
    found = archive.audit()
    assert any(each.place == "cosigned" for each in found if each.code is Code.LEDGER_DAMAGED)
    assert Code.NOT_WITNESSED in {each.code for each in found}


def test_without_a_quorum_it_is_shown_as_unwitnessed(tmp_path):
    archive = Archive(tmp_path / "ledger")
    archive.write()
    archive.audit()
    assert archive.summary.witnesses == "UNWITNESSED"


def test_witnesses_of_another_history_are_a_fork_shown_with_both_notes(archive):
    other = Land.founded().leaves
    (archive.path / "cosigned").write_bytes(archive.note(0, 1, leaves=other))
    (finding,) = archive.audit()
    assert finding.code is Code.FORKED
    theirs, ours = (Note.parse(note.encode()) for note in finding.notes)
    assert set(WITNESSES.cosigned(theirs, verify)) == set(WITNESSES.keys[:2])
    assert ours.format() == (archive.path / "checkpoint").read_bytes()


def test_more_seen_by_witnesses_than_there_is_is_a_rollback(archive, tmp_path):
    longer = Witnessed(tmp_path / "longer", archive.land)
    archive.land.propose(TARGETS)
    (archive.path / "cosigned").write_bytes(longer.note(0, 1))
    (finding,) = archive.audit()
    assert finding.code is Code.ROLLED_BACK
    assert len(finding.notes) == 2


def test_a_fork_that_somebody_kept_is_shown_with_both_notes(archive, tmp_path):
    archive.keep(archive.note(0, 1))
    kept = tmp_path / "kept"
    kept.write_bytes(archive.note(leaves=Land.founded().leaves))
    (finding,) = [each for each in archive.audit(earlier=[kept]) if each.code is Code.FORKED]
    assert finding.notes == (kept.read_text(), (archive.path / "checkpoint").read_text())


@pytest.mark.parametrize("who", [(0, 1), (0, 1, 2)])
def test_a_receipt_with_a_quorum_is_checked_alone(archive, tmp_path, who):
    archive.keep(archive.note(*who))
    with opened(archive.path) as ledger:
        (tmp_path / "r").write_bytes(ledger.receipt(3).format())
    (tmp_path / "e").write_bytes(archive.land.leaves[3])
    proved = check_receipt(tmp_path / "r", tmp_path / "e", archive.trust)
    assert proved.index == 3
    assert proved.witnesses == {WITNESSES.keys[at].name: 1_790_000_000 for at in who}


def test_a_receipt_without_a_quorum_proves_nothing_to_who_asks_for_one(archive, tmp_path):
    archive.keep(archive.note(1))
    with opened(archive.path) as ledger:
        (tmp_path / "r").write_bytes(ledger.receipt(3).format())
    (tmp_path / "e").write_bytes(archive.land.leaves[3])
    with pytest.raises(IntegrityError) as caught:
        check_receipt(tmp_path / "r", tmp_path / "e", archive.trust)
    assert caught.value.data["problem"] == "unwitnessed"
    check_receipt(tmp_path / "r", tmp_path / "e", replace(archive.trust, witnesses=NOBODY))


def test_the_command_names_who_witnessed(archive, tmp_path, capsys):
    from enforcer.cli.main import app

    archive.keep(archive.note(0, 2))
    with opened(archive.path) as ledger:
        (tmp_path / "r").write_bytes(ledger.receipt(3).format())
    (tmp_path / "e").write_bytes(archive.land.leaves[3])
    trust = archive.write_trust(tmp_path / "trust.toml")
    vkeys = json.dumps([key.text for key in WITNESSES.keys])
    trust.write_text(trust.read_text().replace("quorum = 0", f"quorum = 2\nvkeys = {vkeys}"))
    words = ["audit", "check-receipt", str(tmp_path / "r"), str(tmp_path / "e")]
    app([*words, "--trust", str(trust), "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said["witnesses"] == {WITNESSES.keys[at].name: 1_790_000_000 for at in (0, 2)}
    app([*words, "--trust", str(trust)], standalone_mode=False)
    assert "Witnessed by witness.example.org/w2" in capsys.readouterr().out
