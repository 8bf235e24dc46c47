"""The fleet as the control plane knows it: each node's newest word, and what was refused.

Memory is bounded: one word a node, of at most 64 KiB. Nothing here judges whether a node may
speak: what is taken was checked before. What is shown of all nodes is for `fleet_walk` to find.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from enforcer.core.attestation import Attestation
from enforcer.core.attested import CARRIED_MS_MAX, LAG_MS_MAX, Exceptional
from enforcer.core.envelope import Envelope
from enforcer.core.state import State
from enforcer.services.digests import Digests
from enforcer.services.exceptions import exception_of

SPLIT_VIEW_MS: Final = 3_600_000
"""So long a node that showed another history is an exception, unless it attests this one again."""


class Outcome(IntEnum):
    """What became of an attestation that somebody brought."""

    UNSPECIFIED = 0
    TAKEN = 1
    REPEATED = 2
    """The very same was here: no error."""
    MALFORMED = 3
    MISNAMED = 4
    """Of another node than the one that brought it."""
    FOREIGN = 5
    """About another ledger."""
    AHEAD = 6
    """Of a time that is to come."""
    UNREGISTERED = 7
    """Not signed by the node's registered key."""
    OLDER = 8
    """The node has said something newer: this one was replayed, or its clock was set back."""
    ROLLED_BACK = 9
    """The node has read more than this ledger has."""
    SPLIT_VIEW = 10
    """The node has read another history."""
    BEHIND = 11
    """The node had long since had more to read."""
    UNKEPT = 12
    """The disk did not take it."""


@dataclass(frozen=True, slots=True)
class Word:
    """One attestation that was taken."""

    attestation: Attestation
    envelope: Envelope
    received_at_ms: int

    @property
    def seen_at_ms(self) -> int:
        """When it was said, as far as is known: who carried it took a time of their own."""
        return self.attestation.t_ms if self.attestation.carried else self.received_at_ms

    def is_live(self, at_ms: int) -> bool:
        """Tell whether it is so new that it counts."""
        lag_ms_max = CARRIED_MS_MAX if self.attestation.carried else LAG_MS_MAX
        return self.seen_at_ms >= at_ms - lag_ms_max


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """One node at a time."""

    node_id: str
    word: Word | None
    """Its newest; None: nothing was taken of it."""
    exception: Exceptional | None
    is_live: bool
    """Its word counts: heard within `LAG_MS_MAX`, or said within `CARRIED_MS_MAX` and carried."""

    @property
    def is_heard(self) -> bool:
        """Whether its word counts, and came by itself."""
        return self.is_live and self.word is not None and not self.word.attestation.carried


class Fleet:
    """The nodes of one ledger; use it from one event loop."""

    def __init__(self) -> None:
        self.words: dict[str, Word] = {}
        """Node id -> its newest word."""
        self.heard: list[str] = []
        """The nodes in `words`, ascending."""
        self.split_views: dict[str, int] = {}
        """Node id -> when it showed another history last."""
        self.outcomes: Counter[Outcome] = Counter()
        self.digests = Digests()
        self._tell: list[Callable[[Word], None]] = []

    def on_word(self, tell: Callable[[Word], None]) -> None:
        """Have `tell` called for each word that is taken; it must not wait."""
        self._tell.append(tell)

    def take(self, word: Word) -> None:
        """Take in a node's newest word."""
        node_id = word.attestation.node_id
        if node_id not in self.words:
            insort(self.heard, node_id)
        self.words[node_id] = word
        self.split_views.pop(node_id, None)
        for tell in self._tell:
            tell(word)

    def forget(self, registered: Collection[str]) -> None:
        """Forget the nodes that are registered no more."""
        for known in (self.words, self.split_views):
            for node_id in known.keys() - set(registered):
                del known[node_id]
        self.heard = [node_id for node_id in self.heard if node_id in self.words]

    def split_since(self, at_ms: int) -> set[str]:
        """Return the nodes that showed another history, and not this one since."""
        return {
            node for node, seen_ms in self.split_views.items() if seen_ms > at_ms - SPLIT_VIEW_MS
        }

    def standing(self, state: State, node_id: str, at_ms: int) -> NodeStanding:
        """Return how one node stands."""
        word = self.words.get(node_id)
        said = word.attestation if word is not None else None
        kind = exception_of(state, said, at_ms, self.digests)
        if self.split_views.get(node_id, 0) > at_ms - SPLIT_VIEW_MS:
            kind = Exceptional.SPLIT_VIEW
        return NodeStanding(node_id, word, kind, word is not None and word.is_live(at_ms))
