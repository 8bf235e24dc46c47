"""Flow exports decoded and compared with orders, records a second.

NetFlow v9 and IPFIX of 25 records a message, as routers send it, over half a million real and
generated prefixes; beside it scapy's decoding of the same messages and a bare loop of `struct`
over the records (no templates, no times, no flows), in the same run. Each is timed in a process
with nothing else to do.
"""

from __future__ import annotations

import gzip
import logging
import random
import struct
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from time import perf_counter_ns

from scapy.layers.inet import IP, UDP
from scapy.layers.netflow import NetflowHeader, netflowv9_defragment

from bench import Row, data_path, median_row, peak_memory_mb
from enforcer._native.flow_targets import FlowTargets
from enforcer._native.flows import Decoder

ROUNDS = 5
MESSAGES = 4_000
RECORDS = 25
SCAPY_MESSAGES = 60
PREFIXES_EXTRA = 270_000
FIELDS = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (1, 4), (2, 4), (22, 4), (21, 4))
RECORD = struct.Struct("!4s4sHHBBIIII")
IPFIX_FIELDS = (*FIELDS[:8], (152, 8), (153, 8))
IPFIX_RECORD = struct.Struct("!4s4sHHBBIIQQ")
SENT_S, UPTIME_MS = 1_800_000_000, 5_000_000


def run() -> list[Row]:
    addresses = listed()
    wires = messages(addresses)
    count = MESSAGES * RECORDS
    rows = [Row("flow records", count, ""), Row("octets a message", len(wires[1]), "")]
    rows.append(rate("NetFlow v9: decoded", [decode(wires) for _ in range(ROUNDS)], count))
    ipfix = [as_ipfix(number, wire) for number, wire in enumerate(wires)]
    rows.append(rate("IPFIX: decoded", [decode(ipfix) for _ in range(ROUNDS)], count))
    index, built_s = indexed(addresses)
    rows.append(Row("prefixes in lists", len(index), ""))
    rows.append(Row("index built", built_s, "s"))
    rows.append(Row("index", index_octets(), "octets a prefix"))
    matching = [decode(wires, index) for _ in range(ROUNDS)]
    rows.append(rate("NetFlow v9: decoded and compared with all lists", matching, count))
    matching = [decode(ipfix, index) for _ in range(ROUNDS)]
    rows.append(rate("IPFIX: decoded and compared with all lists", matching, count))
    rows.append(rate("bare struct loop", [bare(wires) for _ in range(ROUNDS)], count))
    few = wires[: SCAPY_MESSAGES + 1]
    rows.append(rate("scapy", [by_scapy(few) for _ in range(3)], SCAPY_MESSAGES * RECORDS))
    rows.append(Row("peak memory, all of this", peak_memory_mb(), "MB"))
    return rows


def rate(what: str, seconds: list[float], count: int) -> Row:
    return median_row(what, [count / each for each in seconds], "records a second")


def listed() -> list[str]:
    """Return the real addresses, and prefixes of the lengths that lists have."""
    with gzip.open(data_path("ip", "malicious-ipv4-232k.txt.gz"), "rt") as file:
        addresses = {line.strip() for line in file if line.strip()}
    chance = random.Random(1)
    lines = {f"ip {IPv4Address(address)}\n" for address in addresses}
    while len(lines) < len(addresses) + PREFIXES_EXTRA:
        length = chance.choice((20, 22, 23, 24, 24, 24, 26, 28, 29, 30))
        value = chance.getrandbits(length) << (32 - length)
        lines.add(f"net {IPv4Address(value)}/{length}\n")
    return sorted(lines)


def messages(lines: list[str]) -> list[bytes]:
    """Return a template, then messages; one record of fifty is of a listed address."""
    chance = random.Random(2)
    known = [IPv4Address(line[3:].strip()).packed for line in lines if line.startswith("ip ")]
    fields = b"".join(struct.pack("!HH", *each) for each in FIELDS)
    template = struct.pack("!HHHH", 0, 8 + len(fields), 300, len(FIELDS)) + fields
    wires = [header(1) + template]
    for number in range(MESSAGES):
        records = b"".join(
            RECORD.pack(
                chance.choice(known) if chance.random() < 0.02 else chance.randbytes(4),
                chance.randbytes(4),
                chance.getrandbits(16),
                443,
                6,
                0x1B,
                chance.getrandbits(16),
                12,
                UPTIME_MS - 1000,
                UPTIME_MS,
            )
            for _ in range(RECORDS)
        )
        wires.append(header(number + 2) + struct.pack("!HH", 300, 4 + len(records)) + records)
    return wires


def as_ipfix(number: int, wire: bytes) -> bytes:
    """Return what an IPFIX exporter says instead of message `number`: times of the wall clock."""
    if number == 0:
        fields = b"".join(struct.pack("!HH", *each) for each in IPFIX_FIELDS)
        sets = struct.pack("!HHHH", 2, 8 + len(fields), 300, len(IPFIX_FIELDS)) + fields
    else:
        now_ms = SENT_S * 1_000
        records = b"".join(
            IPFIX_RECORD.pack(*record[:8], now_ms - 1_000, now_ms)
            for record in RECORD.iter_unpack(wire[24:])
        )
        sets = struct.pack("!HH", 300, 4 + len(records)) + records
    sequence = max(number - 1, 0) * RECORDS
    return struct.pack("!HHIII", 10, 16 + len(sets), SENT_S, sequence, 7) + sets


def header(sequence: int) -> bytes:
    return struct.pack("!HHIIII", 9, 1, UPTIME_MS, SENT_S, sequence, 7)


def decode(wires: list[bytes], index: FlowTargets | None = None) -> float:
    decoder = Decoder()
    start = perf_counter_ns()
    for wire in wires:
        flows, _ = decoder.decode(wire, b"one")
        if index is not None:
            index.match(flows)
    took = (perf_counter_ns() - start) / 1e9
    if decoder.flow_records != MESSAGES * RECORDS:
        raise SystemExit("not all records were decoded")
    return took


def indexed(lines: list[str]) -> tuple[FlowTargets, float]:
    text = "".join(lines).encode()
    index = FlowTargets()
    start = perf_counter_ns()
    index.add(1, text)
    index.match(b"")
    return index, (perf_counter_ns() - start) / 1e9


def index_octets() -> float:
    """Return what an entry takes, by how a process grows with half a million of them."""
    code = (
        "from bench import peak_memory_mb as m\nfrom bench.flows import listed, FlowTargets\n"
        "text = ''.join(listed()).encode()\nbefore = now = open('/proc/self/statm').read().split()"
        "[1]\nindex = FlowTargets()\nindex.add(1, text)\nindex.match(b'')\n"
        "now = open('/proc/self/statm').read().split()[1]\n"
        "print((int(now) - int(before)) * 4096 / len(index))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def bare(wires: list[bytes]) -> float:
    """Walk the records with one `struct` call each: what Python could do at best."""
    start = perf_counter_ns()
    total = 0
    for wire in wires[1:]:
        for record in RECORD.iter_unpack(wire[24:]):
            total += record[6]
    return (perf_counter_ns() - start) / 1e9


def by_scapy(wires: list[bytes]) -> float:
    logging.getLogger("scapy").setLevel(logging.ERROR)
    start = perf_counter_ns()
    netflowv9_defragment([IP() / UDP(dport=2055) / NetflowHeader(wire) for wire in wires])
    return (perf_counter_ns() - start) / 1e9
