"""The names as a response policy zone: each, and all below it, does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ORIGIN = "rpz.example"
HEAD = f"""\
$ORIGIN {ORIGIN}.
$TTL 60
@ SOA localhost. hostmaster.localhost. 1 3600 600 86400 60
@ NS localhost.
"""


def write_zone(path: Path, names: Iterable[str]) -> Path:
    """Write a zone file (draft-vixie-dnsop-dns-rpz §4.1, §3.1) and return its path."""
    with path.open("w") as file:
        file.write(HEAD)
        file.writelines(f"{name} CNAME .\n*.{name} CNAME .\n" for name in names)
    return path
