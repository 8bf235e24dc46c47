"""Half a million prefixes: laid flat for a firewall, compiled into a table, and looked up.

The 232,822 real IPv4 addresses, and prefixes of both families drawn with a seed as hosters and
providers have them. Lookups are of as many addresses inside a prefix as beside one, in random
order, in one process and in turns: the table's batches and single matches, pytricia (which reads
packed octets fastest), py-radix, and a dict of ipaddress networks by length. Memory is what a
child that holds nothing else grows by; the table's is what its file grows by.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import subprocess
import sys
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

from bench import ROOT, Row, data_path, median_row
from bench.lookup import compile_to, map_file, row_of
from enforcer._native.networks import Networks
from enforcer._native.packed import diff
from enforcer._native.probe import NO_MATCH, Table
from enforcer.core.firewall import FirewallRow, pieces_digest
from enforcer.core.network import Network
from enforcer.core.table import DnsMeasure, IpMeasure, OrderRow

SEED = 1
ROUNDS = 7
PREFIXES = 500_000
IPV6_SHARE = 0.25
SAMPLE = 200_000
NOW_MS = 1500
MODULES = {"pytricia": "pytricia", "py-radix": "radix", "ipaddress": "ipaddress"}
PEERS = tuple(MODULES)

Found = TypeVar("Found")


def run() -> list[Row]:
    peers = [peer for peer in PEERS if find_spec(MODULES[peer])]
    if len(peers) < len(PEERS):
        print(f"only {', '.join(peers)} are here: pip install '.[bench]'", file=sys.stderr)
    networks = draw_networks()
    with tempfile.TemporaryDirectory() as folder:
        text, table = Path(folder, "list"), Path(folder, "table")
        text.write_bytes(b"".join(sorted(line_of(each) for each in networks)))
        rows = [
            Row("IPv4 prefixes", sum(each.version == 4 for each in networks), ""),
            Row("IPv6 prefixes", sum(each.version == 6 for each in networks), ""),
        ]
        rows += flat_rows(text)
        empty = Path(folder, "empty")
        compile_to(empty, b"")
        order = ip_row(text.read_bytes())
        compiled = [
            timed(lambda: compile_to(table, map_file(text), row=order)) for _ in range(ROUNDS)
        ]
        rows.append(median_row("table: compile", compiled, "s"))
        grown = table.stat().st_size - empty.stat().st_size
        rows.append(Row("table: size", grown / len(networks), "bytes a prefix"))
        rows += [
            Row(f"{peer}: memory", memory_of(peer, text) / len(networks), "bytes a prefix")
            for peer in peers
        ]
        rows += lookup_rows(networks, Table(map_file(table)), peers)
        return rows


# ---------------------------------------------------------------------- prefixes


def draw_networks() -> list[Network]:
    """Return the real addresses and drawn prefixes, PREFIXES in all, each once."""
    dice = random.Random(SEED)
    found: set[Network] = set()
    with gzip.open(data_path("ip", "malicious-ipv4-232k.txt.gz"), "rt") as file:
        for line in file:
            found.add(ip_network(line.strip()))
    blocks4 = [dice.randrange(1 << 24, 224 << 24) & ~0xFFFF for _ in range(4_000)]
    tops6 = [0x2001, *range(0x2400, 0x2410), *range(0x2600, 0x2608), *range(0x2A00, 0x2A11)]
    blocks6 = [dice.choice(tops6) << 112 | dice.getrandbits(16) << 96 for _ in range(6_000)]
    while len(found) < PREFIXES - int(PREFIXES * IPV6_SHARE):
        number = dice.choice(blocks4) | dice.getrandbits(16)
        length = dice.choices((32, 24, 23, 22, 29, 28, 26), (50, 25, 5, 5, 5, 5, 5))[0]
        found.add(ip_network((number >> (32 - length) << (32 - length), length)))
    while len(found) < PREFIXES:
        number = dice.choice(blocks6) | dice.getrandbits(24) << 72  # one of 2^24 /56
        length = dice.choices((32, 40, 48, 56, 64, 128), (2, 3, 30, 10, 30, 25))[0]
        if length >= 64:
            number |= dice.getrandbits(8) << 64
        if length == 128:
            number |= dice.choice((dice.getrandbits(8), dice.getrandbits(64)))
        found.add(ip_network((number >> (128 - length) << (128 - length), length)))
    return sorted(found, key=lambda each: (each.version, each.network_address, each.prefixlen))


def line_of(network: Network) -> bytes:
    if network.prefixlen == network.max_prefixlen:
        return f"ip {network.network_address}\n".encode()
    return f"net {network}\n".encode()


def ip_row(text: bytes) -> OrderRow:
    return replace(row_of(text), dns_measure=DnsMeasure.NONE, ip_measure=IpMeasure.DROP)


def samples(networks: Sequence[Network], version: int, count: int) -> list[bytes]:
    """Return packed addresses in random order: half inside a prefix, half near one."""
    dice = random.Random(SEED + version)
    kind = IPv4Address if version == 4 else IPv6Address
    chosen = dice.choices([each for each in networks if each.version == version], k=count)
    drawn = []
    for number, network in enumerate(chosen):
        bits = network.max_prefixlen - network.prefixlen
        value = int(network.network_address) | dice.getrandbits(bits)
        if number % 2:
            value ^= 1 << dice.randint(bits, network.max_prefixlen - 13)
        drawn.append(kind(value).packed)
    return drawn


# ------------------------------------------------------------------------- steps


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def flat_rows(text: Path) -> list[Row]:
    """Measure what a firewall's node does: all at once, then with one order more and less."""
    octets, times = text.read_bytes(), defaultdict[str, list[float]](list)
    pieces = 0
    for _ in range(ROUNDS):
        pieces = flat_round(octets, times)
    return [
        Row("pieces", pieces, ""),
        *(median_row(f"flat: {what}", values, "ms") for what, values in times.items()),
    ]


