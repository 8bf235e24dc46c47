"""A document that the law has erased is gone for good, and the ledger still verifies."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from enforcer.app.audit_archive import audit_copy, export_archive
from enforcer.app.erasure import erase_document
from enforcer.backends.content import ContentStore
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError
from tests.control import REASONS, Desk, with_reasons
from tests.ledgers import TARGETS, Archive
from tests.people import seal

NAME = sha256(REASONS).hexdigest()
WHY = {
    "reason": "Decision 12/2027, right to erasure",
    "by": "data.officer",
    "now_ms": 1_900_000_000_000,
}


def test_what_was_erased_is_told_from_what_is_missing_also_in_an_archive(tmp_path):
    archive = Archive(tmp_path / "ledger")
    archive.land.in_force_order(TARGETS, statement_of_reasons_sha256=NAME)
    archive.land.in_force_order(TARGETS)
    archive.attest()
    archive.write()
    store = ContentStore(archive.path / "side", size_bytes_max=1 << 20)
    store.put(REASONS)
    assert archive.audit() == []
    assert (archive.summary.documents, archive.summary.documents_absent) == (1, 1)

    erase_document(archive.path, NAME, **WHY)
    assert not (archive.path / "side" / NAME).exists()
    assert REASONS not in b"".join(
        path.read_bytes() for path in archive.path.rglob("*") if path.is_file()
    )
    assert json.loads(store.mark(NAME).read_bytes())["reason"] == WHY["reason"]
    assert archive.audit() == []
    counts = archive.summary
    assert (counts.documents, counts.documents_erased, counts.documents_absent) == (0, 1, 1)

    packed = tmp_path / "ledger.tar.gz"
    export_archive(archive.path, packed, archive.trust, taken_at_ms=archive.land.now_ms)
    summary, findings, _ = audit_copy(packed, archive.trust, now_ms=archive.land.now_ms)
    assert (summary.documents_erased, findings) == (1, [])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"reason": " "}, InputError), ({"by": ""}, InputError), ({"reason": "x" * 501}, InputError)],
)
def test_an_erasure_says_why_and_by_whom(tmp_path, changes, kind):
    ContentStore(tmp_path / "side", size_bytes_max=100).put(REASONS)
    with pytest.raises(kind):
        erase_document(tmp_path, NAME, **(WHY | changes))
    assert (tmp_path / "side" / NAME).exists()


def test_what_is_not_here_or_no_hash_or_erased_already_is_refused(tmp_path):
    with pytest.raises(NotFoundError):
        erase_document(tmp_path, NAME, **WHY)
    with pytest.raises(InputError):
        erase_document(tmp_path, "../checkpoint", **WHY)
    ContentStore(tmp_path / "side", size_bytes_max=100).put(REASONS)
    erase_document(tmp_path, NAME, **WHY)
    with pytest.raises(ConflictError):
        erase_document(tmp_path, NAME, **WHY)


def test_an_erasure_that_was_cut_off_is_finished_by_the_next(tmp_path):
    store = ContentStore(tmp_path / "side", size_bytes_max=100)
    store.put(REASONS)
    store.mark(NAME).write_bytes(b"{}")  # killed before the document was removed
    erase_document(tmp_path, NAME, **WHY)
    assert not store.has(NAME)
    with pytest.raises(RefusedError):
        store.put(REASONS)


async def test_an_act_that_comes_again_does_not_bring_its_document_back(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        await desk.bring()
        act = seal(with_reasons(desk.land), desk.land.proposer.key)
        first = (await desk.orders.propose(act, [REASONS], validate_only=False)).recorded
        erase_document(tmp_path, NAME, **WHY)
        again = (await desk.orders.propose(act, [REASONS], validate_only=False)).recorded
        assert (again.index, again.is_repeated) == (first.index, True)
        assert not (tmp_path / "side" / NAME).exists()
        other = seal(with_reasons(desk.land), desk.land.proposer.key)
        with pytest.raises(RefusedError, match="erased by law"):
            await desk.orders.propose(other, [REASONS], validate_only=False)
