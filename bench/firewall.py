"""The firewall in the kernel beside nft(8): loads, one change in half a million, reading all back.

In a network namespace of its own, as root. Ours is one map of counters an order; nft's is what an
operator would write: a set with a counter for each element, an interval set where there are
prefixes. Both are asked in turn. Real addresses are those of the shared list; the mixed half
million is drawn with a seed: IPv4 hosts and prefixes (/18 to /30), IPv6 hosts and prefixes.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from statistics import median
from time import perf_counter

from bench import Row, data_path, median_row
from enforcer._native.networks import flatten
from enforcer._native.packed import diff
from enforcer.backends.nft_firewall import NftFirewall
from enforcer.core.firewall import FirewallRow, FirewallState, Pieces
from enforcer.core.network import Address, Network
from enforcer.core.table import IpMeasure
from enforcer.ports import FirewallChange, FirewallContent

ROUNDS = 5
CHANGES = 41
PEER_ROUNDS = 2
SENDINGS = 15
DATAGRAMS = 256 * 200
HOSTS4, NETS4, HOSTS6, NETS6 = 400_000, 50_000, 40_000, 10_000
LEASE_SECONDS = 3_600
NETWORK = b"""
link add v0 type veth peer name v1
link set v0 up
link set v1 up
addr add 203.0.113.1/24 dev v0
neigh add 203.0.113.2 lladdr 02:00:00:00:00:02 dev v0
route add default via 203.0.113.2
"""
ROWS = (FirewallRow(5, IpMeasure.REJECT), FirewallRow(6, IpMeasure.DROP))
ONE = "192.0.2.1"
NEW = {
    "one address": [f"ip {ONE}"],
    "one prefix": ["net 192.0.2.0/24"],
    "a thousand addresses": [f"ip 198.51.{n // 250}.{n % 250}" for n in range(1_000)],
}
"""What no list has: only addresses below 192.0.0.0 are drawn."""


def run() -> list[Row]:
    if os.geteuid() != 0:
        raise SystemExit("the firewall's bench needs root, for a network namespace of its own")
    command = ["unshare", "-n", sys.executable, "-m", "bench.firewall"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return [Row(**row) for row in json.loads(done.stdout)]


async def measured() -> list[Row]:
    real = list_text(real_addresses())
    rows = await loads("232,822 real addresses", real, is_interval=False)
    mixed = list_text(mixed_targets())
    rows += await loads("500,000 mixed", mixed, is_interval=True)
    return rows + await in_half_a_million(mixed)


def real_addresses() -> list[Address | Network]:
    packed = data_path("ip", "malicious-ipv4-232k.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("ascii").split()
    return [IPv4Address(line) for line in lines if not line.startswith("#")]


def mixed_targets() -> list[Address | Network]:
    """Draw disjoint targets: prefixes each in a /18 of its own, hosts elsewhere."""
    drawn = random.Random(5)
    blocks = drawn.sample(range(1 << 10, 192 << 10), NETS4)
    found: list[Address | Network] = []
    for block in blocks:
        length = drawn.choice((18, 20, 22, 23, 24, 24, 24, 26, 28, 29, 30))
        found.append(IPv4Network((block << 14, length)))
    taken = set(blocks)
    hosts: set[int] = set()
    while len(hosts) < HOSTS4:
        address = drawn.randrange(1 << 24, 192 << 24)
        if address >> 14 not in taken:
            hosts.add(address)
    found += map(IPv4Address, sorted(hosts))
    for number in range(NETS6):
        top = 0x2001 << 32 | drawn.randrange(1 << 16) << 16 | number
        found.append(IPv6Network((top << 80, drawn.choice((48, 56, 64)))))
    for number in range(HOSTS6):
        top = (0x2A00 << 16 | drawn.randrange(1 << 16)) << 96
        found.append(IPv6Address(top | number << 64 | drawn.randrange(1 << 64)))
    return found


def list_text(targets: list[Address | Network]) -> bytes:
    """Return the canonical list of them."""
    kinds = {True: "net", False: "ip"}
    lines = {f"{kinds[isinstance(each, Network)]} {each}\n".encode() for each in targets}
    return b"".join(sorted(lines))


async def loads(what: str, text: bytes, *, is_interval: bool) -> list[Row]:
    firewall = NftFirewall()
    await firewall.claim(LEASE_SECONDS)
    ours, flat, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        script = peer_script(folder, text, is_interval=is_interval)
        for number in range(ROUNDS):
            start = perf_counter()
            pieces = flatten([(5, IpMeasure.REJECT, text)])
            flat.append(perf_counter() - start)
            content = FirewallContent(ROWS, pieces)
            ours.append(await timed(partial(firewall.replace, content, LEASE_SECONDS)))
            if number < PEER_ROUNDS:
                theirs.append(peer("-f", script))
                peer("delete", "table", "inet", "peer")
    await emptied(firewall)
    return [
        median_row(f"{what}: list made into pieces", flat, "s"),
        median_row(f"{what}: loaded, in place of all before", ours, "s"),
        median_row(f"{what}: loaded by nft -f", theirs, "s"),
        Row(f"{what}: nft takes", median(theirs) / median(ours), "times as long"),
    ]


async def in_half_a_million(text: bytes) -> list[Row]:
    pieces = flatten([(5, IpMeasure.REJECT, text)])
    firewall = NftFirewall()
    await firewall.claim(LEASE_SECONDS)
    await firewall.replace(FirewallContent(ROWS, pieces), LEASE_SECONDS)
    changed = []
    for name, targets in NEW.items():
        new = b"".join(sorted(f"{each}\n".encode() for each in targets))
        both = flatten([(5, IpMeasure.REJECT, text), (6, IpMeasure.DROP, new)])
        removed, added = diff(pieces, both)
        to: list[float] = []
        back: list[float] = []
        for _ in range(CHANGES):
            for change, times in (
                (FirewallChange(ROWS, removed, added, ()), to),
                (FirewallChange(ROWS, added, removed, ()), back),
            ):
                times.append(await timed(partial(firewall.apply, change, LEASE_SECONDS)) * 1e3)
        changed.append(median_row(f"half a million mixed: {name} more, in force", to, "ms"))
        changed.append(median_row(f"half a million mixed: {name} less", back, "ms"))
    read = [await timed(lambda: read_and_compared(firewall, pieces)) for _ in range(ROUNDS)]
    cut = [await timed(lambda: firewall.cut(added)) * 1e3 for _ in range(ROUNDS)]
    with_ours = sent()
    await emptied(firewall)
    with tempfile.TemporaryDirectory() as folder:
        peer("-f", peer_script(folder, text, is_interval=True))
        one = peer("add", "element", "inet", "peer", "v4", f"{{ {ONE} }}") * 1e3
        listed = peer("-j", "list", "table", "inet", "peer")
        with_theirs = sent()
        peer("delete", "table", "inet", "peer")
    await asyncio.sleep(1)
    without = sent()
    what = "half a million mixed"
    return [
        Row("pieces of the half million", len(pieces), ""),
        *changed,
        Row(f"{what}: nft add element", one, "ms"),
        Row(f"{what}: nft takes", one / changed[0].value, "times as long"),
        median_row(f"{what}: all read back and compared", read, "s"),
        Row(f"{what}: nft -j list table", listed, "s"),
        Row(f"{what}: nft takes", listed / median(read), "times as long"),
        median_row(f"{what}: connections cut, where there are none", cut, "ms"),
        median_row("a local datagram that passes: no rules", without, "µs"),
        median_row("a local datagram that passes: ours", with_ours, "µs"),
        median_row("a local datagram that passes: nft's two sets", with_theirs, "µs"),
    ]


def sent() -> list[float]:
    """Send datagrams to addresses that nobody blocks; return what one took, in µs."""
    drawn = random.Random(7)
    targets = [f"198.{drawn.randrange(20, 50)}.{n}.9" for n in range(256)]
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(SENDINGS):
            start = perf_counter()
            for _ in range(DATAGRAMS // len(targets)):
                for target in targets:
                    client.sendto(b"x", (target, 9))
            times.append((perf_counter() - start) * 1e6 / DATAGRAMS)
    return times


async def read_and_compared(firewall: NftFirewall, pieces: Pieces) -> None:
    holding = await firewall.read()
    if holding.state is not FirewallState.HOLDS or holding.content.pieces != pieces:
        raise SystemExit(f"what was read is not what was written: {holding.reason}")


async def emptied(firewall: NftFirewall) -> None:
    await firewall.close()
    peer("delete", "table", "inet", "enforcer")
    await asyncio.sleep(1)  # the kernel frees elements in the background


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    start = perf_counter()
    await work()
    return perf_counter() - start


def peer(*arguments: str) -> float:
    """Run nft and return how long it took, in seconds."""
    start = perf_counter()
    subprocess.run(["nft", *arguments], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def peer_script(folder: str, text: bytes, *, is_interval: bool) -> str:
    """Write what an operator would write for the list, and return where."""
    by_family: dict[str, list[str]] = {"ipv4_addr": [], "ipv6_addr": []}
    for line in text.decode("ascii").splitlines():
        target = line.partition(" ")[2]
        by_family["ipv6_addr" if ":" in target else "ipv4_addr"].append(target)
    sets = []
    for (kind, targets), name in zip(by_family.items(), ("v4", "v6"), strict=True):
        flags = "flags interval; " if is_interval else ""
        elements = f"elements = {{ {', '.join(targets)} }};" if targets else ""
        sets.append(f"set {name} {{ type {kind}; {flags}counter; {elements} }}\n")
    hooks = {"forward": ("daddr", "saddr"), "input": ("saddr",), "output": ("daddr",)}
    chain = ""
    for hook, sides in hooks.items():
        rules = "".join(
            f"{family} {side} @{name} reject with icmpx type admin-prohibited\n"
            for side in sides
            for family, name in (("ip", "v4"), ("ip6", "v6"))
        )
        chain += f"chain {hook} {{ type filter hook {hook} priority -10;\n{rules}}}\n"
    path = Path(folder, "peer.nft")
    path.write_text(f"table inet peer {{\n{''.join(sets)}{chain}}}\n")
    return str(path)


if __name__ == "__main__":
    subprocess.run(["ip", "-batch", "-"], input=NETWORK, check=True)
    json.dump([asdict(row) for row in asyncio.run(measured())], sys.stdout)
