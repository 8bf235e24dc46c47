"""``enforcer check``: what decides a name, from a ledger's directory, a node's, or the gate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from enforcer.app.audit import open_ledger
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.keys import verify
from enforcer.backends.ledger_lists import LedgerLists
from enforcer.backends.list_line import convert_line
from enforcer.backends.list_tasks import mapped
from enforcer.backends.tiles import TileLedger
from enforcer.core.entry import parse
from enforcer.core.fold import apply
from enforcer.core.name import Name
from enforcer.core.network import Address, plain_address
from enforcer.core.sealed import SealedList, by_list, receiving_keys
from enforcer.core.state import State
from enforcer.core.target import TargetKind
from enforcer.core.trust import Trust
from enforcer.errors import InputError, IntegrityError, NotFoundError
from enforcer.services.explain import Explanation, explain
from enforcer.services.explain_address import AddressExplanation, explain_address
from enforcer.services.explain_lines import ListText

__all__ = [
    "AddressExplanation",
    "Explanation",
    "Replay",
    "address_of",
    "ask_gate",
    "name_of",
    "qtype_of",
    "replay",
]

QTYPES: Final = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "DS": 43,
    "DNSKEY": 48,
    "SVCB": 64,
    "HTTPS": 65,
    "ANY": 255,
}


@dataclass(frozen=True)
class Replay:
    """A ledger folded from its directory, and the lists beside it."""

    state: State
    ledger: TileLedger
    identity: str | None = field(default=None, repr=False)
    """The secret of an age identity, which may open sealed lists."""

    @cached_property
    def lists(self) -> LedgerLists:
        """The lists, of the sealed ones those that were opened."""
        return LedgerLists(self.ledger.lists, self.ledger.wraps, self.identity)

    @cached_property
    def sealed(self) -> dict[str, list[SealedList]]:
        """The sealed lists, by the SHA-256 that orders name."""
        return by_list(self.state)

    def leaf_hashes(self) -> Iterator[bytes]:
        """Return the hashes of all entries, in order."""
        return self.ledger.leaf_hashes(0, self.ledger.size)

    def text(self, sha256: str) -> ListText:
        """Return a list's text, mapped; of a sealed one what was opened in memory.

        Raises:
            NotFoundError: it is not here, or is sealed and nothing here opens it.
        """
        if sha256 in self.sealed:
            return self._opened(sha256)
        path = self.ledger.lists.path(sha256)
        if not path.is_file():
            raise NotFoundError(
                f"the target list {sha256} is not in {path.parent}",
                advice="Copy the lists as well, or ask the gate (--gate).",
                path=str(path),
            )
        with mapped(path) as text:
            return text

    def _opened(self, sha256: str) -> ListText:
        recipient = self.lists.recipient
        key_ids = receiving_keys(self.state, recipient) if recipient is not None else []
        for sealed in self.sealed[sha256]:
            try:
                if self.lists.open(sealed, key_ids) is None:
                    continue
            except (IntegrityError, InputError):
                continue  # `audit verify` says by whose fault
            with self.lists.text(sha256) as text:
                return bytes(text)
        raise NotFoundError(
            f"the list of {self.sealed[sha256][0].order_id} is restricted",
            advice="Only those whom it was sealed for can open it, until it is published.",
        )

    def explain_address(self, address: Address, t_ms: int) -> AddressExplanation:
        """Decide packets to and from `address` at `t_ms`.

        Raises:
            NotFoundError: a protected list is not here.
        """
        return explain_address(self.state, self.text, address, t_ms)

    def explain(self, name: Name, qtype: int, t_ms: int) -> Explanation:
        """Decide `name` at `t_ms`.

        Raises:
            NotFoundError: a protected list is not here.
        """
        return explain(self.state, self.text, name, qtype, t_ms)


def replay(
    directory: Path, trust: Trust, progress: Callable[[str, int, int], None] | None = None
) -> Replay:
    """Fold the ledger in `directory`: a ledger's own, or a node's state directory.

    Raises:
        NotFoundError: no ledger is there.
        IntegrityError: it is not what the trusted key signed, or cannot be understood.
    """
    is_node = not (directory / "checkpoint").exists() and (directory / "ledger").is_dir()
    ledger = open_ledger(directory / "ledger" if is_node else directory, trust)
    state = trust.genesis(verify)
    for done, leaf in enumerate(ledger.entries(0, ledger.size), 1):
        apply(state, parse(leaf))
        if progress is not None:
            progress("replay entries", done, ledger.size)
    return Replay(state, ledger)


def address_of(text: str) -> Address | None:
    """Read an address as people write it; None: it is none, and may be a name."""
    try:
        return plain_address(ip_address(text.strip("[]")))
    except ValueError:
        return None


def name_of(text: str) -> Name:
    """Read a name as people write it: any case, an IDN, a final dot.

    Raises:
        InputError: it is none; a URL is refused, never widened.
    """
    if text == ".":
        return Name.from_text(text)
    if re.fullmatch("[A-Za-z0-9_-]+[.]?", text):  # a single label, which no list can have
        return Name.from_text(text.lower())
    try:
        line = convert_line(f"exact {text}".encode(), 1, TargetKind.EXACT)
    except InputError as error:
        problem = error.message.partition(": ")[2] or error.message
        raise _no_name(text, problem) from error
    if line is None:
        raise _no_name(text, "it is empty")
    return Name.from_text(line.partition(b" ")[2].strip().decode("ascii"))


def qtype_of(text: str) -> int:
    """Read a query type, such as A, HTTPS or TYPE65.

    Raises:
        InputError: it is none.
    """
    known = QTYPES.get(text.upper())
    if known is not None:
        return known
    digits = text.upper().removeprefix("TYPE")
    if digits.isdecimal() and int(digits) <= 0xFFFF:
        return int(digits)
    raise InputError(
        f"{text!r} is no query type",
        advice=f"Write one of {', '.join(QTYPES)}, or TYPE and its number.",
        field="type",
    )


async def ask_gate(socket: Path, name: Name, qtype: int) -> dict[str, str | int | None]:
    """Ask a running gate what would decide a query now.

    Raises:
        UnavailableError: no gate answers.
    """
    return await GateClient(socket).check(name.text, qtype)


def _no_name(text: str, problem: str) -> InputError:
    return InputError(
        f"{text!r} is no domain name: {problem}",
        advice="Write a name such as www.example.org; an IDN may be written as it is.",
        field="name",
    )
