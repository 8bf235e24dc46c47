"""Programs that are killed at random moments, left dead for a while, and started again."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack

from tests.e2e.chaos.invariants import Invariants
from tests.e2e.installation import Installation

TOLD = 0.25
"""How often a program is told to end instead of killed: under load it ends in order as well."""
BEFORE_SECONDS_MAX = 0.5
DEAD_SECONDS_MAX = 0.4


class Killer:
    """Kills by chance alone; every choice comes from the seed."""

    VICTIMS = (
        ("control",),
        ("node",),
        ("gate",),
        ("redis",),
        ("workers",),
        ("control", "node"),
        ("node", "gate"),
        ("control", "gate"),
        ("control", "redis"),
        ("node", "redis"),
        ("control", "node", "gate"),
        ("control", "redis", "node", "gate"),
    )

    STANDBY = (
        ("standby",),
        ("control",),
        ("control", "standby"),
        ("standby", "redis"),
        ("control", "node", "gate"),
    )
    """Beside the others, where there are two control planes."""

    def __init__(
        self, installation: Installation, invariants: Invariants, chance: random.Random
    ) -> None:
        self._installation = installation
        self._invariants = invariants
        self._chance = chance
        has_standby = "standby" in installation.programs
        self._victims = self.VICTIMS + (self.STANDBY if has_standby else ())

    def strike(self) -> str:
        """Kill some programs, leave them dead for a while, start them, and say what was done."""
        time.sleep(self._chance.uniform(0.0, BEFORE_SECONDS_MAX))
        return self.kill(*self._chance.choice(self._victims))

    def kill(self, *victims: str) -> str:
        """Kill these, one soon after the other, and start them in another order."""
        dead_seconds = self._chance.uniform(0.0, DEAD_SECONDS_MAX)
        with ExitStack() as stack:
            if "gate" in victims or "workers" in victims:
                stack.enter_context(self._invariants.gate_down())
            for victim in self._chance.sample(victims, len(victims)):
                self._end(victim)
                time.sleep(self._chance.uniform(0.0, 0.1))
            time.sleep(dead_seconds)
            for victim in self._chance.sample(victims, len(victims)):
                if victim != "workers":
                    self._installation.start(victim)
        return f"{'+'.join(victims)} dead for {dead_seconds * 1_000:.0f} ms"

    def _end(self, victim: str) -> None:
        """Kill a program, or now and then tell it to end, which it must do in order."""
        program = self._installation.programs.get(victim)
        if victim == "workers":
            for each in self._installation.programs.values():
                each.kill_workers()
        elif program is not None and self._chance.random() < TOLD:
            fine = (0, -signal.SIGTERM) if program.is_young else (0,)
            code = program.stop()
            assert code in fine, f"{victim} was told to end, and ended with {code}"
        else:
            self._installation.kill(victim)
