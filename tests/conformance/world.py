"""The one gate that the conformance tests ask, with the orders that it enforces.

Each test uses names of its own, so that what one has put into the gate's cache is not another's.
A gate with other settings is started by the test that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from enforcer.core.table import Binding, DnsMeasure
from tests.backends.gate_tables import compiled, order
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.conformance.client import Client
from tests.conformance.upstream import Upstream
from tests.waiting import eventually

PAGE4: Final = "192.0.2.80"
PAGE6: Final = "2001:db8::80"
SUBTREE, EXACT, ADVISED, PAGED, ENDED, ADDRESSES = (f"XX-2026-{n:06}" for n in range(1, 7))
"""The orders' ids, in the order of `orders` below."""
BAD_ADDRESS: Final = "198.51.100.66"
BAD_NETWORK: Final = "203.0.113"
BAD_ADDRESS6: Final = "2001:db8:bad::66"


def orders() -> list[tuple[Any, bytes]]:
    """Return the orders in force, one of each sort."""
    return [
        order(1, b"subtree blocked.example\nsubtree open.example\n"),
        order(2, b"exact host.exact.example\nexact zone.example\n"),
        order(3, b"subtree advised.example\n", binding=Binding.ADVISORY),
        order(4, b"subtree page.example\n", measure=DnsMeasure.BLOCK_PAGE),
        order(5, b"subtree ended.example\n", until_ms=1_700_000_000_000),
        order(
            6,
            f"ip {BAD_ADDRESS}\nnet 2001:db8:bad::/48\nnet {BAD_NETWORK}.0/24\n".encode(),
        ),
    ]


CORE: Final = b"exact time.open.example\n"


@dataclass
class World:
    """A running gate, the resolver behind it, and a client before it."""

    gate: GateUnderTest
    upstream: Upstream
    client: Client

    @contextmanager
    def counting(self, **expected: int) -> Iterator[None]:
        """Hold that what runs inside adds exactly this to these counters."""
        before = self.gate.counters()
        yield
        wanted = {name: before[name] + count for name, count in expected.items()}
        last: dict[str, int] = {}

        def came() -> bool:
            last.update(self.gate.counters())
            return all(last[name] >= count for name, count in wanted.items())

        with suppress(AssertionError):
            eventually(came)
        assert {name: last[name] - before[name] for name in expected} == expected


@contextmanager
def gate_before(
    base: Path,
    upstream: tuple[str, int],
    *,
    orders: Iterable[tuple[Any, bytes]],
    core: bytes = b"",
    **settings: Any,
) -> Iterator[GateUnderTest]:
    """Yield a gate before this resolver that enforces `orders`; files go into `base`."""
    with gate_folder(base) as folder:
        gate = GateUnderTest(folder, upstream, **settings).start()
        try:
            gate.load(compiled(base / "table", *orders, core=core))
            with closing(gate.open):
                yield gate
        finally:
            status = gate.end()
        assert status == 0, gate.log.read_text()


@contextmanager
def world_of(base: Path, **settings: Any) -> Iterator[World]:
    """Yield a gate with these settings that enforces `orders`, and what is around it."""
    pages = {"block_page_ipv4": PAGE4, "block_page_ipv6": PAGE6}
    with (
        Upstream() as upstream,
        gate_before(base, upstream.place, orders=orders(), core=CORE, **(pages | settings)) as gate,
    ):
        yield World(gate, upstream, Client(gate.place))
