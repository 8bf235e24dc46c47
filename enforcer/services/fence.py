"""Whether witnesses have left this ledger for another history of it: then it has been replaced.

A ledger that was restored elsewhere goes on there, and its former control plane may come back. Each
witness that shows another history, or more of it than is here, is one voice; once so many have
spoken that no quorum is left for what is here, nothing that is recorded here can come into force.
What log and witness signed is a voice for good; an answer that nobody signed, which anybody on
the way may have given, is a mere word, and makes this ledger doubted for as long as words last.
Always true: fewer voices, or a checkpoint that no witness cosigned, change nothing; a witness
that cosigns what is here afterwards takes voice and word back, what it cosigned before does not,
whoever shows it now; only by signed voices it holds for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from enforcer.core.cosignature import CosignerKey, Witnesses
from enforcer.errors import UnavailableError

_log: Final = structlog.get_logger(__name__)


class Fence:
    """The voices against one ledger; its calls may come from one event loop."""

    def __init__(self, witnesses: Witnesses) -> None:
        self._witnesses = witnesses
        self._elsewhere: dict[CosignerKey, int] = {}
        """Who signed that -> when, as it says itself (Unix time, seconds)."""
        self._said: dict[CosignerKey, tuple[int, int]] = {}
        """In whose name a mere word came -> what answers it: a larger size, or a later time."""
        self._tell: list[Callable[[UnavailableError], None]] = []
        self._tell_doubt: list[Callable[[UnavailableError | None], None]] = []
        self.error: UnavailableError | None = None
        """Why nothing can be recorded here any more; None: it can."""
        self.doubt: UnavailableError | None = None
        """Why no new block is recorded here while mere words last; None: none are against it."""

    def on_replaced(self, tell: Callable[[UnavailableError], None]) -> None:
        """Have `tell` called when this ledger turns out to be replaced; it must not wait."""
        self._tell.append(tell)

    def on_doubt(self, tell: Callable[[UnavailableError | None], None]) -> None:
        """Have `tell` called when this ledger becomes doubted, or no longer is (None)."""
        self._tell_doubt.append(tell)

    def is_here(self, cosigned: Mapping[CosignerKey, int], size: int) -> None:
        """Hear who cosigned so many entries of what is here, and when (Unix time, seconds).

        Anybody may show it, at any time: so it counts only if it cannot be from before.
        """
        for key, at_seconds in cosigned.items():
            if at_seconds > self._elsewhere.get(key, -1):
                self._elsewhere.pop(key, None)
            if (size, at_seconds) > self._said.get(key, (-1, -1)):
                self._said.pop(key, None)
        self._weigh_words()

    def is_elsewhere(self, cosigned: Mapping[CosignerKey, int]) -> None:
        """Hear who signed another history, or more than is here, and when (Unix time, seconds)."""
        for key, at_seconds in cosigned.items():
            self._elsewhere[key] = max(at_seconds, self._elsewhere.get(key, -1))
        if self.error is None and self._leave_no_quorum(set(self._elsewhere)):
            self._replace()
        self._weigh_words()

    def says_elsewhere(self, key: CosignerKey, size: int, cosigned_at: int = -1) -> None:
        """Hear an answer in a witness's name that tells of another history, or of more of it.

        It came for so many entries, which it is known to have cosigned then, or never (-1).
        """
        self._said[key] = max((size, cosigned_at), self._said.get(key, (-1, -1)))
        self._weigh_words()

    def _leave_no_quorum(self, keys: set[CosignerKey]) -> bool:
        quorum = self._witnesses.quorum
        return bool(quorum) and len(keys) > len(self._witnesses.keys) - quorum

    def _replace(self) -> None:
        against, all_of_them = len(self._elsewhere), len(self._witnesses.keys)
        self.error = UnavailableError(
            f"this control plane was replaced: {against} of {all_of_them} witnesses have seen "
            "another history of its ledger, or more of it than is here",
            advice="End it, keep its ledger's directory, and send the act to the control plane "
            "that the ledger was restored at. If there is none, ask the witnesses what they have.",
            against=against,
        )
        names = sorted(key.name for key in self._elsewhere)
        _log.error(
            "ledger_replaced",
            problem=self.error.message,
            advice=self.error.advice,
            witnesses=names,
        )
        for tell in self._tell:
            tell(self.error)

    def _weigh_words(self) -> None:
        against = {*self._elsewhere, *self._said}
        is_doubted = self.error is None and self._leave_no_quorum(against)
        if is_doubted == (self.doubt is not None):
            return
        self.doubt = _doubt(len(against), len(self._witnesses.keys)) if is_doubted else None
        if self.doubt is not None:
            names = sorted(key.name for key in against)
            _log.error("ledger_doubted", problem=self.doubt.message, witnesses=names)
        elif self.error is None:
            _log.info("ledger_doubted_no_more")
        for tell in self._tell_doubt:
            tell(self.doubt)


def _doubt(against: int, all_of_them: int) -> UnavailableError:
    return UnavailableError(
        f"it is said that this control plane was replaced: answers in the name of {against} of "
        f"{all_of_them} witnesses tell of another history of its ledger, or of more than is here",
        advice="Stops and suspensions are recorded, new blocks when witnesses cosign again. If the "
        "ledger was restored elsewhere, end this one; if not, look who answers at their URLs.",
        against=against,
    )
