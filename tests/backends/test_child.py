"""Children that end with their parent."""

import os
import subprocess
import sys

from enforcer.backends.child import tied_to_parent


def test_one_whose_parent_ended_before_it_began_says_so():
    command = tied_to_parent([sys.executable, "-c", "print('began')"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "began\n")
    of_another = [word if word != str(os.getpid()) else "1" for word in command]
    done = subprocess.run(of_another, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "who asked for it has ended" in done.stderr
