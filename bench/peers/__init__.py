"""The gate beside its peers: one serving core, the same million names, the same upstream.

Each round starts every server afresh (in rotated order), pinned to core 0; dnsperf and the
upstream are on core 1. `echo` is the floor: recvmmsg, set QR, sendmmsg. CPU is user + system of
all the server's processes over the answers they gave while dnsperf drove them as hard as it can;
latency is measured apart, at the same steady rate for all. Memory is the proportional set size
of all its processes with the names loaded; load is from the start until a sample of a hundred
names is blocked. A figure is refused when an answer was wrong, or more than one in a thousand
missing.
"""

from __future__ import annotations

from pathlib import Path

SERVER_CORE = 0
CLIENT_CORE = 1
HOST = "127.0.0.1"
SERVER_PORT = 5310
UPSTREAM_PORT = 5311
WORKLOADS = ("blocked", "cached", "uncached", "mix")

FOLDER = Path(__file__).resolve().parent
