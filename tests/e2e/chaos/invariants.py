"""What must hold whatever happens to an installation, in one place.

All the time a client asks: for names that are always blocked, and for names that must never be,
among them those of an order with one signature, and those that an intruder orders. Whenever
everything has come to rest the ledger, the feed, the node and the resolver must agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from enforcer.app.audit import open_ledger
from enforcer.backends.feed_format import (
    CHECKPOINT_FIELD,
    ENTRY_FIELD,
    FeedKeys,
    claimed_size,
    stream_floor,
    stream_id,
)
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.entry import parse
from enforcer.core.hold import OrderHeld
from enforcer.core.order import OrderRef
from enforcer.core.tile import TILE_WIDTH
from tests.e2e.dns import Answer, Questions, address_of
from tests.e2e.installation import ORIGIN, STEP_SECONDS_MAX, Installation

if TYPE_CHECKING:
    from tests.e2e.chaos.load import Actors

BLOCKED = [f"b{at}.always.example.org" for at in range(3)]
FREE = [f"f{at}.never.example.org" for at in range(3)]
PROPOSED = [f"p{at}.one-signature.example.org" for at in range(2)]
FORGED = [f"x{at}.forged.example.org" for at in range(2)]
"""What an intruder orders."""

OWN_KINDS = {kind.__name__ for kind in (OrderHeld, AttestationsRecorded)}
"""What the control plane records by itself."""
PER_SECOND = 100
WATCHED_MAX = 12
"""So many names of orders that came under load are asked for all the time, beside those above."""
SETTLED_SECONDS = 4.0
"""Longer than a node takes for a new base: one that is on the disk alone is older than what was."""
LAST_WORDS_SECONDS = 1.0
"""A query sent so shortly before a gate, or its worker, was killed may have died with it."""


def exact(names: Iterable[str]) -> bytes:
    return b"".join(f"exact {name}\n".encode() for name in sorted(names))


@dataclass
class Invariants:
    """What holds of one installation; `see` hears every answer that the client gets."""

    installation: Installation
    always: set[str] = field(default_factory=lambda: set(BLOCKED))
    never: set[str] = field(default_factory=lambda: {*FREE, *PROPOSED, *FORGED})
    wrong: list[str] = field(default_factory=list)
    downtimes: list[tuple[float, float]] = field(default_factory=list)
    """When the gate or its workers were killed, and when it served again (monotonic)."""
    asked: int = 0
    _questions: list[Questions] = field(default_factory=list)
    _seen: tuple[dict[str, float], dict[str, float]] = field(default_factory=lambda: ({}, {}))
    """Since when names of orders were found to be blocked, and free, at each rest."""

    def begin(self) -> tuple[OrderRef, OrderRef]:
        """Have the lasting order in force, and the one with one signature proposed."""
        installation = self.installation
        always = installation.order(exact(BLOCKED))
        proposed = installation.propose(exact(PROPOSED))
        installation.wait_until(lambda: installation.is_blocked(*BLOCKED), "blocking begins")
        self._await_kept()
        return always, proposed

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ask each gate all the time.

        At the end no query may be unanswered but those of a killed gate.
        """
        names = [*BLOCKED, *FREE, *PROPOSED, *FORGED]
        with ExitStack() as stack:
            self._questions = [
                stack.enter_context(
                    self.installation.questions(names, PER_SECOND, port=port, on_answer=self.see)
                )
                for port in self.installation.dns_ports
            ]
            yield
        unanswered = [each for asked in self._questions for each in asked.unanswered]
        lost = [each for each in unanswered if not self._is_excused(each.at)]
        assert not lost, f"{len(lost)} queries lost while the gate ran: {lost[:5]}"
        assert not self.wrong, self.wrong[:5]
        self.asked = min(len(each.asked) for each in self._questions)

    def see(self, qname: str, answer: Answer) -> None:
        """Take an answer; one about a name that somebody is about to change is let pass."""
        is_right = (
            (answer.is_blocked and not answer.addresses)
            if qname in self.always
            else (answer.addresses == (address_of(qname),) and not answer.is_blocked)
            if qname in self.never
            else True
        )
        if not is_right:
            self.wrong.append(f"{qname}: {answer}")

    def forget(self, names: Iterable[str]) -> None:
        """Hear that somebody acts on these names: what is answered for them may change."""
        for name in names:
            self.always.discard(name)
            self.never.discard(name)
            for seen in self._seen:
                seen.pop(name, None)

    @contextmanager
    def gate_down(self) -> Iterator[None]:
        """Excuse queries while the gate or its workers are killed, until it serves again."""
        killed_at = time.monotonic()
        yield
        self.installation.wait_until(self.installation.gate_status, "the gate serves again")
        self.downtimes.append((killed_at, time.monotonic()))

    def check_rest(self, actors: Actors) -> None:
        """Check what must hold whenever everything has come to rest."""
        installation = self.installation
        installation.check_answers()
        assert not (unasked := self._unasked()), f"recorded twice, or unasked: {unasked}"
        for order, name in actors.newest():
            # The node may have read an order before it had fetched its list: that is soon done.
            installation.wait_until(
                lambda order=order, name=name: all(
                    actors.agrees(order, verdict) for verdict in installation.verdicts(name)
                ),
                f"{name} as ordered: {order}",
            )
        installation.wait_until(lambda: not self.feed_differs(), "the feed is the ledger's")
        for status in installation.statuses():
            assert not status["ledger"]["ineffective"], "an unlawful act is in the ledger"
            assert not status["ledger"]["split_views"]
        assert not self.wrong, self.wrong[:5]
        self._await_kept()
        self._watch_more(actors)

    def _await_kept(self) -> None:
        """Wait until gates begin with what they serve by now, should they be killed.

        One that is killed within a second of a change begins with the table before, until its
        node finds that.
        """
        installation = self.installation
        installation.wait_until(installation.gates_keep, "gates have it on disk", STEP_SECONDS_MAX)

    def _unasked(self) -> list[int]:
        """Return the entries that nobody asked for, but for the control plane's own."""
        asked = {recorded.index for recorded in self.installation.answered}
        with open_ledger(self.installation.files.ledger, self.installation.trust) as ledger:
            return [
                index
                for index, leaf in enumerate(ledger.entries(0, ledger.size))
                if index not in asked and parse(leaf).kind not in OWN_KINDS
            ]

    def feed_differs(self) -> str:
        """Say what of the feed is not the ledger's: head, stream or bundles; empty: nothing."""
        try:
            return self._feed_differs()
        except ResponseError as error:  # a key of another kind, which nobody has mended yet
            return str(error)

    def _feed_differs(self) -> str:
        keys = FeedKeys(ORIGIN)
        with (
            open_ledger(self.installation.files.ledger, self.installation.trust) as ledger,
            self.installation.feed("publisher") as feed,
        ):
            note = ledger.checkpoint_note
            size = claimed_size(note)
            if feed.getrange(keys.head, 0, -1) != note:
                return "its head"
            floor = stream_floor(size)
            leaves = list(ledger.entries(floor, size))
            stream = feed.xrange(keys.log)
            ids = [stream_id(at).encode() for at in range(floor, size)]
            if [identity for identity, _ in stream] != ids:
                return "which entries its stream has"
            if [fields[ENTRY_FIELD] for _, fields in stream] != leaves:
                return "the entries in its stream"
            if claimed_size(stream[-1][1][CHECKPOINT_FIELD]) != size:
                return "the last checkpoint in its stream"
            for at in range(size // TILE_WIDTH):
                if feed.getrange(keys.bundle(at), 0, -1) != ledger.bundle(at, TILE_WIDTH):
                    return f"its bundle {at}"
        return ""

    def _watch_more(self, actors: Actors) -> None:
        """Ask from now on for what has answered the same at rests for a while."""
        lasting = [set(actors.lasting(is_blocked)) for is_blocked in (True, False)]
        now = time.monotonic()
        for seen, names in zip(self._seen, lasting, strict=True):
            for gone in seen.keys() - names:
                del seen[gone]
            seen.update(dict.fromkeys(names - seen.keys(), now))
        blocked, free = (
            sorted(name for name, since in seen.items() if now - since > SETTLED_SECONDS)
            for seen in self._seen
        )
        self.always = {*BLOCKED, *blocked}
        self.never = {*FREE, *PROPOSED, *FORGED, *free}
        more = [*blocked[: WATCHED_MAX // 2], *free[: WATCHED_MAX // 2]]
        for questions in self._questions:
            questions.names = [*BLOCKED, *FREE, *PROPOSED, *FORGED, *more]

    def _is_excused(self, sent_at: float) -> bool:
        return any(
            killed_at - LAST_WORDS_SECONDS <= sent_at <= back_at
            for killed_at, back_at in self.downtimes
        )
