"""Orders against addresses: from the approval's answer to the first packet that is refused.

A real installation on a box that forwards, in network namespaces made for it: control plane,
redis-server, node, gate and the kernel's firewall. A client sends a datagram every millisecond or
two to a server; each order has one address of its own. Then the same beside an order for very
many made-up addresses, hosts of IPv4 and IPv6. An order that is not measured goes before them: with
a node's first the processes start that read lists. Needs root. ADDRESSES_ORDERS says how many
orders in each part, ADDRESSES_BESIDE how many addresses stand beside in the second.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from functools import partial
from itertools import islice
from time import perf_counter, sleep

from bench import Row, median_row
from tests.backends.firewall_kernel import CLIENT, bound, why_not
from tests.e2e.router import Router, routed

ORDERS = int(os.environ.get("ADDRESSES_ORDERS", "30"))
BESIDE = int(os.environ.get("ADDRESSES_BESIDE", "232822"))
PORT = 4_020
PROBE_SECONDS = 0.001
LOST_SECONDS = 0.02
"""Without an answer or an error for so long, a datagram was stopped."""
WAIT_SECONDS_MAX = 20.0


def run() -> list[Row]:
    """Measure, if namespaces can be had."""
    if refuse := why_not():
        sys.exit(f"addresses: {refuse}")
    with routed() as router:
        small_orders(router, "not measured", first=254, orders=1)
        rows = small_orders(router, "alone", first=1)
        ref = router.propose_addresses(*many(BESIDE))
        router.wait_until(router.is_in_step, "the node has read the proposal")
        began = perf_counter()
        router.approve(ref)
        router.wait_until(lambda: router.firewall["pieces"] >= BESIDE, "it is in force", 60)
        loaded = perf_counter() - began
        router.wait_until(lambda: router.firewall["state"] == "HOLDS", "it was read back", 60)
        rows.append(Row(f"order for {BESIDE} addresses, until the node says so", loaded, "s"))
        rows += small_orders(router, f"beside {BESIDE} addresses", first=101)
        began = perf_counter()
        router.stop(ref)
        router.wait_until(lambda: not router.firewall["pieces"], "it is gone", 60)
        rows.append(
            Row("stop of the large order, until the node says so", perf_counter() - began, "s")
        )
    return rows


def small_orders(router: Router, where: str, first: int, orders: int = ORDERS) -> list[Row]:
    """Order and stop one address after the other."""
    blocking: list[float] = []
    passing: list[float] = []
    for number in range(first, first + orders):
        address = f"192.0.2.{number}"
        ref = router.propose_addresses(f"ip {address}")
        router.wait_until(router.is_in_step, "the node has read the proposal")
        with (
            router.network.server.call(partial(bound, 4, address, PORT)) as server,
            router.network.client.call(lambda: bound(4, CLIENT[4], 0)) as client,
        ):
            client.connect((address, PORT))
            router.approve(ref)
            blocking.append(waited_ms(client, server, passes=False))
            router.stop(ref)
            passing.append(waited_ms(client, server, passes=True))
    return [
        median_row(f"{where}: approval answered, until refused", blocking, "ms"),
        Row(f"{where}: the slowest of them", max(blocking), "ms", orders),
        median_row(f"{where}: stop answered, until let through", passing, "ms"),
        Row(f"{where}: the slowest stop", max(passing), "ms", orders),
    ]


def many(number: int) -> list[str]:
    """Return lines for so many hosts that nobody has."""
    ipv4 = [
        f"ip 198.51.{third}.{last}" for third in range(256) if third != 100 for last in range(256)
    ]
    ipv6 = (f"ip 2001:db8:1:{at >> 12:x}::{(at & 4095) + 1:x}" for at in range(4_096, 1 << 24))
    return [*ipv4[: number // 4], *islice(ipv6, number - number // 4)]


def waited_ms(client: socket.socket, server: socket.socket, *, passes: bool) -> float:
    """Return how long it takes until datagrams fare as they should."""
    began = perf_counter()
    while is_through(client, server) is not passes:
        if perf_counter() - began > WAIT_SECONDS_MAX:
            raise RuntimeError(f"it took over {WAIT_SECONDS_MAX} s")
        sleep(PROBE_SECONDS)
    return 1_000 * (perf_counter() - began)


def is_through(client: socket.socket, server: socket.socket) -> bool:
    """Send a datagram and tell whether the server gets it."""
    try:
        client.send(b"probe")
    except OSError:
        return False  # what became of the one before
    readable, _, _ = select.select([server, client], [], [], LOST_SECONDS)
    if server in readable:
        server.recv(64)
        return True
    client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return False
