"""Machines that others name, and that change: the gate its resolvers, sentinels the Redis servers.

What each has told last is kept in a file, so that it is protected from the first rule on, also
while whoever told it is away. Refuses to forget: only another answer takes the place of one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias

import structlog

from enforcer.errors import EnforcerError, UnavailableError
from enforcer.ports import KeptFiles

TOLD_FILE: Final = "protected-hosts.json"
TOLD_SECONDS_MAX: Final = 2.0
HOSTS_MAX: Final = 256
"""Of what one of them tells."""

Teller: TypeAlias = Callable[[], Awaitable[Iterable[str]]]

_log: Final = structlog.get_logger(__name__)


class ToldHosts:
    """The machines that the tellers name; use it from one event loop."""

    def __init__(self, files: KeptFiles, tellers: Mapping[str, Teller]) -> None:
        """Take who tells, by name; each may raise UnavailableError."""
        self._files = files
        self._tellers = dict(tellers)
        self._told: dict[str, list[str]] | None = None

    async def __call__(self) -> frozenset[str]:
        """Return all that was told, names or addresses: what each has told now, or else last."""
        if self._told is None:
            self._told = await asyncio.to_thread(self._read)
        answers = await asyncio.gather(*map(_ask, self._tellers.values()))
        found = {
            name: self._told.get(name, []) if answer is None else answer
            for name, answer in zip(self._tellers, answers, strict=True)
        }
        if found != self._told:
            self._told = found
            try:
                await asyncio.to_thread(self._files.write, TOLD_FILE, json.dumps(found).encode())
            except EnforcerError as error:
                _log.error("cannot keep whom to protect", problem=error.message)
        return frozenset(host for told in found.values() for host in told)

    def _read(self) -> dict[str, list[str]]:
        try:
            kept = self._files.read(TOLD_FILE)
            found = json.loads(kept) if kept is not None else {}
            return {
                name: [str(host) for host in found[name]][:HOSTS_MAX]
                for name in self._tellers
                if name in found
            }
        except (EnforcerError, ValueError, TypeError) as error:
            _log.error("cannot read whom to protect", problem=str(error))
            return {}


async def _ask(teller: Teller) -> list[str] | None:
    try:
        async with asyncio.timeout(TOLD_SECONDS_MAX):
            return sorted(set(await teller()))[:HOSTS_MAX]
    except (TimeoutError, UnavailableError):
        return None
