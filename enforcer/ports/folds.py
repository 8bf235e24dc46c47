"""What a program has made of its ledger, kept so that no restart makes it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from enforcer.core.state import State


@dataclass(frozen=True, slots=True)
class KeptHistory:
    """Which entries concern which order; an order is named by the entry of one of its versions."""

    orders: Sequence[int]
    """By entry: the order that it concerns; -1: none, or several."""
    several: tuple[tuple[int, tuple[int, ...]], ...]
    """Each entry that concerns several, and these."""
    reviews: tuple[tuple[int, int], ...]
    """Order and the entry that reviewed it."""


@dataclass(frozen=True, slots=True)
class KeptFold:
    """The fold of the first ``state.size`` entries of one ledger, by the code that runs."""

    root: bytes
    """The Merkle root over those entries: of others it says nothing."""
    state: State
    ineffective: tuple[int, ...]
    """Entries that had no effect, the first of them."""
    witnessed_size: int
    """How many of them a quorum of witnesses had seen."""
    changes: tuple[tuple[int, int, int], ...]
    """What the others changed: entry index, order's entry index, former end (ms)."""
    history: KeptHistory | None = None
    """A control plane's; None: a node's."""


class FoldStore(Protocol):
    """One program's kept fold; losing it costs time and nothing else. All calls block."""

    def load(self) -> KeptFold | None:
        """Return what was kept, if it was kept here, whole, by this code and under this trust."""

    def keep(self, fold: KeptFold) -> None:
        """Put this in the place of what was kept; only what a caller has proven is to be kept.

        Nobody may change `fold` meanwhile.

        Raises:
            UnavailableError: the disk did not take it; what was kept before stays.
        """