def flat_round(octets: bytes, times: dict[str, list[float]]) -> int:
    def step(what: str, work: Callable[[], Found]) -> Found:
        start = perf_counter()
        found = work()
        times[what].append((perf_counter() - start) * 1000)
        return found

    networks = Networks()
    step("read all", partial(networks.add, 1, IpMeasure.DROP, octets))
    before = step("pieces", networks.pieces)
    step("digest", partial(pieces_digest, before, [FirewallRow(1, IpMeasure.DROP)]))
    step("one order more", partial(networks.add, 2, IpMeasure.REJECT, b"ip 192.0.2.7\n"))
    step("difference", partial(diff, before, networks.pieces()))
    step("one order less", partial(networks.remove, 2))
    return len(before)


@dataclass
class Contender:
    """Something that looks addresses up, and how long it took in each round."""

    what: str
    prepare: Callable[[list[bytes]], Any]
    look_up: Callable[[Any], Any]
    count: Callable[[Any], int]
    nanoseconds: list[float]


def lookup_rows(networks: Sequence[Network], table: Table, peers: list[str]) -> list[Row]:
    rows = []
    for version in (4, 6):
        own = [each for each in networks if each.version == version]
        octets = 4 if version == 4 else 16
        contenders = [
            Contender(
                "table, batch",
                b"".join,
                partial(matched, table, octets),
                lambda found: len(found) // 4 - array("I", found).count(NO_MATCH),
                [],
            ),
            Contender("table, single", list, single_of(table), int, []),
            *(Contender(peer, list, LOADERS[peer](own), int, []) for peer in peers),
        ]
        drawn = samples(networks, version, SAMPLE)
        hits = set()
        for _ in range(ROUNDS):
            for each in contenders:
                given = each.prepare(drawn)
                start = perf_counter()
                found = each.look_up(given)
                each.nanoseconds.append((perf_counter() - start) * 1e9 / SAMPLE)
                hits.add(each.count(found))
        if len(hits) != 1:
            raise SystemExit(f"they do not agree on how many addresses are listed: {hits}")
        rows.append(Row(f"listed, IPv{version}", hits.pop() / SAMPLE * 100, "%"))
        rows += [
            median_row(f"{each.what}, IPv{version}", each.nanoseconds, "ns a lookup")
            for each in contenders
        ]
        best = min(contenders[2:], key=lambda each: median(each.nanoseconds))
        ratios = [
            one / other
            for one, other in zip(best.nanoseconds, contenders[0].nanoseconds, strict=True)
        ]
        rows.append(median_row(f"{best.what} / table, batch, IPv{version}", ratios, "times"))
    return rows


