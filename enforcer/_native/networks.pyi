"""Addresses of many orders as disjoint pieces; see native/networks.pyx."""

from collections.abc import Collection, Iterable
from typing import final

from typing_extensions import Buffer

from enforcer.core.firewall import Pieces
from enforcer.core.network import Network
from enforcer.core.table import IpMeasure
from enforcer.core.target import Target

@final
class Networks:
    def __init__(
        self,
        *,
        core: Buffer | None = None,
        protected: Buffer | None = None,
        local: Iterable[Network] = (),
    ) -> None: ...
    @property
    def rows(self) -> dict[int, IpMeasure]: ...
    @property
    def entry_count(self) -> int: ...
    def add(
        self, row: int, measure: IpMeasure, text: Buffer, *, overrides: Collection[Target] = ()
    ) -> None: ...
    def remove(self, row: int) -> bool: ...
    def pieces(self) -> Pieces: ...

def flatten(
    orders: Iterable[tuple[int, IpMeasure, Buffer]],
    *,
    core: Buffer | None = None,
    protected: Buffer | None = None,
    local: Iterable[Network] = (),
    overrides: Collection[tuple[int, Target]] = (),
) -> Pieces: ...
