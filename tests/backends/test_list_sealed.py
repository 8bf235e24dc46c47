"""Sealed lists, opened in memory: what comes out is proven, compiled and scanned as any list."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer._native.probe import Table
from enforcer.backends import compile_worker, list_sealed, list_tasks, sealing
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.gate_messages import is_sealed
from enforcer.backends.guard_scan import scan_guards
from enforcer.core.guard import Guard
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.history import Relation
from enforcer.core.name import Name
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.verdict import Cause
from enforcer.errors import EnforcerError, InputError, IntegrityError, UnavailableError
from enforcer.ports import CompileJob, GuardJob
from tests.descriptors import open_files
from tests.tables import SECRET, order_row, target_list

MARKER = "marker.example.org"
TEXT = target_list(f"exact {MARKER}", "subtree example.net")
SALT = bytes(range(0x80, 0x80 + sealing.SALT_OCTETS))


class Sealed:
    """A list that was sealed into a file, and what an order says of it."""

    def __init__(self, folder: Path, text: bytes = TEXT, salt: bytes = SALT) -> None:
        self.text, self.salt = text, salt
        self.secret, recipient = sealing.new_identity()
        self.path = folder / "sealed"
        self.path.write_bytes(sealing.seal(salt + text, recipient))
        self.sha256 = sha256(salt + text).hexdigest()


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path)


def job(sealed: Sealed, path: Path) -> CompileJob:
    row = replace(order_row(5, sealed.text), target_list_sha256=sealed.sha256)
    return CompileJob(
        origin="example.org/ledger",
        ledger_size=7,
        time_floor_ms=900,
        table_digest="ab" * 32,
        secret=SECRET,
        register_url="https://register.example.org/o/",
        register_domain="register.example.org",
        orders=((row, path),),
        protected_core=None,
        protected_names=None,
        salted=frozenset([sealed.sha256]),
    )


def decides(table: bytes) -> Cause:
    return Table(table).decide(Name.from_text(MARKER).wire, 1, 1_500).cause


async def test_a_worker_opens_a_list_into_memory_and_compiles_it(sealed, tmp_path):
    before = set(tmp_path.rglob("*"))
    async with ListWorker() as worker:
        opened, summary = await worker.open_list(sealed.path, sealed.secret, sealed.sha256)
        work = job(sealed, opened.path)
        table, _ = await worker.compile(work)
        overlay, _ = await worker.compile_overlay(
            replace(work, base_sha256="cd" * 32, rows=(work.orders[0][0],))
        )
    assert (summary.sha256, summary.target_count, summary.name_count) == (sealed.sha256, 2, 2)
    assert decides(os.pread(table.fileno(), 1 << 20, 0)) is Cause.ORDER
    assert overlay.fileno() >= 0
    assert is_sealed(opened.fileno())
    assert set(tmp_path.rglob("*")) == before
    assert str(opened.path.readlink()).startswith("/memfd:")


def test_a_table_of_a_sealed_list_has_no_name_in_it(sealed):
    opened, _ = list_sealed.open_here(sealed.path, sealed.secret, sealed.sha256)
    table, _ = list_tasks.compile_here(job(sealed, opened.path))
    octets = os.pread(table.fileno(), 1 << 24, 0)
    assert decides(octets) is Cause.ORDER
    for trace in (MARKER.encode(), b"marker", Name.from_text(MARKER).wire, sha256(TEXT).digest()):
        assert trace not in octets
    assert sha256(TEXT).hexdigest().encode() not in octets


def test_what_was_opened_is_gone_when_it_was_given_back(sealed):
    opened, _ = list_sealed.open_here(sealed.path, sealed.secret, sealed.sha256)
    path = opened.path
    opened.close()
    with pytest.raises(ValueError, match="given back"):
        _ = opened.path
    with pytest.raises((UnavailableError, IntegrityError)):  # its number may mean another file
        list_tasks.compile_here(job(sealed, path))


def test_guards_read_an_opened_list_behind_its_salt(sealed, tmp_path):
    names = tmp_path / "names"
    names.write_bytes(target_list(f"exact {MARKER}"))
    pinned = sha256(names.read_bytes()).hexdigest()
    opened, _ = list_sealed.open_here(sealed.path, sealed.secret, sealed.sha256)
    scan = scan_guards(
        GuardJob(
            GuardFacts(sealed.sha256, Pins(None, pinned, None, None)),
            {sealed.sha256: opened.path, pinned: names},
            frozenset([sealed.sha256]),
        )
    )
    assert scan.counts == {Guard.PROTECTED_NAME: 1}


def test_a_past_list_that_was_sealed_is_read_behind_its_salt_too(sealed, tmp_path):
    opened, _ = list_sealed.open_here(sealed.path, sealed.secret, sealed.sha256)
    plain = tmp_path / "plain"
    plain.write_bytes(target_list(f"exact {MARKER}"))
    own = sha256(plain.read_bytes()).hexdigest()
    past = Relation(Guard.STOPPED_BEFORE, 3, sealed.sha256, DAY_MS)
    facts = GuardFacts(own, relations=(past,))
    paths = {own: plain, sealed.sha256: opened.path}
    for _ in range(2):  # hashed the first time, remembered the second
        scan = scan_guards(GuardJob(facts, paths, frozenset([sealed.sha256])))
        assert scan.counts == {Guard.STOPPED_BEFORE: 1}


def refusal(of: Sealed, **changes) -> EnforcerError:
    """Open with something changed; no error may say anything of what is in the list."""
    args = {"sealed": of.path, "secret": of.secret, "expected": of.sha256} | changes
    with pytest.raises(EnforcerError) as caught:
        list_sealed.open_here(**args)
    error = caught.value
    said = f"{error.diagnostics()} {error.data} {error!r} {error.__cause__}"
    for word in ("marker", "example.net", of.secret, sha256(of.text).hexdigest()):
        assert word not in said
    return error


def test_another_secret_opens_nothing(sealed):
    assert isinstance(refusal(sealed, secret=sealing.new_identity()[0]), IntegrityError)


def test_a_list_that_its_order_does_not_name_is_refused(sealed):
    error = refusal(sealed, expected="0" * 64)
    assert isinstance(error, IntegrityError)
    assert sealed.sha256 not in f"{error.message} {error.data}"


def test_a_list_sealed_without_salt_is_refused(tmp_path):
    bare = Sealed(tmp_path, text=b"", salt=b"exact marker.example.org\n")
    assert isinstance(refusal(bare), IntegrityError)


def test_a_public_list_sealed_as_it_is_is_refused(tmp_path):
    line = b"exact a-name-of-16.example.org.\n".replace(b"org.", b"orgx")
    assert len(line) == sealing.SALT_OCTETS
    assert isinstance(refusal(Sealed(tmp_path, salt=line)), IntegrityError)


@pytest.mark.parametrize("first", [0, 0x0A, 0x7F])
def test_a_salt_that_could_be_text_is_refused(tmp_path, first):
    assert isinstance(refusal(Sealed(tmp_path, salt=bytes([first]) + SALT[1:])), IntegrityError)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"exact marker.example.org", 1),
        (b"exact a.example.net\nexact Marker.example.org\n", 2),
        (b"exact marker.example.org\nexact a.example.net\n", 2),
        (b"https://marker.example.org/x\n", 1),
        (b"net 192.0.2.1/24 marker\n", 1),
    ],
)
def test_a_sealed_list_that_is_not_canonical_is_refused_by_its_line_alone(tmp_path, text, line):
    error = refusal(Sealed(tmp_path, text))
    assert isinstance(error, InputError)
    assert error.data == {"line": line}


@pytest.mark.parametrize("octets", [b"", b"age-encryption.org/v1\n", b"exact marker.example.org\n"])
def test_garbage_is_refused(sealed, octets):
    sealed.path.write_bytes(octets)
    assert isinstance(refusal(sealed), IntegrityError)


def test_a_file_that_is_not_there_is_told(sealed, tmp_path):
    assert isinstance(refusal(sealed, sealed=tmp_path / "none"), EnforcerError)


async def test_errors_cross_from_the_worker_whole_and_leave_nothing_open(sealed):
    async with ListWorker() as worker:
        opened, _ = await worker.open_list(sealed.path, sealed.secret, sealed.sha256)
        opened.close()
        before = open_files()
        for _ in range(3):
            with pytest.raises(IntegrityError, match="hashes to"):
                await worker.open_list(sealed.path, sealed.secret, "0" * 64)
        assert not open_files() - before


async def test_a_list_that_takes_too_long_ends_the_worker_and_no_other_job(
    sealed, tmp_path, monkeypatch
):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # opening it to read waits for somebody who writes, for ever
    plain = tmp_path / "plain"
    plain.write_bytes(TEXT)
    monkeypatch.setattr(compile_worker, "OPEN_SECONDS_MAX", 0.05)
    async with ListWorker() as worker:
        with pytest.raises(UnavailableError, match="has died"):
            await worker.open_list(fifo, sealed.secret, sealed.sha256)
        assert (await worker.check_list(plain)).target_count == 2