def matched(table: Table, octets: int, packed: bytes) -> bytes:
    return table.match_many(packed, octets, NOW_MS)


def single_of(table: Table) -> Callable[[list[bytes]], int]:
    def look_up(chosen: list[bytes]) -> int:
        match = table.match
        return sum(1 for address in chosen if match(address, NOW_MS) is not None)

    return look_up


def load_pytricia(networks: Sequence[Network]) -> Callable[[list[bytes]], int]:
    pytricia = import_module("pytricia")
    tries = {4: pytricia.PyTricia(32), 6: pytricia.PyTricia(128, socket.AF_INET6)}
    for each in networks:
        tries[each.version].insert(str(each), 1)
    for trie in tries.values():
        trie.freeze()

    def look_up(chosen: list[bytes]) -> int:
        get = tries[4 if len(chosen[0]) == 4 else 6].get
        return sum(1 for address in chosen if get(address) is not None)

    return look_up


def load_radix(networks: Sequence[Network]) -> Callable[[list[bytes]], int]:
    tree = import_module("radix").Radix()
    for each in networks:
        tree.add(str(each))

    def look_up(chosen: list[bytes]) -> int:
        search = tree.search_best
        return sum(1 for address in chosen if search(packed=address) is not None)

    return look_up


def load_ipaddress(networks: Sequence[Network]) -> Callable[[list[bytes]], int]:
    """Keep ipaddress networks in a dict by length, the longest first: what it offers is slower."""
    by_shift: dict[tuple[int, int], dict[int, Network]] = {}
    for each in sorted(networks, key=lambda each: -each.prefixlen):
        shift = each.max_prefixlen - each.prefixlen
        known = by_shift.setdefault((each.version, shift), {})
        known[int(each.network_address) >> shift] = each
    tables = {
        version: [(shift, known) for (of, shift), known in by_shift.items() if of == version]
        for version in (4, 6)
    }

    def find(number: int, known_by_shift: list[tuple[int, dict[int, Network]]]) -> bool:
        return any(number >> shift in known for shift, known in known_by_shift)

    def look_up(chosen: list[bytes]) -> int:
        known_by_shift = tables[4 if len(chosen[0]) == 4 else 6]
        return sum(find(int.from_bytes(address, "big"), known_by_shift) for address in chosen)

    return look_up


LOADERS = {"pytricia": load_pytricia, "py-radix": load_radix, "ipaddress": load_ipaddress}


# ------------------------------------------------------------------------ memory


def memory_of(peer: str, text: Path) -> float:
    """Return by how many octets a child grows that loads all prefixes into `peer`."""
    command = [sys.executable, "-m", "bench.networks", peer, str(text)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout))


def resident_octets() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def child(peer: str, text: Path) -> float:
    networks = [ip_network(line.split(b" ")[1].decode()) for line in text.read_bytes().splitlines()]
    warm = LOADERS[peer](networks[:100])
    before = resident_octets()
    held = LOADERS[peer](networks)
    grown = resident_octets() - before
    assert warm is not held
    return grown


if __name__ == "__main__":
    json.dump(child(sys.argv[1], Path(sys.argv[2])), sys.stdout)
