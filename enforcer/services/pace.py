"""How often a node looks again where nothing tells it that something has changed."""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom
from typing import Final

JITTER: Final = 0.2
"""A pause is longer or shorter by this part at most, so that no fleet does a thing at once."""


def jittered(seconds: float) -> float:
    """Return about so many seconds."""
    return seconds * SystemRandom().uniform(1 - JITTER, 1 + JITTER)


class Backoff:
    """Pauses between tries of what fails: the first short, each further one twice as long."""

    def __init__(self, seconds: float, seconds_max: float) -> None:
        self._first, self._next, self._most = seconds, seconds, seconds_max

    def pause(self) -> float:
        """Return how long to wait now, in seconds."""
        seconds, self._next = self._next, min(self._next * 2, self._most)
        return jittered(seconds)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._next = self._first


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals of one node's loops, in seconds."""

    feed_wait_seconds: float = 1.0
    """How long one look at the feed waits for something new."""
    feed_retry_seconds: float = 0.2
    """First pause after the feed was away, or offered what was refused, on all paths."""
    feed_retry_seconds_max: float = 2.0
    """Each further one is twice as long, up to this."""
    gate_retry_seconds: float = 1.0
    """While the gate does not hold what it should."""
    gate_poll_seconds: float = 5.0
    """How often a gate that holds the right table is asked whether it still does."""
    list_retry_seconds: float = 1.0
    """First wait for a list that nobody had; each further one is twice as long."""
    list_retry_seconds_max: float = 30.0
    drop_poll_seconds: float = 0.5
    """How often the folder is looked at into which stops are put."""
    relay_retry_seconds: float = 5.0
    """While the control plane does not answer for a stop."""
    witness_poll_seconds: float = 0.025
    """First wait for a cosigned checkpoint; each further one is twice as long."""
    witness_poll_seconds_max: float = 1.0
    show_after_seconds: float = 0.1
    """From a change to the status file: what else wakes by it on this machine goes first."""
    tell_within_seconds_max: float = 30.0
    """From a change to the attestation of it, however many nodes there are."""
    relay_after_seconds: float = 0.5
    """From a stop to its way to the control plane, twice that at the most: it comes from there most
    often, and then the ledger has it before."""
    tell_progress_seconds: float = 2.0
    """How much longer a word may wait that only says how far this node has read."""
    path_look_seconds: float = 1.0
    """How often paths that are not followed are looked at, and tried again."""
    path_lag_seconds: float = 2.0
    """How long the path that is followed may bring nothing while another is ahead of it."""
    path_retry_seconds: float = 5.0
    """Pause after a path was refused, and the first after it withheld something."""
    path_retry_seconds_max: float = 60.0
    """Each further pause after that is twice as long, up to this: finding out delays entries."""
    path_slow_seconds: float = 5.0
    """How long the path that is followed may lack what another has proven to have."""
    path_proof_seconds: float = 300.0
    """How long Redis may bring entries that no checkpoint proves, while another path has more."""
    clock_wait_seconds: float = 1.0
    """How often entries that are recorded ahead of our clock are looked at again."""


DEFAULT_PACE = Pace()
