"""What a scenario's country protects, and how its control plane checks lists."""

from __future__ import annotations

CORE = ("ip 192.0.2.53", "ip 192.0.2.80", "subtree register.example.org", "subtree time.example")
"""A resolver, an operator's own page about blocks, the register, time."""
PROTECTED = ("net 198.51.100.0/24", "subtree bank.example", "subtree code.example")
SUFFIXES = ("icann co.example", "private pages.example")
SHARED = ("shared 203.0.113.0/24 cdn",)


def text_of(*lines: str) -> bytes:
    """Return lines as a list has them."""
    return b"".join(sorted(f"{line}\n".encode() for line in lines))
