"""The demo, played to its end as anybody plays it, and ended in the middle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("redis_executable")
ROOT = Path(__file__).resolve().parent.parent
DEMO = [sys.executable, "-m", "enforcer", "demo"]
SECONDS_MAX = 240


def children_of(pid):
    """Return the command lines of the processes that a process has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            command = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if parent == pid:
            found.append((int(path.parent.name), command))
    return found


def environment(tmp_path):
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


@pytest.fixture
def passable(tmp_path_factory):
    """A directory that the gate's user can pass through, when root plays the demo."""
    path = tmp_path_factory.mktemp("demo")
    if os.getuid() == 0:
        for each in (path, *path.parents[:2]):
            each.chmod(0o711)
    return path


def test_the_demo_shows_what_it_says(passable):
    done = subprocess.run(
        DEMO,
        cwd=passable,
        env=environment(passable),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "One person asks for a block: nothing is blocked",
        "error: a certificate of the role PROPOSER cannot call ApproveOrder",
        "NXDOMAIN",
        "EDE: 16 (Censored): (VN-2026-000001 https://register.example.org/VN-2026-000001)",
        "VN-2026-000001.register.example.org.",
        "The node refuses it, and says why:",
        "the note is not signed by",
        "kill -9:",
        "its order ended by itself",
        "by the court's clerk alone",
        "GOOD: what the ledger says",
        "Proved.",
    ):
        assert words in done.stdout
    assert list(passable.iterdir()) == []


def test_an_interrupted_demo_leaves_nothing_behind(passable):
    playing = subprocess.Popen(
        DEMO,
        cwd=passable,
        env=environment(passable),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = []
        for line in playing.stdout:
            said.append(line)
            if "Before:" in line:
                break
        started = children_of(playing.pid)  # and perhaps the next step's command
        for program in ("redis-server", " control ", " gate ", " node "):
            assert any(program in command for _, command in started), (started, "".join(said))
        playing.send_signal(signal.SIGINT)
        rest = playing.stdout.read()
        assert playing.wait(SECONDS_MAX) == 130, rest
    finally:
        playing.kill()
        playing.wait()
        playing.stdout.close()
    assert "has been ended" in rest
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid, _ in started))
    assert list(passable.iterdir()) == []
