"""The folder on a node's host into which signed acts are put as files: for what has no network.

A file is taken when its name ends in ``.json``, and removed when it needs not be tried again; a
refused one stays for its owner to see. Documents that an act names lie beside it under their
hashes, and go with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Final

import structlog

from enforcer.core.envelope import parse_envelope
from enforcer.core.judge_remedies import SO_ALREADY
from enforcer.errors import ConflictError, EnforcerError, IntegrityError
from enforcer.ports import KeptFiles
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.side_files import named_in

DROP_FOLDER: Final = "stops"
DROPS_REMEMBERED_MAX: Final = 1_000

Take = Callable[[bytes, Sequence[bytes]], Awaitable[object]]
"""Takes an act and its documents, or raises why not."""

_log: Final = structlog.get_logger(__name__)


class Drops:
    """The drop folder of one node; `known_size` tells how much of the ledger it has read."""

    def __init__(
        self,
        files: KeptFiles,
        take: Take,
        known_size: Callable[[], int],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._files = files
        self._take = take
        self._known_size = known_size
        self._pace = pace
        self._refused: dict[str, tuple[int, bytes]] = {}

    async def watch(self) -> None:
        """Take what is put as a file into the folder; it never returns."""
        while True:
            try:
                for name in await asyncio.to_thread(self._files.names, DROP_FOLDER):
                    if name.endswith(".json"):
                        await self._take_file(name)
            except EnforcerError as error:
                _log.error("cannot look for acts", problem=error.message, advice=error.advice)
            await asyncio.sleep(self._pace.drop_poll_seconds)

    async def _take_file(self, name: str) -> None:
        data = (await self._read(name)).strip()
        # It is tried again when it, or what the node knows, is another.
        attempt = (self._known_size(), sha256(data).digest())
        if self._refused.get(name) == attempt:
            return
        beside = _documents_of(data)
        documents = [document for each in beside if (document := await self._read(each))]
        if await self._is_done(data, documents):
            for each in (name, *beside):
                await asyncio.to_thread(self._files.remove, each)
        else:
            if len(self._refused) >= DROPS_REMEMBERED_MAX:
                self._refused.clear()
            self._refused[name] = attempt

    async def _is_done(self, data: bytes, documents: Sequence[bytes]) -> bool:
        """Offer an act; tell whether it needs not be tried again."""
        try:
            await self._take(data, documents)
        except ConflictError as error:  # it is so already, or can be so no more
            if error.data.get("problem") != SO_ALREADY:
                _log.warning("did not heed an act", path="file", problem=error.message)
            return True
        except EnforcerError as error:
            _log.warning("did not heed an act", path="file", problem=error.message)
            return False
        return True

    async def _read(self, name: str) -> bytes:
        try:
            return await asyncio.to_thread(self._files.read, name) or b""
        except IntegrityError:
            return b""  # larger than any act


def _documents_of(data: bytes) -> list[str]:
    """Return where the documents lie that an act names."""
    try:
        return [f"{DROP_FOLDER}/{each}" for each in sorted(named_in(parse_envelope(data)))]
    except EnforcerError:
        return []
