"""Orders against addresses on a box that forwards, told in ``addresses_on_a_box.py``.

In a process of its own: a thread takes a network namespace for itself, and gRPC's threads keep
the one in which they were made, which would be another test's.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.firewall_kernel import why_not

STORY = Path(__file__).with_name("addresses_on_a_box.py")
SECONDS_MAX = 1_200


@pytest.mark.root
@pytest.mark.parametrize("which", ["not long", pytest.param("long", marks=pytest.mark.long)])
def test_addresses_are_ordered_stopped_and_given_back(which):
    if refuse := why_not():
        pytest.skip(refuse)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", which]
    done = subprocess.run(
        [*command, str(STORY)],
        cwd=STORY.parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
