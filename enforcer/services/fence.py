"""Whether witnesses have left this ledger for another history of it: then it has been replaced.

A ledger that was restored elsewhere goes on there, and its former control plane may come back. Each
witness that shows another history, or more of it than is here, is one voice; once so many have
spoken that no quorum is left for what is here, nothing that is recorded here can come into force.
Always true: fewer voices, or a checkpoint that no witness cosigned, change nothing; a witness
that cosigns what is here takes its voice back; and once it holds it holds for this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from enforcer.core.cosignature import CosignerKey, Witnesses
from enforcer.errors import UnavailableError

_log: Final = structlog.get_logger(__name__)


class Fence:
    """The voices against one ledger; its calls may come from one event loop."""

    def __init__(self, witnesses: Witnesses) -> None:
        self._witnesses = witnesses
        self._elsewhere: set[CosignerKey] = set()
        self._tell: list[Callable[[UnavailableError], None]] = []
        self.error: UnavailableError | None = None
        """Why nothing can be recorded here any more; None: it can."""

    def on_replaced(self, tell: Callable[[UnavailableError], None]) -> None:
        """Have `tell` called when this ledger turns out to be replaced; it must not wait."""
        self._tell.append(tell)

    def is_here(self, keys: Iterable[CosignerKey]) -> None:
        """Hear that witnesses have cosigned what is here."""
        self._elsewhere -= set(keys)

    def is_elsewhere(self, keys: Iterable[CosignerKey]) -> None:
        """Hear that witnesses have seen another history, or more than is here."""
        self._elsewhere |= set(keys)
        against, all_of_them = len(self._elsewhere), len(self._witnesses.keys)
        quorum = self._witnesses.quorum
        if self.error is not None or not quorum or against <= all_of_them - quorum:
            return
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
