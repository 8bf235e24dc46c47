"""What was answered is on the disk: killed writers, faults, full disks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from enforcer.core.checkpoint import Checkpoint
from enforcer.errors import UnavailableError
from tests.backends.tile_world import ORIGIN, not_called, opened, seal

ROOT = Path(__file__).resolve().parent.parent.parent


def name_of(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def test_everything_is_synced_before_it_is_signed_and_the_checkpoint_before_it_is_answered(
    path, monkeypatch
):
    synced, fsync = [], os.fsync

    def recording(descriptor):
        fsync(descriptor)
        synced.append(name_of(descriptor))

    monkeypatch.setattr(os, "fsync", recording)

    def signing(checkpoint):
        assert sorted(synced) == [
            f"{path}/tile/0/002.p",
            f"{path}/tile/0/002.p/90",
            f"{path}/tile/entries/002.p",
            f"{path}/tile/entries/002.p/90",
        ]
        return seal(checkpoint)

    with opened(path) as ledger:
        ledger._files._make(path / "tile/entries/002.p")
        ledger._files._make(path / "tile/0/002.p")
        synced.clear()
        ledger.append([b"one", b"two"], signing)
        assert synced[4:] == [f"{path}/.checkpoint.tmp", f"{path}"]


def test_directories_that_a_killed_writer_made_are_synced_too(path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), synced.append(name_of(fd))))
    with opened(path) as ledger:
        ledger.append([b"one"], seal)
    # The directory's own name stands in its parent, up to the ledger's.
    assert {f"{path}/tile/entries", f"{path}/tile/0", f"{path}/tile", f"{path}"} <= set(synced)


def test_after_a_fault_in_placing_the_checkpoint_nothing_is_appended_until_reopened(
    path, monkeypatch
):
    fsync = os.fsync

    def failing(descriptor):
        if name_of(descriptor) == str(path):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with opened(path) as ledger:
        ledger.append([b"fine"], seal)
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match="cannot sync"):
            ledger.append([b"in doubt"], seal)
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(UnavailableError, match="may or may not be on the disk"):
            ledger.append([b"another entry at that index"], not_called)
        assert ledger.size == 601
    # A reader may have seen the new checkpoint, so it counts.
    with opened(path) as ledger:
        assert list(ledger.entries(600, 602)) == [b"fine", b"in doubt"]


@pytest.mark.parametrize("failing_name", [".checkpoint.tmp", "/89", "002.p"])
def test_after_a_fault_before_the_checkpoint_the_next_append_goes_on(
    path, monkeypatch, failing_name
):
    fsync = os.fsync

    def failing(descriptor):
        if name_of(descriptor).endswith(failing_name):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with opened(path) as ledger:
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match="Input/output error"):
            ledger.append([b"lost"], seal)
        monkeypatch.setattr(os, "fsync", fsync)
        assert not list(path.rglob("*.tmp"))
        ledger.append([b"kept"], seal)
        ledger.verify_all()
        assert list(ledger.entries(600, 601)) == [b"kept"]


def test_partial_files_that_a_killed_writer_left_go_when_the_ledger_opens(path):
    with opened(path) as ledger:
        ledger.append([b"more"] * 168, seal)
    leftover = path / "tile/entries/002.p"
    leftover.mkdir()
    (leftover / "88").write_bytes(b"old")
    (leftover / ".89.tmp").write_bytes(b"half")
    (path / ".checkpoint.tmp").write_bytes(seal(Checkpoint(ORIGIN, 1000, bytes(32))))
    opened(path).close()
    assert not leftover.exists()
    assert not (path / ".checkpoint.tmp").exists()


def test_opening_finishes_what_a_writer_killed_at_its_first_checkpoint_left(path, monkeypatch):
    (path / "begun").unlink()
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(name_of(fd)), fsync(fd)))
    opened(path).close()
    assert synced[:2] == [f"{path}/checkpoint", f"{path}"]
    assert (path / "begun").exists()


def test_partial_files_stay_until_the_checkpoint_that_needs_them_is_replaced(path, monkeypatch):
    fsync = os.fsync

    def failing(descriptor):
        if name_of(descriptor).endswith(".checkpoint.tmp"):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with opened(path) as ledger:
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match="No space left"):
            ledger.append([b"more"] * 168, seal)
        assert (path / "tile/entries/002.p/88").exists()
        assert (path / "tile/0/002.p/88").exists()
        monkeypatch.setattr(os, "fsync", fsync)
        ledger.append([b"more"] * 168, seal)
        assert not (path / "tile/entries/002.p").exists()


def run_scenario(path, scenario, *arguments, before=()):
    path.mkdir(exist_ok=True)
    script = Path(__file__).with_name("ledger_scenarios.py")
    done = subprocess.run(
        [*before, sys.executable, script, scenario, path, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_writers_killed_at_random_moments_lose_nothing_that_they_answered(tmp_path):
    assert run_scenario(tmp_path, "kill_at_random", 20, 20).startswith("20 kills")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_writers_killed_hundreds_of_times_lose_nothing_that_they_answered(tmp_path, seed):
    assert run_scenario(tmp_path, "kill_at_random", seed, 100).startswith("100 kills")


def test_a_writer_killed_at_any_step_loses_nothing_that_it_answered(tmp_path):
    steps = int(run_scenario(tmp_path, "kill_at_each_step").split()[0])
    assert steps > 100


def test_a_copy_killed_at_any_step_loses_nothing_that_it_took(tmp_path):
    steps = int(run_scenario(tmp_path, "kill_at_each_step", 1).split()[0])
    assert steps > 100


def test_copies_killed_at_random_moments_lose_nothing_that_they_took(tmp_path):
    assert run_scenario(tmp_path, "kill_at_random", 20, 10, 1).startswith("10 kills")


def test_a_control_plane_killed_in_a_group_of_acts_lost_none_that_it_answered(tmp_path):
    steps = int(run_scenario(tmp_path, "kill_in_a_group").split()[-2])
    assert steps > 20


def test_a_limit_on_file_sizes_is_an_error_with_a_remedy(tmp_path):
    run_scenario(tmp_path, "file_limit")


def in_a_mount_namespace():
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting a small filesystem needs root and mount namespaces")
    return ("unshare", "-m")


@pytest.mark.root
def test_a_full_disk_is_an_error_with_a_remedy_and_loses_nothing(tmp_path):
    run_scenario(tmp_path, "full_disk", before=in_a_mount_namespace())


@pytest.mark.root
def test_a_ledger_opens_for_reading_where_nothing_can_be_written(tmp_path):
    run_scenario(tmp_path, "read_only_disk", before=in_a_mount_namespace())
