"""The kept fold on disk: all of a state comes back, and nothing of what was altered."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from enforcer.backends import fold_file
from enforcer.backends.fold_file import FoldFile
from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.guard import Guard
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.order import PublicationMode
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.errors import UnavailableError
from enforcer.ports import KeptFold
from tests.node_world import Log, trust_of
from tests.people import Land, seal

KEY = PrivateKey.generate()


def eventful() -> Land:
    """Return a land where much has happened."""
    land = Land.founded()
    land.register(land.control, land.officer)
    first = land.in_force_order(b"exact a.example.org\n")
    land.approve(
        land.propose(b"exact b.example.org\n", order_id=first.order_id, version=2, supersedes=first)
    )
    land.stop(land.in_force_order(b"exact c.example.org\n"))
    held = land.propose(decision_kind=DecisionKind.COURT_FINAL)
    land.hold(held, Guard.PROTECTED_NAME)
    land.lift(held, Guard.PROTECTED_NAME, overrides=("exact bad.example.org",))
    land.approve(held)
    land.suspend(held)
    appeal = land.appeal(held)
    assert appeal.is_effective
    emergency = land.propose(
        decision_kind=DecisionKind.EMERGENCY,
        expires_at_ms=land.now_ms + 2 * DAY_MS,
        review_due_at_ms=land.now_ms + DAY_MS,
    )
    land.approve(emergency)
    land.approve(land.propose_hidden(PublicationMode.DELAYED))
    land.record(seal(land.policy(), *land.roots[:2]))
    land.record(seal(land.policy(), land.approver.key))
    assert not land.effects[-1].is_effective
    return land


LAND = eventful()
TRUST = trust_of(LAND, Log(LAND.origin))


def kept() -> KeptFold:
    root = CompactRange.over(map(leaf_hash, LAND.leaves)).root()
    return KeptFold(root, LAND.state, (3, 7), 5, ((6, 6, 0), (8, 7, 12)))


@pytest.fixture
def store(tmp_path):
    store = FoldFile(tmp_path / "fold", TRUST, KEY, verify)
    store.keep(kept())
    return store


def test_all_of_it_comes_back(store):
    found, expected = store.load(), kept()
    for each in fields(expected):
        if each.name != "state":
            assert getattr(found, each.name) == getattr(expected, each.name)
    for each in fields(LAND.state):
        assert getattr(found.state, each.name) == getattr(LAND.state, each.name), each.name


def test_what_comes_back_goes_on_as_the_state_does(store, monkeypatch):
    monkeypatch.setattr(fold_file, "ORDERS_IN_FRAME", 2)
    monkeypatch.setattr(fold_file, "PAIRS_IN_FRAME", 3)
    store.keep(kept())
    found = store.load().state.copy()
    before = LAND.state.copy()
    land = replace(LAND, leaves=[], effects=[])
    for state in (found, before):
        land.state = state
        land.now_ms = LAND.now_ms
        state.live.forget_ended(land.now_ms + 10 * DAY_MS)
        for added in state.growth.values():
            added.forget(land.now_ms)
    assert dict(found.live) == dict(before.live)
    assert found.live.targets(LAND.now_ms) == before.live.targets(LAND.now_ms)
    assert found.growth == before.growth


def test_what_comes_back_holds_each_text_once(store):
    state = store.load().state
    for index, order in state.orders.items():
        assert any(order.payload_sha256 is each for each in state.index_of_payload), index
        first = state.orders[state.versions[order.payload.order_id][0]]
        assert any(first.payload.order_id is each for each in state.versions), index
        requests = state.index_of_request[order.signers[0].key_id]
        assert any(order.payload.request_id is each for each in requests), index
    authorities = {id(order.payload.authority) for order in state.orders.values()}
    assert len(authorities) == 1


def test_nothing_was_kept_at_first(tmp_path):
    assert FoldFile(tmp_path / "fold", TRUST, KEY, verify).load() is None


def test_no_octet_of_it_can_be_changed_and_none_left_out(store, tmp_path):
    path = tmp_path / "fold"
    whole = path.read_bytes()
    for at in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert store.load() is None, at
        path.write_bytes(whole[:at])
        assert store.load() is None, at
    path.write_bytes(whole + b"\0")
    assert store.load() is None
    path.write_bytes(whole)
    assert store.load() is not None


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 63, b"\0" * 10_000])
def test_garbage_is_as_good_as_nothing(tmp_path, garbage):
    path = tmp_path / "fold"
    path.write_bytes(garbage)
    assert FoldFile(path, TRUST, KEY, verify).load() is None


@pytest.mark.parametrize("frames", [b"", b"\0\0\0\1", b"\0\0\0\1\xc0", b"\0\0\0\2\x90\x90"])
def test_even_what_was_signed_here_must_be_a_fold(tmp_path, frames):
    path = tmp_path / "fold"
    digest = fold_file.sha256(fold_file.CONTEXT + frames).digest()
    path.write_bytes(frames + KEY.sign(fold_file.CONTEXT + digest))
    assert FoldFile(path, TRUST, KEY, verify).load() is None


def test_of_another_node_trust_file_or_release_it_is_of_no_use(store, tmp_path, monkeypatch):
    path = tmp_path / "fold"
    assert FoldFile(path, TRUST, PrivateKey.generate(), verify).load() is None
    other = replace(TRUST, roots=replace(TRUST.roots, threshold=3))
    assert FoldFile(path, other, KEY, verify).load() is None
    assert store.load() is not None
    monkeypatch.setattr(fold_file, "code_sha256", lambda: "0" * 64)
    assert store.load() is None


def test_all_code_that_decides_what_is_kept_is_its_release(tmp_path):
    files = [path for pattern in fold_file.FOLDING for path in fold_file.PACKAGE.glob(pattern)]
    names = {str(path.relative_to(fold_file.PACKAGE)) for path in files}
    assert {"core/fold.py", "services/replica.py", "services/witnessed.py"} <= names
    for path in files:
        copy = tmp_path / path.relative_to(fold_file.PACKAGE)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    seen = {fold_file.code_sha256()}
    assert fold_file.code_sha256(tmp_path) in seen
    for name in names:
        with (tmp_path / name).open("ab") as file:
            file.write(b"#")
        assert fold_file.code_sha256(tmp_path) not in seen, name
        seen.add(fold_file.code_sha256(tmp_path))


def test_a_disk_that_does_not_take_it_leaves_what_was_kept(store, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fold_file.os, "fsync", full)
    with pytest.raises(UnavailableError):
        store.keep(replace(kept(), ineffective=()))
    assert store.load().ineffective == (3, 7)
    assert [each.name for each in tmp_path.iterdir()] == ["fold"]


class BadDisk(type(Path())):
    """A path whose file cannot be read any more after some octets."""

    octets = 0

    def open(self, *_args):
        return io.BufferedReader(BadFile(str(self), self.octets), 64)


class BadFile(io.FileIO):
    def __init__(self, path, octets):
        super().__init__(path)
        self.left = octets

    def readinto(self, buffer):
        if self.left < len(buffer):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.left -= len(buffer)
        return super().readinto(buffer)


@pytest.mark.parametrize("readings", [0, 0.5, 1.5])
def test_a_sector_that_cannot_be_read_costs_what_was_kept_and_nothing_else(
    store, tmp_path, readings
):
    path = BadDisk(tmp_path / "fold")
    path.octets = int(readings * path.stat().st_size)
    with capture_logs() as logs:
        assert FoldFile(path, TRUST, KEY, verify).load() is None
    (said,) = logs
    assert said["log_level"] == "warning"
    assert "Input/output error" in said["why"]
    path.octets = 3 * path.stat().st_size
    assert FoldFile(path, TRUST, KEY, verify).load() is not None


def test_it_is_for_this_user_alone(store, tmp_path):
    assert (tmp_path / "fold").stat().st_mode & 0o777 == 0o600
