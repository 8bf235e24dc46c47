"""The right to write a directory: one holder, until it closes or dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from enforcer.backends.lock import DirectoryLock
from enforcer.errors import ConflictError, UnavailableError

ROOT = Path(__file__).resolve().parent.parent.parent
HOLDER = """
import signal, sys
from pathlib import Path
from enforcer.backends.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
signal.pause()
"""


def test_a_second_holder_is_refused_until_the_first_closes(tmp_path):
    first = DirectoryLock(tmp_path / "lock")
    with pytest.raises(ConflictError) as caught:
        DirectoryLock(tmp_path / "lock")
    assert caught.value.data == {"path": str(tmp_path), "pid": os.getpid()}
    first.close()
    first.close()
    DirectoryLock(tmp_path / "lock").close()


def test_the_lock_survives_other_descriptors_of_the_file_being_closed(tmp_path):
    held = DirectoryLock(tmp_path / "lock")
    (tmp_path / "lock").read_bytes()
    with pytest.raises(ConflictError):
        DirectoryLock(tmp_path / "lock")
    held.close()


def test_a_holder_killed_has_left_the_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=f"written by process {holder.pid}"):
            DirectoryLock(tmp_path / "lock")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    DirectoryLock(tmp_path / "lock").close()


def test_a_lock_without_a_readable_pid_is_still_a_lock(tmp_path):
    held = DirectoryLock(tmp_path / "lock")
    (tmp_path / "lock").write_bytes(b"\xff\xfe")
    with pytest.raises(ConflictError, match="being written by process") as caught:
        DirectoryLock(tmp_path / "lock")
    assert caught.value.data["pid"] is None
    held.close()


def test_a_lock_file_that_cannot_be_opened_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(UnavailableError, match="cannot lock"):
        DirectoryLock(tmp_path / "lock")
