"""A wall clock that a test sets, for the processes that are started with it."""

import os
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("stepped_clock.c")
COMPILER = shlex.split(os.environ.get("CC", "cc"))


def can_be_made() -> bool:
    """Tell whether there is a C compiler to make one with."""
    return shutil.which(COMPILER[0]) is not None


class WallClock:
    """The wall clock of the processes that are started with it; it can be set to any time."""

    def __init__(self, folder: Path) -> None:
        self._step = folder / "clock-step"
        self.set_ahead(0)
        self._step.chmod(0o644)
        library = folder / "stepped_clock.so"
        subprocess.run([*COMPILER, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        library.chmod(0o755)
        preloaded = [os.environ.get("LD_PRELOAD"), str(library)]  # a sanitiser must come first
        self.env = {
            "CLOCK_STEP_FILE": str(self._step),
            "LD_PRELOAD": " ".join(filter(None, preloaded)),
        }

    def set_ahead(self, hours: int) -> None:
        """Set it so many hours ahead of the true time; behind it, when negative."""
        self.set_seconds_ahead(hours * 3_600)

    def set_seconds_ahead(self, seconds: int) -> None:
        """Set it so many seconds ahead of the true time; behind it, when negative."""
        # In place: the processes have the file mapped.
        with os.fdopen(os.open(self._step, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            file.write(struct.pack("=q", seconds))
