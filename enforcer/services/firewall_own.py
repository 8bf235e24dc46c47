"""What the operator's host itself must reach or be reached at, which no order cuts off here.

Owns what was learned of it last. Refuses to forget: while the host does not tell, what it told
stays. Always true: there is no rule before the first answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from enforcer.core.network import Network
from enforcer.core.table import NO_LOCAL_LAYER, LocalLayer
from enforcer.errors import UnavailableError
from enforcer.ports import OwnNetworks

_log: Final = structlog.get_logger(__name__)


class OwnProtections:
    """The protections of one host; use it from one event loop."""

    def __init__(self, own: OwnNetworks, on_change: Callable[[], None]) -> None:
        """Take who tells them, and whom to call when they have changed."""
        self._own = own
        self._on_change = on_change
        self._looking: asyncio.Task[None] | None = None
        self._is_due = False
        self.networks: tuple[Network, ...] | None = None
        """None until they are known."""

    @property
    def layer(self) -> LocalLayer:
        """What they are, as an attestation names them."""
        if not self.networks:
            return NO_LOCAL_LAYER
        lines = sorted(map(_line, self.networks))
        return LocalLayer(protected="".join(lines).encode("ascii"))

    def look_soon(self) -> None:
        """Have the host asked at the next `look`, due or not."""
        self._is_due = True

    async def look(self, *, is_due: bool) -> None:
        """Learn them the first time; later ask beside, when it is due.

        Raises:
            UnavailableError: the host has not told them yet.
        """
        if self.networks is None:
            self.networks = await self._own.networks()
        elif (is_due or self._is_due) and self._looking is None:
            self._is_due = False
            self._looking = asyncio.create_task(self._look())

    def close(self) -> None:
        """Give up asking."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> None:
        try:
            found = await self._own.networks()
        except UnavailableError as error:
            _log.warning("the host does not tell its addresses", problem=error.message)
        else:
            if found != self.networks:
                self.networks = found
                self._on_change()
        finally:
            self._looking = None


def _line(network: Network) -> str:
    if network.prefixlen == network.max_prefixlen:
        return f"ip {network.network_address}\n"
    return f"net {network}\n"
