"""Stories that are told in a process of their own, which may leave our namespaces.

A thread takes a namespace for itself, and gRPC's threads keep the one in which they were made,
which would be another test's.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS_MAX = 1_200


def told(story: Path, which: str, before: Sequence[str] = ()) -> str:
    """Have pytest tell what is marked so, by a command that comes before; return its words."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", which]
    done = subprocess.run(
        [*before, *command, str(story)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
    return done.stdout
