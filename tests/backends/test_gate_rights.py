"""What stays with a gate that has become somebody else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from enforcer.backends.child import tied_to_parent
from tests.waiting import WAIT_SECONDS

BECOME_NOBODY = """
from enforcer._native.gate import parent_death_signal
from enforcer.backends.gate_rights import drop_rights, identity_of
before = parent_death_signal()
drop_rights(identity_of("nobody", None), owning=())
import os
print(before, parent_death_signal(), os.getuid())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_gate_that_became_somebody_else_still_ends_with_its_parent():
    command = tied_to_parent([sys.executable, "-c", BECOME_NOBODY])
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_SECONDS)
    before, after, uid = done.stdout.split()
    assert before == after == "15"
    assert uid != "0"
