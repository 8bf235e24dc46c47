"""A client in a process of its own: it asks one query after the other and tells how long each took.

Run as `python -m bench._asking PORT SECONDS`, names on standard input; prints the 50th, 95th and
99th percentile in microseconds, and how many were asked.
"""

from __future__ import annotations

import socket
import sys
from statistics import quantiles
from time import perf_counter_ns

from dnslib import DNSRecord

ANSWER_SECONDS_MAX = 5.0


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    queries = [DNSRecord.question(name).pack() for name in sys.stdin.read().split()]
    taken: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_SECONDS_MAX)
        client.connect(("127.0.0.1", port))
        end = perf_counter_ns() + int(seconds * 1e9)
        at = 0
        while (start := perf_counter_ns()) < end:
            client.send(queries[at % len(queries)])
            client.recv(4_096)
            taken.append(perf_counter_ns() - start)
            at += 1
    parts = quantiles(taken, n=100)
    print(parts[49] / 1e3, parts[94] / 1e3, parts[98] / 1e3, len(taken))


if __name__ == "__main__":
    main()
